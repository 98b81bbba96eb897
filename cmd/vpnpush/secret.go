package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) secretCmd() *cobra.Command {
	return group("secret", "Change the secrets of the inventory", a.secretEditCmd(), a.secretEncryptCmd(), a.secretRotateCmd(), a.secretShowCmd())
}

func (a *app) secretRotateCmd() *cobra.Command {
	return a.editing(&cobra.Command{
		Use:   "rotate SITE|l2tp|USER|all",
		Short: "Replace keys and passwords by new ones",
		Long: `Rotate writes a new random key or password into the inventory: that of a site's
tunnel, the one key of all L2TP clients, a user's password, or all of them. One of
those can also be named by its key, such as sites.tokyo.psk. The hosts get it with the
next apply: both ends of a tunnel in one, so that they fit at any moment. L2TP clients
with the old key or password are cut off.

The box of a site that is lost or stolen does not get it, and the hub would wait for
it with the old key: apply to the hub with --gone SITE then.

What people have to type is shown, this once. A secret that is kept elsewhere (env,
file, command) is changed there: rotate leaves it, and says so.`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(func(inv *inventory.Inventory) []string {
			return slices.Concat(siteNames(inv), userNames(inv), []string{"l2tp", "all"})
		}),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) {
		keys, err := d.Inventory.Rotatable(args[0])
		if err != nil {
			return view.Edit{}, err
		}
		return rotate(d, keys, args[0])
	})
}

// rotate gives keys new secrets, those that stand in the inventory itself.
func rotate(d *inventory.Draft, keys []inventory.Key, word string) (view.Edit, error) {
	e := view.Edit{}
	hosts := []string{d.Inventory.Hub.Name}
	for _, k := range keys {
		if k.Place != inventory.PlaceText {
			e.Left = append(e.Left, view.LeftSecret{Key: k.String(), Place: string(k.Place)})
			continue
		}
		e.Edited = append(e.Edited, k.String())
		if k.Path[0] == "sites" {
			d.Set(k.Path, secret.GeneratePSK())
			hosts = append(hosts, k.Path[1])
			continue
		}
		s := secret.GeneratePSK()
		if k.Path[1] == "users" {
			s = secret.GeneratePassword()
		}
		d.Set(k.Path, s)
		e.Shown = append(e.Shown, view.ShownSecret{Key: k.String(), Secret: s})
	}
	if len(e.Edited) == 0 {
		return e, transport.WithHint(errors.New("no new secret was made: "+e.Left[0].Key+" is kept in "+e.Left[0].Place),
			"put a new one there, at random, such as `openssl rand -hex 20` prints, and `vpnpush apply`")
	}
	e.Done = fmt.Sprintf("Wrote %s.", words.Count(len(e.Edited), "new secret"))
	e.Next = []string{applyTo(hosts...)}
	if word == "all" {
		e.Next = []string{"vpnpush apply"}
	} else if len(hosts) > 1 {
		e.IfLost = applyTo(hosts[0]) + " --gone " + hosts[1]
	}
	return e, nil
}
