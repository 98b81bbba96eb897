package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) validateCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the inventory, all of it at once",
		Long: `Validate reads the inventory and its secrets and tells every fault at once, as
file:line: what, and the mend. It touches no host.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			users := ""
			if inv.L2TP != nil {
				users = ", " + count(len(inv.L2TP.Users), "user")
			}
			fmt.Fprintf(a.stdout, "%s: good. Hub %s, %s%s.\n", a.inventory, inv.Hub.Name, count(len(inv.Sites), "site"), users)
			return nil
		},
	}
}
