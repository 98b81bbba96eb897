package inventory

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Parse reads an inventory and checks all of it; name stands in the messages.
// It reads no other file, runs nothing and looks at no environment, so secrets
// that are kept elsewhere are unset until Resolve, and "~/" stands in paths as
// it was written. The Inventory is nil when there are errors.
func Parse(name string, data []byte) (*Inventory, Diagnostics) {
	inv, diags := parse(name, data)
	if len(diags.Errors()) > 0 {
		return nil, diags
	}
	return inv, diags
}

// parse also returns an inventory that has faults, as far as it was understood.
// It is nil only when the text is not TOML.
func parse(name string, data []byte) (*Inventory, Diagnostics) {
	r := &reader{file: name, elems: map[string][]toml.Key{}}
	m := map[string]any{}
	if _, err := toml.Decode(string(data), &m); err != nil {
		d := Diagnostic{File: name, Line: 1, Summary: "not TOML: " + err.Error(), Mend: syntaxMend(err.Error())}
		var perr toml.ParseError
		if errors.As(err, &perr) {
			last := strings.Count(string(data), "\n") + 1
			d.Line = min(max(perr.Position.Line, 1), last)
			d.Summary, d.Mend = "not TOML: "+printable(withoutValues(perr.Message)), syntaxMend(perr.Message)
		}
		return nil, Diagnostics{d}
	}
	var refused Diagnostics
	if r.pos, refused = locate(name, data); refused != nil {
		return nil, refused
	}
	inv := r.inventory(&table{r: r, m: m})
	inv.Path = name
	inv.refs, inv.pos = r.refs, r.pos
	r.diags = append(r.diags, inv.checkSecrets()...)
	return inv, r.diags.sorted()
}

func (r *reader) inventory(top *table) *Inventory {
	inv := &Inventory{explicit: map[string]map[string]bool{}}
	if t := top.sub("ssh"); t != nil {
		r.ssh(t, &inv.SSH, nil)
	}
	inv.Tunnel = r.tunnel(orEmpty(top, "tunnel"))
	if hub := top.sub("hub"); hub != nil {
		r.hub(hub, inv)
	} else if !top.has("hub") {
		r.errorf(nil, `add [hub] with address = "the public address of the VPS"`, "there is no [hub]")
	}
	inv.ID = top.str("id", inv.Hub.Name)
	if top.has("id") {
		r.checkName(top.at("id"), "id", inv.ID, plainName, nil)
	}

	sites := top.subs("sites")
	inv.Sites = make([]Site, len(sites))
	for i, t := range sites {
		r.site(t, inv, &inv.Sites[i])
	}
	if t := top.sub("l2tp"); t != nil {
		inv.L2TP = r.l2tp(t)
	}
	inv.Firewall = r.firewall(orEmpty(top, "firewall"), inv.L2TP != nil)
	r.secrets(orEmpty(top, "secrets"), inv)
	if t := top.sub("drift"); t != nil {
		r.ignores(t, inv)
	}
	top.done()

	if inv.L2TP != nil && inv.L2TP.ReachAuto {
		inv.L2TP.Reach = slices.Clone(inv.Hub.Subnets)
		for _, s := range inv.Sites {
			if inv.Tunnel.Relay {
				inv.L2TP.Reach = append(inv.L2TP.Reach, s.Subnets...)
			}
		}
	}
	r.checkNames(inv)
	r.checkOverlaps(inv)
	r.checkAddresses(inv)
	r.checkSelectors(inv)
	r.checkJumps(inv)
	return inv
}

