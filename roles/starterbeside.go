package roles

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// starterBeside tells of the conns in ipsec.conf and in what it includes that are not
// ours and answer for ours, dial the same peer, or lead to where ours do.
func starterBeside(cs conns, f tasks.Facts) ([]string, error) {
	found, _, err := starterFound(cs, f)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range found {
		if c.says == nil {
			continue
		}
		mend := ""
		if c.replaced {
			mend = "; `vpnpush apply --adopt` makes it a comment"
		}
		out = append(out, fmt.Sprintf("%s:%d: conn %s is not vpnpush's, and %s%s", c.File, c.Line, c.Name, strings.Join(c.says, ", and "), mend))
	}
	return first(out, 5, ipsecConf), nil
}

// foundConn is a conn of the admin's, and what it does beside ours.
type foundConn struct {
	strongswan.ConfConn
	besideDoes
}

// starterFound returns the conns in ipsec.conf, and in what it includes, that are not ours,
// and the lines that they were found in. What one does that has the name of one of ours the
// preflight tells.
func starterFound(cs conns, f tasks.Facts) ([]foundConn, []byte, error) {
	listed, err := f.Output(readFiles.Arg)
	if err != nil {
		return nil, nil, err
	}
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, nil, err
	}
	own := map[string]bool{}
	for _, t := range cs.tunnels {
		own[t.name] = true
	}
	if cs.clients != nil {
		own[cs.clients.name] = true
	}
	networks, _ := tasks.NetworksFrom(f) // of a host without addresses no conn has its ends swapped
	var out []foundConn
	for _, c := range strongswan.ParseConf(confLines(listed)) {
		if m.Owns(c.File) {
			continue
		}
		found := foundConn{ConfConn: c}
		if !own[c.Name] && isLoaded(c) {
			found.besideDoes = besideOf(c, networks).gets(cs)
		}
		out = append(out, found)
	}
	return out, listed, nil
}

func isLoaded(c strongswan.ConfConn) bool {
	return slices.Contains([]string{"add", "route", "start"}, c.Get("auto"))
}

// safeName is the name of a conn that `ipsec down` and a pattern take as it is.
var safeName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// starterHandmade is backend.handmade. The conn %default goes with the last that needs it.
func starterHandmade(cs conns, keep func(peer string) bool, f tasks.Facts) (out []tasks.OutLines, kept []string, err error) {
	found, listed, err := starterFound(cs, f)
	if err != nil {
		return nil, nil, err
	}
	sums := confSums(listed)
	goes := map[string]bool{}
	for _, c := range found {
		switch {
		case !c.replaced:
		case slices.ContainsFunc(c.leads, keep):
			kept = with(kept, c.leads)
		default:
			goes[c.Name] = true
		}
	}
	lines := func(name, does, stays string, sections []strongswan.ConfSection) {
		for _, s := range sections {
			out = append(out, tasks.OutLines{Path: s.File, SHA256: sums[s.File], First: s.First, Last: s.Last, Name: name, Does: does, Stays: stays})
		}
	}
	needed := false // %default is
	for _, c := range found {
		if !goes[c.Name] {
			needed = needed || isLoaded(c.ConfConn)
			continue
		}
		stays := ""
		if !safeName.MatchString(c.Name) {
			stays = "its name has characters that `ipsec down` does not take as they are"
		}
		for _, o := range found {
			if !goes[o.Name] && slices.Contains(o.Also, c.Name) {
				stays = "conn " + o.Name + " takes over from it, and stays"
			}
		}
		lines(c.Name, strings.Join(c.says, ", and "), stays, c.Sections)
	}
	if len(out) > 0 && !needed {
		lines(strongswan.ConfDefault, "holds what no other conn says", "", strongswan.DefaultSections(confLines(listed)))
	}
	return out, kept, nil
}

// confSums returns the digests of the files that readFiles lists.
func confSums(listed []byte) map[string]string {
	out := map[string]string{}
	for l := range strings.Lines(string(listed)) {
		if w := strings.SplitN(strings.TrimSuffix(l, "\n"), "\t", 3); w[0] == "file" && len(w) == 3 {
			out[w[1]] = w[2]
		}
	}
	return out
}

// confLines returns the lines of configuration that readFiles lists.
func confLines(listed []byte) []strongswan.ConfLine {
	var out []strongswan.ConfLine
	file := ""
	for l := range strings.Lines(string(listed)) {
		w := strings.SplitN(strings.TrimSuffix(l, "\n"), "\t", 3)
		switch {
		case w[0] == "file" && len(w) == 3:
			file = w[1]
		case w[0] == "line" && len(w) == 3:
			if n, err := strconv.Atoi(w[1]); err == nil {
				out = append(out, strongswan.ConfLine{File: file, Line: n, Text: w[2]})
			}
		}
	}
	return out
}

func besideOf(c strongswan.ConfConn, n tasks.Networks) besideConn {
	here, there := "left", "right"
	if hasAddress(n, c.Get("right")) && !hasAddress(n, c.Get("left")) {
		here, there = there, here // as starter does
	}
	b := besideConn{peer: c.Get(there), peerID: strongswan.ParseIdentity(c.Get(there + "id"))}
	b.anybody = b.peer == "" || strings.HasPrefix(b.peer, "%any") || b.peer == "0.0.0.0"
	if c.Get(there+"id") == "" && !b.anybody {
		b.peerID = strongswan.ParseIdentity(b.peer)
	}
	switch c.Get("keyexchange") {
	case "", "ike":
		b.v1, b.v2 = true, true
	case "ikev1":
		b.v1 = true
	case "ikev2":
		b.v2 = true
	}
	b.psk = slices.Contains([]string{"secret", "psk"}, c.Get("authby")) || strings.HasPrefix(c.Get(there+"auth"), "psk")
	b.l2tp = c.Get("type") == "transport" || strings.HasSuffix(c.Get(here+"protoport"), "/1701")
	if !b.l2tp {
		b.local, b.remote = netsOf(c, here, n), netsOf(c, there, tasks.Networks{})
	}
	return b
}

// netsOf returns the networks on one side of a conn: where it names none, the address there,
// or those of the host, n.
func netsOf(c strongswan.ConfConn, side string, n tasks.Networks) []netip.Prefix {
	if s := c.Get(side + "subnet"); s != "" {
		return subnetsOf(s)
	}
	if a, err := netip.ParseAddr(c.Get(side)); err == nil {
		return []netip.Prefix{one(a)}
	}
	var out []netip.Prefix
	for _, a := range n.Addresses {
		out = append(out, one(a.Addr))
	}
	return out
}

func hasAddress(n tasks.Networks, s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && slices.ContainsFunc(n.Addresses, func(x tasks.Address) bool { return x.Addr == a })
}

// starterOthers returns the conns in ipsec.conf, and in what it includes, that are not ours.
func starterOthers(f tasks.Facts) ([]string, error) {
	listed, err := f.Output(readFiles.Arg)
	if err != nil {
		return nil, err
	}
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range strongswan.ParseConf(confLines(listed)) {
		if !m.Owns(c.File) {
			out = append(out, fmt.Sprintf("%s:%d: conn %s", c.File, c.Line, c.Name))
		}
	}
	return out, nil
}
