package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) userCmd() *cobra.Command {
	return group("user", "Add, remove and list the L2TP users of the inventory",
		a.userAddCmd(), a.userRemoveCmd(), a.userPasswdCmd(), a.userListCmd())
}

func (a *app) userAddCmd() *cobra.Command {
	var address string
	cmd := a.editing(&cobra.Command{
		Use:   "add NAME",
		Short: "Add an L2TP user to the inventory, with a new password",
		Long: `Add writes the table of a new user behind those that are there, with a new random
password, and shows that, this once. Everything else in the inventory stays as it is
written. The next apply lets the user in.`,
		Args: cobra.ExactArgs(1),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) { return addUser(d, args[0], address) })
	cmd.Flags().StringVar(&address, "address", "", "an `ADDRESS` of the pool for this user alone")
	return cmd
}

// addUser adds a user to a draft.
func addUser(d *inventory.Draft, name, address string) (view.Edit, error) {
	if _, err := d.Inventory.User(name); err == nil {
		return view.Edit{}, transport.WithHint(fmt.Errorf("there is a user %q already", name), "choose another name, or give this one a new password with `vpnpush user passwd`")
	} else if d.Inventory.L2TP == nil {
		return view.Edit{}, err
	}
	password := secret.GeneratePassword()
	pairs := []inventory.Pair{{Key: []string{"password"}, Value: password}}
	if address != "" {
		pairs = append(pairs, inventory.Pair{Key: []string{"address"}, Value: address})
	}
	key := userKey(name)
	d.Add(key.Path[:3], pairs...)
	return view.Edit{
		Done: fmt.Sprintf("Added user %s, with a new password.", name), Edited: []string{key.String()},
		Shown: []view.ShownSecret{{Key: key.String(), Secret: password}},
		Next:  []string{applyTo(d.Inventory.Hub.Name)},
	}, nil
}

// userKey returns the key of a user's password.
func userKey(name string) inventory.Key {
	return inventory.Key{Path: []string{"l2tp", "users", name, "password"}, Place: inventory.PlaceText}
}

func (a *app) userRemoveCmd() *cobra.Command {
	return a.editing(&cobra.Command{
		Use:   "remove NAME",
		Short: "Remove an L2TP user from the inventory",
		Long: `Remove takes the table of a user out of the inventory, with the comments right above
it; a blank line between says that they are not the user's. The next apply refuses
the user, and ends the session that is open. docs/day-two.md has the one line that
does both at once.

The user still knows the key that all clients share: vpnpush secret rotate l2tp.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(userNames),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) {
		if _, err := d.Inventory.User(args[0]); err != nil {
			return view.Edit{}, err
		}
		path := userKey(args[0]).Path[:3]
		d.Remove(path)
		return view.Edit{
			Done: fmt.Sprintf("Removed user %s.", args[0]), Edited: []string{inventory.Key{Path: path}.String()},
			Notes: []string{"The apply ends the session, if there is one. The key that all clients share is known to whoever leaves: `vpnpush secret rotate l2tp`."},
			Next:  []string{applyTo(d.Inventory.Hub.Name)},
		}, nil
	})
}

func (a *app) userPasswdCmd() *cobra.Command {
	return a.editing(&cobra.Command{
		Use:   "passwd NAME",
		Short: "Give an L2TP user a new password",
		Long: `Passwd writes a new random password into the inventory, and shows it, this once. The
next apply brings it to the hub, and ends the session that began with the old one.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(userNames),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) {
		if _, err := d.Inventory.User(args[0]); err != nil {
			return view.Edit{}, err
		}
		word := userKey(args[0]).String()
		keys, err := d.Inventory.Rotatable(word)
		if err != nil {
			return view.Edit{}, err
		}
		return rotate(d, keys, word)
	})
}

func (a *app) userListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the L2TP users of the inventory",
		Long: `List shows the users of the inventory, and the address that each has. It asks no host:
vpnpush status shows who is connected.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			return a.view.Users(inv)
		},
	}
}
