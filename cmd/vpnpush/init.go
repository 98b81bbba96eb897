package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/inventory"
)

func (a *app) initCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Write a commented starter inventory with fresh keys",
		Long: `Init writes a commented inventory with freshly generated pre-shared keys to the
file that --inventory names, readable by you alone. It never replaces a file.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			// O_EXCL: never over a file that is there
			f, err := os.OpenFile(a.inventory, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return &hinted{fmt.Errorf("init: %s is there already", a.inventory), "name another file with --inventory"}
			}
			if err != nil {
				return fmt.Errorf("init: %w", err)
			}
			_, err = f.Write(inventory.Starter())
			if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
				return fmt.Errorf("init: %w", errors.Join(err, os.Remove(a.inventory)))
			}
			fmt.Fprintf(a.stdout, "Wrote %s. Put in your hub's address and your sites, then: vpnpush validate\n", a.inventory)
			return nil
		},
	}
}
