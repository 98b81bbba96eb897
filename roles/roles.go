// Package roles says what a hub and a site are to look like: a pure function
// of the inventory and of the facts of one host. What lands and why:
// docs/what-lands.md. Nothing here reads a clock, a file or a network.
//
// What is wanted is said in neutral words: the conns of a host in hub.go, site.go
// and l2tp.go, and who may reach whom in policy.go. How strongSwan is told is a
// backend (starter.go), how a packet filter is told a filter (iptables.go and
// nofilter.go); a new one of either is a file of its own and a line in its table.
package roles

import (
	"fmt"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Host is one host's place in the network.
type Host struct {
	inv  *inventory.Inventory
	role inventory.Role
	site *inventory.Site // nil on the hub

	backends []backend // those that may run strongSwan here; its facts tell which
	filter   filter
}

// Of returns a host of the inventory by its name. It refuses a name that no host
// has, and an inventory that wants a backend or a packet filter that is not built.
func Of(inv *inventory.Inventory, name string) (Host, error) {
	backends, err := backendsOf(inv, name)
	if err != nil {
		return Host{}, err
	}
	filter, err := filterOf(inv)
	if err != nil {
		return Host{}, err
	}
	h := Host{inv: inv, backends: backends, filter: filter}
	if name == inv.Hub.Name {
		h.role = inventory.RoleHub
		return h, nil
	}
	if h.site, err = inv.Site(name); err != nil {
		return Host{}, transport.Bug(fmt.Errorf("host %q is not in the inventory", name))
	}
	h.role = inventory.RoleSite
	return h, nil
}

// Reads returns everything that must be read on a host for its tasks to be told
// and checked, whatever is found there: what each backend that may run here looks
// at, and what whichever ran here before needs to go.
func (h Host) Reads() []tasks.Read {
	reads := append(tasks.AddressReads(), tasks.Read{Kind: tasks.ReadPackage, Arg: libstrongswan})
	for _, b := range h.backends {
		reads = append(reads, b.reads...)
	}
	// what another backend would leave behind
	for _, b := range backends {
		reads = append(reads, b.besideReads...)
	}
	reads = append(reads, h.BesideReads()...)
	if h.l2tp() != nil {
		reads = append(reads, tasks.Read{Kind: tasks.ReadPPP})
	}
	for _, f := range filters {
		reads = append(reads, f.leaves...)
	}
	// a hub may have had L2TP, and have it no more
	reads = append(append(reads, tasks.Unit{Name: unitXL2TPD}.Reads()...),
		tasks.Read{Kind: tasks.ReadFile, Arg: chapSecrets})
	reads = append(append(reads, h.filter.reads...), readUnits(h.filter.rivals)...)
	// the files of the other tunnels are among what a pattern of the backend brings
	ends := h.tunnels()
	ends = ends[:min(len(ends), 1)]
	for _, b := range h.backends {
		// what cannot be put down reads nothing: Tasks says why
		if ts, err := h.tasks(b, ends); err == nil {
			for _, t := range ts {
				reads = append(reads, t.Reads()...)
			}
		}
	}
	for _, d := range Daemons() {
		reads = append(append(reads, tasks.IPsec{Daemon: d}.Reads()...), tasks.Settings{Daemon: d, Path: charonConf}.Reads()...)
		reads = append(reads, tasks.Helper{Unit: unitRedial, With: d.Unit}.Reads()...)
	}
	seen := make(map[tasks.Read]bool)
	out := reads[:0]
	for _, r := range reads {
		if r.Kind == tasks.ReadPackage && r.Unless == "" {
			r.Unless = h.unless(r.Arg)
		}
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return slices.Clone(out) // it is a sixth of them, and kept for each host of a run
}

// Tasks returns what is wanted of a host, in the order in which it is to be made:
// packages, kernel parameters, files, packet filter, services, IPsec.
//
// peers says what the other ends of the host's tunnels have, where that is not what the
// inventory says.
func (h Host) Tasks(f tasks.Facts, peers tasks.Peers) ([]tasks.Task, error) {
	b := h.backend(f)
	ends, err := h.ends(b, f, peers)
	if err != nil {
		return nil, err
	}
	ts, err := h.tasks(b, ends)
	if err != nil {
		return nil, err
	}
	ts = h.adopted(b, ts, f, peers)
	if h.filter.leftovers == nil {
		return ts, nil
	}
	left, err := h.filter.leftovers(f)
	return append(ts, left...), err
}

// Tunnels returns the child SAs that should be up on a host, with the selectors
// both ends should have agreed on.
func (h Host) Tunnels() []strongswan.Tunnel {
	var out []strongswan.Tunnel
	for _, t := range h.tunnels() {
		out = append(out, *t.wanted())
	}
	return out
}

// Pairs returns the tasks that hold what both ends of a tunnel must agree on, by the
// name of the host at the other end.
func (h Host) Pairs(f tasks.Facts) map[string][]string {
	pairs, b := map[string][]string{}, h.backend(f)
	for _, t := range h.tunnels() {
		pairs[t.peerID] = []string{b.confTask(t.name), b.keyTask(t.name)}
	}
	for _, peer := range h.handTunnels(b, f) {
		pairs[peer] = append(pairs[peer], tasks.TakeOut{Of: tasks.TakeOutConns}.ID())
	}
	return pairs
}

// Daemon returns what is to run strongSwan on a host.
func (h Host) Daemon(f tasks.Facts) tasks.Daemon { return h.backend(f).Daemon }

// Daemons returns the ways there are to run strongSwan.
func Daemons() []tasks.Daemon {
	var out []tasks.Daemon
	for _, b := range backends {
		out = append(out, b.Daemon)
	}
	return out
}

// Leave returns what is wanted of a host that vpnpush leaves: nothing. What the
// manifest has goes by itself (tasks.Orphans); what it has forgotten is taken along, and
// what it never knew of.
func Leave(f tasks.Facts) ([]tasks.Task, error) {
	ts, err := forgottenChains(f)
	return append(ts, tasks.Remains{}), err
}

func (h Host) tasks(b backend, ends []tunnel) ([]tasks.Task, error) {
	cs, err := h.conns(ends)
	if err != nil {
		return nil, err
	}
	ipsecFiles, conns, err := b.files(h.inv.ID, cs)
	if err != nil {
		return nil, err
	}
	l2tpFiles, err := h.l2tpFiles()
	if err != nil {
		return nil, err
	}
	sysctlFile, sysctls, err := h.sysctl()
	if err != nil {
		return nil, err
	}
	settingsFile, settings, err := h.settings(b)
	if err != nil {
		return nil, err
	}
	redialFiles, redial, err := h.redial(b, cs.tunnels)
	if err != nil {
		return nil, err
	}
	var ts []tasks.Task
	for _, s := range b.swaps() {
		ts = append(ts, s)
	}
	for _, pkg := range h.packages(b) {
		ts = append(ts, pkg)
	}
	ts = append(ts, sysctlFile)
	for _, s := range sysctls {
		ts = append(ts, s)
	}
	ts = append(ts, settingsFile)
	ts = append(append(ts, ipsecFiles...), foreignKeys(b.Daemon, cs, conns))
	ts = append(ts, l2tpFiles...)
	ts = append(ts, redialFiles...)
	if h.filter.tasks != nil {
		ts = append(ts, h.filter.tasks(h.policy(ends))...)
	}
	// the services must run before IPsec is loaded into one of them
	ts = append(ts, tasks.Unit{Name: b.Unit, Shared: true, Start: b.Name + "_start", Part: b.Part})
	for _, u := range h.filter.units {
		ts = append(ts, u)
	}
	if h.l2tp() != nil {
		ts = append(ts, tasks.Unit{Name: unitXL2TPD, Config: map[string]string{xl2tpdConf: digest(l2tpFiles, xl2tpdConf)}})
	}
	// an SA that a reload makes is to be made with them
	ts = append(ts, settings)
	ipsec := tasks.IPsec{Daemon: b.Daemon, Conns: conns}
	ts = append(append(ts, ipsec), redial...)
	for _, t := range cs.tunnels {
		if t.dials {
			ts = append(ts, tasks.Dial{IPsec: ipsec, Tunnel: *t.wanted()})
		}
	}
	if h.l2tp() != nil {
		s, err := h.sessions(b.Daemon, slices.Concat(ipsecFiles, l2tpFiles), conns)
		if err != nil {
			return nil, err
		}
		ts = append(ts, s)
	}
	return ts, nil
}

// packages returns the packages of a host, one by one: what they recommend is not
// installed on many servers.
func (h Host) packages(b backend) []tasks.Package {
	var out []tasks.Package
	swap := b.swaps()[0] // there are two
	for _, n := range b.Packages {
		out = append(out, tasks.Package{Name: n, Swap: &swap})
	}
	if h.l2tp() != nil {
		out = append(out, tasks.Package{Name: "ppp"}, tasks.Package{Name: "xl2tpd"})
	}
	return append(out, h.filter.packages...)
}

// digest returns the digest that a File among ts is to have.
func digest(ts []tasks.Task, path string) string {
	for _, t := range ts {
		if f, ok := t.(tasks.File); ok && f.Path == path {
			return tasks.SHA256(f.Content)
		}
	}
	return ""
}
