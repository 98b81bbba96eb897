package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// applyOptions are the flags of what changes hosts.
type applyOptions struct {
	sure, noCanary, adopt bool
	confirm               time.Duration
	allowDelete           int
	saved                 *engine.Fresh // nil: plan and ask
}

func (o *applyOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.sure, "yes", false, "do not ask")
	f.DurationVar(&o.confirm, "confirm-timeout", 60*time.Second, "a host reverts when it is not confirmed for `TIME`")
}

func (a *app) applyCmd() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "apply [FILE]",
		Short: "Plan, ask, and push",
		Long: `Apply plans, shows the plan, asks, and pushes: the hub first, then one site, then
the others in parallel. Each host arms a switch that puts back what was there,
makes its changes, and keeps them only when they are confirmed over a new
connection. What failed is as it was before.

With FILE, a plan that ` + "`vpnpush plan --out FILE`" + ` has saved, nothing is asked: exactly
that plan is applied, or, where anything has changed since, nothing at all.

Ctrl-C once: no new host is begun, those at work end well. Twice: leave at once;
hosts that are not confirmed put everything back by themselves.

Exit codes: 0 done; 1 nothing was begun; 4 a host was not reached or failed;
5 a host put back what was there; 7 another run is at work, or something has
changed since the plan; 8 the outcome on a host is not known; 130 interrupted.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) > 0 {
				if o.saved, err = a.savedPlan(inv, args[0], o); err != nil {
					return err
				}
			}
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			return a.planAndApply(cmd.Context(), e, hosts, o)
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().BoolVar(&o.noCanary, "no-canary", false, "do not try one site before the others")
	cmd.Flags().BoolVar(&o.adopt, "adopt", false, "replace or delete files that vpnpush did not write or that were edited, once they are backed up")
	cmd.Flags().IntVar(&o.allowDelete, "allow-delete", 0, "delete up to `N` sites, though that is more than half of them")
	return cmd
}

// planAndApply is what every verb that changes hosts does.
func (a *app) planAndApply(ctx context.Context, e *engine.Engine, hosts []engine.Host, o applyOptions) error {
	if err := wholeSeconds("confirm-timeout", o.confirm, 10*time.Second); err != nil {
		return err
	}
	e.ConfirmTimeout, e.NoCanary, e.Adopt, e.Stop = o.confirm, o.noCanary, o.adopt, a.stop
	// until something is begun, a first Ctrl-C leaves
	planning, cancel := context.WithCancel(ctx)
	defer cancel()
	planned := make(chan struct{})
	go func() {
		select {
		case <-a.stop:
			cancel()
		case <-planned:
		}
	}()
	if o.saved != nil {
		hosts = o.saved.Hosts(hosts)
	}
	a.view.Hosts(len(hosts))
	p, _ := e.Plan(planning, hosts) // the report tells each host's error
	if planning.Err() != nil {
		return &codeError{exitInterrupted, nil}
	}
	switch {
	case o.saved != nil:
		var err error
		if p, _, err = o.saved.Compare(p); err != nil {
			return err
		}
		o.sure = true
	case !a.json:
		if err := a.view.Plan(p); err != nil {
			return err
		}
	}
	if gone, had := p.SitesDeleted(); 2*gone > had && gone > o.allowDelete {
		return &hinted{fmt.Errorf("this would delete %s of the %d on the hub", count(gone, "site"), had), fmt.Sprintf("if that is meant: --allow-delete %d", gone)}
	}
	if applicable(p) && !o.sure {
		ok, err := a.ask(planning)
		if err != nil {
			return err
		}
		if !ok {
			return &codeError{exitError, errors.New("not applied")}
		}
	}
	close(planned)
	a.view.Hosts(len(hosts))
	r, _ := e.Apply(ctx, p, hosts)
	if err := a.view.Report(r); err != nil {
		return err
	}
	return a.reportResult(r)
}

// reportResult is the exit code of what an apply did.
func (a *app) reportResult(r *engine.Report) error {
	var rs []engine.Result
	for _, h := range r.Hosts {
		rs = append(rs, h.Result)
	}
	code := resultsCode(rs)
	select {
	case <-a.stop:
		if code == exitOK || code == exitHosts {
			code = exitInterrupted
		}
	default:
	}
	if code != exitOK {
		return &codeError{code, nil}
	}
	return nil
}

// applicable tells whether an apply of p would change anything.
func applicable(p *engine.Plan) bool {
	for _, h := range p.Hosts {
		if h.Result == engine.Changed && len(h.Blocked()) == 0 {
			return true
		}
	}
	return false
}

// ask asks for a yes, and gives up when ctx ends first.
func (a *app) ask(ctx context.Context) (bool, error) {
	if f, ok := a.stdin.(*os.File); ok && !term.IsTerminal(int(f.Fd())) && a.json {
		return false, &hinted{errors.New("apply --json cannot ask"), "add --yes"}
	}
	type answer struct {
		yes bool
		err error
	}
	c := make(chan answer, 1)
	go func() {
		ok, err := a.view.Confirm(a.stdin, view.ApplyQuestion)
		c <- answer{ok, err}
	}()
	select {
	case <-ctx.Done():
		return false, &codeError{exitInterrupted, nil}
	case r := <-c:
		return r.yes, r.err
	}
}
