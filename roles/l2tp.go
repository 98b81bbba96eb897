package roles

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Where xl2tpd and pppd are told.
const (
	unitXL2TPD  = "xl2tpd.service"
	xl2tpdConf  = "/etc/xl2tpd/xl2tpd.conf"
	pppOptions  = "/etc/ppp/options.xl2tpd"
	chapSecrets = "/etc/ppp/chap-secrets"
	// run-parts(8) takes names without a dot only
	pppPreUp = "/etc/ppp/ip-pre-up.d/vpnpush"
	pppUp    = "/etc/ppp/ip-up.d/vpnpush"
	pppDown  = "/etc/ppp/ip-down.d/vpnpush"
)

// connL2TP is the name of the conn for L2TP clients.
const connL2TP = "l2tp"

// l2tp returns the L2TP layer where it is this host's: on the hub.
func (h Host) l2tp() *inventory.L2TP {
	if h.role != inventory.RoleHub {
		return nil
	}
	return h.inv.L2TP
}

// l2tpClients returns the conn for L2TP clients. Its identity is the public address
// also where the provider NATs it: it is what clients dial.
func l2tpClients(inv *inventory.Inventory) *clients {
	c := &clients{
		name: connL2TP, local: hubLocal(inv), id: inv.Hub.Address, psk: inv.L2TP.PSK,
		lifetime: 24 * time.Hour, dpdDelay: 30 * time.Second, dpdTimeout: 2 * time.Minute,
	}
	c.ike, c.esp = l2tpProposals(inv.Tunnel.AllowWeak)
	return c
}

// l2tpProposals returns what L2TP clients offer: Windows 10 and 11 AES with SHA-1
// over ECP-384, ECP-256 or MODP-2048, and ESP with SHA-1 only; Apple's and
// NetworkManager's SHA-256 with MODP-2048. MODP-1024 and 3DES, of Android
// before 12 and Windows before 10, only where weak ones are allowed.
//
// These clients ask for ESP without a group. Libreswan asks with one, that of its
// IKE SA (its pfs=yes), and a quick mode whose group no proposal has is not answered.
func l2tpProposals(weak bool) (ike, esp []string) {
	ike = []string{
		"aes256-sha256-modp2048", "aes128-sha256-modp2048",
		"aes256-sha1-ecp384", "aes128-sha1-ecp256",
		"aes256-sha1-modp2048", "aes128-sha1-modp2048",
	}
	ciphers := []string{"aes256-sha256", "aes128-sha256", "aes256-sha1", "aes128-sha1"}
	groups := "-modp2048-ecp384-ecp256"
	if weak {
		ike = append(ike, "aes256-sha1-modp1024", "aes128-sha1-modp1024", "3des-sha1-modp1024")
		ciphers = append(ciphers, "3des-sha1")
		groups += "-modp1024"
	}
	for _, c := range ciphers {
		esp = append(esp, c+groups)
	}
	return ike, append(esp, ciphers...)
}

// l2tpFiles returns the files of xl2tpd and pppd. A hub without L2TP still wants
// its block in chap-secrets gone: removed users must not stay behind.
func (h Host) l2tpFiles() ([]tasks.Task, error) {
	if h.role != inventory.RoleHub {
		return nil, nil
	}
	block := h.chapBlock()
	l := h.l2tp()
	if l == nil {
		return []tasks.Task{block}, nil
	}
	xl2tpd, err := fill(h.inv.ID, ";", "xl2tpd.conf.tmpl", struct {
		Listen, LocalIP, Name string
		Ranges                []string
	}{hubLocal(h.inv).String(), l.LocalIP.String(), h.inv.Hub.Name, freeRanges(l)})
	if err != nil {
		return nil, err
	}
	options, err := fill(h.inv.ID, "#", "options.xl2tpd.tmpl", l)
	if err != nil {
		return nil, err
	}
	for _, u := range l.Users {
		entry, err := chapEntry(u, h.inv.Hub.Name)
		if err != nil {
			return nil, err
		}
		block.Content = append(block.Content, entry.Reveal()+" "+chapAddress(u)+"\n"...)
	}
	preUp, err := script(h.inv.ID, "ip-pre-up.tmpl", struct {
		LocalIP netip.Addr
		Group   int
	}{l.LocalIP, clientGroup})
	if err != nil {
		return nil, err
	}
	up, err := script(h.inv.ID, "ip-up.tmpl", tasks.SessionDir)
	if err != nil {
		return nil, err
	}
	down, err := script(h.inv.ID, "ip-down.tmpl", tasks.SessionDir)
	if err != nil {
		return nil, err
	}
	return []tasks.Task{
		tasks.File{Path: pppPreUp, Content: preUp, Mode: 0o755, Owner: h.inv.ID},
		tasks.File{Path: pppUp, Content: up, Mode: 0o755, Owner: h.inv.ID},
		tasks.File{Path: pppDown, Content: down, Mode: 0o755, Owner: h.inv.ID},
		tasks.File{Path: xl2tpdConf, Content: xl2tpd, Mode: 0o644, Owner: h.inv.ID, Package: "xl2tpd"},
		tasks.File{Path: pppOptions, Content: options, Mode: 0o644, Syntax: mask.PPPOptions, Owner: h.inv.ID},
		block,
	}, nil
}

