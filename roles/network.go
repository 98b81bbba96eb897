package roles

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
)

// maxSelectors is how many traffic selectors one IKEv2 payload holds: their
// number is one octet (RFC 7296 section 3.13).
const maxSelectors = 255

// hubSide returns what a site reaches through the hub: the hub's subnets, the L2TP
// clients that may reach the site, with relay every other site. Both ends of the
// tunnel have this one list: they must not differ by one entry.
func hubSide(inv *inventory.Inventory, s *inventory.Site) []netip.Prefix {
	out := slices.Clone(inv.Hub.Subnets)
	if inv.L2TP != nil && overlapAny(inv.L2TP.Reach, s.Subnets) {
		out = append(out, clientNet(inv)...)
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

// clientNet returns the net of the L2TP clients: the smallest prefix that holds the
// pool and the hub's end, or, where that would cover a site or the hub's
// subnets, just the pool in pieces.
func clientNet(inv *inventory.Inventory) []netip.Prefix {
	l := inv.L2TP
	first, last := l.PoolFrom, l.PoolTo
	if l.LocalIP.Less(first) {
		first = l.LocalIP
	}
	if last.Less(l.LocalIP) {
		last = l.LocalIP
	}
	p := one(first)
	for !p.Contains(last) {
		p = netip.PrefixFrom(first, p.Bits()-1).Masked()
	}
	taken := overlapAny([]netip.Prefix{p}, inv.Hub.Subnets)
	for i := range inv.Sites {
		taken = taken || overlapAny([]netip.Prefix{p}, inv.Sites[i].Subnets)
	}
	if !taken {
		return []netip.Prefix{p}
	}
	return prefixes(l.PoolFrom, l.PoolTo)
}

// prefixes returns the fewest prefixes that cover first to last, both
// inclusive.
func prefixes(first, last netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for a := first; a.IsValid() && !last.Less(a); {
		p := one(a)
		for p.Bits() > 0 {
			wider := netip.PrefixFrom(a, p.Bits()-1)
			if wider.Masked().Addr() != a || last.Less(inventory.LastAddr(wider)) {
				break
			}
			p = wider
		}
		out = append(out, p)
		a = inventory.LastAddr(p).Next()
	}
	return out
}

func overlapAny(as, bs []netip.Prefix) bool {
	for _, a := range as {
		for _, b := range bs {
			if a.Overlaps(b) {
				return true
			}
		}
	}
	return false
}

// common returns what as and bs have in common.
func common(as, bs []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range as {
		for _, b := range bs {
			if !a.Overlaps(b) {
				continue
			}
			if b.Bits() > a.Bits() {
				out = append(out, b)
			} else {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(out)
}

// one returns the prefix of a single address.
func one(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func texts(ps []netip.Prefix) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Masked().String()
	}
	return out
}
