package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) driftCmd() *cobra.Command {
	var prom string
	var changedOnly bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Tell what on the hosts is no longer as it was left; made for cron",
		Long: `Drift reads every host and compares three things: what the inventory says, what
stands on the host, and what was last applied to it. It also looks at what runs:
services, kernel parameters, packet filter chains, loaded conns, tunnels.

It prints nothing when all is well, so that cron mails only news. It asks
nothing, changes nothing on a host and takes no lock.

  drifted  the host is not as it was left
  pending  it is, but the inventory has moved on: vpnpush apply
  down     a tunnel that should be up

When hosts were last seen well is kept in $XDG_STATE_HOME/vpnpush. See
docs/cron.md for a crontab line, a systemd timer and the metrics.

Exit codes: 0 all is well; 1 usage or inventory; 2 drift; 4 a host was not
checked; 6 both.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return err
			}
			if a.askBecome {
				return &hinted{errors.New("drift asks for nothing, so --ask-become-pass is not for it"), "set ssh.become_password, or allow sudo without a password"}
			}
			if timeout < 0 {
				return fmt.Errorf("--timeout %s: it cannot be negative", timeout)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			d.Passphrase = func(path string) ([]byte, error) {
				return nil, &hinted{fmt.Errorf("the key %s has a passphrase, and drift asks for nothing", path), "add it to an ssh-agent, or give drift a key without one"}
			}
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeoutCause(ctx, timeout, engine.ErrTime)
				defer cancel()
			}
			var ignores []engine.Ignore
			for _, ig := range inv.Ignores {
				ignores = append(ignores, engine.Ignore{Matches: ig.Matches, Reason: ig.Reason, Until: ig.Until})
			}
			a.view.Hosts(len(hosts))
			r := e.Drift(ctx, hosts, ignores)
			if cmd.Context().Err() != nil {
				return &codeError{exitInterrupted, nil}
			}

			state := loadDriftState(inv.ID)
			o := view.DriftOptions{Inventory: inv.ID, Last: state.last()}
			if prom != "" {
				// node_exporter runs as a user of its own
				if err := renameio.WriteFile(prom, view.DriftMetrics(r, o), 0o644, renameio.IgnoreUmask()); err != nil {
					return fmt.Errorf("write metrics: %w", err)
				}
			}
			news := state.add(r)
			if news || !changedOnly {
				if err := a.view.Drift(r, o); err != nil {
					return err
				}
			}
			// only now: what nobody could read is still to be told
			state.save()
			return driftResult(r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&prom, "prom", "", "write metrics to `FILE`, for node_exporter's textfile collector")
	f.BoolVar(&changedOnly, "changed-only", false, "print nothing unless there is something new since the last run with this flag or without")
	f.DurationVar(&timeout, "timeout", 0, "hosts that have not answered after `TIME` are not checked; 0: no limit")
	return cmd
}

func driftResult(d *engine.Drift) error {
	code := exitOK
	for i := range d.Hosts {
		h := &d.Hosts[i]
		if !h.Checked() {
			code |= exitHosts
		}
		for _, f := range h.Findings {
			if f.Ignored == nil {
				code |= exitChanges
			}
		}
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code, nil}
}
