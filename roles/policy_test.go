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
	in, out         iface // ppp, or another
	proto           proto
	sport, dport    uint16
	tunnel, through bool // it came, or it leaves, inside IPsec
	reply           bool
}

// what returns what a list of rules does with a packet, "" for nothing.
func what(rules []rule, p packet) string {
	if p.proto == "" {
		p.proto = tcp
	}
	matches := func(r rule) bool {
		return inside(r.from, p.from) && inside(r.to, p.to) && on(r.in, p.in) && on(r.out, p.out) &&
			(r.proto == "" || r.proto == p.proto) &&
			(r.sport == 0 || r.sport == p.sport) && (len(r.dports) == 0 || slices.Contains(r.dports, p.dport)) &&
			(r.ipsecIn == anyWay || (r.ipsecIn == inTunnel) == p.tunnel) &&
			(r.ipsecOut == anyWay || (r.ipsecOut == inTunnel) == p.through) &&
			(!r.replies || p.reply)
	}
	i := slices.IndexFunc(rules, matches)
	if i < 0 {
		return ""
	}
	return map[verdict]string{accept: "accept", drop: "drop", masquerade: "masquerade", clampMSS: "clamp"}[rules[i].verdict]
}

func inside(p netip.Prefix, a string) bool { return !p.IsValid() || p.Contains(addr(a)) }

func on(want, have iface) bool {
	return want == anyIface || (want == ppp) == (have == ppp)
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
	lone := policyOf(t, minimal(), "vps")
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
		{"client to the hub's end", hub.input, packet{from: client, to: hubPPP, in: ppp}, "accept"},
		{"client to another address of the hub", hub.input, packet{from: client, to: "10.10.0.1", in: ppp}, "drop"},
		{"client answers the hub", hub.input, packet{from: client, to: "10.10.0.1", in: ppp, reply: true}, "accept"},
		{"client to a site it may reach", hub.forward, packet{from: client, to: tokyo, in: ppp, through: true}, "accept"},
		{"client to that site while it is down", hub.forward, packet{from: client, to: tokyo, in: ppp}, "drop"},
		{"client to another site", hub.forward, packet{from: client, to: osaka, in: ppp, through: true}, "drop"},
		{"client to the hub's LAN, which it may not", hub.forward, packet{from: client, to: hubLAN, in: ppp}, "drop"},
		{"client to client", hub.forward, packet{from: client, to: "192.168.200.4", in: ppp, out: ppp}, "drop"},
		{"client to the internet", hub.forward, packet{from: client, to: world, in: ppp}, "accept"},
		{"client to the internet, as the hub", hub.nat, packet{from: client, to: world}, "masquerade"},
		{"the internet answers a client", hub.forward, packet{from: world, to: client, out: ppp, reply: true}, "accept"},
		{"the internet calls a client", hub.forward, packet{from: world, to: client, out: ppp}, ""},

		{"the hub calls a site", site.input, packet{from: hubAddr, to: tokyo, proto: udp, dport: 4500}, "accept"},
		{"another than the hub calls a site", site.input, packet{from: world, to: tokyo, proto: udp, dport: 4500}, ""},
		{"another site speaks to the site", site.input, packet{from: osaka, to: tokyo, tunnel: true}, "accept"},
		{"another site to the LAN", site.forward, packet{from: osaka, to: tokyo, tunnel: true}, "accept"},
		{"another site's address in the clear", site.forward, packet{from: osaka, to: tokyo}, ""},
		{"a client to the LAN", site.forward, packet{from: client, to: tokyo, tunnel: true}, "accept"},
		{"the LAN to another site", site.forward, packet{from: tokyo, to: osaka, through: true}, "accept"},
		{"the LAN to another site while the tunnel is down", site.forward, packet{from: tokyo, to: osaka}, "drop"},
		{"the LAN to the hub while the tunnel is down", site.forward, packet{from: tokyo, to: hubAddr}, ""},
		{"the LAN to the internet is the user's affair", site.forward, packet{from: tokyo, to: world}, ""},
		{"into the tunnel, the source stays", site.nat, packet{from: tokyo, to: osaka, through: true}, "accept"},

		{"segments into a tunnel are made to fit", site.mss, packet{from: tokyo, to: osaka, through: true}, "clamp"},
		{"segments out of a tunnel are made to fit", hub.mss, packet{from: osaka, to: tokyo, tunnel: true}, "clamp"},
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
