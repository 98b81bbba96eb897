package inventory

import (
	"net/netip"
	"slices"
)

// MaxSelectors is how many networks one side of a tunnel carries: the number of
// traffic selectors in a payload of IKEv2 is one octet (RFC 7296 section 3.13).
const MaxSelectors = 255

// BehindHub returns what a site reaches through the hub: the hub's subnets, the L2TP
// clients that may reach the site, with relay every other site. Both ends of the
// tunnel have this one list: they must not differ by one entry.
func (inv *Inventory) BehindHub(s *Site) []netip.Prefix {
	out := slices.Clone(inv.Hub.Subnets)
	if inv.clientsReach(s) {
		out = append(out, inv.ClientNets()...)
	}
	if inv.Tunnel.Relay {
		for i := range inv.Sites {
			if inv.Sites[i].Name != s.Name {
				out = append(out, inv.Sites[i].Subnets...)
			}
		}
	}
	return out
}

// clientsReach reports whether L2TP clients may reach some of a site.
func (inv *Inventory) clientsReach(s *Site) bool {
	return inv.L2TP != nil && slices.ContainsFunc(inv.L2TP.Reach, func(r netip.Prefix) bool { return overlaps(r, s.Subnets) })
}

// Range is a range of addresses, both ends included.
type Range struct{ First, Last netip.Addr }

// ClientRanges returns the addresses of the L2TP layer: the pool, and the hub's end of
// it. They are one range where they are side by side.
//
// It is these addresses and no others, never what lies between or around them: a
// local_ip far from the pool would take half of the internet away from the sites. The
// first and the last address of a network are no host's, so a range that fills a
// network but for them is that network, which is one selector and not up to fourteen.
func (inv *Inventory) ClientRanges() []Range {
	l := inv.L2TP
	pool, hub := l.pool(), Range{l.LocalIP, l.LocalIP}
	switch l.LocalIP {
	case pool.First.Prev():
		pool.First = l.LocalIP
	case pool.Last.Next():
		pool.Last = l.LocalIP
	default:
		return []Range{inv.filled(pool), hub}
	}
	return []Range{inv.filled(pool)}
}

// filled returns the network that r fills but for its first and last address, or r
// where there is none or somebody else has one of the two.
func (inv *Inventory) filled(r Range) Range {
	p := netip.PrefixFrom(r.First, r.First.BitLen())
	for !p.Contains(r.Last) {
		p = netip.PrefixFrom(r.First, p.Bits()-1).Masked()
	}
	net := Range{p.Addr(), LastAddr(p)}
	if net.First != r.First && net.First.Next() != r.First || net.Last != r.Last && net.Last.Prev() != r.Last {
		return r
	}
	taken := overlaps(p, inv.Hub.Subnets) || p.Contains(inv.Hub.Address) || p.Contains(inv.Hub.LocalAddress)
	for i := range inv.Sites {
		taken = taken || overlaps(p, inv.Sites[i].Subnets)
	}
	if taken {
		return r
	}
	return net
}

// ClientNets returns ClientRanges as prefixes.
func (inv *Inventory) ClientNets() []netip.Prefix {
	var out []netip.Prefix
	for _, r := range inv.ClientRanges() {
		out = append(out, r.Prefixes()...)
	}
	return out
}

// Prefixes returns the fewest prefixes that cover r and nothing else.
func (r Range) Prefixes() []netip.Prefix {
	var out []netip.Prefix
	for a := r.First; a.IsValid() && !r.Last.Less(a); {
		p := netip.PrefixFrom(a, a.BitLen())
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || r.Last.Less(LastAddr(wider)) {
				break
			}
			p = wider
		}
		out = append(out, p)
		a = LastAddr(p).Next()
	}
	return out
}

// Contains reports whether a is in r.
func (r Range) Contains(a netip.Addr) bool {
	return r.First.IsValid() && a.IsValid() && !a.Less(r.First) && !r.Last.Less(a)
}

// LastAddr returns the last address of a prefix.
func LastAddr(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 1 << (7 - i%8)
	}
	a, _ := netip.AddrFromSlice(b) // 4 or 16 bytes, as they came
	return a
}

func overlaps(p netip.Prefix, others []netip.Prefix) bool {
	return slices.ContainsFunc(others, p.Overlaps)
}
