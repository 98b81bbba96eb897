package main

import (
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks"
)

func (a *app) removeCmd() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use:   "remove HOST",
		Short: "Take everything of vpnpush off a host again",
		Long: `Remove plans, shows and takes away everything that vpnpush put on a host, down to
the include lines; what it does not own stays byte for byte. It is as safe as an
apply: armed, and kept only when confirmed over a new connection.

Packages stay, and so do live kernel parameters until the next boot. To close a
site: remove SITE, then delete it from the inventory and apply, which takes it
off the hub.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			if len(a.limit) > 0 {
				return &hinted{fmt.Errorf("remove %s: --limit goes with plan and apply", args[0]), "name the one host"}
			}
			a.limit = args
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			for i := range hosts {
				name := hosts[i].Name
				hosts[i].Preflight, hosts[i].Tunnels, hosts[i].Leave = nil, nil, true
				hosts[i].Tasks = func(f tasks.Facts) ([]tasks.Task, error) { return roles.Leave(inv, name, f) }
			}
			if len(hosts) != 1 {
				return fmt.Errorf("remove %s: that names %s, it takes one", args[0], count(len(hosts), "host"))
			}
			o.allowDelete = math.MaxInt // a hub that is left has no sites
			return a.planAndApply(cmd.Context(), e, hosts, o)
		},
	}
	o.flags(cmd.Flags())
	return cmd
}
