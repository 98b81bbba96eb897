package adopt

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// l2tp is the layer for people on the road.
type l2tp struct {
	psk        secret.Value
	localIP    netip.Addr
	from, to   netip.Addr
	server     string // its name for chap-secrets
	options    string // pppoptfile
	dns        []netip.Addr
	mtu        int
	reach      []netip.Prefix
	users      []user
	localPlace string
}

type user struct {
	name     string
	password secret.Value
	address  netip.Addr
}

// in reports whether p has some of the clients' addresses.
func (l *l2tp) in(p netip.Prefix) bool { return p.Contains(l.from) || p.Contains(l.localIP) }

// xl2tpd takes these as vpnpush's own file has them.
var xl2tpdSame = []string{"listen-addr", "port", "length bit", "require authentication", "refuse pap", "refuse chap", "require chap", "hostname", "name", "pppoptfile", "ppp debug"}

// readL2TP reads what xl2tpd and pppd are told, nil where there is no server.
func (b *box) readL2TP() (*l2tp, error) {
	text, err := b.content(xl2tpdConf)
	if err != nil {
		return nil, err
	}
	l := &l2tp{mtu: 0}
	section, found := "", false
	for i, line := range strings.Split(text, "\n") {
		at := fmt.Sprintf("%s:%d", xl2tpdConf, i+1)
		line, _, _ = strings.Cut(strings.TrimSpace(strings.TrimSuffix(line, "\r")), ";")
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "["); ok {
			name, _, _ = strings.Cut(name, "]")
			section = strings.Join(strings.Fields(name), " ")
			if kind, rest, _ := strings.Cut(section, " "); kind == "Ins" || kind == "1ns" { // as books print it
				b.note(at, shown(line), "xl2tpd knows no such section; it is read as [lns %s]", shown(rest))
				section = "lns " + rest
			}
			found = found || strings.HasPrefix(section, "lns ")
			if section != "global" && !strings.HasPrefix(section, "lns ") {
				b.note(at, shown(line), "only [global] and one [lns] are carried")
			}
			continue
		}
		k, v, _ := strings.Cut(line, "=")
		k, v = strings.Join(strings.Fields(k), " "), strings.TrimSpace(v)
		switch {
		case section != "global" && !strings.HasPrefix(section, "lns "):
		case k == "ip range":
			if !l.rangeOf(v) {
				b.note(at, shown(k+" = "+v), "l2tp.pool is one range, \"first-last\"")
			}
		case k == "local ip":
			l.localIP, _ = netip.ParseAddr(v)
			l.localPlace = at
		case k == "name":
			l.server = v
		case k == "pppoptfile":
			l.options = v
		case !slices.Contains(xl2tpdSame, k):
			b.note(at, shown(k), "vpnpush has no such setting")
		}
	}
	if !found {
		return nil, nil
	}
	if err := b.readOptions(l); err != nil {
		return nil, err
	}
	return l, b.readUsers(l)
}

// rangeOf takes the pool from "first-last", once.
func (l *l2tp) rangeOf(v string) bool {
	first, last, ok := strings.Cut(v, "-")
	from, err := netip.ParseAddr(strings.TrimSpace(first))
	to, err2 := netip.ParseAddr(strings.TrimSpace(last))
	if !ok || err != nil || err2 != nil || l.from.IsValid() || !from.Is4() || !to.Is4() {
		return false
	}
	l.from, l.to = from, to
	return true
}

// Options of pppd that vpnpush's own file has in effect, or that are harmless to lose.
var pppSame = []string{
	"auth", "require-mschap-v2", "refuse-pap", "refuse-chap", "refuse-mschap", "nodefaultroute", "nobsdcomp", "noccp", "noipv6",
	"lcp-echo-interval", "lcp-echo-failure", "lcp-echo-adaptive", "lock", "crtscts", "modem", "name", "debug", "logfile",
	"hide-password", "nodetach", "connect-delay", "asyncmap", "logfd",
}

