package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/sshconn"
)

func (a *app) bundleCmd() *cobra.Command {
	var f bundleFlags
	cmd := &cobra.Command{
		Use:   "bundle SITE",
		Short: "Write a script that sets up a box which nothing reaches, run by who is there",
		Long: `Bundle writes one script for the box of a site that SSH cannot reach yet. Somebody who
is there runs it as root. It is the apply of that box: it refuses a box that is not
bare, tries the files first, arms the switch that puts everything back, and keeps
what it made only when the tunnel comes up. Afterwards the box is reached through its
tunnel. No host is asked for it, so apply to the hub first.

The script holds the key of that site's tunnel and no other secret, is readable by you
alone, and refuses to run once its time is over, by the clock of the box. --authorize
has it let a login key in: a public one.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := a.oneHost(cobra.ExactArgs(1))(cmd, args); err != nil {
				return err
			}
			return f.check(a)
		},
		ValidArgsFunction: a.completeNames(siteNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.bundle(cmd, f, args[0], a.view)
		},
	}
	cmd.Flags().StringVar(&f.out, "out", "", "the `FILE` to write, which must not be there; - is standard output (default vpnpush-SITE.sh)")
	cmd.Flags().DurationVar(&f.expires, "expires", 24*time.Hour, "the script refuses to run after `TIME`")
	cmd.Flags().StringArrayVar(&f.authorize, "authorize", nil, "let the public key in `FILE` log in there; may be given again")
	must(cmd.MarkFlagFilename("out"))
	must(cmd.MarkFlagFilename("authorize", "pub"))
	return cmd
}

type bundleFlags struct {
	out       string
	expires   time.Duration
	authorize []string
}

func (f bundleFlags) check(a *app) error {
	if f.expires < time.Minute {
		return transport.WithHint(fmt.Errorf("--expires %s: that is over before it is there", f.expires), "give it a minute at least, such as --expires 24h")
	}
	if f.out != "-" {
		return nil
	}
	if is, _ := a.screen(); is {
		return transport.WithHint(errors.New("bundle: a script with a key in it is not shown on a terminal"), "leave --out out, or send it on by a pipe")
	}
	if a.json {
		return transport.WithHint(errors.New("bundle: --out - and --json cannot be used together: both write to standard output"), "name a file with --out")
	}
	return nil
}

type bundleView interface {
	Bundle(view.Bundling) error
	ExportText(string) error
}

// bundle writes the apply of a site's box as a script for who is there.
func (a *app) bundle(cmd *cobra.Command, f bundleFlags, name string, v bundleView) error {
	ctx := cmd.Context()
	inv, err := a.load(ctx)
	if err != nil {
		return err
	}
	s, h, err := siteBox(inv, "bundle", name)
	if err != nil {
		return err
	}
	file := cmp.Or(f.out, "vpnpush-"+name+".sh")
	if _, err := os.Lstat(file); err == nil && f.out != "-" { // before a password manager asks
		return transport.WithHint(fmt.Errorf("bundle: %s exists already", file), "name another file with --out, or delete that one")
	}
	keys, err := loginKeys(f.authorize)
	if err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	if err := a.fetch(ctx, inv, []string{name}); err != nil {
		return err
	}
	o := engine.BundleOptions{Made: time.Now(), Login: cmp.Or(h.SSH.User, "root"), Keys: keys, KnownAs: knownAs(inv, s, h)}
	o.Expires = o.Made.Add(f.expires)
	script, err := newBundle(inv, name, o)
	if err != nil {
		return fmt.Errorf("bundle %s: %w", name, err)
	}
	if f.out == "-" {
		return v.ExportText(script.Reveal())
	}
	if err := writeNew(file, []byte(script.Reveal())); err != nil {
		return fmt.Errorf("bundle: %w", err)
	}
	return v.Bundle(view.Bundling{
		Site: name, File: file, Expires: o.Expires, Keys: len(keys), Login: o.Login, Command: "sh " + transport.Quote(file),
		Before: withFile(cmd, applyTo(inv.Hub.Name)), Next: withFile(cmd, "vpnpush plan "+name),
	})
}

// newBundle returns the bundle of a site.
func newBundle(inv *inventory.Inventory, site string, o engine.BundleOptions) (secret.Value, error) {
	role, err := roles.Of(inv, site)
	if err != nil {
		return secret.Value{}, err
	}
	hosts, err := engineHosts(inv, []string{site})
	if err != nil {
		return secret.Value{}, err
	}
	e := &engine.Engine{Owner: inv.ID, By: operator()}
	return e.Bundle(hosts[0], role.Bares(), o)
}

// knownAs returns what known_hosts calls the box of a site: by the way that its ssh table
// names, or through the tunnel where that is a line which the box opens.
func knownAs(inv *inventory.Inventory, s *inventory.Site, h inventory.Host) string {
	name, port := h.SSH.Host, cmp.Or(h.SSH.Port, sshPort)
	if (opened(h) || h.SSH.Connection == "local") && s.Address.IsValid() {
		name, port = s.Address.String(), boxPort(inv, h)
	}
	if port == sshPort {
		return name
	}
	return "[" + name + "]:" + strconv.Itoa(port)
}

// loginKeys returns the public keys in files, as authorized_keys has them.
func loginKeys(files []string) ([]string, error) {
	var keys []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		var more []string
		if err == nil {
			if more, err = sshconn.PublicKeys(text); err != nil {
				err = fmt.Errorf("%s: %w", file, err)
			}
		}
		if err != nil {
			return nil, transport.Hinted(fmt.Errorf("--authorize: %w", err), "name a file with a public key, such as ~/.ssh/id_ed25519.pub")
		}
		keys = append(keys, more...)
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}
