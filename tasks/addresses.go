package tasks

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Address is an address of an interface, with its network.
type Address struct {
	Dev  string
	Addr netip.Addr
	Net  netip.Prefix // of a point-to-point link: its other end
}

var (
	readAddresses = Read{Kind: ReadCommand, Arg: "addresses", Shell: "ip -o -4 addr show"}
	readRoutes    = Read{Kind: ReadCommand, Arg: "routes", Shell: "ip -o -4 route show table main"}
)

// AddressReads is what NetworksFrom needs.
func AddressReads() []Read { return []Read{readAddresses, readRoutes} }

// Networks are the addresses that a host has, and where its routes lead.
type Networks struct {
	Addresses []Address
	Routes    []Route // without the default route
}

// Route is where a route of a host leads.
type Route struct {
	Net netip.Prefix
	Dev string // "" where it says none
}

// NetworksFrom returns the networks of a host.
func NetworksFrom(f Facts) (Networks, error) {
	out, err := f.Output(readAddresses.Arg)
	if err != nil {
		return Networks{}, err
	}
	addrs, err := parseAddresses(out)
	if err != nil {
		return Networks{}, fmt.Errorf("command %s: %w: %w", readAddresses.Shell, ErrUnknown, err)
	}
	if out, err = f.Output(readRoutes.Arg); err != nil {
		return Networks{}, err
	}
	return Networks{Addresses: addrs, Routes: parseRoutes(out)}, nil
}

// parseAddresses parses `ip -o -4 addr show` (ip-address(8)):
// "2: eth0    inet 192.168.1.10/24 brd ... scope global eth0\       valid_lft ...".
func parseAddresses(b []byte) ([]Address, error) {
	out := []Address{}
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
		a := Address{f[1], p.Addr(), p.Masked()}
		if len(f) > 5 && f[4] == "peer" {
			if p, err = parsePrefix(f[5]); err != nil {
				return nil, fmt.Errorf("not an address: %.80q", l)
			}
			a.Net = p.Masked()
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
// default: "192.168.1.0/24 via 10.0.0.1 dev eth0 proto static".
func parseRoutes(b []byte) []Route {
	var out []Route
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		for _, w := range f {
			if p, err := parsePrefix(w); err == nil {
				r := Route{Net: p.Masked()}
				if i := slices.Index(f, "dev"); i >= 0 && i+1 < len(f) {
					r.Dev = f[i+1]
				}
				out = append(out, r)
			} else if w == "unicast" || w == "local" {
				continue // the type comes before the destination
			}
			break
		}
	}
	return out
}

// Lacks returns a sentence where no interface has an address, with those that are there,
// and what mends it on a host of that role; "" where one has it.
func (n Networks) Lacks(want netip.Addr, role string) (says, mend string) {
	var have []string
	for _, a := range n.Addresses {
		if a.Addr == want {
			return "", ""
		}
		if a.Dev != "lo" {
			have = append(have, a.Addr.String())
		}
	}
	there := "the host has " + strings.Join(have, ", ")
	if len(have) == 0 {
		there = "the host has no address but loopback"
	}
	mend = "set address of the site to one of them, or leave it out"
	if role == RoleHub {
		mend = "if the provider maps the public address to one of them, set hub.local_address to that"
	}
	return fmt.Sprintf("no interface has %s; %s", want, there), mend + "; if the host is to get it, bring it up there first"
}

// NoWay returns a sentence for each subnet that no interface and no route of the host leads
// to. A hub's public address is told to the provider, and may be on no interface.
func (n Networks) NoWay(subnets []netip.Prefix, role string) []string {
	var out []string
	for _, want := range subnets {
		found := role == RoleHub && want.IsSingleIP()
		for _, a := range n.Addresses {
			found = found || a.Net.Overlaps(want)
		}
		for _, r := range n.Routes {
			found = found || r.Net.Bits() > 0 && r.Net.Overlaps(want)
		}
		if !found {
			out = append(out, fmt.Sprintf("the inventory has %s behind this host, but no interface and no route of it leads there", want))
		}
	}
	return out
}

// InUse says which interface or route of the host has some of these networks, "" for
// none. The links of L2TP clients, and the routes to their other ends, have nothing
// but the addresses that the clients were given: they are no network. What strongSwan
// routes is in a table of its own, which is not read.
func (n Networks) InUse(want []netip.Prefix) string {
	for _, a := range n.Addresses {
		if !strings.HasPrefix(a.Dev, "ppp") && slices.ContainsFunc(want, func(p netip.Prefix) bool { return p.Overlaps(a.Net) || p.Contains(a.Addr) }) {
			return fmt.Sprintf("%s has %s", a.Dev, a.text())
		}
	}
	for _, r := range n.Routes {
		link := strings.HasPrefix(r.Dev, "ppp") && r.Net.IsSingleIP()
		if !link && r.Net.Bits() > 0 && slices.ContainsFunc(want, r.Net.Overlaps) {
			return strings.TrimSuffix(fmt.Sprintf("a route leads to %s by %s", r.Net, r.Dev), " by ")
		}
	}
	return ""
}

// text returns an address as it is written, with the length of its network or its peer.
func (a Address) text() string {
	if !a.Net.Contains(a.Addr) {
		return fmt.Sprintf("%s peer %s", a.Addr, a.Net)
	}
	return fmt.Sprintf("%s/%d", a.Addr, a.Net.Bits())
}

// All returns every network that an interface or a route of the host has.
func (n Networks) All() []netip.Prefix {
	var out []netip.Prefix
	for _, a := range n.Addresses {
		out = append(out, a.Net, netip.PrefixFrom(a.Addr, a.Addr.BitLen()))
	}
	for _, r := range n.Routes {
		if r.Net.Bits() > 0 {
			out = append(out, r.Net)
		}
	}
	return out
}
