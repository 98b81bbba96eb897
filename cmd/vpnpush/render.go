package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

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
made for you alone; one that is there must be yours, and no link in it may be on
the way of a file.`,
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
	dir, err := openFolder(folder)
	if err != nil {
		return fmt.Errorf("render: %w", err)
	}
	defer dir.Close()
	r, checked := view.Rendering{Folder: folder, Hosts: len(hosts)}, map[string]bool{".": true}
	for _, h := range hosts {
		files, err := rendered(inv, h)
		if err != nil {
			return fmt.Errorf("render %s: %w", h, err)
		}
		for _, f := range files {
			path := filepath.Join(h, filepath.FromSlash(f.Path))
			if err := ownFolders(dir, filepath.Dir(path), checked); err != nil {
				return fmt.Errorf("render %s: %w", h, err)
			}
			if err := replace(dir, path, f.Content, f.Mode); err != nil {
				return fmt.Errorf("render %s: %w", h, err)
			}
			r.Files = append(r.Files, view.Rendered{Host: h, Path: f.Path, Mode: f.Mode})
		}
	}
	return v.Render(r)
}

// openFolder opens a folder of the caller, which it makes if there is none. What
// is done in it stays in it, whatever becomes of its name.
func openFolder(path string) (*os.Root, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Type() == fs.ModeSymlink {
		return nil, cmp.Or(err, transport.WithHint(fmt.Errorf("%s is a link", path), "name the folder itself"))
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	info, err := dir.Stat(".")
	if err == nil {
		err = ownFolder(path, info)
	}
	if err != nil {
		dir.Close()
		return nil, err
	}
	return dir, nil
}

// ownFolders makes a folder inside of dir and those on the way to it, or checks
// what is there, once.
func ownFolders(dir *os.Root, path string, checked map[string]bool) error {
	if checked[path] {
		return nil
	}
	if err := ownFolders(dir, filepath.Dir(path), checked); err != nil {
		return err
	}
	err := dir.Mkdir(path, 0o700)
	if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = dir.Lstat(path); err == nil {
			err = ownFolder(filepath.Join(dir.Name(), path), info)
		}
	}
	checked[path] = err == nil
	return err
}

// ownFolder refuses a folder where others could read what is written, or lead it
// elsewhere.
func ownFolder(path string, info fs.FileInfo) error {
	var what string
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		what = "is no folder"
		if info.Mode().Type() == fs.ModeSymlink {
			what = "is a link"
		}
	case !ok || int(st.Uid) != os.Geteuid():
		what = "is a folder of another user"
	case info.Mode().Perm()&0o022 != 0:
		return transport.WithHint(fmt.Errorf("others can write into %s (mode %04o)", path, info.Mode().Perm()), "chmod 700 %s, or name a folder that is not there yet", transport.Quote(path))
	default:
		return nil
	}
	return transport.WithHint(fmt.Errorf("%s %s", path, what), "name a folder of your own, or one that is not there yet")
}

// replace writes a file in the place of whatever was there. It syncs nothing:
// what was rendered can be rendered again.
func replace(dir *os.Root, path string, content []byte, mode fs.FileMode) error {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL // not through a link
	f, err := dir.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err = dir.Remove(path); err == nil {
			f, err = dir.OpenFile(path, flags, 0o600)
		}
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Chmod(mode), f.Close())
}
