package inventory

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/BurntSushi/toml"
)

// special is a network that is what it is everywhere (RFC 6890).
type special struct {
	net  netip.Prefix
	what string
}

// unusable are the networks whose addresses no host in a network has.
var unusable = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), "no network"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
}

// unusableIn returns what of a subnet of a site or hub cannot be used, as a sentence; ""
// if it can. Of a network that clients may reach only one that is nothing else is not
// good: everything can be reached, and so can a cloud's link-local services.
func unusableIn(p netip.Prefix, reach bool) string {
	for _, u := range unusable {
		within := u.net.Bits() <= p.Bits() && u.net.Contains(p.Addr())
		if reach && (!within || u.net.Addr().IsLinkLocalUnicast()) || !u.net.Overlaps(p) {
			continue
		}
		return fmt.Sprintf("%s is %s", u.net, u.what)
	}
	return ""
}

// claim is an address or a range in the inventory, and where it stands.
type claim struct {
	Range
	text string // "hub.address", "sites.tokyo.subnets 192.168.1.0/24"
	at   toml.Key
}

// checkAddresses refuses an address that another part of the network has as well.
// checkOverlaps has compared the sites' subnets with all others.
func (r *reader) checkAddresses(inv *Inventory) {
	own := []claim{{Range{inv.Hub.Address, inv.Hub.Address}, "hub.address", toml.Key{"hub", "address"}}}
	if a := inv.Hub.LocalAddress; a != inv.Hub.Address {
		own = append(own, claim{Range{a, a}, "hub.local_address", toml.Key{"hub", "local_address"}})
	}
	var subnets []claim
	for _, s := range inv.Sites {
		subnets = append(subnets, r.claims(s.Subnets, "sites", s.Name, "subnets")...)
	}
	slices.SortStableFunc(subnets, func(a, b claim) int { return a.First.Compare(b.First) })
	// holder returns the subnet of a site that has an address. They do not overlap, or
	// that has been told.
	holder := func(a netip.Addr) (claim, bool) {
		i, _ := slices.BinarySearchFunc(subnets, a, func(p claim, a netip.Addr) int { return cmp.Or(p.First.Compare(a), -1) })
		if !a.IsValid() || i == 0 || !subnets[i-1].Contains(a) {
			return claim{}, false
		}
		return subnets[i-1], true
	}

	for _, o := range own {
		inHub := slices.ContainsFunc(inv.Hub.Subnets, func(p netip.Prefix) bool { return p.Contains(o.First) })
		if net, ok := holder(o.First); ok && !inHub { // if it is, the overlap has been told
			r.errorf(net.at, "write the networks of the office alone: the site must reach the hub outside of them",
				"%s holds %s %s (line %d)", net.text, o.text, o.First, r.pos.line(o.at))
		}
	}
	r.checkClients(inv, own)
	r.checkBoxes(inv, own, holder)
}

// claims returns the subnets of a list.
func (r *reader) claims(subnets []netip.Prefix, path ...string) []claim {
	var out []claim
	elems := r.elems[toml.Key(path).String()]
	for i, p := range subnets {
		at := toml.Key(path)
		if i < len(elems) { // not so for the hub's default
			at = elems[i]
		}
		out = append(out, claim{Range{p.Addr(), LastAddr(p)}, at[:len(path)].String() + " " + p.String(), at})
	}
	return out
}

// clientClaims returns the pool and local_ip, as far as they were understood.
func (inv *Inventory) clientClaims() []claim {
	l := inv.L2TP
	if l == nil {
		return nil
	}
	var out []claim
	if l.PoolFrom.IsValid() {
		out = append(out, claim{Range{l.PoolFrom, l.PoolTo}, fmt.Sprintf("l2tp.pool %s-%s", l.PoolFrom, l.PoolTo), toml.Key{"l2tp", "pool"}})
	}
	if l.LocalIP.IsValid() {
		out = append(out, claim{Range{l.LocalIP, l.LocalIP}, "l2tp.local_ip " + l.LocalIP.String(), toml.Key{"l2tp", "local_ip"}})
	}
	return out
}

// checkClients refuses a network of the L2TP clients that is in use at the hub.
func (r *reader) checkClients(inv *Inventory, own []claim) {
	hub := r.claims(inv.Hub.Subnets, "hub", "subnets")
	for _, p := range inv.clientClaims() {
		in := slices.IndexFunc(own, func(o claim) bool { return p.overlaps(o.Range) })
		net := slices.IndexFunc(hub, func(h claim) bool { return p.overlaps(h.Range) })
		bad := slices.IndexFunc(unusable, func(u special) bool { return p.overlaps(Range{u.net.Addr(), LastAddr(u.net)}) })
		switch {
		case bad >= 0:
			r.errorf(p.at, inv.OtherClientNet(), "%s holds addresses of %s, which is %s", p.text, unusable[bad].net, unusable[bad].what)
		case in >= 0 && p.First == p.Last:
			r.errorf(p.at, inv.OtherClientNet(), "%s is %s (line %d)", p.text, own[in].text, r.pos.line(own[in].at))
		case net >= 0:
			mend := inv.OtherClientNet()
			if hub[net].First != hub[net].Last {
				mend += "; if it is the clients' alone, leave it out of hub.subnets: the sites that l2tp.reach names know of it"
			}
			r.errorf(p.at, mend, "%s overlaps %s (line %d)", p.text, hub[net].text, r.pos.line(hub[net].at))
		case in >= 0:
			r.errorf(p.at, inv.OtherClientNet(), "%s holds %s %s (line %d)", p.text, own[in].text, own[in].First, r.pos.line(own[in].at))
		}
	}
}

