package roles

import (
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// The own chains. Rules are written as iptables-save prints them
// (tasks/testdata/iptables/canonical.txt); each names the subnets it is for,
// so that the user's own tunnels and forwards go on as they were.
const (
	chainIn  = "VPNPUSH-IN"
	chainOut = "VPNPUSH-OUT"
	chainFwd = "VPNPUSH-FWD"
	chainNAT = "VPNPUSH-NAT"
	chainMSS = "VPNPUSH-MSS"
)

const (
	ipsecIn  = " -m policy --dir in --pol ipsec"
	ipsecOut = " -m policy --dir out --pol ipsec"
	plainIn  = " -m policy --dir in --pol none"
	plainOut = " -m policy --dir out --pol none"
	replies  = " -m conntrack --ctstate RELATED,ESTABLISHED"
)

// mss keeps a TCP segment with ESP in UDP around it inside an Ethernet frame:
// path MTU discovery often dies at a NAT.
const mss = " -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss 1361:1536 -j TCPMSS --set-mss 1360"

func (p placed) chains() []iptables.Chain {
	rules := p.hubRules
	if p.role == inventory.RoleSite {
		rules = p.siteRules
	}
	in, fwd, nat := rules()
	chains := []iptables.Chain{
		{Table: "filter", From: "INPUT", Name: chainIn, Rules: in},
		{Table: "filter", From: "FORWARD", Name: chainFwd, Rules: fwd},
	}
	if p.l2tp() != nil {
		// A PPP session outlives the SA under it by minutes, and what is sent
		// to its client would leave in the clear.
		chains = append(chains, iptables.Chain{Table: "filter", From: "OUTPUT", Name: chainOut, Rules: []string{
			"-p udp -m udp --sport 1701" + plainOut + " -j DROP",
		}})
	}
	chains = append(chains,
		iptables.Chain{Table: "nat", From: "POSTROUTING", Name: chainNAT, Rules: nat},
		iptables.Chain{Table: "mangle", From: "FORWARD", Name: chainMSS, Rules: []string{"-p tcp" + ipsecIn + mss, "-p tcp" + ipsecOut + mss}})
	return chains
}

// hubRules grow with the number of sites, not of pairs of them: which site may
// reach which is what the IPsec selectors say, and the kernel drops a packet
// from a tunnel that does not match them.
func (p placed) hubRules() (in, fwd, nat []string) {
	inv := p.inv
	in = []string{"-p udp -m multiport --dports 500,4500 -j ACCEPT", "-p esp -j ACCEPT"}
	own := hubAddresses(inv)
	for i := range inv.Sites {
		for _, site := range texts(inv.Sites[i].Subnets) {
			in = append(in, "-s "+site+ipsecIn+" -j ACCEPT")
			// While the tunnel is down, a packet for the site must not leave
			// in the clear instead.
			fwd = append(fwd, "-d "+site+plainOut+" -j DROP")
			for _, hub := range inv.Hub.Subnets {
				if slices.Contains(own, hub) {
					continue // the hub itself: nothing is forwarded
				}
				fwd = append(fwd,
					"-s "+site+" -d "+hub.Masked().String()+ipsecIn+" -j ACCEPT",
					"-s "+hub.Masked().String()+" -d "+site+ipsecOut+" -j ACCEPT")
			}
			if inv.Tunnel.Relay {
				fwd = append(fwd, "-s "+site+ipsecIn+ipsecOut+" -j ACCEPT")
			}
			nat = append(nat, "-d "+site+ipsecOut+" -j ACCEPT")
		}
	}
	if inv.L2TP != nil {
		lin, lfwd, lnat := l2tpRules(inv)
		in, fwd, nat = append(in, lin...), append(fwd, lfwd...), append(nat, lnat...)
	}
	return in, fwd, nat
}

// l2tpRules let L2TP in only from inside IPsec, and its clients only to what
// l2tp.reach says, whatever the host's own policies are.
func l2tpRules(inv *inventory.Inventory) (in, fwd, nat []string) {
	const udp1701 = "-p udp -m udp --dport 1701"
	in = []string{udp1701 + ipsecIn + " -j ACCEPT", udp1701 + plainIn + " -j DROP"}
	nat = []string{"-p udp -m udp --sport 1701" + ipsecOut + " -j ACCEPT"}
	l := inv.L2TP
	for _, net := range texts(clientNet(inv)) {
		local := netip.PrefixFrom(l.LocalIP, l.LocalIP.BitLen())
		for _, to := range append([]netip.Prefix{local}, l.Reach...) {
			in = append(in, "-s "+net+" -d "+to.Masked().String()+" -i ppp+ -j ACCEPT")
		}
		in = append(in,
			"-s "+net+" -i ppp+"+replies+" -j ACCEPT",
			"-s "+net+" -i ppp+ -j DROP")
		fwd = append(fwd, "-d "+net+" -o ppp+"+replies+" -j ACCEPT")
		for _, to := range l.Reach {
			fwd = append(fwd, "-s "+net+" -d "+to.Masked().String()+" -i ppp+ -j ACCEPT")
		}
		if inv.Firewall.Masquerade {
			for _, hub := range inv.Hub.Subnets {
				if !overlapAny([]netip.Prefix{hub}, l.Reach) {
					fwd = append(fwd, "-s "+net+" -d "+hub.Masked().String()+" -i ppp+ -j DROP")
				}
			}
			fwd = append(fwd, "-s "+net+" -i ppp+ ! -o ppp+"+plainOut+" -j ACCEPT")
			nat = append(nat, "-s "+net+" ! -o ppp+"+plainOut+" -j MASQUERADE")
		}
		fwd = append(fwd, "-s "+net+" -i ppp+ -j DROP")
	}
	return in, fwd, nat
}

func (p placed) siteRules() (in, fwd, nat []string) {
	inv := p.inv
	hub := inv.Hub.Address.String() + "/32"
	in = []string{
		"-s " + hub + " -p udp -m multiport --dports 500,4500 -j ACCEPT",
		"-s " + hub + " -p esp -j ACCEPT",
	}
	own := hubAddresses(inv)
	locals := texts(p.site.Subnets)
	for _, remote := range hubSide(inv, p.site) {
		r := remote.Masked().String()
		in = append(in, "-s "+r+ipsecIn+" -j ACCEPT")
		for _, l := range locals {
			fwd = append(fwd,
				"-s "+r+" -d "+l+ipsecIn+" -j ACCEPT",
				"-s "+l+" -d "+r+ipsecOut+" -j ACCEPT")
			// The hub's public address stays within reach of the LAN while the
			// tunnel is down: it is how the hub is mended.
			if !slices.Contains(own, remote) {
				fwd = append(fwd, "-s "+l+" -d "+r+plainOut+" -j DROP")
			}
		}
		nat = append(nat, "-d "+r+ipsecOut+" -j ACCEPT")
	}
	return in, fwd, nat
}

// hubAddresses are the hub's own addresses as prefixes.
func hubAddresses(inv *inventory.Inventory) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range []netip.Addr{inv.Hub.Address, inv.Hub.LocalAddress} {
		if a.IsValid() {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return out
}
