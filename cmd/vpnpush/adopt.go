package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/roles/adopt"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/sshconn"
)

func (a *app) adoptCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:               "adopt HOST...",
		Short:             "Write the inventory of a network that was set up by hand",
		ValidArgsFunction: cobra.NoFileCompletions,
		Long: `Adopt reads hosts that were set up by hand, as guides on the web have it (ipsec.conf,
ipsec.secrets, xl2tpd, chap-secrets), one connection and one program each, and prints
the inventory that gives the same network. What it could not carry over is told by
file and line. It changes nothing, and needs no inventory.

HOST is [user@]host[:port], as ssh takes it; NAME=HOST gives it a name. Name the hub
and the boxes of the sites together: which is which, their conns tell. With --out the
keys and passwords are in the file, which is yours alone; on standard output they are
environment variables. ` + "`vpnpush plan --adopt`" + ` then shows the move: docs/adopt.md.

Exit codes: 0 done; 1 usage, or what was read makes no inventory; 4 a host was not
reached.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(a.limit) > 0 {
				return transport.WithHint(errors.New("adopt: --limit cannot be used with it"), "name the hosts that are to be read")
			}
			if a.json && out == "" {
				return transport.WithHint(errors.New("adopt: an inventory and --json cannot be used together: both write to standard output"), "write the inventory to a file with --out")
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel, err := a.limited(cmd.Context())
			if err != nil {
				return err
			}
			defer cancel()
			return a.adopt(ctx, args, out, a.view)
		},
	}
	a.timeoutFlag(cmd)
	cmd.Flags().StringVar(&out, "out", "", "write the inventory, with its secrets, to a `FILE` that is not there yet")
	must(cmd.MarkFlagFilename("out", "toml"))
	return cmd
}

type adoptView interface {
	Hosts(int)
	Note(string)
	Adopted(view.Adopted) error
	Diagnostics(inventory.Diagnostics)
}

// adopt reads hosts, and writes the inventory that they make.
func (a *app) adopt(ctx context.Context, args []string, out string, v adoptView) error {
	if out != "" {
		if _, err := os.Lstat(out); err == nil {
			return transport.WithHint(fmt.Errorf("adopt: %s exists already", out), "name another file")
		}
	}
	boxes := make([]adopt.Box, len(args))
	hosts := make([]engine.Host, len(args))
	var targets []sshconn.Target
	for i, arg := range args {
		var err error
		if boxes[i], err = parseBox(arg); err != nil {
			return err
		}
		for _, other := range boxes[:i] {
			if other.Arg == boxes[i].Arg {
				return transport.WithHint(fmt.Errorf("adopt: %s is named twice", arg), "name each host once")
			}
		}
		hosts[i] = engine.Host{Name: boxes[i].Arg, Role: tasks.RoleHub, Reads: adopt.Reads()}
		targets = append(targets, a.target(inventory.Host{Name: boxes[i].Arg, SSH: inventory.SSH{Host: boxes[i].Host, User: boxes[i].User, Port: boxes[i].Port}}))
	}
	if a.askBecome {
		if err := a.askBecomePassword(ctx); err != nil {
			return err
		}
	}
	d := a.dialer(ctx, &inventory.Inventory{})
	d.Targets = targets
	e := &engine.Engine{Dialer: d, Observer: a.view, Forks: a.forks, By: operator()}
	defer d.Close()
	defer e.Close()
	v.Hosts(len(hosts))
	var failed []error
	for _, read := range e.Facts(ctx, hosts) { // in an order of its own
		i := slices.IndexFunc(boxes, func(b adopt.Box) bool { return b.Arg == read.Name })
		boxes[i].Facts = read.Facts
		if read.Err != nil {
			failed = append(failed, fmt.Errorf("adopt: %s: %w", read.Name, read.Err))
		}
	}
	if err := ended(ctx); err != nil {
		return err
	}
	if len(failed) > 0 {
		return &codeError{exitHosts, errors.Join(failed...)}
	}
	found, err := adopt.Boxes(boxes)
	if err != nil {
		return fmt.Errorf("adopt: %w", err)
	}
	return a.adopted(found, out, v)
}

// adopted writes the inventory, and tells what it does not carry.
func (a *app) adopted(found *adopt.Adopted, out string, v adoptView) error {
	if out != "" {
		if err := writeNew(out, []byte(found.Text.Reveal())); err != nil {
			return fmt.Errorf("adopt: %w", err)
		}
	}
	result := view.Adopted{File: out, Text: found.Bare, Hub: found.Hub, Sites: found.Sites, Users: found.Users, Unread: found.Unread, Faults: len(found.Faults)}
	for _, n := range found.Notes {
		result.Notes = append(result.Notes, view.NotCarried{Host: n.Host, Place: n.Place, What: n.What, Why: n.Why})
	}
	if err := v.Adopted(result); err != nil || len(found.Faults) == 0 {
		return err
	}
	for i := range found.Faults {
		found.Faults[i].File = out
	}
	if out == "" {
		out = "the inventory"
	}
	v.Diagnostics(found.Faults)
	return transport.WithHint(fmt.Errorf("adopt: %s is not valid as it stands", out), "what stands on the hosts has no place in an inventory as it is: decide, write it there, and `vpnpush validate`")
}

// parseBox parses [NAME=][user@]host[:port].
func parseBox(arg string) (adopt.Box, error) {
	bad := func(err error) (adopt.Box, error) {
		return adopt.Box{}, transport.WithHint(fmt.Errorf("adopt: %w", err), "write [NAME=][user@]host[:port]")
	}
	name, way, named := strings.Cut(arg, "=")
	if !named {
		name, way = "", arg
	} else if !inventory.ValidHostName(name) {
		return bad(fmt.Errorf("%q: the name %q cannot be used in file and connection names", arg, name))
	}
	l, err := inventory.ParseLogin(way)
	if err != nil {
		return bad(fmt.Errorf("%q %w", way, err))
	}
	return adopt.Box{Arg: cmp.Or(name, way), Name: name, Host: l.Host, User: l.User, Port: l.Port}, nil
}
