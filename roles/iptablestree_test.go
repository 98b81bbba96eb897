package roles

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// through returns what chains do with a packet that comes to one of them, as the kernel
// takes their text: "" where it comes back. met counts the rules that it was compared with.
func through(t testing.TB, chains map[string][]string, name string, p packet, met *int) string {
	t.Helper()
	if p.proto == "" {
		p.proto = tcp
	}
	rules, ok := chains[name]
	if !ok {
		t.Fatalf("there is no chain %s", name)
	}
	for _, r := range rules {
		*met++
		to, matches := evaluate(t, r, p)
		switch {
		case !matches:
		case to == "RETURN":
			return ""
		case strings.HasPrefix(to, iptables.Prefix):
			if v := through(t, chains, to, p, met); v != "" {
				return v
			}
		default:
			return to
		}
	}
	return ""
}

// evaluate returns where a rule sends its packets, and whether a packet is one.
func evaluate(t testing.TB, text string, p packet) (target string, matches bool) {
	t.Helper()
	words, dir := strings.Fields(text), ""
	port := func(list string, have uint16) bool {
		return slices.Contains(strings.Split(list, ","), strconv.Itoa(int(have)))
	}
	span := func(r, a string) bool {
		first, last, _ := strings.Cut(r, "-")
		return addr(first).Compare(addr(a)) <= 0 && addr(a).Compare(addr(last)) <= 0
	}
	link := func(pattern, have string) bool {
		return strings.HasPrefix(map[string]string{"client": "ppp0", "ppp": "ppp9", "ipsec": "ipsec0"}[have], strings.TrimSuffix(pattern, "+"))
	}
	matches = true
	for len(words) > 0 {
		not := words[0] == "!"
		if not {
			words = words[1:]
		}
		option, value := words[0], ""
		words = words[1:]
		if option != "--invert" {
			value, words = words[0], words[1:]
		}
		is := true
		switch option {
		case "-s":
			is = netip.MustParsePrefix(value).Contains(addr(p.from))
		case "-d":
			is = netip.MustParsePrefix(value).Contains(addr(p.to))
		case "-i":
			is = link(value, p.in)
		case "-o":
			is = link(value, p.out)
		case "-p":
			is = value == string(p.proto)
		case "--sport":
			is = port(value, p.sport)
		case "--dport", "--dports":
			is = port(value, p.dport)
		case "--ports":
			is = port(value, p.sport) || port(value, p.dport)
		case "--icmp-type":
			is = p.redirect
		case "--src-range":
			is = span(value, p.from)
		case "--dst-range":
			is = span(value, p.to)
		case "--src-group":
			is = p.in == "client"
		case "--dir":
			dir = value
		case "--pol":
			is = (value == "ipsec") == (dir == "in" && p.tunnel || dir == "out" && p.through)
		case "--ctstate":
			is = p.reply
		case "--invert":
			is = p.spoofed
		case "-j":
			target = value
		case "--tcp-flags":
			words = words[1:]
		case "-m", "--mss", "--set-mss":
		default:
			t.Fatalf("this test does not know %s of %q", option, text)
		}
		matches = matches && is != not
	}
	return target, matches
}

// byName returns the rules of chains.
func byName(t testing.TB, chains []iptables.Chain) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, c := range chains {
		if _, twice := out[c.Name]; twice {
			t.Fatalf("chain %s is there twice", c.Name)
		}
		if len(c.Name) > 28 {
			t.Errorf("chain %s: iptables takes names of 28 bytes", c.Name)
		}
		out[c.Name] = c.Rules
	}
	return out
}

// However many networks there are, and while some of them change: a hub and a site let
// through, drop and translate what they would by a rule for each network.
func TestTreeIsTheLinearRules(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		inv := full()
		inv.Tunnel.Relay = rapid.Bool().Draw(r, "relay")
		inv.Firewall.Masquerade = rapid.Bool().Draw(r, "masquerade")
		if rapid.Bool().Draw(r, "wide hub") {
			inv.Hub.Subnets = nets("203.0.113.0/24", "10.10.0.0/24")
		}
		inv.L2TP.Reach = rapid.SampledFrom([][]netip.Prefix{inv.L2TP.Reach, nets("0.0.0.0/0"), nets("172.16.0.0/12", "10.10.0.0/24"), nets("192.168.0.0/16")}).Draw(r, "reach")
		if rapid.IntRange(0, 3).Draw(r, "no l2tp") == 0 {
			inv.L2TP = nil
		}
		// What one space holds is close together, what all hold is far apart.
		inv.Sites = nil
		spaces := nets("172.16.0.0/12", "172.16.4.0/22", "10.64.0.0/10", "192.168.0.0/17", "64.0.0.0/2")
		var taken []netip.Prefix
		draw := func(name string) (netip.Prefix, bool) {
			space := rapid.SampledFrom(spaces).Draw(r, name)
			n := prefixIn(space, rapid.IntRange(space.Bits(), 32).Draw(r, "bits"), rapid.Uint32().Draw(r, "where"))
			free := !overlapAny([]netip.Prefix{n}, taken)
			if free {
				taken = append(taken, n)
			}
			return n, free
		}
		for i := range rapid.IntRange(1, 60).Draw(r, "sites") {
			s := inventory.Site{Name: fmt.Sprintf("s%02d", i), PSK: secretOf("not-a-secret-site")}
			for range rapid.IntRange(1, 2).Draw(r, "subnets") {
				if n, free := draw("subnet"); free {
					s.Subnets = append(s.Subnets, n)
				}
			}
			if len(s.Subnets) > 0 {
				inv.Sites = append(inv.Sites, s)
			}
		}
		if len(inv.Sites) == 0 {
			return
		}
		few := rapid.IntRange(0, 8).Draw(r, "few")
		for _, name := range []string{"vps", inv.Sites[0].Name} {
			h := of(t, inv, name)
			ends := h.tunnels()
			// A site is getting another network: a part of its own one, or one that holds it.
			if name == "vps" && rapid.Bool().Draw(r, "changing") {
				e := &ends[0]
				n := e.remoteNets[0]
				n = netip.PrefixFrom(n.Addr(), min(32, n.Bits()+1))
				e.fitted, e.also = true, &strongswan.Tunnel{Local: texts(e.localNets), Remote: []string{n.String()}}
			}
			linear, tree := byName(t, chainsOf(h.policyBy(ends, 1<<20))), byName(t, chainsOf(h.policyBy(ends, few)))
			for range 20 {
				p := packetNear(r, append(taken, nets("10.10.0.0/24", "203.0.113.10/32", "192.168.200.0/27", "198.51.100.9/32", "169.254.169.254/32")...))
				for c := range linear {
					var met int
					want, got := through(t, linear, c, p, &met), through(t, tree, c, p, &met)
					if got != want {
						r.Fatalf("%s, %s, %+v: %q, by a rule for each network %q", name, c, p, got, want)
					}
				}
			}
		}
	})
}

