package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) showCmd() *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "show FILE",
		Short: "Show a plan that was saved",
		Long: `Show prints what ` + "`vpnpush plan --out FILE`" + ` has saved: when it was made, by whom and of
which inventory, and the diffs as they were shown then. It needs no inventory and
asks no host. It cannot tell whether the plan still holds, or the file was edited:
` + "`vpnpush apply FILE`" + ` checks both before it changes anything.

Exit codes: 0 shown; 1 this is no plan file, or one of a later version.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(a.limit) > 0 {
				return transport.WithHint(errors.New("show: --limit cannot leave hosts out of a saved plan"), "give --limit to `vpnpush plan --out FILE`")
			}
			return show(cmd.Context(), args[0], time.Now(), markdown, a.view)
		},
	}
	a.markdownFlag(cmd, &markdown)
	return cmd
}

type showView interface {
	Show(view.SavedPlan) error
	ShowMarkdown(view.SavedPlan) error
}

func show(ctx context.Context, path string, now time.Time, markdown bool, v showView) error {
	s, err := engine.ReadSaved(ctx, path)
	if err != nil {
		return cmp.Or(ended(ctx), err)
	}
	plan := view.SavedPlan{File: path, Saved: s, Expired: now.After(s.Expires)}
	if markdown {
		return v.ShowMarkdown(plan)
	}
	return v.Show(plan)
}
