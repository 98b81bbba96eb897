package adopt

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
)

type fileState = tasks.FileState

// write makes the inventory, and what is to be told of it.
func (n *network) write(out *Adopted) {
	var boxes []string
	if n.hub != nil {
		boxes = append(boxes, n.hub.Arg)
	}
	for _, s := range n.sites {
		out.Sites = append(out.Sites, s.name)
		if s.box != nil {
			boxes = append(boxes, s.box.Arg)
		} else {
			out.Unread = append(out.Unread, s.name)
		}
	}
	out.Hub = n.name
	if n.l2tp != nil {
		for _, u := range n.l2tp.users {
			out.Users = append(out.Users, u.name)
		}
	}
	out.Notes = distinct(*n.notes, n.secrets())
	text := func(of func(name string, v secret.Value) string) string {
		var b strings.Builder
		b.WriteString("# " + shown("Read by `vpnpush adopt` on "+strings.Join(boxes, ", ")+".") + "\n\n")
		n.tables(&b, of)
		if len(out.Notes) > 0 {
			b.WriteString("\n# What it does not carry:\n")
			for _, note := range out.Notes {
				b.WriteString("# " + strings.ReplaceAll(note.String(), "\n", " ") + "\n")
			}
		}
		return b.String()
	}
	out.Text = secret.New(text(func(_ string, v secret.Value) string { return strconv.Quote(v.Reveal()) }))
	out.Bare = text(func(name string, _ secret.Value) string { return fmt.Sprintf("{ env = %q }", name) })
	_, diags := inventory.Parse("the inventory", []byte(out.Text.Reveal()))
	out.Faults = diags.Errors()
}

// secrets returns all that were read: no note may have one, wherever it was read.
func (n *network) secrets() []string {
	var out []string
	add := func(v secret.Value) {
		if s := v.Reveal(); len(s) > 4 {
			out = append(out, s)
		}
	}
	for _, b := range append(n.boxes, n.hub) {
		if b == nil {
			continue
		}
		for _, k := range b.keys {
			add(k.value)
		}
	}
	if n.l2tp != nil {
		for _, u := range n.l2tp.users {
			add(u.password)
		}
	}
	return out
}

// distinct returns notes without those that are said twice, and without what has a secret.
func distinct(notes []Note, secrets []string) []Note {
	var out []Note
	for _, n := range notes {
		if slices.ContainsFunc(secrets, func(s string) bool { return strings.Contains(n.What, s) }) && !strings.HasPrefix(n.What, "the ") {
			n.What = "(hidden)"
		}
		if !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	order := map[string]int{} // of hosts, and of the files of each, as they came
	for _, n := range out {
		for _, k := range []string{n.Host, n.file()} {
			if _, ok := order[k]; !ok {
				order[k] = len(order)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Note) int {
		return cmp.Or(cmp.Compare(order[a.Host], order[b.Host]), cmp.Compare(order[a.file()], order[b.file()]), cmp.Compare(a.line(), b.line()))
	})
	return out
}

// file returns the host and the file of a note, and line the line.
func (n Note) file() string { return n.Host + " " + n.Place[:strings.LastIndexByte(n.Place, ':')] }
func (n Note) line() int {
	l, _ := strconv.Atoi(n.Place[strings.LastIndexByte(n.Place, ':')+1:])
	return l
}

// public reports whether sites on the internet can reach a.
func public(a netip.Addr) bool {
	return !a.IsPrivate() && !netip.MustParsePrefix("100.64.0.0/10").Contains(a)
}

// notBare is what a key of TOML has in quotes alone.
var notBare = regexp.MustCompile(`[^A-Za-z0-9_-]`)

var notEnv = regexp.MustCompile(`[^A-Z0-9]+`)

// env names an environment variable.
func env(name, what string) string {
	s := notEnv.ReplaceAllString(strings.ToUpper(name), "_") + "_" + what
	if s[0] >= '0' && s[0] <= '9' {
		s = "_" + s
	}
	return s
}

func (n *network) tables(b *strings.Builder, of func(string, secret.Value) string) {
	line := func(format string, a ...any) { fmt.Fprintf(b, format+"\n", a...) }
	list := func(key string, of []string) {
		if len(of) == 0 {
			return
		}
		var words []string
		for _, s := range of {
			words = append(words, strconv.Quote(s))
		}
		line("%s = [%s]", key, strings.Join(words, ", "))
	}
	line("[hub]")
	line("name = %q", n.name)
	line("address = %q", n.address)
	if n.local.IsValid() {
		line("local_address = %q", n.local)
	}
	if !public(n.address) {
		line("allow_private = true")
	}
	list("subnets", texts(n.subnets))
	if n.hub != nil {
		ssh(b, n.hub, n.address)
	}
	line("\n[tunnel]\n# the files by hand are ipsec.conf's\nbackend = \"ipsec.conf\"")
	if n.relay {
		line("relay = true")
	}
	for _, s := range n.sites {
		line("\n[sites.%s]", s.name)
		if s.box == nil {
			line("# this box was not read: how it is reached, and its address, are to be written here")
		}
		if s.address.IsValid() {
			line("address = %q", s.address)
		}
		list("subnets", texts(s.subnets))
		line("psk = %s", of(env(s.name, "PSK"), s.psk))
		if s.box != nil {
			ssh(b, s.box, s.address)
		}
	}
	l := n.l2tp
	if l == nil {
		return
	}
	line("\n[l2tp]")
	line("psk = %s", of("L2TP_PSK", l.psk))
	if l.localIP.IsValid() {
		line("local_ip = %q", l.localIP)
	}
	if l.from.IsValid() {
		line("pool = %q", l.from.String()+"-"+l.to.String())
	}
	var dns []string
	for _, a := range l.dns {
		dns = append(dns, a.String())
	}
	list("dns", dns)
	if l.mtu != 0 {
		line("mtu = %d", l.mtu)
	}
	if len(l.reach) > 0 && !n.relay {
		own := n.subnets
		if len(own) == 0 {
			own = []netip.Prefix{netip.PrefixFrom(n.address, 32)}
		}
		list("reach", texts(with(slices.Clone(own), l.reach)))
	}
	for _, u := range l.users {
		name := u.name
		if notBare.MatchString(name) {
			name = strconv.Quote(name)
		}
		line("\n[l2tp.users.%s]", name)
		line("password = %s", of(env(u.name, "PASSWORD"), u.password))
		if u.address.IsValid() {
			line("address = %q", u.address)
		}
	}
	if n.masquerade {
		line("\n[firewall]\nmasquerade = true")
	}
}

// ssh writes the way to a box, as far as its address does not tell it.
func ssh(b *strings.Builder, box *box, address netip.Addr) {
	var words []string
	if box.Host != "" && box.Host != address.String() {
		words = append(words, "host = "+strconv.Quote(box.Host))
	}
	if box.User != "" {
		words = append(words, "user = "+strconv.Quote(box.User))
	}
	if box.Port != 0 {
		words = append(words, "port = "+strconv.Itoa(box.Port))
	}
	if len(words) > 0 {
		fmt.Fprintf(b, "ssh = { %s }\n", strings.Join(words, ", "))
	}
}

func texts(ps []netip.Prefix) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}
