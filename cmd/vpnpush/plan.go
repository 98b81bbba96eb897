package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) planCmd() *cobra.Command {
	var f planFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "plan [HOST...]",
		Short: "Show as diffs what an apply would change",
		Long: `Plan reads every host, all in parallel, one connection and one program each, and
shows what an apply would change. It changes nothing. HOST is a name or a glob, as
in --limit. With --out the plan is saved for ` + "`vpnpush apply FILE` and `vpnpush show FILE`" + `:
digests and diffs, no secrets. With --markdown it is printed as a comment for a pull
request.

Exit codes: 0 done; 1 usage or inventory; 4 a host was not reached or cannot
carry what is asked. With --detailed-exitcode 2 means that there are changes,
6 both.`,
		ValidArgsFunction: a.completeHosts,
	}, func(ctx context.Context, o *operation, args []string) error {
		if o.engine.Adopt = f.adopt; f.adopt && f.out != "" {
			return transport.WithHint(errors.New("plan: a plan that adopts cannot be saved"), "leave --out away; `vpnpush apply --adopt` shows the same plan, and asks")
		}
		return o.plan(ctx, a.patterns(args), f, a.view)
	})
	a.shardFlag(cmd.Flags())
	cmd.Flags().StringVar(&f.out, "out", "", "save the plan to `FILE` for apply")
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "show what apply --adopt would do")
	a.markdownFlag(cmd, &f.markdown)
	cmd.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return cmd
}

type planFlags struct {
	out                       string
	markdown, detailed, adopt bool
}

// markdownFlag gives cmd the flag --markdown, which is another form than --json.
func (a *app) markdownFlag(cmd *cobra.Command, markdown *bool) {
	cmd.Flags().BoolVar(markdown, "markdown", false, "print the plan in Markdown, as a comment of a pull request")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *markdown && a.json {
			return transport.WithHint(fmt.Errorf("%s: --markdown and --json are two forms of one result", cmd.Name()), "leave one of them out")
		}
		return run(cmd, args)
	}
}

type planView interface {
	Ends(code int)
	Plan(*engine.Plan) error
	PlanMarkdown(owner string, p *engine.Plan) error
	savingView
}

// plan shows what an apply would change, and saves it to a file when one is
// named.
func (o *operation) plan(ctx context.Context, patterns []string, f planFlags, v planView) error {
	hosts, err := o.hosts(ctx, patterns)
	if err != nil {
		return err
	}
	if err := o.besideHub(ctx, hosts); err != nil {
		return err
	}
	o.engine.ReadOnly = true
	p, _ := o.engine.Plan(ctx, hosts) // the view tells each host's error
	code := planCode(p, f.detailed)
	if interrupted(ctx) {
		code = exitInterrupted
	}
	v.Ends(code)
	if f.markdown {
		err = v.PlanMarkdown(o.inv.ID, p)
	} else {
		err = v.Plan(p)
	}
	if err != nil || interrupted(ctx) {
		return cmp.Or(err, exitWith(code))
	}
	if f.out != "" {
		if err := savePlan(ctx, o.inv, p, f.out, v); err != nil {
			return err
		}
	}
	return exitWith(code)
}
