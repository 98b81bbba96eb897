package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
)

func (a *app) validateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the inventory, and report every fault at once",
		Long: `Validate reads the inventory and its secrets and reports every fault at once, as
file:line: what is wrong, and how to mend it. It touches no host. Where there is no
identity that opens encrypted secrets it looks at all else, and says what it has
left out.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.validate(cmd.Context(), a.view) },
	}
}

type validateView interface{ Validate(view.Validation) error }

// validate is done when it has told the faults; there is no document and an
// error beside it.
func (a *app) validate(ctx context.Context, v validateView) error {
	inv, diags := inventory.Check(ctx, a.inventory, a.unlock())
	if inv != nil {
		a.redact(inv)
	} else if err := ended(ctx); err != nil {
		return err
	}
	if err := v.Validate(view.Validation{File: a.inventory, Inventory: inv, Diagnostics: diags}); err != nil {
		return err
	}
	switch {
	case inv != nil:
		return nil
	case a.json:
		return exitWith(exitError)
	}
	return a.counted(diags)
}
