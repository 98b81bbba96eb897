package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) mergeCmd() *cobra.Command {
	var maxAge time.Duration
	cmd := &cobra.Command{
		Use:   "merge FILE...",
		Short: "Make one report of those of several runs, such as all shards",
		Long: `Merge takes what runs of plan, apply or drift have written with --json, and prints
it as one: what is not as it should be, or with --json a document of the same form.
Of drifts it prints nothing where all is well. It reaches no host and reads no
inventory.

A shard that has no report, and a report that is empty or cut short, because its run
has died, is told, and counts as hosts that were not reached. Reports of different
verbs, inventories or sites, and what is told of twice, cannot be one.

Exit codes: 1 it cannot be one report; else what one run over all of it would have
ended with.`,
		Args: func(_ *cobra.Command, args []string) error {
			if maxAge < 0 {
				return fmt.Errorf("--max-age %s: it cannot be negative", maxAge)
			}
			if len(args) == 0 {
				return transport.WithHint(errors.New("merge: FILE is missing"), "name the reports: vpnpush merge shard-*.json")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var oldest time.Time
			if maxAge > 0 {
				oldest = time.Now().Add(-maxAge)
			}
			return merge(cmd.Context(), args, oldest, a.view)
		},
	}
	cmd.Flags().DurationVar(&maxAge, "max-age", 0, "a report of a drift, or of a shard, whose run was begun more than `TIME` ago counts as missing; 0: whenever")
	return cmd
}

// maxReport bounds what is read of a report; one of 50,000 sites takes some 20 MiB.
const maxReport = 1 << 30

type mergeView interface {
	Ends(code int)
	Merged(*view.Merged) error
}

// merge shows the reports in files as one.
func merge(ctx context.Context, files []string, oldest time.Time, v mergeView) error {
	var reports []view.ReportFile
	for _, name := range files {
		text, _, err := secret.ReadFile(ctx, name, maxReport)
		if err := ended(ctx); err != nil {
			return err
		}
		reports = append(reports, view.ReportFile{Name: name, Text: text, Err: err})
	}
	m, err := view.MergeReports(reports, oldest)
	if err != nil {
		return err
	}
	code := mergedCode(m.Codes, len(m.Missing) > 0)
	v.Ends(code)
	if err := v.Merged(m); err != nil {
		return err
	}
	return exitWith(code)
}
