package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) historyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "history HOST",
		Short: "Show what was done on a host, and which backups are kept",
		Long: `History shows what was applied, rolled back and reverted on a host, the newest
first: when by the host's clock, who, and what; -v tells all changes. BACKUP
says to before which applies ` + "`vpnpush rollback HOST APPLY`" + ` can go back.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, e, h, done, err := a.oneHost(cmd, args[0])
			if err != nil {
				return err
			}
			defer done()
			a.view.Hosts(1)
			past, r, err := e.History(cmd.Context(), h)
			if err != nil {
				return hostError(h, r, err)
			}
			return a.view.History(past)
		},
	}
}

// oneHost builds the engine for a verb that takes one host by its name.
func (a *app) oneHost(cmd *cobra.Command, name string) (*inventory.Inventory, *engine.Engine, engine.Host, func(), error) {
	if len(a.limit) > 0 {
		return nil, nil, engine.Host{}, nil, &hinted{fmt.Errorf("%s %s: --limit goes with plan and apply", cmd.Name(), name), "name the one host"}
	}
	inv, err := a.load(cmd.Context())
	if err != nil {
		return nil, nil, engine.Host{}, nil, err
	}
	a.limit = []string{name}
	e, hosts, d, err := a.engineFor(inv)
	if err != nil {
		return nil, nil, engine.Host{}, nil, err
	}
	done := func() { e.Close(); d.Close() }
	if len(hosts) != 1 {
		done()
		return nil, nil, engine.Host{}, nil, fmt.Errorf("%s %s: that names %s, it takes one", cmd.Name(), name, count(len(hosts), "host"))
	}
	return inv, e, hosts[0], done, nil
}

// hostError is how a verb ends that could not read its one host.
func hostError(h engine.Host, r engine.Result, err error) error {
	code := resultsCode([]engine.Result{r})
	if code == exitOK {
		code = exitError // the host is well; what was asked of it cannot be done
	}
	return &codeError{code, fmt.Errorf("%s: %w", h.Name, err)}
}
