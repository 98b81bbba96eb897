package tasks

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// TunnelState is what was found of a Tunnel.
type TunnelState struct {
	Tunnel Tunnel
	Up     bool   // a child SA is INSTALLED with the wanted selectors
	Why    string // not Up: what is there instead
	SAs    int    // IKE SAs of the conn; more than one is worth a warning
	// Children are the child SAs of the conn that carry traffic; more than one
	// is worth a warning too.
	Children int
	Peer     string        // address and port of the peer, as seen
	Age      time.Duration // since the IKE SA was established
	BytesIn  uint64        // of the tunnel's child SA, since its last rekeying
	BytesOut uint64
}

// SA is an IKE SA as charon lists it, by `ipsec statusall` or by
// `swanctl --list-sas --raw`.
type SA struct {
	Conn  string
	ID    string // unique in a run of charon: "2"
	State string // "ESTABLISHED", "CONNECTING", ...
	SPIs  string // initiator's and responder's, hex, with "_" between
	// Age is how long it has been established. stroke rounds it down to a
	// whole second, minute, hour or day.
	Age                   time.Duration
	LocalID, RemoteID     string // "%any" until it is known
	LocalAddr, RemoteAddr string // with ":port" where the listing tells it
	Children              []ChildSA
}

// ChildSA is an IPsec SA pair.
type ChildSA struct {
	Name              string // ipsec.conf: the conn's; it can differ from SA.Conn
	ID                string
	State             string // "INSTALLED", "REKEYING", ...
	Mode              string // "TUNNEL", "TRANSPORT"
	Encap             bool   // ESP in UDP
	LocalTS, RemoteTS []string
	BytesIn, BytesOut uint64
}

// The commands that list SAs; a host has one of them, or both.
var (
	readStroke  = Read{Kind: ReadCommand, Arg: "ipsec-statusall", Shell: "ipsec statusall"}
	readSwanctl = Read{Kind: ReadCommand, Arg: "swanctl-list-sas", Shell: "swanctl --list-sas --raw"}
)

// SAReads is what SAsFrom and LoadedConns need.
func SAReads() []Read { return []Read{readStroke, readSwanctl, readConns} }

// SAsFrom gives the IKE SAs of a host. There are none where strongSwan is not
// installed or does not run; any other failure is an error.
func SAsFrom(f Facts) ([]SA, error) {
	var sas []SA
	out, err := listing(f, readStroke)
	if err != nil {
		return nil, err
	}
	if out != nil {
		if sas, err = ParseStatusAll(out); err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", readStroke.Shell, ErrUnknown, err)
		}
	}
	if out, err = listing(f, readSwanctl); err != nil || out == nil {
		return sas, err
	}
	more, err := ParseListSAs(out)
	if err != nil {
		return nil, fmt.Errorf("command %s: %w: %w", readSwanctl.Shell, ErrUnknown, err)
	}
	for _, m := range more {
		// swanctl may speak with the same charon: the vici plugin is loaded into
		// a charon of starter, too. It tells more, so its word is taken.
		same := func(s SA) bool { return s.SPIs == m.SPIs }
		sas = append(slices.DeleteFunc(sas, same), m)
	}
	return sas, nil
}

// listing gives the output of a command that asks charon, nil when there is no
// charon to ask.
func listing(f Facts, r Read) ([]byte, error) {
	c, err := f.Command(r.Arg)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Code == 127, // no such command
		r.Arg == readStroke.Arg && c.Code == 3, // ipsec(8): starter does not run
		r.Arg != readStroke.Arg && noVici.Match(c.Stderr):
		return nil, nil
	}
	out, err := f.Output(r.Arg)
	if err == nil && out == nil {
		out = []byte{}
	}
	return out, err
}

// noVici is what swanctl says when nobody listens on charon's socket; it exits
// with the errno then.
var noVici = regexp.MustCompile(`(?m)^Error: connecting to .* failed: (Connection refused|No such file or directory)$`)

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
			st.Children++
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

// Lines of the SA section of `ipsec statusall`, as stroke_list.c prints them.
var (
	strokeIKE   = regexp.MustCompile(`^\s*(\S+)\[(\d+)\]: (.*)$`)
	strokeChild = regexp.MustCompile(`^\s*(\S+)\{(\d+)\}: (.*)$`)
	strokeSPIs  = regexp.MustCompile(`^IKEv\d SPIs: ([0-9a-f]+)_i\*? ([0-9a-f]+)_r\*?`)
	strokeBytes = regexp.MustCompile(`, (\d+) bytes_i\b.*, (\d+) bytes_o\b`)
	strokeSince = regexp.MustCompile(`^([A-Z_]+)(?: (\d+) (second|minute|hour|day)s? ago)?$`)
)

