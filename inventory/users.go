package inventory

import (
	"context"
	"fmt"
	"slices"
)

// userError is a user who is not there.
type userError struct{ says, mend string }

// Error implements error.
func (e *userError) Error() string { return e.says }

// Hint is the mend, for the user.
func (e *userError) Hint() string { return e.mend }

// FindUsers returns the L2TP users of these names, all of them where none is named.
func (inv *Inventory) FindUsers(names ...string) ([]User, error) {
	if inv.L2TP == nil {
		return nil, &userError{"the inventory has no [l2tp], and so no users", "add the table l2tp and a user: docs/inventory.md"}
	}
	var known []string
	for _, u := range inv.L2TP.Users {
		known = append(known, u.Name)
	}
	if len(known) == 0 {
		return nil, &userError{"the inventory has no users", `add one: [l2tp.users.NAME] with a password`}
	}
	if len(names) == 0 {
		return slices.Clone(inv.L2TP.Users), nil
	}
	var found []User
	for _, name := range names {
		i := slices.Index(known, name)
		if i < 0 {
			return nil, &userError{fmt.Sprintf("no user %q", name), meant(name, known)}
		}
		found = append(found, inv.L2TP.Users[i])
	}
	return found, nil
}

// ResolveUsers is Resolve of what devices of these users are told, and nothing else:
// the key that all clients have, and each user's password.
func (inv *Inventory) ResolveUsers(ctx context.Context, names ...string) Diagnostics {
	return inv.get(ctx, func(ref *secretRef) bool {
		switch {
		case ref.path[0] != "l2tp":
			return false
		case ref.path[1] == "users":
			return slices.Contains(names, ref.path[2])
		}
		return true
	}, resolving{asking: true})
}