func (r *reader) secrets(t *table, inv *Inventory) {
	c := &inv.Secrets
	inv.identityLine = r.pos.line(t.at("identity"))
	all, _ := t.list("recipients", `write a list of strings, such as ["age1..."]`)
	for i, s := range all {
		if s == "" {
			continue // reported
		}
		at := t.at("recipients", strconv.Itoa(i))
		to, err := secret.ParseRecipient(s)
		if err != nil {
			r.errorf(at, mendOf(err), "%s: element %d %s", t.name("recipients"), i+1, err)
			continue
		}
		if len(c.Recipients) > 0 && to.PostQuantum() != c.Recipients[0].PostQuantum() {
			r.errorf(at, "give all of them one that begins with age1pq1, or none", "%s: element %d is of another kind than those before, and age does not mix post-quantum keys with others", t.name("recipients"), i+1)
			continue
		}
		c.Recipients = append(c.Recipients, to)
	}
	c.Identity = t.str("identity", "")
	t.done()
}

// orEmpty returns the table key of t, or an empty one that yields the defaults.
func orEmpty(t *table, key string) *table {
	if s := t.sub(key); s != nil {
		return s
	}
	return &table{r: t.r, path: t.at(key)}
}

var (
	sshHost = regexp.MustCompile(`^[A-Za-z0-9_.:%\[\]][A-Za-z0-9_.:%\[\]-]*$`)
	// A leading "-" would be an option to ssh, space and quotes break ssh_config.
	sshUser = regexp.MustCompile(`^[^\s"'@:,/\x00-\x1f\x7f-][^\s"':,/\x00-\x1f\x7f]*$`)
)

// ssh reads an ssh table. set, if not nil, notes the keys that are there; nil
// means that this is the [ssh] of all hosts.
func (r *reader) ssh(t *table, s *SSH, set map[string]bool) {
	if set == nil {
		if t.has("become_password") {
			r.warnf(t.at("become_password"), "write each host's own into its ssh table, or let sudo ask for none (NOPASSWD)",
				"%s is for all hosts: one that was taken over can ask for it, and has the others' with it", t.name("become_password"))
		}
		for _, key := range []string{"host", "connection"} {
			if t.has(key) {
				t.known = append(t.known, key)
				r.errorf(t.at(key), "write it into the ssh table of that host", "%s is about one host", t.name(key))
			}
		}
	} else {
		s.Host = t.str("host", "")
		if t.has("host") && !sshHost.MatchString(s.Host) {
			r.errorf(t.at("host"), "write a host name or an address", "%s: %q is not a host", t.name("host"), s.Host)
		}
		if s.Connection = t.oneOf("connection", "", "ssh", "local"); s.Connection == "ssh" {
			s.Connection = ""
		}
	}
	s.User = t.str("user", "")
	if t.has("user") && s.User != "" && !sshUser.MatchString(s.User) {
		r.errorf(t.at("user"), "write the login name alone", "%s: %q is not a user", t.name("user"), s.User)
	}
	s.Port = t.number("port", 0, 1, 65535)
	s.IdentityFile = t.str("identity_file", "")
	s.KnownHosts = t.str("known_hosts", "")
	s.AcceptNew = t.flag("accept_new", false)
	s.Become = t.oneOf("become", "", "auto", "never")
	s.ConnectTimeout = t.duration("connect_timeout", 0, time.Second, 10*time.Minute)
	s.Jump = t.str("jump", "")
	t.secret("become_password", sudoPassword, &s.BecomePassword)
	if set != nil {
		for key := range t.m {
			set[key] = true
		}
	}
	t.done()
}

// hostSSH reads the ssh table of a host into its place.
func (r *reader) hostSSH(t *table, name string, inv *Inventory, s *SSH) {
	sub := t.sub("ssh")
	if sub == nil {
		return
	}
	set := map[string]bool{}
	inv.explicit[name] = set
	r.ssh(sub, s, set)
}

