package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// way is what a site's probes met between it and the hub.
type way struct {
	udp  map[int]string // by port: "answered", "foreign", "refused", "silent", "error"
	ping string         // "ok", "lost", "none": there is no ping
	// mtu is the largest packet that passed whole, 0 for none; lost tells that a
	// larger one vanished without a word, told that a router named the limit.
	mtu        int
	lost, told bool
	hops       map[int]netip.Addr
}

// spi is the initiator's SPI of the probes; an answer repeats it.
const spi = "VPNPUSH1"

// parseWay parses what shellWay printed.
func parseWay(b []byte) (way, error) {
	w := way{udp: map[int]string{}, hops: map[int]netip.Addr{}}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		switch {
		case len(f) == 0:
		case f[0] == "udp" && len(f) == 3 && (f[1] == "500" || f[1] == "4500"):
			port, _ := strconv.Atoi(f[1])
			w.udp[port] = udpAnswer(f[2])
		case f[0] == "ping" && len(f) == 2:
			w.ping = f[1]
		case f[0] == "hop" && len(f) == 3:
			n, err := strconv.Atoi(f[1])
			a, aerr := netip.ParseAddr(f[2])
			if err != nil || aerr != nil {
				return way{}, fmt.Errorf("not a hop: %.60q", l)
			}
			w.hops[n] = a
		case f[0] == "mtu" && len(f) >= 3:
			size := f[1]
			switch f[2] {
			case "lost":
				w.lost = true
				continue
			case "told":
				w.told = true
				if len(f) < 4 {
					return way{}, fmt.Errorf("not a packet size: %.60q", l)
				}
				size = f[3]
			}
			n, err := strconv.Atoi(size)
			if err != nil {
				return way{}, fmt.Errorf("not a packet size: %.60q", l)
			}
			w.mtu = n
		default:
			return way{}, fmt.Errorf("not understood: %.60q", l)
		}
	}
	return w, nil
}

// udpAnswer returns the name of an answer: ours repeats the SPI, on 4500 after four zeros.
func udpAnswer(s string) string {
	switch s {
	case "silent", "refused", "error":
		return s
	}
	ours := fmt.Sprintf("%x", spi)
	if strings.HasPrefix(strings.TrimPrefix(s, "00000000"), ours) {
		return "answered"
	}
	return "foreign"
}

// way judges the way to the hub.
func (x *hostChecks) way(hub hubView) {
	if !x.Hub.IsValid() {
		return
	}
	out, ok := x.output(readWay, "the way to the hub")
	if !ok {
		return
	}
	w, err := parseWay(out)
	if err != nil {
		x.skip("the way to the hub", err)
		return
	}
	if !slices.ContainsFunc(x.up, x.leadsToHub) && len(x.into) == 0 {
		x.udp(w, hub)
	}
	// Where a tunnel carries packets for the hub's own address, the pings went
	// through it and tell nothing of the way.
	if slices.ContainsFunc(x.into, func(p netip.Prefix) bool { return p.Contains(x.Hub) }) {
		return
	}
	x.mtu(w)
	x.nat(w)
}

// leadsToHub reports whether a tunnel is one to the hub as it is now, and not to where it
// was before it moved.
func (x *hostChecks) leadsToHub(t strongswan.Tunnel) bool {
	return t.Hub == "" || t.Hub == x.Hub.String()
}

