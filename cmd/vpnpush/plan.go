package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) planCmd() *cobra.Command {
	var detailed bool
	var out string
	cmd := a.reaching(&cobra.Command{
		Use:   "plan [HOST...]",
		Short: "Show as diffs what an apply would change",
		Long: `Plan reads every host, all in parallel, one connection and one program each, and
shows what an apply would change. It changes nothing. HOST is a name or a glob, as
in --limit. With --out the plan is saved for ` + "`vpnpush apply FILE`" + `: digests of it,
no secrets.

Exit codes: 0 done; 1 usage or inventory; 4 a host was not reached or cannot
carry what is asked. With --detailed-exitcode 2 means that there are changes,
6 both.`,
		ValidArgsFunction: a.completeHosts,
	}, func(ctx context.Context, o *operation, args []string) error {
		return o.plan(ctx, a.patterns(args), out, detailed, a.view)
	})
	a.shardFlag(cmd.Flags())
	cmd.Flags().StringVar(&out, "out", "", "save the plan to `FILE` for apply")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return cmd
}

type planView interface {
	Ends(code int)
	Plan(*engine.Plan) error
	Note(string)
}

// plan shows what an apply would change, and saves it to a file when one is
// named.
func (o *operation) plan(ctx context.Context, patterns []string, file string, detailed bool, v planView) error {
	hosts, err := o.hosts(ctx, patterns)
	if err != nil {
		return err
	}
	if err := o.besideHub(ctx, hosts); err != nil {
		return err
	}
	o.engine.ReadOnly = true
	p, _ := o.engine.Plan(ctx, hosts) // the view tells each host's error
	code := planCode(p, detailed)
	if interrupted(ctx) {
		code = exitInterrupted
	}
	v.Ends(code)
	if err := v.Plan(p); err != nil || interrupted(ctx) {
		return cmp.Or(err, exitWith(code))
	}
	if file != "" {
		if err := savePlan(ctx, o.inv, p, file, v); err != nil {
			return err
		}
	}
	return exitWith(code)
}
