package tasks

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// SessionDir is where pppd's scripts note who is on which interface: pppd tells
// a user's name to them and to nobody else (pppd(8), PEERNAME). It is gone after
// a reboot, as the sessions are.
const SessionDir = "/run/vpnpush/ppp"

// Session is a PPP link to an L2TP client.
type Session struct {
	Interface string
	User      string // "" where no note was made of it
	Local     string // the hub's address on the link
	Address   string // the client's
	From      string // the client's public address, as xl2tpd saw it; "" unknown
	Since     time.Time
	// Began is when its pppd started, before it looked for a password: in ticks of the
	// kernel's clock since it booted. 0: an earlier version's note does not tell.
	Began    uint64
	BytesIn  uint64 // from the client
	BytesOut uint64
}

var readLinks = Read{Kind: ReadCommand, Arg: "ip-addr", Shell: "ip -j -s addr show"}

// SessionReads is what SessionsFrom needs.
func SessionReads() []Read {
	return []Read{readLinks, {Kind: ReadGlob, Arg: SessionDir + "/*"}}
}

// SessionsFrom returns the PPP links of a host whose own end has the address
// local, by user and interface: not an uplink that is PPP, too.
func SessionsFrom(f Facts, local string) ([]Session, error) {
	out, err := f.Output(readLinks.Arg)
	if err != nil {
		return nil, err
	}
	var links []struct {
		Name  string `json:"ifname"`
		Addrs []struct {
			Family string `json:"family"`
			Local  string `json:"local"`
			Peer   string `json:"address"`
		} `json:"addr_info"`
		Stats struct {
			RX, TX struct{ Bytes uint64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil {
		return nil, fmt.Errorf("command %s: %w: %w", readLinks.Shell, ErrUnknown, err)
	}
	files, err := f.Glob(SessionDir + "/*")
	if err != nil {
		return nil, err
	}
	notes := map[string]map[string]string{}
	for _, n := range files {
		notes[path.Base(n.Path)] = sessionNote(n.Content)
	}
	var ss []Session
	for _, l := range links {
		if !strings.HasPrefix(l.Name, "ppp") {
			continue
		}
		for _, a := range l.Addrs {
			if a.Family != "inet" || a.Local != local {
				continue
			}
			s := Session{
				Interface: l.Name, Local: a.Local, Address: a.Peer,
				BytesIn: l.Stats.RX.Bytes, BytesOut: l.Stats.TX.Bytes,
			}
			// a note that a killed pppd left behind is about another address,
			// or is written over by the next session on the interface
			if n := notes[l.Name]; n["address"] == a.Peer {
				s.User, s.From = n["user"], n["from"]
				if t, err := strconv.ParseInt(n["since"], 10, 64); err == nil {
					s.Since = time.Unix(t, 0).UTC()
				}
				s.Began, _ = strconv.ParseUint(n["began"], 10, 64)
			}
			ss = append(ss, s)
		}
	}
	slices.SortFunc(ss, func(a, b Session) int {
		if c := strings.Compare(a.User, b.User); c != 0 {
			return c
		}
		return strings.Compare(a.Interface, b.Interface)
	})
	return ss, nil
}

// sessionNote reads the lines "KEY\tVALUE" that pppd's script writes
// (roles/templates/ip-up.tmpl).
func sessionNote(b []byte) map[string]string {
	m := map[string]string{}
	for l := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimRight(l, "\n"), "\t"); ok {
			m[k] = v
		}
	}
	return m
}
