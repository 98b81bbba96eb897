package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) rollbackCmd() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "rollback HOST [APPLY]",
		Short: "Put a host back to before one of its last applies",
		Long: `Rollback puts back what stood on a host before its last apply, or before the one
that is named (` + "`vpnpush history HOST`" + ` lists them), from the backups kept there; later
applies are taken back with it. It plans, shows, asks, and is as safe as an
apply. In files that are shared only vpnpush's part is put back.

Packages stay installed. The inventory stays as it is too: until it is changed,
plan shows the same changes again. docs/rollback.md says more.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, e, h, done, err := a.oneHost(cmd, args[0])
			if err != nil {
				return err
			}
			defer done()
			txn := ""
			if len(args) > 1 {
				txn = args[1]
			}
			// nothing is begun yet: a first Ctrl-C leaves
			reading, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			read := make(chan struct{})
			go func() {
				select {
				case <-a.stop:
					cancel()
				case <-read:
				}
			}()
			back, r, err := e.Rollback(reading, h, txn)
			close(read)
			switch {
			case reading.Err() != nil:
				return &codeError{exitInterrupted, nil}
			case err != nil:
				return hostError(h, r, err)
			}
			fmt.Fprintf(a.stderr, "Back to before apply %s", back.Back.Before)
			if after := back.Back.After; len(after) > 0 {
				fmt.Fprintf(a.stderr, ", taking back too what came after it: %s", strings.Join(after, ", "))
			}
			fmt.Fprintln(a.stderr)
			if err := a.planAndApply(cmd.Context(), e, []engine.Host{back}, o); err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "The inventory is as it was: until it is changed, `vpnpush plan --limit %s` shows what was taken back.\n", h.Name)
			return nil
		},
	}
	o.flags(cmd.Flags())
	cmd.Flags().IntVar(&o.allowDelete, "allow-delete", 0, "delete up to `N` sites, though that is more than half of them")
	return cmd
}
