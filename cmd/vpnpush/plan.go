package main

import (
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) planCmd() *cobra.Command {
	var detailed bool
	var out string
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Show as diffs what every host lacks",
		Long: `Plan reads every host, all in parallel, one connection and one program each, and
shows what an apply would change. It changes nothing. With --out the plan is saved
for ` + "`vpnpush apply FILE`" + `: digests of it, no secrets.

Exit codes: 0 done; 1 usage or inventory; 4 a host was not reached or cannot
carry what is asked. With --detailed-exitcode 2 means that there are changes,
6 both.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			e.ReadOnly = true
			a.view.Hosts(len(hosts))
			p, _ := e.Plan(cmd.Context(), hosts) // the view tells each host's error
			if err := a.view.Plan(p); err != nil {
				return err
			}
			if err := cmd.Context().Err(); err != nil {
				return &codeError{exitInterrupted, nil}
			}
			if out != "" {
				if err := a.savePlan(inv, p, out); err != nil {
					return err
				}
			}
			return planResult(p, detailed)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "save the plan to `FILE` for apply")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return cmd
}

func planResult(p *engine.Plan, detailed bool) error {
	var rs []engine.Result
	changes := false
	for _, h := range p.Hosts {
		r := h.Result
		if len(h.Blocked()) > 0 {
			r = engine.Failed // it would not be applied
		}
		rs = append(rs, r)
		changes = changes || len(h.Changes) > 0
	}
	code := resultsCode(rs)
	if detailed && changes {
		code |= exitChanges
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code, nil}
}
