package roles

import (
	"net/netip"

	"github.com/vpnpush/vpnpush/inventory"
)

// hubTunnels returns the hub's ends: one for each site, in the order of the
// inventory. They wait, since a site behind NAT can be called by nobody.
func hubTunnels(inv *inventory.Inventory) []tunnel {
	out := make([]tunnel, 0, len(inv.Sites))
	for i := range inv.Sites {
		out = append(out, hubEnd(inv, &inv.Sites[i]))
	}
	return out
}

// hubEnd returns the hub's end of a site's tunnel.
func hubEnd(inv *inventory.Inventory, s *inventory.Site) tunnel {
	t := siteTunnel(inv, s)
	t.local = hubLocal(inv)
	t.localID, t.peerID = inv.Hub.Name, s.Name
	t.localNets, t.remoteNets = inv.BehindHub(s), s.Subnets
	return t
}

// hubLocal returns the address that the hub itself carries.
func hubLocal(inv *inventory.Inventory) netip.Addr {
	if inv.Hub.LocalAddress.IsValid() {
		return inv.Hub.LocalAddress
	}
	return inv.Hub.Address
}

// hubAddresses returns the hub's own addresses as prefixes.
func hubAddresses(inv *inventory.Inventory) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range []netip.Addr{inv.Hub.Address, inv.Hub.LocalAddress} {
		if a.IsValid() {
			out = append(out, one(a))
		}
	}
	return out
}
