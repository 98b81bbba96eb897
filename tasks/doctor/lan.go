package doctor

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// address is an address of an interface, with its network.
type address struct {
	dev  string
	addr netip.Addr
	net  netip.Prefix // of a point-to-point link: its other end
}

// parseAddresses parses `ip -o -4 addr show` (ip-address(8)):
// "2: eth0    inet 192.168.1.10/24 brd ... scope global eth0\       valid_lft ...".
func parseAddresses(b []byte) ([]address, error) {
	var out []address
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) == 0 {
			continue
		}
		if len(f) < 4 || f[2] != "inet" {
			return nil, fmt.Errorf("not an address: %.80q", l)
		}
		p, err := parsePrefix(f[3])
		if err != nil {
			return nil, fmt.Errorf("not an address: %.80q", l)
		}
		a := address{f[1], p.Addr(), p.Masked()}
		if len(f) > 5 && f[4] == "peer" {
			if p, err = parsePrefix(f[5]); err != nil {
				return nil, fmt.Errorf("not an address: %.80q", l)
			}
			a.net = p.Masked()
		}
		out = append(out, a)
	}
	return out, nil
}

// parsePrefix parses an address with or without its length.
func parsePrefix(s string) (netip.Prefix, error) {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p, nil
	}
	a, err := netip.ParseAddr(s)
	return netip.PrefixFrom(a, a.BitLen()), err
}

// parseRoutes parses the destinations of `ip -o -4 route show`, without the
// default.
func parseRoutes(b []byte) []netip.Prefix {
	var out []netip.Prefix
	for l := range strings.Lines(string(b)) {
		for _, w := range strings.Fields(l) {
			if p, err := parsePrefix(w); err == nil {
				out = append(out, p.Masked())
			} else if w == "unicast" || w == "local" {
				continue // the type comes before the destination
			}
			break
		}
	}
	return out
}

// addresses compares the host's real networks with what the inventory says.
func (x *hostChecks) addresses() {
	if x.addrs == nil {
		return
	}
	x.left()
	for _, a := range x.addrs {
		if a.dev == "lo" || strings.HasPrefix(a.dev, "ppp") {
			continue
		}
		for _, t := range x.Tunnels {
			x.overlap(a, t)
		}
	}
	out, ok := x.output(readRoutes, "the routes")
	if !ok {
		return
	}
	routes := parseRoutes(out)
	for _, want := range x.Subnets {
		found := x.Role == tasks.RoleHub && want.IsSingleIP() // its public address, wherever that is
		for _, a := range x.addrs {
			found = found || a.net.Overlaps(want)
		}
		for _, r := range routes {
			found = found || r.Bits() > 0 && r.Overlaps(want)
		}
		if !found {
			x.find("lan", Warning, "what comes out of the tunnel for it goes out of the default route, and is lost",
				"correct subnets in the inventory, or add the interface or the route on the host",
				"the inventory has %s behind this host, but no interface and no route of it leads there", want)
		}
	}
}

// left looks for the address that the host's conns are to use.
func (x *hostChecks) left() {
	if !x.Address.IsValid() {
		return
	}
	var have []string
	for _, a := range x.addrs {
		if a.addr == x.Address {
			return
		}
		if a.dev != "lo" {
			have = append(have, a.addr.String())
		}
	}
	mend := "set address of the site to one of them, or leave it out"
	if x.Role == tasks.RoleHub {
		mend = "if the provider maps the public address to one of them, set hub.local_address to that"
	}
	there := "the host has " + strings.Join(have, ", ")
	if len(have) == 0 {
		there = "the host has no address but loopback"
	}
	x.find("address", Problem, "charon cannot send from an address that the host does not have", mend,
		"no interface has %s; %s", x.Address, there)
}

// overlap compares an interface's network with what a tunnel leads to: IPsec
// policies go before routes.
func (x *hostChecks) overlap(a address, t strongswan.Tunnel) {
	lan := a.net
	for _, r := range t.Remote {
		remote, err := netip.ParsePrefix(r)
		if err != nil || !remote.Overlaps(lan) {
			continue
		}
		if remote.Bits() <= lan.Bits() {
			x.find("lan", Problem, "once the tunnel is up, packets for the host's own LAN go into it: the LAN, and a login from there, are cut off",
				"renumber one of the two, or take it out of subnets",
				"the LAN on %s, %s, is inside %s, which the tunnel to %s leads to", a.dev, lan, remote, t.Peer)
		} else {
			x.find("lan", Warning, "machines of the LAN with these addresses are not reached while the tunnel is up",
				"renumber one of the two, or narrow subnets",
				"the tunnel to %s leads to %s, a part of the LAN on %s, %s", t.Peer, remote, a.dev, lan)
		}
	}
}