func (x *hostChecks) udp(w way, hub hubView) {
	by := map[string][]string{} // ports by answer
	for _, port := range []int{500, 4500} {
		by[w.udp[port]] = append(by[w.udp[port]], strconv.Itoa(port))
	}
	const why = "IKE starts on UDP 500 and goes on, ESP too, on 4500: without both there is no tunnel"
	ports := func(answer string) string {
		return "UDP " + strings.Join(by[answer], " and ") + " of the hub (" + x.Hub.String() + ")"
	}
	if by["silent"] != nil {
		const mend = "let UDP 500 and 4500 through: in the provider's firewall of the hub (its web console), " +
			"in the site's router, in packet filters on both"
		switch {
		case hub.drops:
			x.find("udp", Problem, why, "mend the hub's own packet filter first, as is told there, and ask again",
				"from here, %s gives no answer, and a rule on the hub drops such packets", ports("silent"))
		case hub.state == hubSilent:
			x.find("udp", Warning, why, "apply to the hub, which opens its own packet filter, and ask again; if it stays: "+mend,
				"from here, %s gives no answer, and nothing listens there yet: something drops it", ports("silent"))
		default:
			though := ""
			if hub.state == hubListens {
				though = ", though charon listens there"
			}
			x.find("udp", Problem, why, mend, "from here, %s gives no answer%s", ports("silent"), though)
		}
	}
	switch {
	case by["refused"] == nil:
	case hub.drops:
		x.find("udp", Problem, why, "mend the hub's own packet filter first, as is told there, and ask again",
			"from here, %s is refused, and a rule on the hub drops or rejects such packets", ports("refused"))
	case hub.state == hubListens:
		x.find("udp", Problem, why, "look for a rule that rejects (-j REJECT), on the hub and in the routers on the way",
			"from here, %s is refused, though charon listens there", ports("refused"))
	case hub.state == hubNotRead:
		x.find("udp", Warning, why, "vpnpush doctor, with the hub: then it is known whether charon runs there",
			"from here, %s is refused: nothing listens there, or something on the way says so", ports("refused"))
	}
	if by["foreign"] != nil {
		x.find("udp", Problem, why, "see that hub.address is the hub's, and that no router on the way answers IKE itself",
			"from here, what answers on %s is no IKE daemon", ports("foreign"))
	}
	for _, answer := range []string{"", "error"} {
		if by[answer] != nil {
			x.unchecked = append(x.unchecked, ports(answer)+": no probe could be sent")
		}
	}
}

// Packets of an encrypted tunnel that vpnpush makes are at most 1492 bytes: its
// rules keep TCP segments to 1360 (docs/what-lands.md).
const wantMTU = 1492

func (x *hostChecks) mtu(w way) {
	const (
		why  = "the tunnel comes up and small packets pass, but transfers hang"
		mend = "let ICMP \"fragmentation needed\" through on the way, or set the MTU of the site's interface to the largest that passes"
	)
	switch {
	case w.ping == "none":
		x.unchecked = append(x.unchecked, "packet sizes and NATs on the way: there is no ping on the host (package iputils-ping)")
	case w.ping != "ok":
		x.unchecked = append(x.unchecked, "packet sizes on the way: the hub does not answer pings")
	case w.lost && w.mtu == 0:
		x.find("mtu", Problem, why, mend, "not even packets of 1280 bytes pass whole on the way to the hub, and nobody says so")
	case w.lost && w.mtu < wantMTU:
		x.find("mtu", Problem, why, mend, "packets of more than %d bytes vanish on the way to the hub, and nobody says so", w.mtu)
	case w.told && w.mtu < wantMTU:
		x.find("mtu", Warning, "large packets of the tunnel are cut in two, which costs speed; some paths lose the pieces",
			fmt.Sprintf("nothing, if it is fast enough; else on the site: ip link set dev INTERFACE mtu %d, and the same for the next boot", w.mtu),
			"the way to the hub takes packets of %d bytes, not 1500", w.mtu)
	}
}

var cgnat = netip.MustParsePrefix("100.64.0.0/10") // RFC 6598

// nat looks for routers with private addresses beyond the first: each may be a
// NAT. Which of them do translate cannot be seen from inside.
func (x *hostChecks) nat(w way) {
	var beyond []string
	carrier := false
	for _, n := range slices.Sorted(maps.Keys(w.hops)) {
		if a := w.hops[n]; n >= 2 && (a.IsPrivate() || cgnat.Contains(a)) {
			beyond = append(beyond, a.String())
			carrier = carrier || cgnat.Contains(a)
		}
	}
	switch {
	case carrier:
		x.find("nat", Warning, "a carrier's NAT forgets idle mappings early, and gives a new address at will: the tunnel is dialled anew then",
			"keep tunnel.dpd_delay at 30s or less; a public address is the provider's to sell",
			"the provider has a NAT of its own on the way (%s)", strings.Join(beyond, ", "))
	case beyond != nil:
		x.find("nat", Warning, "each NAT has a table that fills up and mappings that expire; the tunnel dies with the shorter-lived",
			"put the outer router in bridge mode, if both translate; a tunnel that stays up needs nothing",
			"there is a second router with a private address on the way (%s): a double NAT, or a LAN behind a LAN", strings.Join(beyond, ", "))
	}
}
