package roles

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// starterBeside tells of the conns in ipsec.conf and in what it includes that are not
// ours and answer for ours, dial the same peer, or lead to where ours do.
func starterBeside(cs conns, f tasks.Facts) ([]string, error) {
	listed, err := f.Output(readFiles.Arg)
	if err != nil {
		return nil, err
	}
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	own := map[string]bool{}
	for _, t := range cs.tunnels {
		own[t.name] = true
	}
	if cs.clients != nil {
		own[cs.clients.name] = true
	}
	networks, _ := tasks.NetworksFrom(f) // of a host without addresses no conn has its ends swapped
	var out []string
	for _, c := range strongswan.ParseConf(confLines(listed)) {
		// of a conn with the name of one of ours the preflight tells
		if own[c.Name] || m.Owns(c.File) || !slices.Contains([]string{"add", "route", "start"}, c.Get("auto")) {
			continue
		}
		if does := besideOf(c, networks).gets(cs); does != nil {
			out = append(out, fmt.Sprintf("%s:%d: conn %s is not vpnpush's, and %s",
				c.File, c.Line, c.Name, strings.Join(does, ", and ")))
		}
	}
	return first(out, 5, ipsecConf), nil
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

// besideConn is a conn of the admin's, as far as it can get in the way of ours.
type besideConn struct {
	v1, v2, psk bool
	anybody     bool // any address may call
	peer        string
	peerID      strongswan.Identity
	local       []netip.Prefix
	remote      []netip.Prefix
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
	b.local, b.remote = subnetsOf(c.Get(here+"subnet")), subnetsOf(c.Get(there+"subnet"))
	return b
}

func hasAddress(n tasks.Networks, s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && slices.ContainsFunc(n.Addresses, func(x tasks.Address) bool { return x.Addr == a })
}

// subnetsOf parses the networks of leftsubnet= and rightsubnet=, without the protocols and
// ports that may follow each.
func subnetsOf(s string) []netip.Prefix {
	var out []netip.Prefix
	for _, w := range strings.Split(s, ",") {
		w, _, _ = strings.Cut(strings.TrimSpace(w), "[")
		if p, err := netip.ParsePrefix(w); err == nil {
			out = append(out, p)
		} else if a, err := netip.ParseAddr(w); err == nil {
			out = append(out, one(a))
		}
	}
	return out
}

// gets returns what the conn does that gets in the way of ours, nil for nothing.
func (b besideConn) gets(cs conns) []string {
	var answers, leads, dials []string
	for _, t := range cs.tunnels {
		id := strongswan.ParseIdentity("@" + t.peerID)
		if !t.dials && b.psk && b.v2 && b.anybody && id.Match(b.peerID) > strongswan.MatchNone {
			answers = append(answers, t.peerID)
		}
		if t.dials && b.peer == t.remote.String() {
			dials = append(dials, t.peerID)
		}
		if overlapAny(b.local, t.localNets) && overlapAny(b.remote, t.remoteNets) {
			leads = append(leads, t.peerID)
		}
	}
	var out []string
	if answers != nil {
		out = append(out, "answers a caller that says it is "+names(answers, "or"))
	}
	if cs.clients != nil && b.psk && b.v1 && b.anybody {
		out = append(out, "answers L2TP clients")
	}
	if dials != nil {
		out = append(out, "dials "+names(dials, "and")+", too")
	}
	if leads != nil {
		out = append(out, "leads to networks behind "+names(leads, "and")+", too")
	}
	return out
}

// names returns the first three names, joined by word, and how many more there are.
func names(ns []string, word string) string {
	n := min(len(ns), 3)
	s := strings.Join(ns[:n-1], ", ")
	switch {
	case len(ns) > 3:
		return fmt.Sprintf("%s, %s %s %d more", s, ns[n-1], word, len(ns)-3)
	case n > 1:
		return s + " " + word + " " + ns[n-1]
	}
	return ns[0]
}
