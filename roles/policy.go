package roles

import (
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
)

// policy says who may reach whom through a host, in words that each filter puts
// into its own language. Of each list the first rule that a packet matches decides;
// one that matches none is the host's own affair. Rules name whom they are for, so
// that the user's own tunnels, forwards and uplinks go on as they were.
type policy struct {
	source  []rule // of what comes in, before anything else: is its source real
	input   []rule // to the host itself
	forward []rule
	output  []rule // from the host itself
	nat     []rule // what leaves: accept keeps the source address as it is
	mss     []rule // of what leaves, forwarded or the host's own
	// few is how many networks have rules of their own. More are one group, which a
	// filter finds a packet's network in by fewer steps.
	few int
}

// fewNets is how many networks of other sites still have rules of their own. A packet costs
// no more where there are thousands, in a group.
const fewNets = 20

// rule is what happens to packets that match all of it. A field that is not set
// matches any packet.
type rule struct {
	from, to netip.Prefix
	// fromEach and toEach are a group of networks of which one has to match. A group has
	// no rule that passes.
	fromEach, toEach []netip.Prefix
	elsewhere        bool // the source is not in the network that it goes to
	// fromRange and toRange are addresses that no prefix holds alone.
	fromRange, toRange inventory.Range
	in, out            iface
	proto              proto
	sport              uint16
	dports             []uint16
	ports              []uint16 // of either end
	// ipsecIn is how the packet came, and ipsecOut how it is to leave.
	ipsecIn, ipsecOut ipsec
	replies           bool // it belongs to a flow that was let through
	// redirect: it is an ICMP redirect, which tells a host in the LAN to go past this
	// one: past the tunnel, in the clear.
	redirect bool
	// spoofed: it came by another interface than the one that an answer would take.
	spoofed bool
	verdict verdict
	mss     uint16 // for clampMSS
}

// iface is a kind of interface.
type iface int

const (
	anyIface iface = iota
	ppp            // where the L2TP clients are, and maybe an uplink of the user's
	notPPP
	// clientLink is the link of an L2TP client and no other: pppd's hook puts it
	// into a group before it comes up (ip-pre-up.tmpl).
	clientLink
	// notIPsec is any interface but strongSwan's own, which carries a tunnel where
	// charon does ESP itself (kernel-libipsec).
	notIPsec
)

// clientGroup is the group of interfaces that the links of L2TP clients are in.
const clientGroup = l2tpPort

type proto string

const (
	tcp proto = "tcp"
	udp proto = "udp"
	esp proto = "esp"
	// icmp stands with redirect only.
	icmp proto = "icmp"
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
	pass // on to the host's own rules
	// clampMSS lowers the MSS that a SYN offers to that of the rule.
	clampMSS
)

// ikePorts are those of IKE, without and with a NAT between.
var ikePorts = []uint16{500, 4500}

const l2tpPort = 1701

// linkLocal holds a cloud's metadata service, which gives the hub's own
// credentials to whoever asks it from there (RFC 3927).
var linkLocal = netip.MustParsePrefix("169.254.0.0/16")

// policy returns what a host is to let through whose tunnels end so.
func (h Host) policy(ends []tunnel) policy { return h.policyBy(ends, fewNets) }

func (h Host) policyBy(ends []tunnel, few int) policy {
	inv := h.passing(ends)
	p := policy{few: few}
	if mss := inv.Tunnel.MSS; mss != 0 {
		// Each end sees to what it sends, forwarded or its own, and so to both
		// directions: what a SYN offers is what the other side sends.
		p.mss = append(p.mss, rule{proto: tcp, ipsecOut: inTunnel, verdict: clampMSS, mss: uint16(mss)})
	}
	if h.role == inventory.RoleSite {
		p.site(inv, ends[0])
	} else {
		p.hub(inv)
	}
	p.mending(h.sshPorts())
	return p
}

// hub adds what the hub does for sites and L2TP clients.
func (p *policy) hub(inv *inventory.Inventory) {
	p.input = append(p.input, rule{proto: udp, dports: ikePorts}, rule{proto: esp})
	var sites []netip.Prefix
	for i := range inv.Sites {
		sites = append(sites, inv.Sites[i].Subnets...)
	}
	for _, group := range p.groups(sites, nil) {
		p.hubSites(inv, group)
	}
	for _, lan := range hubNets(inv) {
		p.output = append(p.output, noRedirect(lan))
	}
	if inv.L2TP != nil {
		p.l2tp(inv)
	}
}

