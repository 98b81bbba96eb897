// Package adopt reads hosts that were set up by hand, as guides on the web have it:
// strongSwan by ipsec.conf, with xl2tpd and pppd on the hub. It makes of them the inventory
// that gives the same network, and tells what that cannot carry. It is a function of what
// was read: nothing here reads a host or a file.
package adopt

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Where a network by hand is told what it is.
const (
	ipsecConf   = "/etc/ipsec.conf"
	ipsecKeys   = "/etc/ipsec.secrets"
	includable  = "/etc/ipsec.d/*"
	xl2tpdConf  = "/etc/xl2tpd/xl2tpd.conf"
	pppOptions  = "/etc/ppp/options*"
	chapSecrets = "/etc/ppp/chap-secrets"
	rulesV4     = "/etc/iptables/rules.v4"
	sysctlConf  = "/etc/sysctl.conf"
	sysctlDir   = "/etc/sysctl.d/*.conf"
	swanctlConf = "/etc/swanctl/swanctl.conf"
	swanctlDir  = "/etc/swanctl/conf.d/*.conf"
)

var readName = tasks.Read{Kind: tasks.ReadCommand, Arg: "hostname", Shell: "hostname"}

// Reads returns what is to be read on a box.
func Reads() []tasks.Read {
	out := append(tasks.AddressReads(), readName)
	for _, p := range []string{ipsecConf, ipsecKeys, xl2tpdConf, chapSecrets, rulesV4, sysctlConf, swanctlConf, tasks.ManifestPath} {
		out = append(out, tasks.Read{Kind: tasks.ReadFile, Arg: p})
	}
	for _, p := range []string{includable, pppOptions, sysctlDir, swanctlDir} {
		out = append(out, tasks.Read{Kind: tasks.ReadGlob, Arg: p})
	}
	return out
}

// Box is a host that was set up by hand, and what was read there.
type Box struct {
	Arg  string // as it was asked for
	Name string // that it is to have; "": its own
	// Host, User and Port are the way to it, as ssh takes them.
	Host, User string
	Port       int
	Facts      tasks.Facts
}

// Note is something that an inventory does not carry.
type Note struct {
	Host  string // Box.Arg
	Place string // "/etc/ipsec.conf:12"
	What  string // "leftfirewall=yes"; never a secret
	Why   string
}

func (n Note) String() string {
	s := n.Host + ": " + n.Place + ": "
	if n.What != "" {
		s += n.What + ": "
	}
	return s + n.Why
}

// Adopted is the inventory that gives the same network.
type Adopted struct {
	Hub          string
	Sites, Users []string
	// Unread are the sites whose boxes were not among those that were read.
	Unread []string
	Notes  []Note
	// Text is the inventory with its secrets; Bare has the names of environment variables
	// in their place.
	Text secret.Value
	Bare string
	// Faults are why it is not valid as it stands; where they are, a person has to decide.
	Faults inventory.Diagnostics
}

// box is a Box that is being read.
type box struct {
	Box
	notes *[]Note
	nets  tasks.Networks
	conns []conn
	keys  []key
}

func (b *box) note(place, what, why string, a ...any) {
	*b.notes = append(*b.notes, Note{Host: b.Arg, Place: place, What: what, Why: fmt.Sprintf(why, a...)})
}

// content returns a file's text, "" where there is none.
func (b *box) content(path string) (string, error) {
	s, err := b.Facts.File(path)
	return string(s.Content), err
}

// Boxes makes an inventory of boxes: one is the hub, which its conns tell, or none of them
// is, where the hub was not among those that were read.
func Boxes(in []Box) (*Adopted, error) {
	out := &Adopted{}
	n := &network{notes: &out.Notes}
	for _, b := range in {
		read, err := readBox(b, &out.Notes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.Arg, err)
		}
		if err := n.add(read); err != nil {
			return nil, err
		}
	}
	if err := n.join(); err != nil {
		return nil, err
	}
	n.write(out)
	return out, nil
}

