package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) statusCmd() *cobra.Command {
	var watch bool
	var interval time.Duration
	cmd := a.reaching(&cobra.Command{
		Use:   "status [HOST...]",
		Short: "Show the tunnels and L2TP sessions as they run now",
		Long: `Status asks the hub, which sees every tunnel: since when it is up, what went
through it, and the address behind which the site is. It shows the sessions of
L2TP clients, too. Where the hub does not answer, the sites are asked. HOST, a name
or a glob as in --limit, chooses the sites that are shown. See docs/status.md for
what the columns say.

Exit codes: 0 all tunnels are up; 1 usage or inventory; 2 one is down; 4 the hub
was not reached; 6 both.`,
		ValidArgsFunction: a.completeHosts,
		Args: func(*cobra.Command, []string) error {
			if watch && a.json {
				return transport.WithHint(errors.New("status: --watch and --json cannot be used together"), "leave one of them out")
			}
			if is, _ := a.screen(); watch && !is {
				return transport.WithHint(errors.New("status --watch: standard output is not a terminal"), "leave --watch out")
			}
			return wholeSeconds("interval", interval, time.Second)
		},
	}, func(ctx context.Context, o *operation, args []string) error {
		if !watch {
			return o.status(ctx, a.patterns(args), a.view)
		}
		return o.watch(ctx, a.patterns(args), interval, a.view)
	})
	f := cmd.Flags()
	f.BoolVar(&watch, "watch", false, "look again and again, until Ctrl-C")
	f.DurationVar(&interval, "interval", 2*time.Second, "with --watch: look every `TIME`")
	return cmd
}

type statusView interface {
	Hosts(int)
	Status(*engine.Status, view.StatusOptions) error
	FullScreen() (leave func() error, err error)
}

// status looks once.
func (o *operation) status(ctx context.Context, patterns []string, v statusView) error {
	ask, opts, err := o.asked(ctx, patterns)
	if err != nil {
		return err
	}
	v.Hosts(1)
	s := o.engine.Status(ctx, ask)
	if interrupted(ctx) {
		return exitWith(exitInterrupted)
	}
	if err := v.Status(s, opts); err != nil {
		return err
	}
	return exitWith(statusCode(s))
}

// watch looks again and again, until ctx ends.
func (o *operation) watch(ctx context.Context, patterns []string, interval time.Duration, v statusView) error {
	ask, opts, err := o.asked(ctx, patterns)
	if err != nil {
		return err
	}
	o.engine.Observer = nil // it would draw over the table
	wait := func() <-chan time.Time { return time.After(interval) }
	height := func() int { _, h := o.app.screen(); return h }
	s, err := refresh(ctx, func() *engine.Status { return o.engine.Status(ctx, ask) }, wait, height, opts, v)
	switch {
	case err != nil:
		return err
	case s == nil:
		return ended(ctx)
	}
	// to end it is how it ends well: what was seen last stays on the screen
	if err := v.Status(s, opts); err != nil {
		return err
	}
	return exitWith(statusCode(s))
}

// asked returns what a status asks of the hosts that patterns choose, and how it is shown.
func (o *operation) asked(ctx context.Context, patterns []string) (engine.StatusAsk, view.StatusOptions, error) {
	selected, err := o.inv.Select(patterns)
	if err != nil {
		return engine.StatusAsk{}, view.StatusOptions{}, err
	}
	ask := append(slices.Clone(selected), o.inv.Hub.Name) // the hub is asked in any case
	if hubAlone(o.inv, selected) {
		ask = nil
	}
	hosts, err := o.seen(ctx, ask)
	if err != nil {
		return engine.StatusAsk{}, view.StatusOptions{}, err
	}
	return statusAsk(o.inv, hosts, selected), view.StatusOptions{Inventory: o.inv.ID, L2TP: o.inv.L2TP != nil}, nil
}

func hubAlone(inv *inventory.Inventory, selected []string) bool {
	return slices.Equal(selected, []string{inv.Hub.Name})
}

// statusAsk returns what is to be asked about the selected hosts. The hub alone
// stands for all of its tunnels.
func statusAsk(inv *inventory.Inventory, hosts []engine.Host, selected []string) engine.StatusAsk {
	var ask engine.StatusAsk
	alone := hubAlone(inv, selected)
	for _, h := range hosts {
		switch {
		case h.Name == inv.Hub.Name:
			ask.Hub = h
		case alone || slices.Contains(selected, h.Name):
			ask.Sites = append(ask.Sites, h)
		}
	}
	if inv.L2TP != nil {
		ask.L2TPLocal = inv.L2TP.LocalIP.String()
	}
	return ask
}

// refresh looks, shows on the whole terminal what it sees, and waits, until ctx
// ends. It returns what it saw last, nil when it saw nothing.
func refresh(ctx context.Context, look func() *engine.Status, wait func() <-chan time.Time, height func() int, o view.StatusOptions, v statusView) (last *engine.Status, err error) {
	leave, err := v.FullScreen()
	if err != nil {
		return nil, err
	}
	defer leave() // there is nothing to do about a terminal that is gone
	o.Refresh = true
	for {
		s := look()
		if ctx.Err() != nil {
			return last, nil // what it saw then is half of it
		}
		last, o.Height = s, height()
		if err := v.Status(s, o); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return last, nil
		case <-wait():
		}
	}
}
