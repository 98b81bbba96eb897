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