func (r *reader) tunnel(t *table) Tunnel {
	tun := Tunnel{
		Backend:   Backend(t.oneOf("backend", string(BackendAuto), string(BackendIPsecConf), string(BackendSwanctl))),
		DPDDelay:  t.duration("dpd_delay", 10*time.Second, time.Second, time.Hour),
		Relay:     t.flag("relay", false),
		MSS:       t.mss("mss"),
		AllowWeak: t.flag("allow_weak", false),
	}
	tun.IKE = r.proposals(t, "ike", []string{"aes256-sha256-modp2048"}, tun.AllowWeak)
	// With a group first: our own hosts have forward secrecy at each rekeying. Without
	// one second: a peer that knows none, or an older list, lives through it.
	tun.ESP = r.proposals(t, "esp", []string{"aes256-sha256-modp2048", "aes256-sha256"}, tun.AllowWeak)
	if _, ok := t.get("ah"); ok {
		r.errorf(t.at("ah"), "leave it out: ESP authenticates as well", "%s: strongSwan cannot combine AH with ESP", t.name("ah"))
	}
	// A key that is known only to be refused is not one to suggest.
	t.known = slices.DeleteFunc(t.known, func(k string) bool { return k == "ah" && !t.has("ah") })
	t.done()
	return tun
}

// ownBackend reads the backend of a host, "" for the network's.
func (t *table) ownBackend() Backend {
	return Backend(t.oneOf("backend", "", string(BackendAuto), string(BackendIPsecConf), string(BackendSwanctl)))
}

// The bounds of tunnel.mss: what every host takes (RFC 9293 section 3.7.1), and what
// an Ethernet frame has room for without a tunnel. The default fits, with ESP in UDP
// around it, the lines that are narrower than Ethernet.
const minMSS, defaultMSS, maxMSS = 536, 1300, 1460

// mss reads the size of a TCP segment; 0 stands for "off".
func (t *table) mss(key string) int {
	if t.m[key] == "off" {
		t.known = append(t.known, key)
		return 0
	}
	mend := fmt.Sprintf(`write a number from %d to %d, or "off"`, minMSS, maxMSS)
	v, ok := t.get(key)
	n, number := v.(int64)
	switch {
	case !ok:
	case !number:
		what := kindOf(v)
		if s, text := v.(string); text {
			what = strconv.Quote(s)
		}
		t.r.errorf(t.at(key), mend, "%s is %s", t.name(key), what)
	case n < minMSS || n > maxMSS:
		t.r.errorf(t.at(key), mend, "%s is %d", t.name(key), n)
	default:
		return int(n)
	}
	return defaultMSS
}

func (r *reader) proposals(t *table, key string, def []string, allowWeak bool) []string {
	mend := fmt.Sprintf("write a list of proposals, such as [\"%s\"]", strings.Join(def, `", "`))
	all, ok := t.list(key, mend)
	if !ok {
		return def
	}
	if len(all) == 0 {
		r.errorf(t.at(key), mend, "%s is empty", t.name(key))
	}
	for i, p := range all {
		if p == "" {
			continue // reported
		}
		at := t.at(key, strconv.Itoa(i))
		fault, mend, weak := checkProposal(p, key == "ike")
		if fault != "" {
			r.errorf(at, mend, "%s: proposal %q %s", t.name(key), p, fault)
		}
		if len(weak) > 0 && !allowWeak {
			r.errorf(at, fmt.Sprintf("write for example %q, or set tunnel.allow_weak = true", def[0]),
				"%s: proposal %q is weak: %s", t.name(key), p, strings.Join(weak, ", "))
		}
	}
	return all
}

