package inventory

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Hosts returns every host, the hub first and then the sites by name, each with
// what its own ssh table says over the [ssh] defaults. SSH.Host defaults to
// the address, and for a site without one to its name, which ~/.ssh/config may
// know. A default jump applies to the hosts it does not name: a host is not
// reached through itself.
func (inv *Inventory) Hosts() []Host {
	hosts := make([]Host, 0, len(inv.Sites)+1)
	hosts = append(hosts, inv.HubHost())
	for _, s := range inv.Sites {
		h := Host{Name: s.Name, Role: RoleSite, SSH: inv.merge(s.Name, s.SSH)}
		if h.SSH.Host == "" {
			h.SSH.Host = s.Name
			if s.Address.IsValid() {
				h.SSH.Host = s.Address.String()
			}
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// HubHost returns the first of Hosts.
func (inv *Inventory) HubHost() Host {
	hub := Host{Name: inv.Hub.Name, Role: RoleHub, SSH: inv.merge(inv.Hub.Name, inv.Hub.SSH)}
	if hub.SSH.Host == "" && inv.Hub.Address.IsValid() {
		hub.SSH.Host = inv.Hub.Address.String()
	}
	return hub
}

// Backend returns how strongSwan is to be configured on a host: as it says itself, else as
// the network does.
func (inv *Inventory) Backend(host string) Backend {
	own := inv.Hub.Backend
	if s, err := inv.Site(host); host != inv.Hub.Name && err == nil {
		own = s.Backend
	}
	return cmp.Or(own, inv.Tunnel.Backend, BackendAuto)
}

// merge returns the ssh table of a host laid over the defaults.
func (inv *Inventory) merge(name string, own SSH) SSH {
	s, def, set := own, inv.SSH, inv.explicit[name]
	if s.User == "" && !set["user"] {
		s.User = def.User
	}
	if s.Port == 0 {
		s.Port = def.Port
	}
	if s.IdentityFile == "" && !set["identity_file"] {
		s.IdentityFile = def.IdentityFile
	}
	if s.KnownHosts == "" && !set["known_hosts"] {
		s.KnownHosts = def.KnownHosts
	}
	if !s.AcceptNew && !set["accept_new"] {
		s.AcceptNew = def.AcceptNew
	}
	if s.Become == "" {
		s.Become = def.Become
	}
	if s.BecomePassword.IsZero() && !set["become_password"] {
		s.BecomePassword = def.BecomePassword
	}
	if s.ConnectTimeout == 0 {
		s.ConnectTimeout = def.ConnectTimeout
	}
	if s.Jump != "" || set["jump"] {
		s.Jump = strings.Join(inv.hops(s.Jump), ",")
	} else if s.Connection != "local" {
		hops := inv.hops(def.Jump)
		for i, hop := range hops {
			if hop == name {
				hops = hops[:i]
				break
			}
		}
		s.Jump = strings.Join(hops, ",")
	}
	return s
}

// hops splits a jump list, and replaces "hub" by the hub's name.
func (inv *Inventory) hops(jump string) []string {
	hops := strings.Split(jump, ",")
	for i, hop := range hops {
		if hop == "hub" {
			hops[i] = inv.Hub.Name
		}
	}
	return hops
}

// fault is an error that says how it is mended.
type fault struct{ says, mend string }

// Error implements error.
func (e *fault) Error() string { return e.says }

// Hint is the mend, for the user.
func (e *fault) Hint() string { return e.mend }

// meant returns which hosts a pattern that matches none of names may have meant.
func meant(pattern string, names []string) string {
	if len(names) == 0 {
		return "the inventory has none"
	}
	if n := nearest(pattern, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	const few = 8
	if len(names) > few {
		return fmt.Sprintf("the inventory has %s and %d more", strings.Join(names[:few], ", "), len(names)-few)
	}
	return "the inventory has " + strings.Join(names, ", ")
}

// Select returns the names of the hosts that patterns choose, in the order of
// Hosts. A pattern is a name, "hub", "sites", a glob as in path.Match, or "@" and the
// name or glob of groups; "!" before it takes its hosts out again, whatever the order.
// Without a pattern that adds, all hosts are there to begin with. A pattern that matches
// nothing is an error: a misspelt name must not mean "no host", and least of all
// "every host".
func (inv *Inventory) Select(patterns []string) ([]string, error) {
	hosts := inv.selectable()
	in, out, adds := map[string]bool{}, map[string]bool{}, false
	for _, p := range patterns {
		glob, exclude := strings.CutPrefix(p, "!")
		set := in
		if exclude {
			set = out
		} else {
			adds = true
		}
		found := false
		for _, h := range hosts {
			ok, err := h.matches(glob)
			if err != nil {
				return nil, &fault{fmt.Sprintf("select hosts: pattern %q: %v", p, err), "a name, or a glob with * and ?; a [ opens a list of characters, and ] ends it"}
			}
			if ok {
				set[h.name], found = true, true
			}
		}
		if !found {
			return nil, inv.noHost(p, glob)
		}
	}
	var selected []string
	for _, h := range hosts {
		if (in[h.name] || !adds) && !out[h.name] {
			selected = append(selected, h.name)
		}
	}
	if len(selected) == 0 {
		return nil, &fault{fmt.Sprintf("select hosts: %q leave no host", patterns), "take out a pattern that begins with !"}
	}
	return selected, nil
}

// selectable is a host as patterns see it.
type selectable struct {
	name   string
	role   Role
	groups []string
}

// selectable returns all hosts, in the order of Hosts.
func (inv *Inventory) selectable() []selectable {
	all := []selectable{{inv.Hub.Name, RoleHub, nil}}
	for _, s := range inv.Sites {
		all = append(all, selectable{s.Name, RoleSite, s.Groups})
	}
	return all
}

// matches reports whether a pattern without "!" chooses h.
func (h selectable) matches(glob string) (bool, error) {
	group, grouped := strings.CutPrefix(glob, "@")
	if !grouped {
		ok, err := path.Match(glob, h.name)
		return ok || glob == "hub" && h.role == RoleHub || glob == "sites" && h.role == RoleSite, err
	}
	if _, err := path.Match(group, ""); err != nil {
		return false, err // also where h is in no group
	}
	return slices.ContainsFunc(h.groups, func(g string) bool { ok, _ := path.Match(group, g); return ok }), nil
}

// noHost returns why a pattern chooses nothing.
func (inv *Inventory) noHost(pattern, glob string) error {
	group, grouped := strings.CutPrefix(glob, "@")
	switch {
	case grouped && len(inv.Groups()) == 0:
		return &fault{fmt.Sprintf("select hosts: no site is in a group %q", group), `name the groups of a site in its table, such as groups = ["kanto"]`}
	case grouped:
		return &fault{fmt.Sprintf("select hosts: no site is in a group %q", group), meant(group, inv.Groups())}
	case glob == "sites":
		return &fault{"select hosts: the inventory has no sites", "leave the pattern out for the hub alone"}
	}
	var names []string
	for _, h := range inv.selectable() {
		names = append(names, h.name)
	}
	return &fault{fmt.Sprintf("select hosts: no host matches %q", pattern), meant(glob, names)}
}

// Groups returns the groups that sites are in, sorted.
func (inv *Inventory) Groups() []string {
	var all []string
	for _, s := range inv.Sites {
		all = append(all, s.Groups...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
