package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// applyFlags are the flags of what changes hosts.
type applyFlags struct {
	sure, noCanary, adopt bool
	rehearse              bool
	confirm               time.Duration
	allowDelete           int
	gone                  []string      // hosts that are no more
	saved                 *engine.Fresh // nil: plan and ask
}

func (f *applyFlags) flags(fs *pflag.FlagSet) {
	fs.BoolVar(&f.sure, "yes", false, "do not ask")
	fs.DurationVar(&f.confirm, "confirm-timeout", 60*time.Second, "a host reverts when it is not confirmed for `TIME`")
}

func (a *app) applyCmd() *cobra.Command {
	var f applyFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "apply [FILE]",
		Short: "Plan, ask, and make the changes",
		Long: `Apply plans, shows the plan, asks, and makes the changes: on the hub first, then
on one site, then on the others in parallel. Each host arms a switch that puts
back what was there, makes its changes, and keeps them only when they are
confirmed over a new connection. What failed is as it was before.

With FILE, a plan that ` + "`vpnpush plan --out FILE`" + ` has saved, nothing is asked: exactly
that plan is applied, or, where anything has changed since, nothing at all.

Ctrl-C once: no new host is begun, those at work end well. Twice: leave at once;
hosts that are not confirmed put everything back by themselves. When the time
that --timeout gives is up, that is as a first Ctrl-C, but with exit code 4.

Exit codes: 0 done; 1 nothing was begun; 2 --rehearse: a tunnel did not come up,
and nothing was begun; 4 a host was not reached or failed, or its tunnel is not up;
5 a host put back what was there; 7 another run is at work, or something has
changed since the plan; 8 the outcome on a host is not known; 130 interrupted.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return transport.WithHint(fmt.Errorf("apply: it takes one saved plan, not %q", args), "hosts are chosen by --limit: vpnpush apply --limit %s", strings.Join(args, ","))
			}
			return nil
		},
	}, func(ctx context.Context, o *operation, args []string) error {
		chosen, err := o.without(a.limit, f.gone)
		if err != nil {
			return err
		}
		var saved *engine.Saved
		if len(args) > 0 {
			if saved, chosen, err = o.readPlan(ctx, args[0], f); err != nil {
				return err
			}
		}
		hosts, err := o.hosts(ctx, chosen)
		if err == nil {
			err = goneFrom(hosts, f.gone)
		}
		if err != nil {
			return err
		}
		if saved != nil {
			if f.saved, err = o.checkPlan(ctx, saved); err != nil {
				return err
			}
		}
		if err := o.besideHub(ctx, hosts); err != nil {
			return err
		}
		return o.planAndApply(ctx, hosts, f, view.ReportOptions{Command: "apply"}, a.view)
	})
	f.flags(cmd.Flags())
	a.shardFlag(cmd.Flags())
	cmd.Flags().BoolVar(&f.noCanary, "no-canary", false, "do not try one site before the others")
	cmd.Flags().BoolVar(&f.rehearse, "rehearse", false, "bring the tunnels up as twins on the hub first, and apply only where each comes up")
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "also replace or delete files that vpnpush did not write, or that were edited, and make comments of lines by hand that do what its own do; all is backed up first")
	cmd.Flags().StringSliceVar(&f.gone, "gone", nil, "these `HOSTS` are lost or stolen: the other ends of their tunnels change without them, and what is up to a lost site ends")
	_ = cmd.RegisterFlagCompletionFunc("gone", a.completeHosts) // the flag is there
	cmd.Flags().IntVar(&f.allowDelete, "allow-delete", 0, "allow up to `N` sites to be deleted, even when that is more than half of them")
	return cmd
}

// without returns patterns that choose what limit does but for the hosts of gone: there is
// nothing to be reached of them.
func (o *operation) without(limit, gone []string) ([]string, error) {
	limit = slices.Clone(limit)
	for i, name := range gone {
		if name == "hub" { // as --limit has it
			name = o.inv.Hub.Name
			gone[i] = name
		}
		if _, err := o.inv.Site(name); err != nil && name != o.inv.Hub.Name {
			return nil, fmt.Errorf("--gone: %w", err)
		}
		limit = append(limit, "!"+name)
	}
	return limit, nil
}

// goneFrom tells hosts which of the other ends of their tunnels are gone.
func goneFrom(hosts []engine.Host, gone []string) error {
	hub := slices.ContainsFunc(hosts, func(h engine.Host) bool { return h.Role == tasks.RoleHub })
	for i := range hosts {
		if hosts[i].Role == tasks.RoleHub || !hub {
			hosts[i].Gone = gone
		}
	}
	for _, name := range gone {
		ends := func(h engine.Host) bool {
			return h.Role == tasks.RoleHub || slices.ContainsFunc(h.Tunnels, func(t strongswan.Tunnel) bool { return t.Peer == name })
		}
		if !slices.ContainsFunc(hosts, ends) {
			return transport.WithHint(fmt.Errorf("--gone %s is for the hub, which is not in the run", name), "add hub to --limit")
		}
	}
	return nil
}

// changeView shows what a verb that changes hosts is about to do, asks, and shows
// what it did.
type changeView interface {
	Hosts(int)
	Plan(*engine.Plan) error
	Confirm(in io.Reader, question string) (bool, error)
	Ends(code int)
	Report(*engine.Report, view.ReportOptions) error
	Rehearsal(*view.Rehearsal) error
	Note(string)
}

// planAndApply is what every verb that changes hosts does. Until the first host
// is begun the end of ctx ends it, too; from then on no new host is begun, those
// at work end well, and only a second Ctrl-C leaves them.
func (o *operation) planAndApply(ctx context.Context, hosts []engine.Host, f applyFlags, what view.ReportOptions, v changeView) error {
	if err := wholeSeconds("confirm-timeout", f.confirm, 10*time.Second); err != nil {
		return err
	}
	e := o.engine
	e.ConfirmTimeout, e.NoCanary, e.Adopt, e.Stop = f.confirm, f.noCanary, f.adopt, ctx.Done()
	if f.saved != nil {
		hosts = f.saved.Hosts(hosts)
	}
	v.Hosts(len(hosts))
	p, _ := e.Plan(ctx, hosts) // the report tells each host's error
	if err := ended(ctx); err != nil {
		return err
	}
	switch {
	case f.saved != nil:
		var err error
		if p, _, err = f.saved.Compare(p); err != nil {
			return err
		}
		f.sure = true
	case !o.app.json:
		if err := v.Plan(p); err != nil {
			return err
		}
	}
	if gone, had := p.SitesDeleted(); 2*gone > had && gone > f.allowDelete {
		return transport.WithHint(fmt.Errorf("this would delete %s of the %d on the hub", words.Count(gone, "site"), had), "if that is meant: --allow-delete %d", gone)
	}
	if applicable(p) && f.rehearse {
		if err := o.gate(ctx, p, hosts, v); err != nil {
			return err
		}
	}
	if applicable(p) && !f.sure {
		if err := o.confirm(ctx, what.Command, v); err != nil {
			return err
		}
	}
	v.Hosts(len(hosts))
	quiet := context.AfterFunc(ctx, func() {
		if timeUp(ctx) {
			v.Note("vpnpush: the time is up: hosts at work end first, no other is begun")
		} else {
			v.Note("vpnpush: interrupted: hosts at work end first; once more to leave at once")
		}
	})
	r, _ := e.Apply(o.app.atOnce, p, hosts)
	quiet()
	end := reportEnd(ctx, r)
	v.Ends(exitCode(end))
	if err := v.Report(r, what); err != nil {
		return err
	}
	return end
}

// applicable reports whether an apply of p would change anything.
func applicable(p *engine.Plan) bool {
	for _, h := range p.Hosts {
		if h.Result == engine.Changed && len(h.Blocked()) == 0 {
			return true
		}
	}
	return false
}

// confirm asks for a yes, and returns an error for anything else, also when ctx
// ends first.
func (o *operation) confirm(ctx context.Context, verb string, v changeView) error {
	if o.app.json { // the plan was not shown
		return transport.WithHint(fmt.Errorf("%s --json cannot ask", verb), "add --yes")
	}
	type answer struct {
		yes bool
		err error
	}
	c := make(chan answer, 1)
	go func() {
		ok, err := v.Confirm(o.app.stdin, view.ApplyQuestion)
		c <- answer{ok, err}
	}()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case r := <-c:
		if r.err == nil && !r.yes {
			return errors.New("not applied")
		}
		return r.err
	}
}
