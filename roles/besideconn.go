package roles

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// besideConn is a conn of the admin's, as far as it can get in the way of ours.
type besideConn struct {
	v1, v2, psk bool
	anybody     bool // any address may call
	l2tp        bool // in transport mode, or for UDP 1701
	peer        string
	peerID      strongswan.Identity
	local       []netip.Prefix
	remote      []netip.Prefix
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

// besideDoes is what a conn does that gets in the way of ours.
type besideDoes struct {
	says []string
	// replaced says that ours do all that it is for; leads are those other ends of ours
	// that it leads to, none where it is for L2TP clients.
	replaced bool
	leads    []string
}

// gets returns what the conn does that gets in the way of ours.
func (b besideConn) gets(cs conns) besideDoes {
	var answers, dials []string
	var out besideDoes
	for _, t := range cs.tunnels {
		id := strongswan.ParseIdentity("@" + t.peerID)
		if !t.dials && b.psk && b.v2 && b.anybody && id.Match(b.peerID) > strongswan.MatchNone {
			answers = append(answers, t.peerID)
		}
		if t.dials && b.peer == t.remote.String() {
			dials = append(dials, t.peerID)
		}
		if overlapAny(b.local, t.localNets) && overlapAny(b.remote, t.remoteNets) {
			out.leads = append(out.leads, t.peerID)
		}
	}
	if answers != nil {
		out.says = append(out.says, "answers a caller that says it is "+names(answers, "or"))
	}
	if cs.clients != nil && b.psk && b.v1 && b.anybody {
		out.says = append(out.says, "answers L2TP clients")
		out.replaced = b.l2tp
	}
	if dials != nil {
		out.says = append(out.says, "dials "+names(dials, "and")+", too")
	}
	if out.leads != nil {
		out.says = append(out.says, "leads to networks behind "+names(out.leads, "and")+", too")
		out.replaced = out.replaced || b.psk
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
