package roles

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// packet is what a rule looks at. What is not set is a plain TCP packet of a new
// flow, in the clear, on an interface of the host's own.
type packet struct {
	from, to        string
	in, out         string // "client", "ppp", "ipsec", or another
	proto           proto
	sport, dport    uint16
	tunnel, through bool // it came, or it leaves, inside IPsec
	reply, redirect bool
	spoofed         bool // an answer would not take the interface that it came by
}

// what returns what a list of rules does with a packet, "" for nothing.
func what(rules []rule, p packet) string {
	if p.proto == "" {
		p.proto = tcp
	}
	matches := func(r rule) bool {
		return inside(r.from, p.from) && inside(r.to, p.to) && within(r.fromRange, p.from) && within(r.toRange, p.to) && on(r.in, p.in) && on(r.out, p.out) &&
			!(r.elsewhere && r.to.Contains(addr(p.from))) &&
			(r.proto == "" || r.proto == p.proto) &&
			(r.sport == 0 || r.sport == p.sport) && (len(r.dports) == 0 || slices.Contains(r.dports, p.dport)) &&
			(len(r.ports) == 0 || slices.Contains(r.ports, p.sport) || slices.Contains(r.ports, p.dport)) &&
			(r.ipsecIn == anyWay || (r.ipsecIn == inTunnel) == p.tunnel) &&
			(r.ipsecOut == anyWay || (r.ipsecOut == inTunnel) == p.through) &&
			(!r.replies || p.reply) && (!r.redirect || p.redirect) && (!r.spoofed || p.spoofed)
	}
	i := slices.IndexFunc(rules, matches)
	if i < 0 || rules[i].verdict == pass {
		return ""
	}
	return map[verdict]string{accept: "accept", drop: "drop", masquerade: "masquerade", clampMSS: "clamp"}[rules[i].verdict]
}

func inside(p netip.Prefix, a string) bool { return !p.IsValid() || p.Contains(addr(a)) }

func within(r inventory.Range, a string) bool { return !r.First.IsValid() || r.Contains(addr(a)) }

func on(want iface, have string) bool {
	switch want {
	case ppp:
		return have == "ppp" || have == "client"
	case notPPP:
		return have != "ppp" && have != "client"
	case clientLink:
		return have == "client"
	case notIPsec:
		return have != "ipsec"
	}
	return true
}

