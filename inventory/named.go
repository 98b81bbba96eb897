package inventory

import (
	"fmt"
	"slices"
	"strings"
)

// Site returns the site of that name.
func (inv *Inventory) Site(name string) (*Site, error) {
	if i, ok := slices.BinarySearchFunc(inv.Sites, name, func(s Site, name string) int { return strings.Compare(s.Name, name) }); ok {
		return &inv.Sites[i], nil
	}
	var names []string
	for i := range inv.Sites {
		names = append(names, inv.Sites[i].Name)
	}
	return nil, unknown("site", name, names)
}

// User returns the L2TP user of that name.
func (inv *Inventory) User(name string) (*User, error) {
	if inv.L2TP == nil {
		return nil, &fault{"there is no [l2tp] in the inventory, and so there are no users", "docs/inventory.md says what the table holds"}
	}
	var names []string
	for i := range inv.L2TP.Users {
		if inv.L2TP.Users[i].Name == name {
			return &inv.L2TP.Users[i], nil
		}
		names = append(names, inv.L2TP.Users[i].Name)
	}
	return nil, unknown("user", name, names)
}

func unknown(kind, name string, names []string) error {
	return &fault{fmt.Sprintf("there is no %s %q", kind, name), meant(name, names)}
}

// Place is where a secret is kept.
type Place string

const (
	PlaceText    Place = "the inventory"
	PlaceEnv     Place = "an environment variable"
	PlaceFile    Place = "a file"
	PlaceCommand Place = "what a command prints"
)

// Key is a key of the inventory that holds a secret.
type Key struct {
	Path   []string
	Place  Place
	Sealed bool // it stands in the inventory, encrypted
}

// String returns the key as it is written.
func (k Key) String() string { return dotted(k.Path) }

// Keys returns every key that holds a secret, in the order of what they are of: the
// sites' and the L2TP layer's own, its users', and those for sudo.
func (inv *Inventory) Keys() []Key {
	var keys []Key
	for _, ref := range inv.refs {
		k := Key{Path: ref.path, Place: PlaceText, Sealed: ref.sealed != nil}
		if s := ref.source; s != nil {
			switch {
			case s.Env != "":
				k.Place = PlaceEnv
			case s.File != "":
				k.Place = PlaceFile
			default:
				k.Place = PlaceCommand
			}
		}
		keys = append(keys, k)
	}
	return keys
}

// Named returns the key that word means: as it is written, or by the site, the user or
// the "l2tp" that it is of.
func (inv *Inventory) Named(word string) (Key, error) {
	var names []string
	for _, k := range inv.Keys() {
		if k.String() == word {
			return k, nil
		}
		names = append(names, k.String())
	}
	keys, err := inv.Rotatable(word)
	if word == "all" || err != nil && strings.Contains(word, ".") {
		return Key{}, unknown("secret", word, names)
	}
	if err != nil {
		return Key{}, err
	}
	return keys[0], nil
}

// Rotatable returns the keys of the pre-shared keys and passwords that vpnpush brings
// to the hosts, and may therefore choose, that word means: a site, a user, "l2tp", "all"
// or one of the keys as it is written.
func (inv *Inventory) Rotatable(word string) ([]Key, error) {
	var found []Key
	var names []string
	for _, k := range inv.Keys() {
		if last := k.Path[len(k.Path)-1]; last != "psk" && last != "password" {
			continue
		}
		name := k.Path[len(k.Path)-2] // the site, the user, "l2tp"
		names = append(names, name)
		if word == "all" || word == name || word == k.String() {
			found = append(found, k)
		}
	}
	others := func(k Key) bool { return k.Path[len(k.Path)-2] == word }
	switch {
	case len(found) == 0:
		return nil, &fault{fmt.Sprintf("there is no site or user %q", word), meant(word, append(names, "all"))}
	case word == "all" && slices.ContainsFunc(found, others), word != "all" && len(found) > 1:
		var keys []string
		for _, k := range slices.DeleteFunc(found, func(k Key) bool { return !others(k) }) {
			keys = append(keys, k.String())
		}
		return nil, &fault{fmt.Sprintf("%q has more than one meaning", word), "write the key itself: " + strings.Join(keys, " or ")}
	}
	return found, nil
}
