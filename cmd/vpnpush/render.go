package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/roles"
)

func (a *app) renderCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "render --out DIR",
		Short: "Write every file as it would land, offline",
		Long: `Render writes every file as it would land on a bare host to DIR/HOST/etc/..., with
its mode on the host. It touches no network. Files hold their secrets, so DIR is
made for you alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return &hinted{errors.New("render: where to?"), "name a folder with --out DIR"}
			}
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			hosts, err := inv.Select(a.limit)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(out, 0o700); err != nil {
				return fmt.Errorf("render: %w", err)
			}
			n := 0
			for _, h := range hosts {
				files, err := roles.Render(inv, h)
				if err != nil {
					return fmt.Errorf("render %s: %w", h, err)
				}
				for _, f := range files {
					path := filepath.Join(out, h, filepath.FromSlash(f.Path))
					if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
						return fmt.Errorf("render %s: %w", h, err)
					}
					if err := replace(path, f.Content, f.Mode); err != nil {
						return fmt.Errorf("render %s: %w", h, err)
					}
					n++
				}
			}
			fmt.Fprintf(a.stdout, "Wrote %s for %s to %s.\n", count(n, "file"), count(len(hosts), "host"), out)
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the folder to write to (`DIR`)")
	return cmd
}

// replace writes a file in the place of whatever was there. It syncs nothing:
// what was rendered can be rendered again.
func replace(path string, content []byte, mode fs.FileMode) error {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL // not through a link
	f, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err = os.Remove(path); err == nil {
			f, err = os.OpenFile(path, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}
