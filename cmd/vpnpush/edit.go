package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/transport"
)

type editView interface{ Edit(view.Edit) error }

// editing makes cmd a verb that edits the inventory. What it runs says what is to
// change; it is checked and written then, and told. It reaches no host, and fetches no
// secret.
func (a *app) editing(cmd *cobra.Command, run func(d *inventory.Draft, args []string) (view.Edit, error)) *cobra.Command {
	return a.takingOut(cmd, func([]string) []string { return nil }, run)
}

// takingOut is editing for a verb that takes out the table that its arguments name: faults
// of the inventory that go with it are no reason to keep it.
func (a *app) takingOut(cmd *cobra.Command, table func(args []string) []string, run func(d *inventory.Draft, args []string) (view.Edit, error)) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		what := strings.TrimPrefix(cmd.CommandPath(), "vpnpush ")
		e, err := a.edit(cmd.Context(), func(d *inventory.Draft) (view.Edit, error) { return run(d, args) }, table(args)...)
		if err != nil {
			return endOf(cmd.Context(), strings.Join(append([]string{what}, args...), " "), err)
		}
		e.Command, e.File = what, a.inventory
		e.Next = withFile(cmd, e.Next...)
		if e.IfLost != "" {
			e.IfLost = withFile(cmd, e.IfLost)[0]
		}
		return editView(a.view).Edit(e)
	}
	return cmd
}

// endOf returns how a verb ends that err ended, or Ctrl-C before it.
func endOf(ctx context.Context, verb string, err error) error {
	if over := ended(ctx); over != nil {
		return over
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// edit runs do, which takes out the table gone, if any, on a draft of the inventory, and
// saves that.
func (a *app) edit(ctx context.Context, do func(*inventory.Draft) (view.Edit, error), gone ...string) (view.Edit, error) {
	d, diags, err := inventory.OpenDraft(ctx, a.inventory, gone...)
	if err != nil {
		return view.Edit{}, err
	}
	if d == nil {
		return view.Edit{}, a.faults(ctx, diags)
	}
	defer d.Close()
	d.Inventory.Unlock = a.unlock()
	a.redact(d.Inventory)
	a.warn(diags)
	e, err := do(d)
	if err != nil {
		return view.Edit{}, err
	}
	return e, d.Save(ctx)
}

// applyTo returns the command that brings an edit to hosts.
func applyTo(hosts ...string) string { return "vpnpush apply --limit " + strings.Join(hosts, ",") }

// withFile names the inventory in the commands to run next where a flag has chosen it.
func withFile(cmd *cobra.Command, next ...string) []string {
	if f := cmd.Flags().Lookup("inventory"); f.Changed {
		for i := range next {
			next[i] += " -i " + transport.Quote(f.Value.String())
		}
	}
	return next
}
