package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) initCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented starter inventory with new keys",
		Long: `Init writes a commented inventory with freshly generated pre-shared keys to the
file that --inventory names, readable by you alone. It never replaces a file.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := writeStarter(a.inventory); err != nil {
				return err
			}
			return a.view.Init(a.inventory)
		},
	}
}

// writeStarter writes a starter inventory, never over a file that is there.
func writeStarter(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return transport.WithHint(fmt.Errorf("init: %s exists already", path), "name another file with --inventory")
	}
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	_, err = f.Write(inventory.Starter())
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("init: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}