func readBox(in Box, notes *[]Note) (*box, error) {
	b := &box{Box: in, notes: notes}
	b.Arg = shown(b.Arg)
	m, err := tasks.ReadManifest(b.Facts)
	if err != nil {
		return nil, err
	}
	if m != nil {
		return nil, transport.WithHint(fmt.Errorf("it is vpnpush's already, as %q of the inventory %q", m.Host, m.Owner), "leave it out: its inventory is what there is to know")
	}
	if b.nets, err = tasks.NetworksFrom(b.Facts); err != nil {
		return nil, err
	}
	if b.Name == "" {
		if name, err := b.Facts.Output(readName.Arg); err == nil {
			b.Name, _, _ = strings.Cut(strings.TrimSpace(string(name)), ".")
		}
	}
	for _, read := range []func() error{b.readConf, b.readKeys, b.readSwanctl, b.readSysctl} {
		if err := read(); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (b *box) readSwanctl() error {
	files, err := b.Facts.Glob(swanctlDir)
	if err != nil {
		return err
	}
	main, err := b.Facts.File(swanctlConf)
	if err != nil {
		return err
	}
	for _, f := range append([]tasks.FileState{main}, files...) {
		for _, s := range mask.Connections(f.Content) {
			if len(s.Path) == 1 {
				b.note(fmt.Sprintf("%s:%d", f.Path, s.Line), s.Path[0], "a connection of swanctl is not read, and stays as it is")
			}
		}
	}
	return nil
}

// ours are the kernel parameters that vpnpush sets, as far as a box by hand sets them.
var ours = regexp.MustCompile(`^net[./]ipv4[./](ip_forward|conf[./][^./]+[./](accept_redirects|send_redirects|rp_filter))$`)

func (b *box) readSysctl() error {
	files, err := b.Facts.Glob(sysctlDir)
	if err != nil {
		return err
	}
	main, err := b.Facts.File(sysctlConf)
	if err != nil {
		return err
	}
	for _, f := range append([]tasks.FileState{main}, files...) {
		for i, l := range strings.Split(string(f.Content), "\n") {
			k, v, ok := strings.Cut(strings.TrimSpace(l), "=")
			k, v = strings.TrimSpace(strings.TrimPrefix(k, "-")), strings.TrimSpace(v)
			if !ok || !ours.MatchString(k) {
				continue
			}
			forward, filter := strings.HasSuffix(k, "ip_forward"), strings.HasSuffix(k, "rp_filter")
			if forward && v != "1" || filter && v == "1" || !forward && !filter && v != "0" {
				b.note(fmt.Sprintf("%s:%d", f.Path, i+1), k+"="+shown(v), "vpnpush sets another value in a file of its own; which holds after a boot, the order of the files decides")
			}
		}
	}
	return nil
}

// shown returns text as it can stand in a line.
func shown(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}

// network is what the boxes make together.
type network struct {
	notes *[]Note
	hub   *box
	boxes []*box // of sites

	address, local netip.Addr
	name           string
	subnets        []netip.Prefix
	sites          []*site
	relay          bool
	l2tp           *l2tp
	masquerade     bool
}

// site is an office.
type site struct {
	name    string
	box     *box // nil: it was not read
	conn    conn // of the box, or of the hub
	hubConn *conn
	subnets []netip.Prefix
	address netip.Addr
	psk     secret.Value
}

// add takes a box for the hub or for a site, as its conns tell.
func (n *network) add(b *box) error {
	var waits, dials *conn
	for i := range b.conns {
		switch c := &b.conns[i]; {
		case c.l2tp || c.anybody:
			waits = cmp.Or(waits, c)
		case dials == nil:
			dials = c
		}
	}
	switch {
	case waits != nil:
		if n.hub != nil {
			return transport.WithHint(fmt.Errorf("%s and %s both wait for callers", n.hub.Arg, b.Arg), "a network has one hub: adopt them one by one")
		}
		n.hub = b
		for _, c := range b.conns {
			if !c.l2tp && !c.anybody {
				b.note(c.place(), "conn "+shown(c.Name), "it is with a peer at an address of its own, which no site is; it stays as it is")
			}
		}
	case dials != nil:
		n.boxes = append(n.boxes, b)
	default:
		return transport.WithHint(fmt.Errorf("%s: %s has no conn with a pre-shared key that waits for callers or dials", b.Arg, ipsecConf),
			"write the inventory by hand: `vpnpush init` begins one")
	}
	return nil
}

// join finds what each end of a tunnel says of it.
func (n *network) join() error {
	var err error
	if n.hub != nil {
		if n.l2tp, err = n.hub.readL2TP(); err != nil {
			return err
		}
		for _, c := range n.hub.conns {
			if c.l2tp && n.l2tp == nil {
				n.hub.note(c.place(), "conn "+shown(c.Name), "it is for L2TP clients, and %s has no [lns] for them: it stays as it is, but a key that opens tunnels, too, does not", xl2tpdConf)
			}
		}
	}
	if err := n.joinSites(); err != nil {
		return err
	}
	if err := n.hubAddress(); err != nil {
		return err
	}
	n.hubSubnets()
	n.names()
	n.joinKeys()
	if n.hub != nil {
		return n.readRules()
	}
	return nil
}

func (n *network) joinSites() error {
	taken := map[*conn]bool{}
	for _, b := range n.boxes {
		var own *conn
		for i := range b.conns {
			switch c := &b.conns[i]; {
			case own == nil:
				own = c
			case c.Get(c.there) == own.Get(own.there):
				// one for each pair of networks, as other systems have it
				own.local, own.remote = with(own.local, c.local), with(own.remote, c.remote)
			default:
				b.note(c.place(), "conn "+shown(c.Name), "a site has one hub, and this dials another peer than conn %s; the conn stays as it is", shown(own.Name))
			}
		}
		s := &site{box: b, conn: *own, subnets: some(own.local)}
		if n.hub != nil {
			for i := range n.hub.conns {
				h := &n.hub.conns[i]
				if h.l2tp || !h.anybody || taken[h] {
					continue
				}
				if len(some(h.remote)) == 0 {
					s.hubConn = cmp.Or(s.hubConn, h) // for whoever calls
				} else if overlap(h.remote, own.local) || len(some(own.local)) == 0 {
					s.hubConn, taken[h] = h, true
					break
				}
			}
		}
		if len(s.subnets) == 0 && s.hubConn != nil {
			s.subnets = some(s.hubConn.remote)
		}
		for _, a := range b.nets.Addresses {
			if holds(s.subnets, a.Addr) && !s.address.IsValid() {
				s.address = a.Addr
			}
		}
		n.sites = append(n.sites, s)
	}
	if n.hub == nil {
		return nil
	}
	for i := range n.hub.conns {
		h := &n.hub.conns[i]
		switch {
		case h.l2tp || !h.anybody || taken[h]:
		case len(some(h.remote)) > 0:
			n.sites = append(n.sites, &site{conn: *h, hubConn: h, subnets: some(h.remote)})
		case !slices.ContainsFunc(n.sites, func(s *site) bool { return s.hubConn == h }):
			n.hub.note(h.place(), "conn "+shown(h.Name), "it takes whoever calls, and names no network of an office: name each office's box, too")
		}
	}
	return nil
}

// hubAddress finds what sites and clients dial.
func (n *network) hubAddress() error {
	try := func(s string) {
		if a, err := netip.ParseAddr(s); err == nil && a.Is4() && !n.address.IsValid() && !a.IsUnspecified() {
			n.address = a
		}
	}
	for _, s := range n.sites {
		if s.box != nil {
			to := s.conn.Get(s.conn.there)
			if try(to); !n.address.IsValid() {
				s.box.note(s.conn.placeOf(s.conn.there), s.conn.there+"="+shown(to), "hub.address is an address; a name in its place is looked up nowhere")
			}
		}
	}
	if n.hub == nil {
		if !n.address.IsValid() {
			return transport.WithHint(errors.New("no box says by an address where the hub is"), "name the hub's box, too")
		}
		return nil
	}
	try(n.hub.Host)
	var left netip.Addr
	for _, c := range n.hub.conns {
		if a, err := netip.ParseAddr(c.Get(c.here)); err == nil && n.hub.has(a) {
			left = a
		}
		try(c.Get(c.here + "id"))
		try(c.Get(c.here))
	}
	if !n.address.IsValid() {
		return transport.WithHint(fmt.Errorf("%s: which address sites and clients dial stands in none of its conns", n.hub.Arg), "name a site's box, too, or the hub by its public address: `vpnpush adopt vps=root@203.0.113.10`")
	}
	if !n.hub.has(n.address) {
		if n.local = left; !left.IsValid() && len(n.hub.nets.Addresses) > 0 {
			n.local = n.hub.nets.Addresses[0].Addr
		}
	}
	return nil
}

func (b *box) has(a netip.Addr) bool {
	return slices.ContainsFunc(b.nets.Addresses, func(x tasks.Address) bool { return x.Addr == a })
}

// hubSubnets finds what sites reach at the hub, and whether they reach each other.
func (n *network) hubSubnets() {
	var all []netip.Prefix
	tell := func(b *box, c conn, side string, ps []netip.Prefix) {
		if b != nil && len(ps) > 0 && len(some(ps)) < len(ps) {
			b.note(c.placeOf(side+"subnet"), side+"subnet="+shown(c.Get(side+"subnet")), "a site sends what is for hub.subnets, for the other sites with tunnel.relay, and for the clients, and not all; vpnpush lets no office claim all")
		}
		all = with(all, some(ps))
	}
	seen := map[*conn]bool{}
	for _, s := range n.sites {
		if s.hubConn != nil && !seen[s.hubConn] {
			seen[s.hubConn] = true
			tell(n.hub, *s.hubConn, s.hubConn.here, s.hubConn.local)
			if len(some(s.hubConn.remote)) < len(s.hubConn.remote) {
				tell(n.hub, *s.hubConn, s.hubConn.there, s.hubConn.remote[:0:0])
				n.hub.note(s.hubConn.placeOf(s.hubConn.there+"subnet"), s.hubConn.there+"subnet="+shown(s.hubConn.Get(s.hubConn.there+"subnet")), "each site gets the networks of its own box, and no others")
			}
		}
		if s.box != nil {
			tell(s.box, s.conn, s.conn.there, s.conn.remote)
		}
	}
	for _, p := range all {
		switch {
		case slices.ContainsFunc(n.sites, func(s *site) bool { return overlap(s.subnets, []netip.Prefix{p}) }):
			n.relay = true
		case n.l2tp != nil && n.l2tp.in(p):
			for _, s := range n.sites {
				n.l2tp.reach = with(n.l2tp.reach, s.subnets)
			}
		default:
			n.subnets = append(n.subnets, p)
		}
	}
	if len(n.subnets) == 1 && n.subnets[0] == netip.PrefixFrom(n.address, 32) {
		n.subnets = nil // as without it
	}
}

// badName is what a name may not have.
var badName = regexp.MustCompile(`[^A-Za-z0-9_-]+`)

// names gives each host a name that no conn has: both stand on a host while the tunnel moves.
func (n *network) names() {
	taken := map[string]bool{"hub": true, "sites": true, "l2tp": true, "include": true, "": true, "localhost": true}
	n.name = "hub"
	if n.hub != nil {
		if name := strings.Trim(badName.ReplaceAllString(n.hub.Name, "-"), "-_"); !taken[strings.ToLower(name)] {
			n.name = name
		}
	}
	taken[strings.ToLower(n.name)] = true
	var boxes []*box
	if n.hub != nil {
		boxes = append(boxes, n.hub)
	}
	for _, b := range append(boxes, n.boxes...) {
		for _, c := range b.conns {
			taken[strings.ToLower(c.Name)] = true
		}
	}
	for i, s := range n.sites {
		want := strings.TrimPrefix(s.conn.Get(s.conn.there+"id"), "@")
		if want == "" || strings.ContainsAny(want, "%./:@*") {
			want = s.conn.Name
		}
		if s.box != nil {
			want = s.box.Name
		}
		want = strings.Trim(badName.ReplaceAllString(want, "-"), "-_")
		name := want
		if taken[strings.ToLower(name)] {
			name = "site-" + want
		}
		for k := i + 1; len(name) > 63 || taken[strings.ToLower(name)] || strings.HasSuffix(name, "-"); k++ {
			name = fmt.Sprintf("site-%d", k)
		}
		taken[strings.ToLower(name)] = true
		s.name = name
	}
}

// some returns the prefixes of ps that do not hold all there is.
func some(ps []netip.Prefix) []netip.Prefix {
	return slices.DeleteFunc(slices.Clone(ps), func(p netip.Prefix) bool { return p.Bits() == 0 })
}

func overlap(a, b []netip.Prefix) bool {
	return slices.ContainsFunc(a, func(p netip.Prefix) bool { return slices.ContainsFunc(b, p.Overlaps) })
}

func holds(ps []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ps, func(p netip.Prefix) bool { return p.Contains(a) })
}

func with(a, b []netip.Prefix) []netip.Prefix {
	for _, p := range b {
		if !slices.Contains(a, p) {
			a = append(a, p)
		}
	}
	return a
}
