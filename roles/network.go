package roles

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// maxSelectors is how many traffic selectors one IKEv2 payload holds: their
// number is one octet (RFC 7296 section 3.13).
const maxSelectors = 255

// hubSide is what a site reaches through the hub: the hub's subnets, the L2TP
// clients that may reach the site, with relay every other site. The site's
// rightsubnet is the same list: hub and site must not differ by one entry.
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

// clientNet is the net of the L2TP clients: the smallest prefix that holds the
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
	p := netip.PrefixFrom(first, first.BitLen())
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

// prefixes covers first to last, both inclusive, with the fewest prefixes.
func prefixes(first, last netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for a := first; a.IsValid() && !last.Less(a); {
		p := netip.PrefixFrom(a, a.BitLen())
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

// Tunnels are the child SAs that should be up on a host, with the selectors
// both ends should have agreed on.
func Tunnels(inv *inventory.Inventory, host string) []strongswan.Tunnel {
	p, err := place(inv, host)
	if err != nil {
		return nil
	}
	return p.tunnels()
}

func (p placed) tunnels() []strongswan.Tunnel {
	inv := p.inv
	if p.role == inventory.RoleSite {
		return []strongswan.Tunnel{{
			Conn: p.site.Name, Peer: inv.Hub.Name,
			Local: sorted(p.site.Subnets), Remote: sorted(hubSide(inv, p.site)),
			LocalID: p.site.Name, PeerID: inv.Hub.Name,
		}}
	}
	var out []strongswan.Tunnel
	for i := range inv.Sites {
		s := &inv.Sites[i]
		out = append(out, strongswan.Tunnel{
			Conn: s.Name, Peer: s.Name,
			Local: sorted(hubSide(inv, s)), Remote: sorted(s.Subnets),
			LocalID: inv.Hub.Name, PeerID: s.Name,
		})
	}
	return out
}

func texts(ps []netip.Prefix) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Masked().String()
	}
	return out
}

func sorted(ps []netip.Prefix) []string {
	out := texts(ps)
	slices.Sort(out)
	return out
}

func commas(ps []netip.Prefix) string { return strings.Join(texts(ps), ",") }

// Keys are the tasks that hold the keys of a host's tunnels, by the name of the
// host at the other end.
func Keys(inv *inventory.Inventory, host string) map[string]string {
	keys := map[string]string{}
	for _, s := range inv.Sites {
		task := tasks.File{Path: confDir + s.Name + ".secrets"}.ID()
		switch host {
		case inv.Hub.Name:
			keys[s.Name] = task
		case s.Name:
			keys[inv.Hub.Name] = task
		}
	}
	return keys
}