// Who may reach whom, whatever a host's packet filter is: each backend writes down
// these values, so that the policy stands once.
func TestPolicy(t *testing.T) {
	const (
		hubAddr, hubLAN = "203.0.113.10", "10.10.0.7"
		tokyo, osaka    = "192.168.1.7", "192.168.2.7" // clients may reach tokyo, and not osaka
		client, hubPPP  = "192.168.200.3", "192.168.200.1"
		world           = "198.51.100.9"
	)
	hub, site := policyOf(t, full(), "vps"), policyOf(t, full(), "tokyo")
	lone, one := policyOf(t, minimal(), "vps"), policyOf(t, minimal(), "tokyo")
	wide := full()
	wide.L2TP.Reach = nets("0.0.0.0/0")
	wide.Hub.Subnets = nets("203.0.113.0/24", "10.10.0.0/24")
	open, wideSite := policyOf(t, wide, "vps"), policyOf(t, wide, "tokyo")
	named := full()
	named.L2TP.Reach = append(named.L2TP.Reach, nets("169.254.1.0/24")...)
	name := policyOf(t, named, "vps")
	if len(one.output) != 1 {
		t.Errorf("a site that reaches the hub's address alone holds more back than redirects: %v", one.output)
	}
	for _, tt := range []struct {
		name  string
		rules []rule
		packet
		want string
	}{
		{"a site dials the hub", hub.input, packet{from: world, to: hubAddr, proto: udp, dport: 500}, "accept"},
		{"a site behind NAT dials the hub", hub.input, packet{from: world, to: hubAddr, proto: udp, dport: 4500}, "accept"},
		{"ESP to the hub", hub.input, packet{from: world, to: hubAddr, proto: esp}, "accept"},
		{"ssh to the hub is the user's affair", hub.input, packet{from: world, to: hubAddr, dport: 22}, ""},
		{"a site speaks to the hub", hub.input, packet{from: tokyo, to: hubAddr, tunnel: true}, "accept"},
		{"a site's address in the clear is no site", hub.input, packet{from: tokyo, to: hubAddr}, ""},

		{"site to site through the hub", hub.forward, packet{from: osaka, to: tokyo, tunnel: true, through: true}, "accept"},
		{"site to a site that is down", hub.forward, packet{from: osaka, to: tokyo, tunnel: true}, "drop"},
		{"site to site without relay is the user's affair", lone.forward, packet{from: osaka, to: tokyo, tunnel: true, through: true}, ""},
		{"site to the hub's LAN", hub.forward, packet{from: tokyo, to: hubLAN, tunnel: true}, "accept"},
		{"the hub's LAN to a site", hub.forward, packet{from: hubLAN, to: tokyo, through: true}, "accept"},
		{"the hub's LAN to a site that is down", hub.forward, packet{from: hubLAN, to: tokyo}, "drop"},
		{"to a site, the source stays", hub.nat, packet{from: client, to: tokyo, through: true}, "accept"},

		{"L2TP inside of IPsec", hub.input, packet{from: world, to: hubAddr, proto: udp, dport: 1701, tunnel: true}, "accept"},
		{"L2TP in the clear", hub.input, packet{from: world, to: hubAddr, proto: udp, dport: 1701}, "drop"},
		{"L2TP to a client whose SA is gone", hub.output, packet{from: hubAddr, to: world, proto: udp, sport: 1701}, "drop"},
		{"L2TP to a client", hub.output, packet{from: hubAddr, to: world, proto: udp, sport: 1701, through: true}, ""},
		{"client to the hub's end", hub.input, packet{from: client, to: hubPPP, in: "client"}, "accept"},
		{"client to another address of the hub", hub.input, packet{from: client, to: "10.10.0.1", in: "client"}, "drop"},
		{"client answers the hub", hub.input, packet{from: client, to: "10.10.0.1", in: "client", reply: true}, "accept"},
		{"client to a site it may reach", hub.forward, packet{from: client, to: tokyo, in: "client", through: true}, "accept"},
		{"client to that site while it is down", hub.forward, packet{from: client, to: tokyo, in: "client"}, "drop"},
		{"client to another site", hub.forward, packet{from: client, to: osaka, in: "client", through: true}, "drop"},
		{"client to the hub's LAN, which it may not", hub.forward, packet{from: client, to: hubLAN, in: "client"}, "drop"},
		{"client to client", hub.forward, packet{from: client, to: "192.168.200.4", in: "client", out: "client"}, "drop"},
		{"client to the internet", hub.forward, packet{from: client, to: world, in: "client"}, "accept"},
		{"client to the internet, as the hub", hub.nat, packet{from: client, to: world}, "masquerade"},
		{"the internet answers a client", hub.forward, packet{from: world, to: client, out: "client", reply: true}, "accept"},
		{"the internet calls a client", hub.forward, packet{from: world, to: client, out: "client"}, "drop"},
		{"a client to the internet by a PPP uplink", hub.forward, packet{from: client, to: world, in: "client", out: "ppp"}, "accept"},
		{"a client to the internet by a PPP uplink, as the hub", hub.nat, packet{from: client, to: world, out: "ppp"}, "masquerade"},
		{"client to client keeps its source", hub.nat, packet{from: client, to: "192.168.200.4", out: "client"}, "accept"},
		{"a site that clients may reach calls one", hub.forward, packet{from: tokyo, to: client, out: "client", tunnel: true}, "accept"},
		{"another site calls a client", hub.forward, packet{from: osaka, to: client, out: "client", tunnel: true}, "drop"},
		{"a site calls a client that has hung up", hub.forward, packet{from: tokyo, to: client, tunnel: true}, "drop"},
		{"the hub's LAN, which clients may not reach, calls one", hub.forward, packet{from: hubLAN, to: client, out: "client"}, "drop"},
		{"the hub's LAN, which clients may reach, calls one", open.forward, packet{from: hubLAN, to: client, out: "client"}, "accept"},
		{"its address from elsewhere calls a client", open.source, packet{from: hubLAN, to: client, spoofed: true}, "drop"},
		{"everything is not the internet's to call a client", open.forward, packet{from: world, to: client, out: "client"}, "drop"},
		{"client to the metadata of a cloud", hub.forward, packet{from: client, to: "169.254.169.254", in: "client"}, "drop"},
		{"client to the metadata of a cloud, with everything in reach", open.forward, packet{from: client, to: "169.254.169.254", in: "client"}, "drop"},
		{"client to a link-local address of the hub", open.input, packet{from: client, to: "169.254.0.1", in: "client"}, "drop"},
		{"client to a link-local address that is named", name.forward, packet{from: client, to: "169.254.1.1", in: "client"}, "accept"},
		{"client to one that is not", name.forward, packet{from: client, to: "169.254.169.254", in: "client"}, "drop"},

		{"a client with its own address", hub.source, packet{from: client, to: tokyo, in: "client"}, ""},
		{"a client with another one", hub.source, packet{from: "10.99.0.1", to: "10.10.0.1", in: "client", spoofed: true}, "drop"},
		{"what comes by the user's PPP uplink, and another way back", hub.source, packet{from: world, to: hubAddr, in: "ppp", spoofed: true}, ""},
		{"the hub's LAN to a site, from there", hub.source, packet{from: hubLAN, to: tokyo}, ""},
		{"the hub's LAN to a site, from elsewhere", hub.source, packet{from: hubLAN, to: tokyo, spoofed: true}, "drop"},
		{"from elsewhere, out of a tunnel", hub.source, packet{from: hubLAN, to: tokyo, spoofed: true, tunnel: true}, ""},
		{"the hub's LAN to the internet is the user's affair", hub.source, packet{from: hubLAN, to: world, spoofed: true}, ""},
		{"a site's address in the clear, for another site", hub.forward, packet{from: osaka, to: tokyo, through: true}, "drop"},
		{"a client's address from elsewhere, for a site", hub.forward, packet{from: client, to: tokyo, through: true}, "drop"},

		{"the hub itself to a site", hub.output, packet{from: hubAddr, to: tokyo, through: true}, ""},
		{"the hub itself to a site that is down", hub.output, packet{from: hubAddr, to: tokyo}, "drop"},
		{"the hub itself by charon's own interface", hub.output, packet{from: hubAddr, to: tokyo, out: "ipsec"}, ""},
		{"IKE to a site's box without NAT", hub.output, packet{from: hubAddr, to: tokyo, proto: udp, sport: 500, dport: 500}, ""},
		{"ESP in UDP to a site's box without NAT", hub.output, packet{from: hubAddr, to: tokyo, proto: udp, sport: 4500, dport: 4500}, ""},
		{"ESP to a site's box without NAT", hub.output, packet{from: hubAddr, to: tokyo, proto: esp}, ""},
		{"ssh to a site's box without NAT", hub.output, packet{from: hubAddr, to: tokyo, dport: 22}, ""},
		{"the hub answers ssh", hub.output, packet{from: hubAddr, to: tokyo, sport: 22}, ""},
		{"a neighbour of the hub in a site's subnet", hub.output, packet{from: tokyo, to: "192.168.1.1"}, ""},

		{"the hub calls a site", site.input, packet{from: hubAddr, to: tokyo, proto: udp, dport: 4500}, "accept"},
		{"another than the hub calls a site", site.input, packet{from: world, to: tokyo, proto: udp, dport: 4500}, ""},
		{"another site speaks to the site", site.input, packet{from: osaka, to: tokyo, tunnel: true}, "accept"},
		{"another site to the LAN", site.forward, packet{from: osaka, to: tokyo, tunnel: true}, "accept"},
		{"another site's address in the clear", site.forward, packet{from: osaka, to: tokyo}, ""},
		{"a client to the LAN", site.forward, packet{from: client, to: tokyo, tunnel: true}, "accept"},
		{"the LAN to another site", site.forward, packet{from: tokyo, to: osaka, through: true}, "accept"},
		{"the LAN to another site while the tunnel is down", site.forward, packet{from: tokyo, to: osaka}, "drop"},
		{"the LAN to the hub while the tunnel is down", site.forward, packet{from: tokyo, to: hubAddr}, ""},
		{"the LAN to the hub in a subnet of the hub's, while the tunnel is down", wideSite.forward, packet{from: tokyo, to: hubAddr}, ""},
		{"the LAN to its neighbour while the tunnel is down", wideSite.forward, packet{from: tokyo, to: "203.0.113.11"}, "drop"},
		{"the LAN's address from elsewhere", site.source, packet{from: tokyo, to: hubLAN, spoofed: true}, "drop"},
		{"the site itself to the hub while the tunnel is down", site.output, packet{from: tokyo, to: hubAddr}, ""},
		{"the site itself to the hub in a subnet of the hub's", wideSite.output, packet{from: tokyo, to: hubAddr}, ""},
		{"the site itself to the hub's LAN while the tunnel is down", site.output, packet{from: tokyo, to: hubLAN}, "drop"},
		{"the site itself to another site while the tunnel is down", site.output, packet{from: tokyo, to: osaka}, "drop"},
		{"the site itself to a client while the tunnel is down", site.output, packet{from: tokyo, to: client}, "drop"},
		{"the site itself through the tunnel", site.output, packet{from: tokyo, to: osaka, through: true}, ""},
		{"the site's own router in another site's subnet", site.output, packet{from: "192.168.2.5", to: "192.168.2.1"}, ""},
		{"the site sends its LAN round the tunnel", site.output, packet{from: tokyo, to: "192.168.1.77", proto: icmp, redirect: true}, "drop"},
		{"the site answers a ping of its LAN", site.output, packet{from: tokyo, to: "192.168.1.77", proto: icmp}, ""},
		{"the hub sends its LAN round the tunnel", hub.output, packet{from: hubAddr, to: hubLAN, proto: icmp, redirect: true}, "drop"},
		{"ssh of the site itself", site.output, packet{from: tokyo, to: hubLAN, sport: 22}, ""},
		{"the LAN to the internet is the user's affair", site.forward, packet{from: tokyo, to: world}, ""},
		{"into the tunnel, the source stays", site.nat, packet{from: tokyo, to: osaka, through: true}, "accept"},

		{"segments into a tunnel are made to fit", site.mss, packet{from: tokyo, to: osaka, through: true}, "clamp"},
		{"the host's own segments too", hub.mss, packet{from: hubAddr, to: tokyo, through: true}, "clamp"},
		{"others are left alone", hub.mss, packet{from: world, to: world}, ""},
	} {
		if got := what(tt.rules, tt.packet); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// policyOf returns the policy of a host whose tunnels end as the inventory says.
func policyOf(t *testing.T, inv *inventory.Inventory, name string) policy {
	h := of(t, inv, name)
	return h.policy(h.tunnels())
}
