package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) historyCmd() *cobra.Command {
	return a.reaching(&cobra.Command{
		Use:   "history HOST",
		Short: "Show what was done on a host, and which backups are kept",
		Long: `History shows what was applied, rolled back and reverted on a host, the newest
first: when, by the host's clock, who, and what; -v shows all changes. BACKUP
says to before which applies ` + "`vpnpush rollback HOST APPLY`" + ` can go back.`,
		ValidArgsFunction: a.completeHost,
		Args:              a.oneHost(cobra.ExactArgs(1)),
	}, func(ctx context.Context, o *operation, args []string) error { return o.history(ctx, args[0], a.view) })
}

type historyView interface{ History(*engine.History) error }

func (o *operation) history(ctx context.Context, name string, v historyView) error {
	h, err := o.host(ctx, "history", name)
	if err != nil {
		return err
	}
	past, r, err := o.engine.History(ctx, h)
	switch {
	case interrupted(ctx):
		return exitWith(exitInterrupted)
	case err != nil:
		return hostEnd(h, r, err)
	}
	return v.History(past)
}
