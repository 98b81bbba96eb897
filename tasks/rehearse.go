package tasks

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// Twin is a host's end of its tunnels, as it goes on elsewhere in a rehearsal.
type Twin struct {
	Files []Step // of PhaseFiles: all that it has of strongSwan
	// Address is the one that it calls from, "" for any.
	Address string
}

// About is what the two ends of a tunnel do not agree on.
type About string

// What ends can disagree on.
const (
	AboutKey  About = "psk"      // the key
	AboutName About = "identity" // who the other end is
	AboutConn About = "conn"     // another conn of the hub's takes the call
	AboutNets About = "subnets"  // the networks
	AboutIKE  About = "ike"      // the proposals
	AboutESP  About = "esp"
	AboutElse About = "other"
)

// NotUp is why a tunnel did not come up in a rehearsal.
type NotUp struct {
	About About
	Says  string // a sentence
	Raw   string // charon's own words, "" where it has none
	AtHub bool   // they are from the log of the hub's end
	Conn  string // AboutConn: the one that took the call
}

// verdicts are the lines of charon's log that tell why a tunnel is not up, the more
// telling first: of two ends the one that judges says more than the one that is told.
var verdicts = []struct {
	about About
	line  *regexp.Regexp
	says  string // HERE is the end that logs it, THERE the other
}{
	{AboutKey, regexp.MustCompile(`tried \d+ shared keys? for .*, but MAC mismatched`), "the keys differ: HERE has another one for THERE than THERE sends"},
	{AboutKey, regexp.MustCompile(`no shared key found for`), "HERE has no key for THERE"},
	{AboutIKE, regexp.MustCompile(`ignore candidate '.*' without matching IKE proposal`), "no proposal for IKE is in both lists: HERE takes none of those that THERE offers"},
	{AboutName, regexp.MustCompile(`no matching peer config found`), "HERE has no conn that fits who THERE says it is, and what it offers"},
	{AboutNets, regexp.MustCompile(`traffic selectors .* (un|in)acceptable`), "the networks differ: HERE has others than THERE asks for"},
	{AboutIKE, regexp.MustCompile(`received proposals (un|in)acceptable`), "no proposal for IKE is in both lists: HERE takes none of those that THERE offers"},
	{AboutIKE, regexp.MustCompile(`no IKE config found for`), "HERE has no conn that takes a call from there"},
	{AboutESP, regexp.MustCompile(`no acceptable proposal found`), "no proposal for ESP is in both lists: HERE takes none of those that THERE offers"},
	{AboutElse, regexp.MustCompile(`unable to install .*(policies|SA)|error installing route`), "strongSwan cannot install the tunnel on HERE's end"},
	{AboutKey, regexp.MustCompile(`received AUTHENTICATION_FAILED notify`), "THERE refuses the key or the name of HERE"},
	{AboutNets, regexp.MustCompile(`received TS_UNACCEPTABLE notify`), "the networks differ: THERE accepts none of those of HERE"},
	{AboutESP, regexp.MustCompile(`received NO_PROPOSAL_CHOSEN notify, no CHILD_SA`), "no proposal for ESP is in both lists"},
	{AboutIKE, regexp.MustCompile(`received NO_PROPOSAL_CHOSEN notify`), "no proposal for IKE is in both lists"},
	{AboutElse, regexp.MustCompile(`received [A-Z][A-Z_]+ notify error`), "THERE refuses the tunnel"},
	{AboutElse, regexp.MustCompile(`giving up after \d+ retransmits|retransmit \d+ of request`), "THERE does not answer"},
}

var (
	charonLine  = regexp.MustCompile(`^(\d+)\[[A-Z0-9]+\] (.*)$`)
	charonHears = regexp.MustCompile(`^received packet: from ([0-9a-fA-F.:]+)\[\d+\]`)
	charonTakes = regexp.MustCompile(`^selected peer config '(.*)'$`)
	charonFits  = regexp.MustCompile(`^ *candidate "(.*)", match: (\S+)`)
	charonUp    = regexp.MustCompile(`^CHILD_SA \S+\{\d+\} established with SPIs \S+ \S+ and TS (.*) === (.*)$`)
)

// Heard returns the lines of charon's log that are about messages of others, by the
// address that each came from.
func Heard(log []byte) map[string][]byte {
	out := map[string][]byte{}
	from := map[string]string{} // by thread
	for l := range strings.Lines(string(log)) {
		m := charonLine.FindStringSubmatch(strings.TrimRight(l, "\r\n"))
		if m == nil {
			continue
		}
		if h := charonHears.FindStringSubmatch(m[2]); h != nil {
			from[m[1]] = h[1]
		}
		if who := from[m[1]]; who != "" {
			out[who] = append(out[who], l...)
		}
	}
	return out
}

