package strongswan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Tunnel is a child SA that should be up. It is no task: a tunnel that is down
// is reported, not planned.
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
	Up       bool          // a child SA is INSTALLED with the wanted selectors
	Why      string        // not Up: what is there instead
	SAs      int           // IKE SAs of the conn; more than one is worth a warning
	Peer     string        // address and port of the peer, as seen
	Age      time.Duration // since the IKE SA was established
	BytesIn  uint64        // of the tunnel's child SA, since its last rekeying
	BytesOut uint64
}

// CheckTunnels looks for each wanted tunnel among the SAs of its host.
//
// A child SA that is REKEYING counts as INSTALLED: it is, until its successor
// is too (strongSwan, child_sa.h).
func CheckTunnels(sas []SA, want []Tunnel) []TunnelState {
	out := make([]TunnelState, 0, len(want))
	for _, t := range want {
		out = append(out, checkTunnel(sas, t))
	}
	return out
}

func checkTunnel(sas []SA, t Tunnel) TunnelState {
	st := TunnelState{Tunnel: t, Why: "no IKE SA"}
	nearest := 0 // how near to a tunnel what Why tells of is
	why := func(rank int, sa SA, format string, a ...any) {
		if rank > nearest {
			nearest, st.Why = rank, fmt.Sprintf(format, a...)
			st.Peer, st.Age = sa.RemoteAddr, sa.Age
		}
	}
	for _, sa := range sas {
		ofConn := func(c ChildSA) bool { return c.Name == t.Conn }
		if sa.Conn != t.Conn && !slices.ContainsFunc(sa.Children, ofConn) {
			continue
		}
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
		for _, c := range sa.Children {
			if sa.Conn != t.Conn && !ofConn(c) {
				continue
			}
			if !c.carries() {
				why(4, sa, "child SA %s", c.State)
				continue
			}
			switch {
			case t.PeerID != "" && sa.RemoteID != t.PeerID, t.LocalID != "" && sa.LocalID != t.LocalID:
				why(5, sa, "identities differ: have %s === %s, want %s === %s", sa.LocalID, sa.RemoteID, t.LocalID, t.PeerID)
			case !sameSet(c.LocalTS, t.Local) || !sameSet(c.RemoteTS, t.Remote):
				why(6, sa, "selectors differ: have %s === %s, want %s === %s",
					list(c.LocalTS), list(c.RemoteTS), list(t.Local), list(t.Remote))
			default:
				why(7, sa, "")
				st.Up = true
				st.BytesIn += c.BytesIn
				st.BytesOut += c.BytesOut
			}
		}
	}
	return st
}

func (c ChildSA) carries() bool { return c.State == "INSTALLED" || c.State == "REKEYING" }

func sameSet(a, b []string) bool {
	set := func(s []string) []string { return slices.Compact(slices.Sorted(slices.Values(s))) }
	return slices.Equal(set(a), set(b))
}

func list(ts []string) string {
	return cmp.Or(strings.Join(slices.Sorted(slices.Values(ts)), " "), "nothing")
}
