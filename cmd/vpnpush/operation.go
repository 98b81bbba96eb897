package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/sshconn"
)

// operation is a verb at work on the hosts of an inventory. Its context ends
// with the first Ctrl-C and when --timeout is up: that ends all but an apply
// that has begun (planAndApply), so a new verb has nothing to remember.
type operation struct {
	app    *app
	inv    *inventory.Inventory
	engine *engine.Engine
	dialer *sshconn.Dialer
}

// reaching makes cmd a verb that reaches hosts: it gets --timeout, and what it
// runs gets an operation.
func (a *app) reaching(cmd *cobra.Command, run func(ctx context.Context, o *operation, args []string) error) *cobra.Command {
	a.timeoutFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.operate(cmd.Context(), func(ctx context.Context, o *operation) error { return run(ctx, o, args) })
	}
	return cmd
}

func (a *app) timeoutFlag(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&a.timeout, "timeout", 0, "end the run after `TIME`: hosts that were not reached by then are skipped; 0: no limit")
}

// limited returns ctx with the end that --timeout gives.
func (a *app) limited(ctx context.Context) (context.Context, context.CancelFunc, error) {
	switch {
	case a.timeout < 0:
		return nil, nil, fmt.Errorf("--timeout %s: it cannot be negative", a.timeout)
	case a.timeout > 0:
		ctx, cancel := context.WithTimeoutCause(ctx, a.timeout, engine.ErrTime)
		return ctx, cancel, nil
	}
	return ctx, func() {}, nil
}

// operate loads the inventory and runs do on it. The time that --timeout gives
// is for all of that, for what a password manager takes too. The secrets are
// fetched when the hosts are chosen.
func (a *app) operate(ctx context.Context, do func(context.Context, *operation) error) error {
	ctx, cancel, err := a.limited(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	if a.askBecome {
		if err := a.askBecomePassword(ctx); err != nil {
			return err
		}
	}
	inv, err := a.load(ctx)
	if err != nil {
		return err
	}
	o := &operation{app: a, inv: inv, dialer: a.dialer(ctx, inv)}
	o.engine = &engine.Engine{Dialer: o.dialer, Observer: a.view, Forks: a.forks, Owner: inv.ID, By: operator()}
	defer o.dialer.Close()
	defer o.engine.Close()
	return do(ctx, o)
}

// hosts returns the hosts that patterns choose, with the secrets that they need,
// and tells the progress how many they are.
func (o *operation) hosts(ctx context.Context, patterns []string) ([]engine.Host, error) {
	return o.choose(ctx, patterns, o.inv.Resolve)
}

// seen is hosts for a verb that only looks what runs there: it takes no secret but
// what it logs in with.
func (o *operation) seen(ctx context.Context, patterns []string) ([]engine.Host, error) {
	return o.choose(ctx, patterns, o.inv.ResolveLogin)
}

func (o *operation) choose(ctx context.Context, patterns []string, secrets func(context.Context, ...string) inventory.Diagnostics) ([]engine.Host, error) {
	names, err := o.inv.Select(patterns)
	if err != nil {
		return nil, err
	}
	if o.app.shard.Of > 0 {
		if names, err = o.sharded(patterns, names); err != nil || len(names) == 0 {
			return nil, err // no hosts would be all of them
		}
	}
	if err := o.app.resolved(ctx, o.inv, secrets(ctx, names...)); err != nil {
		return nil, err
	}
	o.dialer.Targets = o.app.targets(o.inv)
	o.app.view.Hosts(len(names))
	return engineHosts(o.inv, names)
}

// patterns returns what chooses the hosts of a verb that takes their names as arguments:
// they count as more of --limit.
func (a *app) patterns(args []string) []string { return slices.Concat(a.limit, args) }

// host returns the one host of a verb that takes one.
func (o *operation) host(ctx context.Context, verb, name string) (engine.Host, error) {
	hosts, err := o.hosts(ctx, []string{name})
	if err != nil {
		return engine.Host{}, err
	}
	if len(hosts) != 1 {
		return engine.Host{}, transport.WithHint(fmt.Errorf("%s %s: this matches %s, and %s takes one", verb, name, words.Count(len(hosts), "host"), verb), "name one of them")
	}
	return hosts[0], nil
}

// oneHost checks the arguments of a verb that takes one host by its name.
func (a *app) oneHost(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return err
		}
		if len(a.limit) > 0 {
			return transport.WithHint(fmt.Errorf("%s %s: --limit cannot be used with it", cmd.Name(), args[0]), "leave --limit out: the host is named already")
		}
		return nil
	}
}

