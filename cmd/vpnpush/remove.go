package main

import (
	"context"
	"math"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) removeCmd() *cobra.Command {
	var f applyFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "remove HOST",
		Short: "Remove everything of vpnpush from a host",
		Long: `Remove plans, shows and takes away everything that vpnpush put on a host, down to
the include lines; what it does not own stays byte for byte. It is as safe as an
apply: armed, and kept only when confirmed over a new connection.

Packages stay, and so do live kernel parameters until the next boot. To close a
site: remove SITE, then site remove SITE, which deletes it from the inventory, and
apply, which takes it off the hub.`,
		ValidArgsFunction: a.completeHost,
		Args:              a.oneHost(cobra.ExactArgs(1)),
	}, func(ctx context.Context, o *operation, args []string) error {
		h, err := o.host(ctx, "remove", args[0])
		if err != nil {
			return err
		}
		f.allowDelete = math.MaxInt // a hub that is left has no sites
		return o.planAndApply(ctx, []engine.Host{leaving(h)}, f, view.ReportOptions{Command: "remove"}, a.view)
	})
	f.flags(cmd.Flags())
	return cmd
}
