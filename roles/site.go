package roles

import "github.com/vpnpush/vpnpush/inventory"

// siteEnd returns a site's own end of its tunnel, which dials.
func siteEnd(inv *inventory.Inventory, s *inventory.Site) tunnel {
	t := siteTunnel(inv, s)
	t.dials = true
	t.local, t.remote = s.Address, inv.Hub.Address
	t.localID, t.peerID = s.Name, inv.Hub.Name
	t.localNets, t.remoteNets = s.Subnets, inv.BehindHub(s)
	return t
}

// siteTunnel returns what a site's tunnel has alike on both ends. The IKE
// proposals are one list for all sites: the hub answers IKE_SA_INIT before it
// knows which site calls.
func siteTunnel(inv *inventory.Inventory, s *inventory.Site) tunnel {
	return tunnel{
		name: s.Name, psk: s.PSK,
		ike: inv.Tunnel.IKE, esp: inv.Tunnel.ESP, dpd: inv.Tunnel.DPDDelay,
	}
}