// groups returns networks in the groups that rules are made for: one each while they are
// few. Those that apart names always stand alone, and first.
func (p *policy) groups(nets []netip.Prefix, apart func(netip.Prefix) bool) [][]netip.Prefix {
	var alone, rest []netip.Prefix
	for _, n := range nets {
		if apart != nil && apart(n) {
			alone = append(alone, n)
		} else {
			rest = append(rest, n)
		}
	}
	if len(rest) <= p.few {
		return slices.Collect(slices.Chunk(nets, 1))
	}
	return append(slices.Collect(slices.Chunk(alone, 1)), rest)
}

// fromNets returns r for packets from one of a group.
func (r rule) fromNets(group []netip.Prefix) rule {
	if len(group) == 1 {
		r.from = group[0]
	} else {
		r.fromEach = group
	}
	return r
}

// toNets returns r for packets to one of a group.
func (r rule) toNets(group []netip.Prefix) rule {
	if len(group) == 1 {
		r.to = group[0]
	} else {
		r.toEach = group
	}
	return r
}

// ways puts what goes to a group before what comes from it, so that a filter looks
// once for each way. No packet meets a rule of both kinds that differ: what one says of
// packets out of a tunnel, or into one, is about the other end of it, which is in no
// group.
func ways(rules []rule) []rule {
	slices.SortStableFunc(rules, func(a, b rule) int { return len(a.fromEach) - len(b.fromEach) })
	return rules
}

// hubSites adds what the hub does for a group of sites' subnets. Its rules grow with
// the number of sites, not of pairs of them: which site may reach which is what the
// IPsec selectors say, and the kernel drops a packet from a tunnel that does not
// match them.
func (p *policy) hubSites(inv *inventory.Inventory, sites []netip.Prefix) {
	from := func(r rule) rule { return r.fromNets(sites) }
	to := func(r rule) rule { return r.toNets(sites) }
	p.input = append(p.input, from(rule{ipsecIn: inTunnel}))
	// While the tunnel is down, a packet for the site must not leave in the
	// clear instead.
	forward := []rule{to(rule{out: notIPsec, ipsecOut: inClear, verdict: drop})}
	p.output = append(p.output, to(outOfTunnel))
	for _, hub := range hubNets(inv) {
		p.source = append(p.source, to(rule{from: hub, ipsecIn: inClear, spoofed: true, verdict: drop}))
		forward = append(forward,
			from(rule{to: hub, ipsecIn: inTunnel}),
			to(rule{from: hub, ipsecOut: inTunnel}))
	}
	if inv.Tunnel.Relay {
		forward = append(forward,
			// The kernel asks for a site's tunnel only while that is up.
			from(rule{ipsecIn: inClear, ipsecOut: inTunnel, verdict: drop}),
			from(rule{ipsecIn: inTunnel, ipsecOut: inTunnel}))
	}
	p.forward = append(p.forward, ways(forward)...)
	p.nat = append(p.nat, to(rule{ipsecOut: inTunnel}))
}

// hubNets returns the hub's subnets that something is forwarded to: its own
// addresses are not among them.
func hubNets(inv *inventory.Inventory) []netip.Prefix {
	own := hubAddresses(inv)
	return slices.DeleteFunc(slices.Clone(inv.Hub.Subnets), func(p netip.Prefix) bool { return slices.Contains(own, p) })
}

// outOfTunnel is about what a host itself sends to a subnet behind a tunnel that is
// down. A host whose own wire is in that subnet, as behind a router with a much-used
// network, still speaks to its neighbours there: its source is of it.
var outOfTunnel = rule{elsewhere: true, out: notIPsec, ipsecOut: inClear, verdict: drop}

// noRedirect keeps a host from sending the machines of its LAN round the tunnel: the
// router that a packet would take in the clear is in that LAN too. The kernel does
// so whatever conf.all.send_redirects says, where an interface's own says otherwise.
func noRedirect(lan netip.Prefix) rule {
	return rule{to: lan, proto: icmp, redirect: true, verdict: drop}
}