func (b *box) readOptions(l *l2tp) error {
	files, err := b.Facts.Glob(pppOptions)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(files, func(f fileState) bool { return f.Path == l.options })
	if at < 0 {
		if l.options != "" {
			b.note(xl2tpdConf+":1", "pppoptfile", "%s was not read: it is not there, or not %s", shown(l.options), pppOptions)
		}
		return nil
	}
	for i, line := range strings.Split(string(files[at].Content), "\n") {
		w := mask.PPPWords(line, 3)
		if len(w) == 0 {
			continue
		}
		place := fmt.Sprintf("%s:%d", l.options, i+1)
		value := ""
		if len(w) > 1 {
			value = w[1]
		}
		switch {
		case w[0] == "ms-dns":
			a, err := netip.ParseAddr(value)
			if err != nil || len(l.dns) == 2 {
				b.note(place, "ms-dns", "l2tp.dns takes two addresses")
			} else if !slices.Contains(l.dns, a) {
				l.dns = append(l.dns, a)
			}
		case w[0] == "mtu" || w[0] == "mru":
			if n, err := strconv.Atoi(value); err == nil && n >= 576 && n <= 1500 && (l.mtu == 0 || n < l.mtu) {
				l.mtu = n
			}
		case w[0] == "ipcp-accept-local" || w[0] == "ipcp-accept-remote":
			b.note(place, w[0], "a client could choose its own address, or the hub's")
		case w[0] == "proxyarp":
			b.note(place, w[0], "clients have a network of their own, and the hub routes to it")
		case !slices.Contains(pppSame, w[0]):
			b.note(place, shown(w[0]), "vpnpush has no such option")
		}
	}
	return nil
}

var userName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}$`)

func (b *box) readUsers(l *l2tp) error {
	text, err := b.content(chapSecrets)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for i, line := range strings.Split(text, "\n") {
		w := mask.PPPWords(line, 6)
		if len(w) < 3 {
			continue
		}
		u := user{name: w[0], password: secret.New(w[2])}
		why := ""
		switch {
		case w[1] != "*" && l.server != "" && w[1] != l.server:
			why = "it is for another server; it stays as it is"
		case !userName.MatchString(w[0]):
			why = "a user's name has letters, digits and . _ @ + - alone; the line stays, and lets in who it let in"
		case taken[strings.ToLower(w[0])]:
			why = "the user has a line above"
		}
		if why != "" {
			b.note(fmt.Sprintf("%s:%d", chapSecrets, i+1), "user "+shown(w[0]), "%s", why)
			continue
		}
		taken[strings.ToLower(w[0])] = true
		at := fmt.Sprintf("%s:%d", chapSecrets, i+1)
		if why := unfit(u.password, 8, "\"\\"); why != "" || strings.HasPrefix(w[2], "@/") {
			if why == "" {
				why = "it stands in a file"
			}
			b.note(at, "the password of "+u.name, "%s: %s gets a new one; `vpnpush export` writes what to tell", why, u.name)
			u.password = secret.GeneratePassword()
		}
		if len(w) > 3 && w[3] != "*" {
			a, err := netip.ParseAddr(w[3])
			if err == nil && l.from.IsValid() && !a.Less(l.from) && !l.to.Less(a) {
				u.address = a
			} else {
				b.note(at, "the address of "+u.name, "a user has none, or one of the pool")
			}
		}
		l.users = append(l.users, u)
	}
	return nil
}

// readRules tells of the packet filter's rules, which stay, and finds whether clients reach
// the internet.
func (n *network) readRules() error {
	text, err := n.hub.content(rulesV4)
	if err != nil {
		return err
	}
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(l)
		at := fmt.Sprintf("%s:%d", rulesV4, i+1)
		switch {
		case !strings.HasPrefix(l, "-A "):
		case strings.Contains(l, "-j MASQUERADE") && n.l2tp != nil && n.masquerades(l):
			n.masquerade = true
			n.hub.note(at, shown(l), "it stays beside firewall.masquerade, which does the same for the clients")
		default:
			n.hub.note(at, shown(l), "it stays, behind vpnpush's own chains")
		}
	}
	return nil
}

var ruleSource = regexp.MustCompile(`-s ([0-9./]+)`)

func (n *network) masquerades(rule string) bool {
	m := ruleSource.FindStringSubmatch(rule)
	if m == nil {
		return true
	}
	return slices.ContainsFunc(nets(m[1]), n.l2tp.in)
}
