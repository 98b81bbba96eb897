package doctor

import (
	"net/netip"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// addresses compares the host's real networks with what the inventory says.
func (x *hostChecks) addresses() {
	n, err := tasks.NetworksFrom(x.Facts)
	if err != nil {
		x.skip("the addresses and routes", err)
		return
	}
	if x.Address.IsValid() {
		if says, mend := n.Lacks(x.Address, x.Role); says != "" {
			x.find("address", Problem, "charon cannot send from an address that the host does not have", mend, "%s", says)
		}
	}
	for _, a := range n.Addresses {
		if a.Dev == "lo" || strings.HasPrefix(a.Dev, "ppp") {
			continue
		}
		for _, t := range x.Tunnels {
			x.overlap(a, t)
		}
	}
	for _, says := range n.NoWay(x.Subnets, x.Role) {
		x.find("lan", Warning, "what comes out of the tunnel for it goes out of the default route, and is lost",
			"correct subnets in the inventory, or add the interface or the route on the host", "%s", says)
	}
}

// overlap compares an interface's network with what a tunnel leads to: IPsec
// policies go before routes.
func (x *hostChecks) overlap(a tasks.Address, t strongswan.Tunnel) {
	lan := a.Net
	for _, r := range t.Remote {
		remote, err := netip.ParsePrefix(r)
		if err != nil || !remote.Overlaps(lan) {
			continue
		}
		if remote.Bits() <= lan.Bits() {
			x.find("lan", Problem, "once the tunnel is up, packets for the host's own LAN go into it: the LAN, and a login from there, are cut off",
				"renumber one of the two, or take it out of subnets",
				"the LAN on %s, %s, is inside %s, which the tunnel to %s leads to", a.Dev, lan, remote, t.Peer)
		} else {
			x.find("lan", Warning, "machines of the LAN with these addresses are not reached while the tunnel is up",
				"renumber one of the two, or narrow subnets",
				"the tunnel to %s leads to %s, a part of the LAN on %s, %s", t.Peer, remote, a.Dev, lan)
		}
	}
}