// mending lets out of a host what brings a tunnel back up, and what a host is
// mended by, whatever becomes of the tunnels: IKE, ESP, and ssh, which are all
// encrypted by themselves. In a network without NAT they go to a site's subnets.
func (p *policy) mending(ssh []uint16) {
	if !slices.ContainsFunc(p.output, func(r rule) bool { return r.elsewhere }) {
		return // nothing holds them back
	}
	first := []rule{{proto: udp, ports: ikePorts, verdict: pass}, {proto: esp, verdict: pass}}
	for ports := range slices.Chunk(ssh, maxPorts) {
		first = append(first, rule{proto: tcp, ports: ports, verdict: pass})
	}
	p.output = append(first, p.output...)
}

// maxPorts is how many ports one rule takes (multiport in iptables-extensions(8)).
const maxPorts = 15

// sshPorts returns the ports of ssh on a host, and on those that it is the way to or
// is reached through: the usual one, and what the inventory has.
func (h Host) sshPorts() []uint16 {
	ports := []uint16{22}
	for _, other := range h.inv.Hosts() {
		mine := h.site == nil || other.Role == inventory.RoleHub || other.Name == h.site.Name
		if mine && other.SSH.Port != 0 {
			ports = append(ports, uint16(other.SSH.Port))
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports)
}

// l2tp adds what the hub does for L2TP clients: L2TP is let in only from inside
// IPsec, its clients only with the address that they were given and only to what
// l2tp.reach says, whatever the host's own policies are.
func (p *policy) l2tp(inv *inventory.Inventory) {
	p.source = append(p.source, rule{in: clientLink, spoofed: true, verdict: drop})
	p.input = append(p.input,
		rule{proto: udp, dports: []uint16{l2tpPort}, ipsecIn: inTunnel},
		rule{proto: udp, dports: []uint16{l2tpPort}, ipsecIn: inClear, verdict: drop})
	// A PPP session outlives the SA under it by minutes, and what is sent to its
	// client would leave in the clear.
	p.output = append(p.output, rule{proto: udp, sport: l2tpPort, ipsecOut: inClear, verdict: drop})
	p.nat = append(p.nat, rule{proto: udp, sport: l2tpPort, ipsecOut: inTunnel})
	// A range is one rule, and not one for each of its prefixes: a rule stands for each
	// site as well.
	for _, clients := range inv.ClientRanges() {
		p.l2tpRange(inv, clients)
	}
}

// fromAny returns r for packets from a range.
func (r rule) fromAny(of inventory.Range) rule {
	r.from, r.fromRange = matched(of)
	return r
}

// toAny returns r for packets to a range.
func (r rule) toAny(of inventory.Range) rule {
	r.to, r.toRange = matched(of)
	return r
}

// matched returns the one prefix that a range is, or the range where it is none.
func matched(of inventory.Range) (netip.Prefix, inventory.Range) {
	if ps := of.Prefixes(); len(ps) == 1 {
		return ps[0], inventory.Range{}
	}
	return netip.Prefix{}, of
}

// l2tpRange adds what holds for one range of the clients' addresses.
func (p *policy) l2tpRange(inv *inventory.Inventory, clients inventory.Range) {
	l := inv.L2TP
	from := func(r rule) rule { return r.fromAny(clients) }
	toClient := func(r rule) rule { return r.toAny(clients) }
	fromClient := from(rule{in: ppp})
	to := func(to netip.Prefix, v verdict) rule { return from(rule{to: to, in: ppp, verdict: v}) }

	// Link-local addresses are open to clients only where they are named: a reach
	// of 0.0.0.0/0 does not mean them.
	var reach []rule
	for _, r := range common(l.Reach, []netip.Prefix{linkLocal}) {
		if r != linkLocal || slices.Contains(l.Reach, linkLocal) {
			reach = append(reach, to(r, accept))
		}
	}
	reach = append(reach, to(linkLocal, drop))
	for _, r := range l.Reach {
		reach = append(reach, to(r, accept))
	}

	p.input = append(p.input, to(one(l.LocalIP), accept))
	p.input = append(p.input, reach...)
	p.input = append(p.input,
		from(rule{in: ppp, replies: true}),
		from(rule{in: ppp, verdict: drop}))

	// A client that is not there has its address from a stranger.
	p.forward = append(p.forward, from(rule{in: notPPP, ipsecOut: inTunnel, verdict: drop}))

	// to clients: answers, and what l2tp.reach names of the sites and of the hub's
	// subnets, as far as it names it
	p.forward = append(p.forward, toClient(rule{out: ppp, replies: true}))
	var lans []netip.Prefix
	for i := range inv.Sites {
		lans = append(lans, common(inv.Sites[i].Subnets, l.Reach)...)
	}
	for _, group := range p.groups(lans, nil) {
		p.forward = append(p.forward, toClient(rule{out: ppp, ipsecIn: inTunnel}).fromNets(group))
	}
	for _, lan := range common(hubNets(inv), l.Reach) {
		p.source = append(p.source, toClient(rule{from: lan, ipsecIn: inClear, spoofed: true, verdict: drop}))
		p.forward = append(p.forward, toClient(rule{from: lan, out: ppp, ipsecIn: inClear}))
	}

	// from clients
	p.forward = append(p.forward, reach...)
	if inv.Firewall.Masquerade {
		for _, hub := range inv.Hub.Subnets {
			if !overlapAny([]netip.Prefix{hub}, l.Reach) {
				p.forward = append(p.forward, to(hub, drop))
			}
		}
		// By addresses, not by interfaces: the hub's own uplink may be PPP.
		internet := fromClient
		internet.ipsecOut = inClear
		p.forward = append(p.forward, toClient(from(rule{in: ppp, verdict: drop})), internet)
		p.nat = append(p.nat, toClient(from(rule{})), from(rule{ipsecOut: inClear, verdict: masquerade}))
	}
	fromClient.verdict = drop
	p.forward = append(p.forward, fromClient,
		toClient(rule{out: ppp, verdict: drop}),
		// to a client that has hung up, out of a tunnel into the clear
		toClient(rule{out: notPPP, ipsecIn: inTunnel, verdict: drop}))
}

// site adds what a site does for its LAN, at its end of the tunnel.
func (p *policy) site(inv *inventory.Inventory, end tunnel) {
	lans, remotes := end.nets()
	hub := one(end.remote)
	p.input = append(p.input, rule{from: hub, proto: udp, dports: ikePorts}, rule{from: hub, proto: esp})
	own := append(hubAddresses(inv), hub)
	for _, lan := range lans {
		p.output = append(p.output, noRedirect(lan))
	}
	// The hub's public address stays within reach while the tunnel is down: it is how
	// the hub is mended.
	isHub := func(n netip.Prefix) bool { return slices.Contains(own, n) }
	holdsHub := func(n netip.Prefix) bool { return n.Overlaps(hub) }
	for _, group := range p.groups(remotes, func(n netip.Prefix) bool { return isHub(n) || holdsHub(n) }) {
		from := func(r rule) rule { return r.fromNets(group) }
		to := func(r rule) rule { return r.toNets(group) }
		behind := !slices.ContainsFunc(group, isHub)
		around := behind && slices.ContainsFunc(group, holdsHub)
		p.input = append(p.input, from(rule{ipsecIn: inTunnel}))
		var forward []rule
		for _, lan := range lans {
			p.source = append(p.source, to(rule{from: lan, ipsecIn: inClear, spoofed: true, verdict: drop}))
			forward = append(forward,
				from(rule{to: lan, ipsecIn: inTunnel}),
				to(rule{from: lan, ipsecOut: inTunnel}))
			if around {
				forward = append(forward, rule{from: lan, to: hub, ipsecOut: inClear, verdict: pass})
			}
			if behind {
				forward = append(forward, to(rule{from: lan, out: notIPsec, ipsecOut: inClear, verdict: drop}))
			}
		}
		p.forward = append(p.forward, ways(forward)...)
		if around {
			p.output = append(p.output, rule{to: hub, verdict: pass})
		}
		if behind {
			p.output = append(p.output, to(outOfTunnel))
		}
		p.nat = append(p.nat, to(rule{ipsecOut: inTunnel}))
	}
}
