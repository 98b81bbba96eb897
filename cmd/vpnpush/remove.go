package main

import (
	"math"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks/engine"
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
			_, e, h, done, err := a.oneHost(cmd, args[0])
			if err != nil {
				return err
			}
			defer done()
			h.Preflight, h.Tunnels, h.Leave = nil, nil, true
			h.Tasks = roles.Leave
			o.allowDelete = math.MaxInt // a hub that is left has no sites
			return a.planAndApply(cmd.Context(), e, []engine.Host{h}, o)
		},
	}
	o.flags(cmd.Flags())
	return cmd
}