func (r *reader) hub(t *table, inv *Inventory) {
	h := &inv.Hub
	h.Name = t.str("name", "hub")
	h.AllowPrivate = t.flag("allow_private", false)
	h.Backend = t.ownBackend()
	h.Address = t.addr("address")
	h.LocalAddress = t.addr("local_address")
	r.checkName(t.at("name"), t.name("name"), h.Name, hostName, []string{"l2tp", "%default", "sites", "include"})
	if t.blank("address") {
		r.errorf(t.at("address"), "write the public IPv4 address of the VPS", "%s is missing", t.name("address"))
	}
	if h.Address.IsValid() && !h.AllowPrivate && notPublic(h.Address) {
		r.errorf(t.at("address"), "write the public address (local_address is for the one behind the provider's NAT), or set hub.allow_private = true",
			"%s: %s is a private address, which sites cannot reach", t.name("address"), h.Address)
	}
	if !h.LocalAddress.IsValid() {
		h.LocalAddress = h.Address
	}
	var ok bool
	if h.Subnets, ok = t.prefixes("subnets", false); !ok && h.Address.IsValid() {
		h.Subnets = []netip.Prefix{netip.PrefixFrom(h.Address, h.Address.BitLen())}
	}
	if t.emptyList("subnets") {
		r.errorf(t.at("subnets"), "leave it out for the hub's address alone", "%s is empty", t.name("subnets"))
	}
	r.movesFrom(t, h)
	r.hostSSH(t, h.Name, inv, &h.SSH)
	t.done()
}

// movesFrom reads where the hub was before.
func (r *reader) movesFrom(t *table, h *Hub) {
	const mend = "write how to log in where the hub was, as user@host:port, or leave it out once no site is behind that"
	h.MovesFrom = t.str("moves_from", "")
	switch from, err := ParseLogin(h.MovesFrom); {
	case h.MovesFrom == "":
	case err != nil:
		r.errorf(t.at("moves_from"), mend, "%s: %q %v", t.name("moves_from"), h.MovesFrom, err)
	case h.Address.IsValid() && from.Host == h.Address.String():
		r.errorf(t.at("moves_from"), mend, "%s: %s is where it is now, hub.address", t.name("moves_from"), h.Address)
	}
}

