package strongswan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tunnel is what should be up between two hosts: child SAs that together carry each
// subnet of one end to each of the other. strongSwan makes one for all of them, and
// many routers one for each pair. It is no task: a tunnel that is down is reported,
// not planned.
type Tunnel struct {
	Conn string `json:"conn"`
	Peer string `json:"peer"` // site name, or the hub's, for messages
	// Local and Remote are the selectors, as strongSwan prints them, sorted:
	// "192.168.1.0/24".
	Local  []string `json:"local"`
	Remote []string `json:"remote"`
	// LocalID and PeerID are as strongSwan prints them, "@" stripped.
	LocalID string `json:"local_id"`
	PeerID  string `json:"peer_id"`
	// IKE and ESP are the proposals, and Hub is the address that the hub's end has.
	// They are agreed on as the rest is, and not looked for in SAs.
	IKE []string `json:"ike,omitempty"`
	ESP []string `json:"esp,omitempty"`
	Hub string   `json:"hub,omitempty"`
}

// TunnelState is what was found of a Tunnel.
type TunnelState struct {
	Tunnel   Tunnel
	Up       bool          // the INSTALLED child SAs have the wanted selectors between them
	Why      string        // not Up: what is there instead
	SAs      int           // IKE SAs of the conn; more than one is worth a warning
	Peer     string        // address and port of the peer, as seen
	Age      time.Duration // since the IKE SA was established
	BytesIn  uint64        // of the tunnel's child SAs, each since its last rekeying
	BytesOut uint64
}

// LeadsElsewhere reports whether a tunnel of a site is up to another address than that of
// its hub: where the hub moves, to the one before.
func (s TunnelState) LeadsElsewhere() bool {
	addr, _, _ := strings.Cut(s.Peer, ":") // swanctl tells the port
	return s.Up && s.Tunnel.Hub != "" && addr != s.Tunnel.Hub
}

// CheckTunnels looks for each wanted tunnel among the SAs of its host.
//
// A child SA that is REKEYING counts as INSTALLED: it is, until its successor
// is too (strongSwan, child_sa.h).
func CheckTunnels(sas []SA, want []Tunnel) []TunnelState {
	of := map[string][]SA{} // by each conn that is in them
	for _, sa := range sas {
		names := []string{sa.Conn}
		for _, c := range sa.Children {
			if !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
		for _, n := range names {
			of[n] = append(of[n], sa)
		}
	}
	out := make([]TunnelState, 0, len(want))
	for _, t := range want {
		out = append(out, checkTunnel(of[t.Conn], t))
	}
	return out
}

// checkTunnel looks for a tunnel among the SAs that have to do with its conn.
func checkTunnel(sas []SA, t Tunnel) TunnelState {
	st := TunnelState{Tunnel: t, Why: "no IKE SA"}
	nearest := 0 // how near to a tunnel what Why tells of is
	why := func(rank int, sa SA, format string, a ...any) {
		if rank > nearest {
			nearest, st.Why = rank, fmt.Sprintf(format, a...)
			st.Peer, st.Age = sa.RemoteAddr, sa.Age
		}
	}
	var carry []ChildSA // those that carry packets between the right identities
	for _, sa := range sas {
		children := sa.ofConn(t.Conn)
		switch sa.State {
		case "REKEYED", "DELETING", "DESTROYING":
			why(1, sa, "IKE SA %s", sa.State)
		case "ESTABLISHED", "REKEYING", "PASSIVE":
			st.SAs++
			why(3, sa, "IKE SA %s but no child SA", sa.State)
		default:
			st.SAs++
			why(2, sa, "IKE SA %s", sa.State)
		}
		for _, c := range children {
			switch {
			case !c.Carries():
				why(4, sa, "child SA %s", c.State)
			case t.PeerID != "" && sa.RemoteID != t.PeerID, t.LocalID != "" && sa.LocalID != t.LocalID:
				why(5, sa, "identities differ: have %s === %s, want %s === %s", sa.LocalID, sa.RemoteID, t.LocalID, t.PeerID)
			default:
				why(6, sa, "")
				carry = append(carry, c)
			}
		}
	}
	if len(carry) == 0 {
		return st
	}
	if st.Why = t.lacks(carry); st.Why != "" {
		return st
	}
	st.Up = true
	for _, c := range carry {
		st.BytesIn += c.BytesIn
		st.BytesOut += c.BytesOut
	}
	return st
}

// ofConn returns the child SAs of a conn below an IKE SA. Those of a conn of ipsec.conf
// have its name, and may stand below the IKE SA of another conn with the same peer;
// those of swanctl.conf have names of their own, below its.
func (sa SA) ofConn(conn string) []ChildSA {
	var named []ChildSA
	for _, c := range sa.Children {
		if c.Name == conn {
			named = append(named, c)
		}
	}
	if named == nil && sa.Conn == conn {
		return sa.Children
	}
	return named
}

// lacks returns how the selectors of child SAs, taken together, differ from those of t,
// "" where they do not.
func (t Tunnel) lacks(cs []ChildSA) string {
	var local, remote []string
	carried := map[[2]string]bool{}
	for _, c := range cs {
		local, remote = append(local, c.LocalTS...), append(remote, c.RemoteTS...)
		for _, l := range c.LocalTS {
			for _, r := range c.RemoteTS {
				carried[[2]string{l, r}] = true
			}
		}
	}
	if !within(local, t.Local) || !within(remote, t.Remote) {
		return fmt.Sprintf("selectors differ: have %s === %s, want %s === %s", list(local), list(remote), list(t.Local), list(t.Remote))
	}
	// local subnets that lack the same remote ones are told together
	var order []string
	missing := map[string][]string{}
	for _, l := range set(t.Local) {
		var rs []string
		for _, r := range set(t.Remote) {
			if !carried[[2]string{l, r}] {
				rs = append(rs, r)
			}
		}
		if rs == nil {
			continue
		}
		to := strings.Join(rs, " ")
		if missing[to] == nil {
			order = append(order, to)
		}
		missing[to] = append(missing[to], l)
	}
	if order == nil {
		return ""
	}
	var pairs []string
	for _, to := range order {
		pairs = append(pairs, strings.Join(missing[to], " ")+" === "+to)
	}
	return "child SAs for " + strings.Join(pairs, ", ") + " are missing"
}

// Carries reports whether packets go through it.
func (c ChildSA) Carries() bool { return c.State == "INSTALLED" || c.State == "REKEYING" }

// within reports whether every one of a is among b.
func within(a, b []string) bool {
	return !slices.ContainsFunc(a, func(s string) bool { return !slices.Contains(b, s) })
}

func set(ts []string) []string { return slices.Compact(slices.Sorted(slices.Values(ts))) }

func list(ts []string) string { return cmp.Or(strings.Join(set(ts), " "), "nothing") }