// overlaps reports whether r and o have an address in common.
func (r Range) overlaps(o Range) bool {
	return r.Contains(o.First) || o.Contains(r.First)
}

// OtherClientNet returns the mend where the network of the L2TP clients is another's:
// one that the inventory has not, and that is not taken besides.
func (inv *Inventory) OtherClientNet(taken ...netip.Prefix) string {
	const mend = "take a network that is in use nowhere"
	free := inv.freeNet(taken...)
	if !free.IsValid() {
		return mend
	}
	first, last := free.Addr().Next(), LastAddr(free).Prev()
	return fmt.Sprintf(`%s, such as local_ip = "%s" and pool = "%s-%s"`, mend, first, first.Next(), last)
}

// checkBoxes refuses an address of a site's box that is another's.
func (r *reader) checkBoxes(inv *Inventory, own []claim, holder func(netip.Addr) (claim, bool)) {
	const mend = "write the address of the site's own box, or leave it out for that of its default route"
	boxes := map[netip.Addr]toml.Key{}
	for _, s := range inv.Sites {
		if !s.Address.IsValid() {
			continue
		}
		at := toml.Key{"sites", s.Name, "address"}
		is := func(what string, other toml.Key) {
			r.errorf(at, mend, "%s %s is %s (line %d)", at, s.Address, what, r.pos.line(other))
		}
		if i := slices.IndexFunc(own, func(o claim) bool { return o.First == s.Address }); i >= 0 {
			is(own[i].text, own[i].at)
			continue
		}
		if other, ok := boxes[s.Address]; ok {
			is(other.String(), other)
			continue
		}
		boxes[s.Address] = at
		for _, p := range inv.clientClaims() {
			if p.Contains(s.Address) {
				what := p.at.String()
				if p.First != p.Last {
					what = "in " + what
				}
				is(what, p.at)
			}
		}
		if net, ok := holder(s.Address); ok && net.at[1] != s.Name {
			is("in "+net.text, net.at)
		}
	}
}

// checkSelectors refuses more networks than a tunnel carries.
func (r *reader) checkSelectors(inv *Inventory) {
	all := 0
	for _, s := range inv.Sites {
		all += len(s.Subnets)
	}
	clients := 0
	if inv.L2TP != nil && inv.L2TP.PoolFrom.IsValid() && inv.L2TP.LocalIP.IsValid() {
		clients = len(inv.ClientNets())
	}
	told := false
	for i := range inv.Sites {
		s := &inv.Sites[i]
		if n := len(s.Subnets); n > MaxSelectors {
			at := toml.Key{"sites", s.Name, "subnets"}
			r.errorf(at, "write fewer and wider ones", "%s has %d subnets, and a tunnel carries %d on each side", at, n, MaxSelectors)
		}
		// as BehindHub, without the list: with relay it is as long for each site
		n := len(inv.Hub.Subnets)
		if inv.Tunnel.Relay {
			n += all - len(s.Subnets)
		}
		if n <= MaxSelectors && n+clients > MaxSelectors && inv.clientsReach(s) {
			n += clients
		}
		if n > MaxSelectors && !told {
			told = true // mended for one, it is for the others
			at := toml.Key{"hub", "subnets"}
			if inv.Tunnel.Relay {
				at = toml.Key{"tunnel", "relay"}
			}
			r.errorf(at, "give the sites adjacent subnets, put one wider prefix into hub.subnets and turn tunnel.relay off",
				"site %s reaches %d subnets through the hub, and a tunnel carries %d on each side", s.Name, n, MaxSelectors)
		}
	}
}

// freeNet returns a network for L2TP clients that no part of the inventory has, and none
// of those that are taken besides; the zero Prefix if it finds none.
func (inv *Inventory) freeNet(taken ...netip.Prefix) netip.Prefix {
	taken = append(slices.Clone(taken), inv.Hub.Subnets...)
	addresses := []netip.Addr{inv.Hub.Address, inv.Hub.LocalAddress}
	for _, s := range inv.Sites {
		taken = append(taken, s.Subnets...)
		addresses = append(addresses, s.Address)
	}
	for _, net := range []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 200, 0}), netip.AddrFrom4([4]byte{172, 30, 200, 0}), netip.AddrFrom4([4]byte{10, 200, 200, 0})} {
		for p := netip.PrefixFrom(net, 24); p.Addr().As4()[2] != 255; p = netip.PrefixFrom(LastAddr(p).Next(), 24) {
			if !overlaps(p, taken) && !slices.ContainsFunc(addresses, p.Contains) {
				return p
			}
		}
	}
	return netip.Prefix{}
}
