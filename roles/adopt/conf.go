package adopt

import (
	"fmt"
	"net/netip"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// conn is a conn with a pre-shared key that strongSwan loads.
type conn struct {
	strongswan.ConfConn
	here, there   string // "left" and "right", or the other way round
	l2tp          bool   // for L2TP clients
	anybody       bool   // any address may call
	local, remote []netip.Prefix
}

// place returns where the conn begins.
func (c conn) place() string { return fmt.Sprintf("%s:%d", c.File, c.Line) }

// placeOf returns where a setting of it stands, or it begins.
func (c conn) placeOf(key string) string {
	for _, s := range c.Settings() {
		if s.Key == key {
			return fmt.Sprintf("%s:%d", s.File, s.Line)
		}
	}
	return c.place()
}

func (b *box) readConf() error {
	text, err := b.content(ipsecConf)
	if err != nil {
		return err
	}
	lines, err := b.confLines(ipsecConf, text, map[string]bool{})
	if err != nil {
		return err
	}
	for _, c := range strongswan.ParseConf(lines.lines()) {
		if auto := c.Get("auto"); !slices.Contains([]string{"add", "route", "start"}, auto) {
			continue // strongSwan does not load it
		}
		own := b.side(c)
		if !own.psk() {
			b.note(own.place(), "conn "+shown(c.Name), "it has no pre-shared key (authby=secret): it is not read, and stays as it is")
			continue
		}
		b.conns = append(b.conns, own)
		b.tellSettings(own)
	}
	for _, l := range lines {
		if k, v, ok := strings.Cut(strings.TrimSpace(l.Text), "="); ok && l.setup && strings.Join(strings.Fields(l.Text), "") != "uniqueids=no" {
			b.note(fmt.Sprintf("%s:%d", l.File, l.Line), shown(strings.TrimSpace(k)+"="+strings.TrimSpace(v)), "config setup is strongSwan's as a whole: it stays, but for uniqueids, where vpnpush's comes after it")
		}
	}
	return nil
}

// include is a line that has another file read; pairs are settings of one line.
var (
	include = regexp.MustCompile(`^\s*include\s+"?([^"\s#]+)`)
	pair    = regexp.MustCompile(`[ \t]+([a-z_0-9]+)[ \t]*=`)
)

type confLine struct {
	strongswan.ConfLine
	setup bool // of a section config setup
}

// confLines returns the lines of a file, and of what it includes from /etc/ipsec.d. Where
// somebody has put two settings on one line it is told, and each is a line.
func (b *box) confLines(file, text string, seen map[string]bool) (confFile, error) {
	if seen[file] {
		return nil, nil
	}
	seen[file] = true
	var out confFile
	setup := false
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSuffix(l, "\r")
		at := fmt.Sprintf("%s:%d", file, i+1)
		if m := include.FindStringSubmatch(l); m != nil {
			more, err := b.included(at, m[1], seen)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
			continue
		}
		if l != "" && l[0] != ' ' && l[0] != '\t' && l[0] != '#' {
			setup = strings.HasPrefix(l, "config")
		}
		parts := settings(l)
		if len(parts) > 1 {
			b.note(at, shown(strings.TrimSpace(l)), "two settings on one line: strongSwan calls that a syntax error, and does not start; they are read as two")
		}
		for _, p := range parts {
			out = append(out, confLine{strongswan.ConfLine{File: file, Line: i + 1, Text: p}, setup})
		}
	}
	return out, nil
}

type confFile []confLine

// settings splits a line at each further setting that it has.
func settings(l string) []string {
	body, _, _ := strings.Cut(l, "#")
	if len(body) == 0 || body[0] != ' ' && body[0] != '\t' {
		return []string{l}
	}
	var cuts []int
	for _, m := range pair.FindAllStringSubmatchIndex(body, -1) {
		if key := body[m[2]:m[3]]; strings.TrimSpace(body[:m[0]]) != "" && strings.Contains(body[:m[0]], "=") && known(key) && strings.Count(body[:m[0]], `"`)%2 == 0 {
			cuts = append(cuts, m[0])
		}
	}
	var out []string
	from := 0
	for _, at := range cuts {
		out, from = append(out, body[from:at]), at
	}
	if len(cuts) == 0 {
		return []string{l}
	}
	return append(out, body[from:])
}

func (b *box) included(at, pattern string, seen map[string]bool) (confFile, error) {
	if !strings.HasPrefix(pattern, "/") {
		pattern = "/etc/" + pattern
	}
	if strings.HasPrefix(pattern, "/var/lib/strongswan/") {
		return nil, nil // of the package
	}
	if ok, _ := path.Match(includable, pattern); !ok {
		b.note(at, "include "+shown(pattern), "what it includes is not read, and stays as it is")
		return nil, nil
	}
	files, err := b.Facts.Glob(includable)
	if err != nil {
		return nil, err
	}
	var out confFile
	for _, f := range files {
		if ok, _ := path.Match(pattern, f.Path); !ok {
			continue
		}
		more, err := b.confLines(f.Path, string(f.Content), seen)
		if err != nil {
			return nil, err
		}
		out = append(out, more...)
	}
	return out, nil
}

func (ls confFile) lines() []strongswan.ConfLine {
	out := make([]strongswan.ConfLine, len(ls))
	for i, l := range ls {
		out[i] = l.ConfLine
	}
	return out
}