// prefixIn returns a prefix of so many bits in a space, n of them further on.
func prefixIn(space netip.Prefix, bits int, n uint32) netip.Prefix {
	a := space.Addr().As4()
	v := uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8 | uint32(a[3])
	if space.Bits() < 32 {
		v |= n & (1<<(32-space.Bits()) - 1)
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)}), bits).Masked()
}

// packetNear draws a packet from and to the first and last addresses of networks, and those
// beside them.
func packetNear(r *rapid.T, of []netip.Prefix) packet {
	near := func(name string) string {
		n := rapid.SampledFrom(of).Draw(r, name)
		a := rapid.SampledFrom([]netip.Addr{n.Addr(), n.Addr().Next(), n.Addr().Prev(), inventory.LastAddr(n), inventory.LastAddr(n).Next()}).Draw(r, "at")
		if !a.IsValid() {
			a = n.Addr()
		}
		return a.String()
	}
	yes := func(name string) bool { return rapid.Bool().Draw(r, name) }
	link := []string{"", "", "client", "ppp", "ipsec"}
	ports := []uint16{22, 500, 1701, 4500, 40000}
	return packet{
		from: near("from"), to: near("to"),
		in: rapid.SampledFrom(link).Draw(r, "in"), out: rapid.SampledFrom(link).Draw(r, "out"),
		proto: rapid.SampledFrom([]proto{tcp, udp, esp, icmp}).Draw(r, "proto"),
		sport: rapid.SampledFrom(ports).Draw(r, "sport"), dport: rapid.SampledFrom(ports).Draw(r, "dport"),
		tunnel: yes("tunnel"), through: yes("through"), reply: yes("reply"), redirect: yes("redirect"), spoofed: yes("spoofed"),
	}
}

// sized is a hub whose sites have n networks, as an address plan gives them or scattered.
func sized(n int, scattered bool) *inventory.Inventory {
	inv := full()
	inv.Sites, inv.L2TP, inv.Tunnel.Relay = nil, nil, false
	for i := range n {
		at := uint32(i) << 6
		if scattered {
			at = uint32(i) * 2654435761 // Knuth's multiplier: no two alike, and all over the place
		}
		inv.Sites = append(inv.Sites, inventory.Site{Name: fmt.Sprintf("s%05d", i), Subnets: []netip.Prefix{prefixIn(nets("64.0.0.0/2")[0], 26, at)}, PSK: secretOf("not-a-secret-site")})
	}
	return inv
}

// A packet meets no more rules at 2,000 sites than at the most that have rules of their own.
func TestTreeIsShallow(t *testing.T) {
	met := func(n int, scattered bool) (rules int) {
		inv := sized(n, scattered)
		chains := byName(t, chainsOf(policyOf(t, inv, "vps")))
		for i := range 100 {
			from, to := inv.Sites[i*31%n].Subnets[0].Addr().String(), inv.Sites[i*7919%n].Subnets[0].Addr().String()
			for _, p := range []packet{{from: from, to: "10.10.0.7"}, {from: "10.10.0.7", to: to, out: "ipsec"}, {from: "198.51.100.9", to: "198.51.100.10"}} {
				through(t, chains, chainSrc, p, &rules)
				through(t, chains, chainFwd, p, &rules)
			}
		}
		return rules
	}
	most := met(fewNets, false)
	for _, scattered := range []bool{false, true} {
		if got := met(2000, scattered); got > most {
			t.Errorf("scattered %t: 300 packets meet %d rules at 2,000 sites, %d at %d", scattered, got, most, fewNets)
		}
	}
}

// One more site leaves the tree of the others as it is but for the chains on its way: a plan
// shows these, and no other.
func TestTreeStaysWithOneMore(t *testing.T) {
	was, now := byName(t, chainsOf(policyOf(t, sized(1000, true), "vps"))), byName(t, chainsOf(policyOf(t, sized(1001, true), "vps")))
	changed := 0
	for name, rules := range now {
		if !slices.Equal(was[name], rules) {
			changed++
		}
	}
	if changed > 40 {
		t.Errorf("one more site changes %d chains of %d", changed, len(now))
	}
}
