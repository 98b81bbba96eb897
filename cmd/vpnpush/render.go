package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) renderCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "render --out DIR",
		Short: "Write every file as it would be on a host, offline",
		Long: `Render writes every file as it would be on a bare host to DIR/HOST/etc/..., with
its mode on the host. It touches no network. Files hold their secrets, so DIR is
made for you alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return transport.WithHint(errors.New("render: --out is missing"), "name a folder with --out DIR")
			}
			return a.render(cmd.Context(), out, a.view)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the folder to write to (`DIR`)")
	return cmd
}

type renderView interface{ Render(view.Rendering) error }

// render writes the files of all chosen hosts to a folder, and tells which.
func (a *app) render(ctx context.Context, folder string, v renderView) error {
	inv, err := a.load(ctx)
	if err != nil {
		return err
	}
	hosts, err := inv.Select(a.limit)
	if err != nil {
		return err
	}
	if err := a.fetch(ctx, inv, hosts); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("render: %w", err)
	}
	r := view.Rendering{Folder: folder, Hosts: len(hosts)}
	for _, h := range hosts {
		files, err := rendered(inv, h)
		if err != nil {
			return fmt.Errorf("render %s: %w", h, err)
		}
		for _, f := range files {
			path := filepath.Join(folder, h, filepath.FromSlash(f.Path))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return fmt.Errorf("render %s: %w", h, err)
			}
			if err := replace(path, f.Content, f.Mode); err != nil {
				return fmt.Errorf("render %s: %w", h, err)
			}
			r.Files = append(r.Files, view.Rendered{Host: h, Path: f.Path, Mode: f.Mode})
		}
	}
	return v.Render(r)
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
