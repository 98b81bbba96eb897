package tasks

import (
	"slices"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// Peer says what the other end of a tunnel is known to have, of what both ends must
// agree on: selectors, identities, addresses, proposals and the key. What a host is to
// have depends on it, since a tunnel whose ends differ in one of them does not come up.
type Peer int

const (
	// PeerNew is an end that has what the inventory says.
	PeerNew Peer = iota
	// PeerOld is one that has what it had before: this end goes back to it.
	PeerOld
	// PeerEither is one that has what it had before, or what the inventory says: it is
	// about to change, or may have. This end fits both.
	PeerEither
	// PeerUnread is one that this run does not change: this end stays as it is.
	PeerUnread
)

// Peers are the other ends of a host's tunnels, by name. One that is not there is
// PeerNew.
type Peers map[string]Peer

// Conn returns a conn as it was applied, nil where the manifest has none of that name.
func (m *Manifest) Conn(name string) *ConnWas {
	for _, e := range m.entries() {
		if i := slices.IndexFunc(e.Conns, func(c ConnWas) bool { return c.Name == name }); i >= 0 {
			return &e.Conns[i]
		}
	}
	return nil
}

// Takes returns all that a conn took when it was applied: what it was for, and what it
// took besides, in one. nil: it is for no site.
func (c *ConnWas) Takes() *strongswan.Tunnel {
	if c.Tunnel == nil || c.Also == nil {
		return c.Tunnel
	}
	t, also := *c.Tunnel, c.Also
	union := func(a, b []string) []string {
		out := slices.Clone(a)
		for _, s := range b {
			if !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return out
	}
	t.Local, t.Remote = union(t.Local, also.Local), union(t.Remote, also.Remote)
	t.IKE, t.ESP = union(t.IKE, also.IKE), union(t.ESP, also.ESP)
	// of these there is but one, and the other end had the earlier
	t.LocalID, t.Hub = also.LocalID, also.Hub
	return &t
}