// side returns c with which of its ends this box is.
func (b *box) side(c strongswan.ConfConn) conn {
	out := conn{ConfConn: c, here: "left", there: "right"}
	own := func(s string) bool {
		a, err := netip.ParseAddr(s)
		return err == nil && b.has(a)
	}
	if own(c.Get("right")) && !own(c.Get("left")) {
		out.here, out.there = "right", "left"
	}
	peer := c.Get(out.there)
	out.anybody = peer == "" || strings.HasPrefix(peer, "%any") || peer == "0.0.0.0" || peer == "0.0.0.0/0"
	out.l2tp = c.Get("type") == "transport" || strings.HasSuffix(c.Get(out.here+"protoport"), "/1701")
	out.local, out.remote = nets(c.Get(out.here+"subnet")), nets(c.Get(out.there+"subnet"))
	return out
}

// psk reports whether the conn is one with a pre-shared key.
func (c conn) psk() bool {
	by := c.Get("authby")
	return by == "secret" || by == "psk" || strings.HasPrefix(c.Get(c.here+"auth"), "psk") && strings.HasPrefix(c.Get(c.there+"auth"), "psk")
}

// nets parses leftsubnet= or rightsubnet=, without the protocols and ports of each.
func nets(s string) []netip.Prefix {
	var out []netip.Prefix
	for w := range strings.SplitSeq(s, ",") {
		w, _, _ = strings.Cut(strings.TrimSpace(w), "[")
		if a, err := netip.ParseAddr(w); err == nil && a.Is4() {
			out = append(out, netip.PrefixFrom(a, 32))
		} else if p, err := netip.ParsePrefix(w); err == nil && p.Addr().Is4() {
			out = append(out, p.Masked())
		}
	}
	return out
}

// carried are the settings that an inventory says in its own words, or that are those of
// each conn of vpnpush's.
var carried = []string{"left", "right", "leftsubnet", "rightsubnet", "auto", "authby", "leftauth", "rightauth", "type"}

// told are the settings that it does not, and what is in their place.
var told = map[string]string{
	"leftid": "each host is known by its name in the inventory", "rightid": "each host is known by its name in the inventory",
	"leftfirewall": "the packet filter has chains of vpnpush's own", "rightfirewall": "the packet filter has chains of vpnpush's own",
	"leftupdown": "a script of your own is not run", "rightupdown": "a script of your own is not run",
	"ikelifetime": "lifetimes are strongSwan's own, for L2TP clients 24 hours", "lifetime": "lifetimes are strongSwan's own, for L2TP clients 24 hours",
	"keylife": "lifetimes are strongSwan's own, for L2TP clients 24 hours", "margintime": "lifetimes are strongSwan's own",
	"rekeymargin": "lifetimes are strongSwan's own", "rekeyfuzz": "lifetimes are strongSwan's own",
	"leftsourceip": "there are no virtual addresses", "rightsourceip": "there are no virtual addresses",
	"dpdtimeout":  "IKEv2 has none; for L2TP clients it is 2 minutes",
	"keyexchange": "tunnels of sites are IKEv2, those of L2TP clients IKEv1", "dpddelay": "for sites it is tunnel.dpd_delay, 10 s, and for L2TP clients 30 s",
	"dpdaction": "sites dial again, and the hub waits", "closeaction": "sites dial again, and the hub waits",
	"keyingtries": "sites try for ever", "forceencaps": "UDP is put around ESP where there is a NAT", "mobike": "it is on for sites",
	"reauth": "there is none: it drops the tunnel", "rekey": "sites rekey, L2TP clients do not",
	"leftprotoport": "tunnels of sites carry all protocols", "rightprotoport": "tunnels of sites carry all protocols",
	"ike": "proposals are those of [tunnel], and for L2TP clients vpnpush's own", "esp": "proposals are those of [tunnel], and for L2TP clients vpnpush's own",
	"compress": "packets are not compressed", "fragmentation": "it is strongSwan's own", "aggressive": "it is not used: who listens can guess the key",
}

func known(key string) bool { return slices.Contains(carried, key) || told[key] != "" }

// same reports whether a setting is what vpnpush's conn in its place has.
func (c conn) same(key, value string) bool {
	hub := c.anybody
	switch key {
	case "dpdaction", "closeaction":
		return hub && (value == "clear" || value == "none") || !hub && value == "restart"
	case "keyingtries":
		return hub || value == "%forever"
	case "forceencaps", "reauth", "compress", "aggressive":
		return value == "no"
	case "mobike":
		return value == "yes" || c.l2tp
	case "rekey":
		return (value == "no") == c.l2tp
	case "keyexchange":
		return value == "ike" || (value == "ikev1") == c.l2tp
	case "dpddelay":
		return c.l2tp && strings.TrimSuffix(value, "s") == "30" || !c.l2tp && strings.TrimSuffix(value, "s") == "10"
	case "leftprotoport", "rightprotoport":
		return c.l2tp
	}
	return slices.Contains(carried, key)
}

// tellSettings tells what of a conn is otherwise by an inventory.
func (b *box) tellSettings(c conn) {
	for _, s := range c.Settings() {
		if c.same(s.Key, s.Value) {
			continue
		}
		why := told[s.Key]
		if why == "" {
			why = "vpnpush has no such setting"
		}
		b.note(fmt.Sprintf("%s:%d", s.File, s.Line), shown(s.Key+"="+s.Value), "%s", why)
	}
}
