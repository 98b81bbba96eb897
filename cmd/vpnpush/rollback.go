package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) rollbackCmd() *cobra.Command {
	var f applyFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "rollback HOST [APPLY]",
		Short: "Put a host back to how it was before an apply",
		Long: `Rollback puts back what stood on a host before its last apply, or before the one
that is named (` + "`vpnpush history HOST`" + ` lists them), from the backups kept there; later
applies are taken back with it. It plans, shows, asks, and is as safe as an
apply. In files that are shared only vpnpush's part is put back.

Packages stay installed. The inventory stays as it is too: until it is changed,
plan shows the same changes again. docs/rollback.md says more.`,
		ValidArgsFunction: a.completeHost,
		Args:              a.oneHost(cobra.RangeArgs(1, 2)),
	}, func(ctx context.Context, o *operation, args []string) error {
		txn := ""
		if len(args) > 1 {
			txn = args[1]
		}
		return o.rollback(ctx, args[0], txn, f, a.view)
	})
	f.flags(cmd.Flags())
	cmd.Flags().IntVar(&f.allowDelete, "allow-delete", 0, "allow up to `N` sites to be deleted, even when that is more than half of them")
	return cmd
}

func (o *operation) rollback(ctx context.Context, name, txn string, f applyFlags, v changeView) error {
	h, err := o.host(ctx, "rollback", name)
	if err != nil {
		return err
	}
	h, r, err := o.engine.Rollback(ctx, h, txn)
	switch {
	case interrupted(ctx):
		return exitWith(exitInterrupted)
	case err != nil:
		return hostEnd(h, r, err)
	}
	if !o.app.json { // the document says it
		text := "Going back to before apply " + h.Rollback.Before
		if after := h.Rollback.After; len(after) > 0 {
			text += "; what came after it is taken back too: " + strings.Join(after, ", ")
		}
		v.Note(text)
	}
	if err := o.planAndApply(ctx, []engine.Host{h}, f, view.ReportOptions{Command: "rollback", Rollback: h.Rollback}, v); err != nil {
		return err
	}
	v.Note(fmt.Sprintf("The inventory was not changed: until you change it, `vpnpush plan --limit %s` shows again what was taken back.", h.Name))
	return nil
}
