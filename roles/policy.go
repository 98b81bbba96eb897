package roles

import (
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
)

// policy says who may reach whom through a host, in words that each filter puts
// into its own language. Of each list the first rule that a packet matches decides;
// one that matches none is the host's own affair. Rules name the subnets that they
// are for, so that the user's own tunnels and forwards go on as they were.
type policy struct {
	input   []rule // to the host itself
	forward []rule
	output  []rule // from the host itself
	nat     []rule // what leaves: accept keeps the source address as it is
	mss     []rule // of what is forwarded
}

// rule is what happens to packets that match all of it. A field that is not set
// matches any packet.
type rule struct {
	from, to netip.Prefix
	in, out  iface
	proto    proto
	sport    uint16
	dports   []uint16
	// ipsecIn is how the packet came, and ipsecOut how it is to leave.
	ipsecIn, ipsecOut ipsec
	replies           bool // it belongs to a flow that was let through
	verdict           verdict
	mss               uint16 // for clampMSS
}

// iface is a kind of interface.
type iface int

const (
	anyIface iface = iota
	ppp            // where the L2TP clients are
	notPPP
)

type proto string

const (
	tcp proto = "tcp"
	udp proto = "udp"
	esp proto = "esp"
)

// ipsec says whether a packet is inside IPsec.
type ipsec int

const (
	anyWay   ipsec = iota
	inTunnel       // protected by an SA
	inClear
)

type verdict int

const (
	accept verdict = iota
	drop
	masquerade
	// clampMSS lowers the MSS that a SYN offers to that of the rule.
	clampMSS
)

// tunnelMSS keeps a TCP segment with ESP in UDP around it inside an Ethernet
// frame: path MTU discovery often dies at a NAT.
const tunnelMSS = 1360

// ikePorts are those of IKE, without and with a NAT between.
var ikePorts = []uint16{500, 4500}

const l2tpPort = 1701

// policy returns what a host is to let through whose tunnels end so.
func (h Host) policy(ends []tunnel) policy {
	inv := h.passing(ends)
	p := policy{mss: []rule{
		{proto: tcp, ipsecIn: inTunnel, verdict: clampMSS, mss: tunnelMSS},
		{proto: tcp, ipsecOut: inTunnel, verdict: clampMSS, mss: tunnelMSS},
	}}
	if h.role == inventory.RoleSite {
		p.site(inv, ends[0])
		return p
	}
	p.hub(inv)
	if inv.L2TP != nil {
		p.l2tp(inv)
	}
	return p
}

// hub adds what the hub does for the sites. Its rules grow with the number of
// sites, not of pairs of them: which site may reach which is what the IPsec
// selectors say, and the kernel drops a packet from a tunnel that does not match
// them.
func (p *policy) hub(inv *inventory.Inventory) {
	p.input = append(p.input, rule{proto: udp, dports: ikePorts}, rule{proto: esp})
	own := hubAddresses(inv)
	for i := range inv.Sites {
		for _, site := range inv.Sites[i].Subnets {
			p.input = append(p.input, rule{from: site, ipsecIn: inTunnel})
			// While the tunnel is down, a packet for the site must not leave
			// in the clear instead.
			p.forward = append(p.forward, rule{to: site, ipsecOut: inClear, verdict: drop})
			for _, hub := range inv.Hub.Subnets {
				if slices.Contains(own, hub) {
					continue // the hub itself: nothing is forwarded
				}
				p.forward = append(p.forward,
					rule{from: site, to: hub, ipsecIn: inTunnel},
					rule{from: hub, to: site, ipsecOut: inTunnel})
			}
			if inv.Tunnel.Relay {
				p.forward = append(p.forward, rule{from: site, ipsecIn: inTunnel, ipsecOut: inTunnel})
			}
			p.nat = append(p.nat, rule{to: site, ipsecOut: inTunnel})
		}
	}
}

// l2tp adds what the hub does for L2TP clients: L2TP is let in only from inside
// IPsec, and its clients only to what l2tp.reach says, whatever the host's own
// policies are.
func (p *policy) l2tp(inv *inventory.Inventory) {
	l := inv.L2TP
	p.input = append(p.input,
		rule{proto: udp, dports: []uint16{l2tpPort}, ipsecIn: inTunnel},
		rule{proto: udp, dports: []uint16{l2tpPort}, ipsecIn: inClear, verdict: drop})
	// A PPP session outlives the SA under it by minutes, and what is sent to its
	// client would leave in the clear.
	p.output = append(p.output, rule{proto: udp, sport: l2tpPort, ipsecOut: inClear, verdict: drop})
	p.nat = append(p.nat, rule{proto: udp, sport: l2tpPort, ipsecOut: inTunnel})
	for _, net := range clientNet(inv) {
		for _, to := range append([]netip.Prefix{one(l.LocalIP)}, l.Reach...) {
			p.input = append(p.input, rule{from: net, to: to, in: ppp})
		}
		p.input = append(p.input,
			rule{from: net, in: ppp, replies: true},
			rule{from: net, in: ppp, verdict: drop})
		p.forward = append(p.forward, rule{to: net, out: ppp, replies: true})
		for _, to := range l.Reach {
			p.forward = append(p.forward, rule{from: net, to: to, in: ppp})
		}
		if inv.Firewall.Masquerade {
			for _, hub := range inv.Hub.Subnets {
				if !overlapAny([]netip.Prefix{hub}, l.Reach) {
					p.forward = append(p.forward, rule{from: net, to: hub, in: ppp, verdict: drop})
				}
			}
			p.forward = append(p.forward, rule{from: net, in: ppp, out: notPPP, ipsecOut: inClear})
			p.nat = append(p.nat, rule{from: net, out: notPPP, ipsecOut: inClear, verdict: masquerade})
		}
		p.forward = append(p.forward, rule{from: net, in: ppp, verdict: drop})
	}
}

// site adds what a site does for its LAN, at its end of the tunnel.
func (p *policy) site(inv *inventory.Inventory, end tunnel) {
	lans, remotes := end.nets()
	hub := one(end.remote)
	p.input = append(p.input, rule{from: hub, proto: udp, dports: ikePorts}, rule{from: hub, proto: esp})
	own := append(hubAddresses(inv), hub)
	for _, remote := range remotes {
		p.input = append(p.input, rule{from: remote, ipsecIn: inTunnel})
		for _, lan := range lans {
			p.forward = append(p.forward,
				rule{from: remote, to: lan, ipsecIn: inTunnel},
				rule{from: lan, to: remote, ipsecOut: inTunnel})
			// The hub's public address stays within reach of the LAN while the
			// tunnel is down: it is how the hub is mended.
			if !slices.Contains(own, remote) {
				p.forward = append(p.forward, rule{from: lan, to: remote, ipsecOut: inClear, verdict: drop})
			}
		}
		p.nat = append(p.nat, rule{to: remote, ipsecOut: inTunnel})
	}
}