// notPublic reports whether sites on the internet cannot reach a. It also knows
// the addresses of carrier-grade NAT (RFC 6598).
func notPublic(a netip.Addr) bool {
	return a.IsPrivate() || a.IsLinkLocalUnicast() || netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

func (r *reader) site(t *table, inv *Inventory, s *Site) {
	s.Name = t.base()
	r.checkName(t.path, "site "+strconv.Quote(s.Name), s.Name, hostName, []string{"l2tp", "%default", "hub", "sites", "include"})
	s.Address = t.addr("address")
	s.Subnets, _ = t.prefixes("subnets", false)
	if !t.has("subnets") || t.emptyList("subnets") {
		r.errorf(t.at("subnets"), `write the networks of the office, such as subnets = ["192.168.1.0/24"]`, "%s has no subnets", t.name())
	}
	if !t.secret("psk", psk, &s.PSK) {
		r.errorf(t.path, "write psk = a random string of 16 to 256 characters", "%s has no psk", t.name())
	}
	s.Backend = t.ownBackend()
	r.groups(t, s)
	r.hostSSH(t, s.Name, inv, &s.SSH)
	t.done()
}

func (r *reader) groups(t *table, s *Site) {
	s.Groups, _ = t.list("groups", `write a list of names, such as ["kanto"]`)
	for i, g := range s.Groups {
		if g != "" && !plainName.pattern.MatchString(g) { // "" was reported
			r.errorf(t.at("groups", strconv.Itoa(i)), "use "+plainName.text, "%s: %q cannot be the name of a group", t.name("groups"), g)
		}
	}
}

func (r *reader) l2tp(t *table) *L2TP {
	l := &L2TP{LocalIP: t.addr("local_ip"), DNS: t.addrs("dns"), MTU: t.number("mtu", 1280, 576, 1500)}
	if !t.secret("psk", psk, &l.PSK) {
		r.errorf(t.path, "write psk = a random string of 16 to 256 characters", "%s has no psk", t.name())
	}
	if t.blank("local_ip") {
		r.errorf(t.at("local_ip"), `write the hub's address inside the L2TP network, such as local_ip = "192.168.200.1"`, "%s has no local_ip", t.name())
	}
	if len(l.DNS) > 2 {
		r.errorf(t.at("dns"), "write two at most: pppd hands out no more (ms-dns in pppd(8))", "%s lists %d servers", t.name("dns"), len(l.DNS))
	}
	r.pool(t, l)
	reach, ok := t.prefixes("reach", true)
	l.Reach, l.ReachAuto = reach, !ok

	users := t.subs("users")
	l.Users = make([]User, len(users))
	holder := map[netip.Addr]string{}
	for i, ut := range users {
		u := &l.Users[i]
		u.Name, u.Address = ut.base(), ut.addr("address")
		r.checkName(ut.path, "user "+strconv.Quote(u.Name), u.Name, userName, nil)
		if !ut.secret("password", pppPassword, &u.Password) {
			r.errorf(ut.path, "write password = a string", "%s has no password", ut.name())
		}
		r.userAddress(ut, l, u.Address, holder)
		ut.done()
	}
	t.done()
	return l
}

func (r *reader) pool(t *table, l *L2TP) {
	const mend = `write first-last, such as pool = "192.168.200.2-192.168.200.30"`
	s, ok := get[string](t, "pool", mend)
	if !ok {
		if !t.has("pool") {
			r.errorf(t.at("pool"), mend, "%s has no pool", t.name())
		}
		return
	}
	first, last, found := strings.Cut(s, "-")
	if !found {
		r.errorf(t.at("pool"), mend, "%s: %q is not a range of addresses", t.name("pool"), s)
		return
	}
	from, fault, _ := parseAddr(strings.TrimSpace(first))
	to, fault2, _ := parseAddr(strings.TrimSpace(last))
	switch {
	case fault != "" || fault2 != "":
		for _, f := range []string{fault, fault2} {
			if f != "" {
				r.errorf(t.at("pool"), mend, "%s: %s", t.name("pool"), f)
			}
		}
		return
	case to.Less(from):
		r.errorf(t.at("pool"), fmt.Sprintf("write %q", to.String()+"-"+from.String()), "%s: %q ends before it begins", t.name("pool"), s)
		return
	}
	l.PoolFrom, l.PoolTo = from, to
	if l.pool().Contains(l.LocalIP) {
		r.errorf(t.at("pool"), "leave the hub's own address out of the pool", "%s: %q contains local_ip %s", t.name("pool"), s, l.LocalIP)
	}
}

func (l *L2TP) pool() Range { return Range{l.PoolFrom, l.PoolTo} }

// userAddress checks the fixed address of one user. holder has the users before
// it by their addresses.
func (r *reader) userAddress(t *table, l *L2TP, a netip.Addr, holder map[netip.Addr]string) {
	if !a.IsValid() {
		return
	}
	if a == l.LocalIP {
		r.errorf(t.at("address"), "write an address of the pool", "%s: %s is the hub's own, l2tp.local_ip", t.name("address"), a)
	} else if l.PoolFrom.IsValid() && !l.pool().Contains(a) {
		r.errorf(t.at("address"), fmt.Sprintf("write an address from %s to %s, or widen the pool", l.PoolFrom, l.PoolTo), "%s: %s is outside of the pool", t.name("address"), a)
	}
	if other, taken := holder[a]; taken {
		r.errorf(t.at("address"), "give each user an address of their own, or none", "%s: %s is also the address of user %q", t.name("address"), a, other)
		return
	}
	holder[a] = t.base()
}

func (r *reader) firewall(t *table, l2tp bool) Firewall {
	f := Firewall{
		Backend:    FilterBackend(t.oneOf("backend", string(FilterIptables), string(FilterNone))),
		Masquerade: t.flag("masquerade", false),
	}
	switch {
	case f.Masquerade && !l2tp:
		r.warnf(t.at("masquerade"), "add [l2tp] or leave it out", "%s has no effect: there are no L2TP clients", t.name("masquerade"))
	case f.Masquerade && f.Backend == FilterNone:
		r.warnf(t.at("masquerade"), `write backend = "iptables", or masquerade by your own rules`, `%s has no effect with firewall.backend = "none"`, t.name("masquerade"))
	}
	t.done()
	return f
}