// ParseStatusAll reads the SAs out of what `ipsec statusall` prints
// (strongSwan 5.9 to 6.0). Children stand below the IKE SA they belong to,
// under their own conn's name.
func ParseStatusAll(b []byte) ([]SA, error) {
	var sas []SA
	in, selectors := false, true
	cut := func() error {
		if selectors {
			return nil
		}
		sa := sas[len(sas)-1]
		c := sa.Children[len(sa.Children)-1]
		return fmt.Errorf("child SA %s{%s}: no selectors", c.Name, c.ID)
	}
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n ")
		switch {
		case strings.HasPrefix(l, "Security Associations ("):
			in = true
			continue
		case !in, strings.TrimSpace(l) == "", l == "  none":
			continue
		}
		if m := strokeIKE.FindStringSubmatch(l); m != nil {
			if err := cut(); err != nil {
				return nil, err
			}
			if n := len(sas); n > 0 && sas[n-1].ID == m[2] && sas[n-1].Conn == m[1] {
				if spi := strokeSPIs.FindStringSubmatch(m[3]); spi != nil {
					sas[n-1].SPIs = spi[1] + "_" + spi[2]
				}
				continue
			}
			sa, err := strokeSA(m[3])
			if err != nil {
				return nil, fmt.Errorf("IKE SA %s[%s]: %w", m[1], m[2], err)
			}
			sa.Conn, sa.ID = m[1], m[2]
			sas = append(sas, sa)
			continue
		}
		m := strokeChild.FindStringSubmatch(l)
		if m == nil {
			return nil, fmt.Errorf("not a line of an SA: %.80q", l)
		}
		if len(sas) == 0 {
			return nil, fmt.Errorf("a child SA without an IKE SA: %.80q", l)
		}
		sa, rest := &sas[len(sas)-1], strings.TrimSpace(m[3])
		if n := len(sa.Children); n == 0 || sa.Children[n-1].ID != m[2] || sa.Children[n-1].Name != m[1] {
			if err := cut(); err != nil {
				return nil, err
			}
			part := strings.Split(rest, ", ")
			if len(part) < 2 {
				return nil, fmt.Errorf("child SA %s{%s}: %.80q", m[1], m[2], rest)
			}
			sa.Children = append(sa.Children, ChildSA{
				Name: m[1], ID: m[2], State: part[0], Mode: part[1],
				Encap: strings.Contains(rest, " in UDP SPIs: "),
			})
			selectors = false
			continue
		}
		c := &sa.Children[len(sa.Children)-1]
		if local, remote, ok := strings.Cut(rest, "==="); ok {
			c.LocalTS, c.RemoteTS = strings.Fields(local), strings.Fields(remote)
			selectors = true
		} else if n := strokeBytes.FindStringSubmatch(rest); n != nil {
			c.BytesIn, _ = strconv.ParseUint(n[1], 10, 64)
			c.BytesOut, _ = strconv.ParseUint(n[2], 10, 64)
		}
	}
	if !in {
		return nil, errors.New("no Security Associations in it")
	}
	return sas, cut()
}

// strokeSA reads the first line of an IKE SA:
// "ESTABLISHED 6 seconds ago, 203.0.113.10[hub]...203.0.113.51[site1]".
func strokeSA(s string) (SA, error) {
	state, ends, _ := strings.Cut(s, ", ")
	local, remote, ok := strings.Cut(ends, "]...") // an id may hold commas, brackets and dots
	m := strokeSince.FindStringSubmatch(state)
	if m == nil || !ok {
		return SA{}, fmt.Errorf("%.80q", s)
	}
	sa := SA{State: m[1]}
	if m[2] != "" {
		n, _ := strconv.Atoi(m[2])
		sa.Age = time.Duration(n) * map[string]time.Duration{
			"second": time.Second, "minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour,
		}[m[3]]
	}
	sa.LocalAddr, sa.LocalID, _ = strings.Cut(local, "[")
	sa.RemoteAddr, sa.RemoteID, _ = strings.Cut(strings.TrimSuffix(remote, "]"), "[")
	return sa, nil
}
