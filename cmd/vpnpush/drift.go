package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) driftCmd() *cobra.Command {
	var f driftFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "drift [HOST...]",
		Short: "Report what has changed on the hosts since it was applied; for cron",
		Long: `Drift reads every host and compares three things: what the inventory says, what
stands on the host, and what was last applied to it. It also looks at what runs:
services, kernel parameters, packet filter chains, loaded conns, tunnels.

It prints nothing when all is well, so that cron mails only news. It asks
nothing, changes nothing on a host and takes no lock. HOST is a name or a glob, as
in --limit.

  drifted  the host is not as it was left
  pending  it is, but the inventory has moved on: vpnpush apply
  down     a tunnel that should be up

When hosts were last seen well is kept in $XDG_STATE_HOME/vpnpush. See
docs/cron.md for a crontab line, a systemd timer and the metrics.

Exit codes: 0 all is well; 1 usage or inventory; 2 drift; 4 a host was not
checked; 6 both.`,
		ValidArgsFunction: a.completeHosts,
		PreRun:            func(*cobra.Command, []string) { a.forCron, a.quietShard = true, f.changedOnly },
		Args: func(*cobra.Command, []string) error {
			if a.askBecome {
				return transport.WithHint(errors.New("drift asks no questions: --ask-become-pass cannot be used with it"), "set ssh.become_password, or allow sudo without a password")
			}
			return nil
		},
	}, func(ctx context.Context, o *operation, args []string) error {
		return o.drift(ctx, a.patterns(args), f, a.view)
	})
	a.shardFlag(cmd.Flags())
	cmd.Flags().StringVar(&f.prom, "prom", "", "write metrics to `FILE`, for node_exporter's textfile collector; with --shard 3/8 to one with -3-of-8 in its name")
	cmd.Flags().BoolVar(&f.changedOnly, "changed-only", false, "print nothing unless something is new since the last run, with this flag or without")
	return cmd
}

type driftFlags struct {
	prom        string // a file; "": no metrics
	changedOnly bool
	shard       string // view.DriftOptions
}

type driftView interface {
	Ends(code int)
	Drift(*engine.Drift, view.DriftOptions) error
}

func (o *operation) drift(ctx context.Context, patterns []string, f driftFlags, v driftView) error {
	hosts, err := o.hosts(ctx, patterns)
	if err != nil {
		return err
	}
	o.dialer.Passphrase = func(path string) ([]byte, error) {
		return nil, transport.WithHint(fmt.Errorf("the key %s has a passphrase, and drift asks no questions", path), "add it to an ssh-agent, or give drift a key without one")
	}
	r := o.engine.Drift(ctx, hosts, ignores(o.inv))
	if interrupted(ctx) {
		return exitWith(exitInterrupted)
	}
	if s := o.app.shard; s.Of > 0 {
		f.shard = fmt.Sprintf("%d/%d", s.Number, s.Of)
		if f.prom != "" {
			f.prom = ofShard(f.prom, s)
		}
	}
	code := driftCode(r)
	v.Ends(code)
	if err := tellDrift(r, loadDriftState(o.inv.ID), o.inv.ID, f, v); err != nil {
		return err
	}
	return exitWith(code)
}

// ignores returns the rules of an inventory to put up with findings.
func ignores(inv *inventory.Inventory) []engine.Ignore {
	var out []engine.Ignore
	for _, ig := range inv.Ignores {
		out = append(out, engine.Ignore{Matches: ig.Matches, Reason: ig.Reason, Until: ig.Until})
	}
	return out
}

// tellDrift writes the metrics and the report, each where it is wanted, and then
// notes what was told: what nobody could read is still to be told.
func tellDrift(r *engine.Drift, state *driftState, id string, f driftFlags, v driftView) error {
	o := view.DriftOptions{Inventory: id, Shard: f.shard, Last: state.last()}
	if f.prom != "" {
		// node_exporter runs as a user of its own
		if err := renameio.WriteFile(f.prom, view.DriftMetrics(r, o), 0o644, renameio.IgnoreUmask()); err != nil {
			return fmt.Errorf("write metrics: %w", err)
		}
	}
	if news := state.add(r); news || !f.changedOnly {
		if err := v.Drift(r, o); err != nil {
			return err
		}
	}
	state.save()
	return nil
}