// load reads the inventory, whose secrets are masked from here on as far as they
// stand in it. Its faults are told, and end the run.
func (a *app) load(ctx context.Context) (*inventory.Inventory, error) {
	inv, diags := inventory.Load(ctx, a.inventory)
	if inv == nil {
		return nil, a.faults(ctx, diags)
	}
	inv.Unlock = a.unlock()
	a.redact(inv)
	a.warn(diags)
	return inv, nil
}

// onlyNews reports whether what is merely worth a warning is left to other verbs: cron
// would mail it every hour.
func (a *app) onlyNews() bool { return a.forCron && !a.verbose }

// warn tells the warnings of an inventory.
func (a *app) warn(diags inventory.Diagnostics) {
	if !a.onlyNews() {
		a.view.Diagnostics(diags)
	}
}

// fetch gets the secrets that hosts need and the inventory does not hold, and
// masks them from here on. A secret that was not fetched is on none of them, but
// where somebody brought it by hand, and is known there by its file's syntax.
func (a *app) fetch(ctx context.Context, inv *inventory.Inventory, hosts []string) error {
	return a.resolved(ctx, inv, inv.Resolve(ctx, hosts...))
}

// resolved masks the secrets of an inventory that were fetched, and tells what came of
// that.
func (a *app) resolved(ctx context.Context, inv *inventory.Inventory, diags inventory.Diagnostics) error {
	a.redact(inv)
	if len(diags.Errors()) > 0 {
		return a.faults(ctx, diags)
	}
	a.warn(diags)
	return nil
}

// faults tells the faults of an inventory, and returns how a verb ends that has
// them. That a secret's command was killed is none.
func (a *app) faults(ctx context.Context, diags inventory.Diagnostics) error {
	if err := ended(ctx); err != nil {
		return err
	}
	a.view.Diagnostics(diags)
	return a.counted(diags)
}

// counted returns how a verb ends whose inventory has faults that were told.
func (a *app) counted(diags inventory.Diagnostics) error {
	return fmt.Errorf("%s: %s", a.inventory, words.Count(len(diags.Errors()), "fault"))
}

// errTimeUp is how a run ends that had nothing to show when its time was up.
var errTimeUp = transport.WithHint(errors.New("the time for the whole run was up before anything was done"), "give more time with --timeout")

// ended returns how a verb ends that was cut off with nothing to show, nil when
// it was not. To be out of time means that the hosts were not reached.
func ended(ctx context.Context) error {
	switch {
	case ctx.Err() == nil:
		return nil
	case timeUp(ctx):
		return &codeError{exitHosts, errTimeUp}
	}
	return exitWith(exitInterrupted)
}

// timeUp reports whether ctx ended because of --timeout.
func timeUp(ctx context.Context) bool { return context.Cause(ctx) == engine.ErrTime }

// interrupted reports whether ctx ended by Ctrl-C. What came out until then is
// not told as a result; when the time was up it is, for cron has no second try.
func interrupted(ctx context.Context) bool { return ctx.Err() != nil && !timeUp(ctx) }

// wholeSeconds checks a flag's duration that a host counts in seconds.
func wholeSeconds(flag string, d, least time.Duration) error {
	if d < least || d%time.Second != 0 {
		return fmt.Errorf("--%s %s: write whole seconds, at least %s", flag, d, least)
	}
	return nil
}
