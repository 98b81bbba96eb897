package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) initCmd() *cobra.Command {
	var encrypt bool
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a commented starter inventory with new keys",
		Long: `Init writes a commented inventory with freshly generated pre-shared keys to the
file that --inventory names, readable by you alone. It never replaces a file.

With --encrypt the keys stand there encrypted, so that the inventory can be
committed. Your identity opens them: ` + inventory.DefaultIdentity + `, which is
made where there is none. docs/secrets.md says more.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.start(cmd.Context(), encrypt)
			if err != nil {
				return endOf(cmd.Context(), "init", err)
			}
			return a.view.Init(s)
		},
	}
	cmd.Flags().BoolVar(&encrypt, "encrypt", false, "encrypt its keys, to your own identity")
	return cmd
}

// start writes a starter inventory, never over a file that is there.
func (a *app) start(ctx context.Context, encrypt bool) (view.Started, error) {
	s := view.Started{File: a.inventory}
	if _, err := os.Lstat(a.inventory); err == nil {
		return s, transport.WithHint(fmt.Errorf("%s exists already", a.inventory), "name another file with --inventory")
	}
	var to []secret.Recipient
	if encrypt {
		file, err := (&inventory.Inventory{Path: a.inventory}).IdentityFile()
		if err != nil {
			return s, err
		}
		var made bool
		if to, made, err = a.ownRecipients(ctx, file); err != nil {
			return s, err
		}
		for _, r := range to {
			s.Recipients = append(s.Recipients, r.String())
		}
		if made {
			s.Notes = append(s.Notes, newIdentity(file, to[0]))
		}
	}
	text, err := inventory.Starter(to...)
	if err != nil {
		return s, err
	}
	return s, writeNew(a.inventory, text)
}

// writeNew writes a file that must not be there yet, readable by its owner alone.
func writeNew(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return transport.WithHint(fmt.Errorf("%s exists already", path), "name another file")
	}
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}
