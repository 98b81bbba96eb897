package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) secretShowCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "show KEY",
		Short: "Show a secret on the terminal",
		Long: `Show prints one secret, wherever it is kept, on the terminal, and nowhere else: where
standard output is a file or a pipe it refuses, so that no log gets it. KEY is the
key as it is written, such as sites.tokyo.psk, or the site, the user or l2tp that it
is of.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(secretKeys),
		RunE: func(cmd *cobra.Command, args []string) error {
			if is, _ := a.screen(); !is || a.json {
				return transport.WithHint(fmt.Errorf("secret show %s: it is shown on a terminal alone, and standard output is none, or is a document", args[0]),
					"run it on one, without --json")
			}
			if err := a.secretShow(cmd.Context(), args[0], a.view); err != nil {
				return endOf(cmd.Context(), "secret show "+args[0], err)
			}
			return nil
		},
	}
}

type secretView interface {
	Secret(interface{ Reveal() string }) error
}

func (a *app) secretShow(ctx context.Context, word string, v secretView) error {
	inv, err := a.load(ctx)
	if err != nil {
		return err
	}
	k, err := inv.Named(word)
	if err != nil {
		return err
	}
	diags := inv.Fetch(ctx, k)
	a.redact(inv)
	if len(diags.Errors()) > 0 {
		return a.faults(ctx, diags)
	}
	a.warn(diags)
	return v.Secret(inv.Secret(k))
}