// Call is how a hub answered a site's call, as its log has it.
type Call struct {
	Conn string   // the conn that took it, "" for none
	Ties []string // others that fit the caller just as well
	// Local and Remote are the networks of the child SA that was made, nil for none.
	Local, Remote []string
}

// CallFrom reads what the hub's log has of one site's calls.
func CallFrom(log []byte) Call {
	var c Call
	fits, best := map[string][]string{}, ""
	for l := range strings.Lines(string(log)) {
		m := charonLine.FindStringSubmatch(strings.TrimRight(l, "\r\n"))
		if m == nil {
			continue
		}
		text := m[2]
		if f := charonFits.FindStringSubmatch(text); f != nil {
			if !slices.Contains(fits[f[2]], f[1]) {
				fits[f[2]] = append(fits[f[2]], f[1])
			}
			if c.Conn == "" {
				best = f[2]
			}
		}
		if t := charonTakes.FindStringSubmatch(text); t != nil {
			c.Conn = t[1]
		}
		if u := charonUp.FindStringSubmatch(text); u != nil {
			c.Local, c.Remote = strings.Fields(u[1]), strings.Fields(u[2])
		}
	}
	for how, conns := range fits {
		if slices.Contains(conns, c.Conn) {
			best = how
		}
	}
	for _, conn := range fits[best] {
		if conn != c.Conn {
			c.Ties = append(c.Ties, conn)
		}
	}
	return c
}

// WhyNotUp returns why a site's tunnel did not come up, as the logs of its two ends tell:
// what the hub heard from the site, and what the site logged. t is the site's end.
func WhyNotUp(hub, site []byte, t strongswan.Tunnel) NotUp {
	call := CallFrom(hub)
	n := whyNotUp(hub, site, t)
	if call.Local != nil && !(sameNets(call.Local, t.Remote) && sameNets(call.Remote, t.Local)) {
		n = NotUp{About: AboutNets, AtHub: true, Raw: "CHILD_SA established with TS " + strings.Join(call.Local, " ") + " === " + strings.Join(call.Remote, " "),
			Says: "the networks differ: the two ends agree on " + strings.Join(call.Remote, " ") + " === " + strings.Join(call.Local, " ") +
				", and the tunnel is to carry " + strings.Join(t.Local, " ") + " === " + strings.Join(t.Remote, " ")}
	}
	if call.Conn == "" || call.Conn == t.Conn {
		return n
	}
	says := t.PeerID + " answers the call with its conn " + call.Conn + ", not with " + t.Conn
	if n.Raw != "" {
		says += "; " + n.Says
	}
	return NotUp{About: AboutConn, Conn: call.Conn, Raw: "selected peer config '" + call.Conn + "'", AtHub: true, Says: says}
}

func sameNets(a, b []string) bool {
	return slices.Equal(slices.Compact(slices.Sorted(slices.Values(a))), slices.Compact(slices.Sorted(slices.Values(b))))
}

func whyNotUp(hub, site []byte, t strongswan.Tunnel) NotUp {
	for _, v := range verdicts {
		for _, end := range []struct {
			log         []byte
			here, there string
			hub         bool
		}{{hub, t.PeerID, t.LocalID, true}, {site, t.LocalID, t.PeerID, false}} {
			if raw := lastLine(end.log, v.line); raw != "" {
				return NotUp{About: v.about, Raw: strongswan.Printable(raw), AtHub: end.hub,
					Says: strings.NewReplacer("HERE", end.here, "THERE", end.there).Replace(v.says)}
			}
		}
	}
	return NotUp{About: AboutElse, Says: "neither end says why"}
}

func lastLine(log []byte, want *regexp.Regexp) string {
	out := ""
	for l := range strings.Lines(string(log)) {
		if m := charonLine.FindStringSubmatch(strings.TrimRight(l, "\r\n")); m != nil && want.MatchString(m[2]) {
			out = m[2]
		}
	}
	return out
}

// Insides returns an address in each of these networks, the last one that a host can have.
func Insides(nets []string) []string {
	var out []string
	for _, n := range nets {
		p, err := netip.ParsePrefix(n)
		if err != nil || !p.Addr().Is4() {
			continue
		}
		a := p.Masked().Addr().As4()
		if host := 32 - p.Bits(); host >= 2 {
			last := uint32(1)<<host - 2
			for i := range a {
				a[i] |= byte(last >> (8 * (3 - i)))
			}
		}
		if s := netip.AddrFrom4(a).String(); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
