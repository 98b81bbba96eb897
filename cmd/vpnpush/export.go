package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/roles/clients"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) exportCmd() *cobra.Command {
	var f exportFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "export USER",
		Short: "Write what a user's device is to be told, for each kind of system",
		Long: `Export writes what the device of an L2TP user is to be told: a PowerShell script
(windows), a configuration profile (apple: macOS, iOS), a connection of
NetworkManager (linux), what works on Android and what does not (android), a page
for the person with the steps for each system, in English and Japanese (html), and
the bare values (text). It touches no network.

What it writes holds the key of all clients and the user's password, so it makes DIR
for you alone. Without --out, text alone is printed.`,
		ValidArgsFunction: a.completeNames(userNames),
		Args: func(cmd *cobra.Command, args []string) error {
			if f.all {
				if err := cobra.NoArgs(cmd, args); err != nil {
					return transport.WithHint(fmt.Errorf("export: %s and --all cannot be used together", args[0]), "leave one of them out")
				}
			} else if err := cobra.ExactArgs(1)(cmd, args); err != nil {
				return err
			}
			return f.check(a)
		},
	}, func(ctx context.Context, o *operation, args []string) error { return o.export(ctx, f, args, a.view) })
	cmd.Flags().StringSliceVar(&f.forms, "for", nil, "what to write: "+strings.Join(clients.Forms(), ", ")+"; several with commas; default: all (`FORM,...`)")
	cmd.Flags().BoolVar(&f.all, "all", false, "for every user")
	cmd.Flags().StringVar(&f.out, "out", "", "the folder to make and to write to (`DIR`)")
	must(cmd.RegisterFlagCompletionFunc("for", cobra.FixedCompletions(clients.Forms(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.MarkFlagDirname("out"))
	return cmd
}

type exportFlags struct {
	forms []string
	all   bool
	out   string // "": standard output
}

func (f *exportFlags) check(a *app) error {
	if len(a.limit) > 0 {
		return transport.WithHint(errors.New("export: --limit cannot be used with it"), "leave --limit out: it chooses hosts, and this is for users")
	}
	for _, form := range f.forms {
		if !slices.Contains(clients.Forms(), form) {
			return transport.WithHint(fmt.Errorf("export: --for %s: there is no such form", form), "write one of %s", strings.Join(clients.Forms(), ", "))
		}
	}
	if len(f.forms) > 0 { // each once
		f.forms = slices.DeleteFunc(clients.Forms(), func(form string) bool { return !slices.Contains(f.forms, form) })
	} else if f.out != "" {
		f.forms = clients.Forms()
	}
	if f.out != "" {
		return nil
	}
	const hint = "name a folder that is not there yet with --out DIR; --for text alone is printed"
	switch {
	case f.all || !slices.Equal(f.forms, []string{"text"}):
		return transport.WithHint(errors.New("export: --out is missing: a file with secrets in it is to be yours alone"), hint)
	case a.json:
		return transport.WithHint(errors.New("export: a text and --json cannot be used together: both write to standard output"), hint)
	}
	return nil
}

type exportView interface {
	Export(view.Exporting) error
	ExportText(string) error
	Warning(text string)
}

// export writes all or nothing: what is there is never written over.
func (o *operation) export(ctx context.Context, f exportFlags, names []string, v exportView) error {
	users, err := o.inv.FindUsers(names...)
	if err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if len(names) == 0 {
		for _, u := range users {
			names = append(names, u.Name)
		}
	}
	if f.out != "" {
		if _, err := os.Lstat(f.out); err == nil { // before a password manager asks
			return folderExists(f.out)
		}
	}
	if err := o.app.resolved(ctx, o.inv, o.inv.ResolveUsers(ctx, names...)); err != nil {
		return err
	}
	if users, err = o.inv.FindUsers(names...); err != nil { // with their passwords
		return fmt.Errorf("export: %w", err)
	}
	e := view.Exporting{Folder: f.out, Users: len(users)}
	var contents []secret.Value
	var notes []string
	for _, u := range users {
		for _, form := range f.forms {
			file, err := clients.Export(o.inv, u, form)
			if err != nil {
				return fmt.Errorf("export: %w", err)
			}
			e.Files = append(e.Files, view.Exported{User: u.Name, For: form, File: file.Name})
			contents = append(contents, file.Content)
			notes = append(notes, clients.Notes(o.inv, form)...)
		}
	}
	if f.out == "" {
		return v.ExportText(contents[0].Reveal())
	}
	if err := writeExport(f.out, e.Files, contents); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	slices.Sort(notes)
	for _, n := range slices.Compact(notes) {
		v.Warning(n)
	}
	return v.Export(e)
}

func folderExists(path string) error {
	return transport.WithHint(fmt.Errorf("export: %s exists already", path), "name a folder that is not there yet with --out DIR")
}

// writeExport makes a folder and writes the files into it, for the caller alone. When
// one cannot be written the folder goes again.
func writeExport(path string, files []view.Exported, contents []secret.Value) error {
	if err := os.Mkdir(path, 0o700); errors.Is(err, fs.ErrExist) {
		return folderExists(path)
	} else if err != nil {
		return err
	}
	dir, err := os.OpenRoot(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	for i, f := range files {
		if err := writeDevice(dir, f.File, contents[i]); err != nil {
			return errors.Join(err, os.RemoveAll(path))
		}
	}
	return nil
}

// writeDevice writes a file that must not be there yet, readable by its owner alone.
func writeDevice(dir *os.Root, name string, content secret.Value) error {
	f, err := dir.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) { // a disk that does not tell capital letters from small ones
		return transport.WithHint(fmt.Errorf("%s is written already: two users differ only in capital letters", name), "export them one by one")
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(content.Reveal())
	return errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close())
}