// freeRanges returns the pool less the users' fixed addresses, as xl2tpd's ranges:
// it does not look into chap-secrets, and would give such an address to
// another client.
func freeRanges(l *inventory.L2TP) []string {
	var fixed []netip.Addr
	for _, u := range l.Users {
		if u.Address.IsValid() {
			fixed = append(fixed, u.Address)
		}
	}
	slices.SortFunc(fixed, netip.Addr.Compare)
	var out []string
	add := func(from, to netip.Addr) {
		if from.IsValid() && !to.Less(from) {
			out = append(out, from.String()+"-"+to.String())
		}
	}
	from := l.PoolFrom
	for _, a := range fixed {
		if a.Less(from) || l.PoolTo.Less(a) {
			continue
		}
		add(from, a.Prev())
		from = a.Next()
	}
	add(from, l.PoolTo)
	return out
}

// chapEntry returns a user's line as pppd(8) reads it, without the addresses: client,
// server, secret.
func chapEntry(u inventory.User, server string) (secret.Value, error) {
	pw := u.Password.Reveal()
	// "@/path" is read from that file; any other "@" is a character (scan_authfile in
	// pppd's auth.c)
	if strings.ContainsAny(u.Name+pw, "\r\n\x00") || strings.HasPrefix(pw, "@/") {
		return secret.Value{}, fmt.Errorf("user %s: chap-secrets cannot carry the name or the password", u.Name)
	}
	return secret.New(chapWord(u.Name) + " " + server + " " + chapWord(pw)), nil
}

// chapAddress returns the addresses at the end of a user's line. One address there is
// what pppd gives to that user, in place of the one that xl2tpd passed, which the line
// does not allow (set_allowed_addrs in pppd's auth.c).
func chapAddress(u inventory.User) string {
	if u.Address.IsValid() {
		return u.Address.String()
	}
	return "*"
}

// sessions returns the sessions that are wanted: those of the users, with the passwords
// and the key that are in files and conns.
func (h Host) sessions(d tasks.Daemon, files []tasks.Task, conns []tasks.Conn) (tasks.Sessions, error) {
	l := h.l2tp()
	s := tasks.Sessions{Local: l.LocalIP.String(), Daemon: d, Conn: connL2TP}
	for _, u := range l.Users {
		entry, err := chapEntry(u, h.inv.Hub.Name)
		if err != nil {
			return s, err
		}
		s.Users = append(s.Users, tasks.SessionUser{Name: u.Name, Entry: entry})
	}
	for _, t := range files {
		switch t := t.(type) {
		case tasks.Block:
			if t.Path == chapSecrets {
				s.Passwords = t
			}
		case tasks.File:
			if slices.ContainsFunc(conns, func(c tasks.Conn) bool { return c.Name == connL2TP && c.Secrets == t.Path }) {
				s.Keys = t
			}
		}
	}
	return s, nil
}

// chapWord quotes a word as pppd's getword reads it: inside quotes a backslash
// takes the next character as it is.
func chapWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
