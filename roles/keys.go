package roles

import (
	"fmt"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// foreignKeys returns the task that lets no other key than ours open our conns.
func foreignKeys(d tasks.Daemon, cs conns, ours []tasks.Conn) tasks.ForeignKeys {
	t := tasks.ForeignKeys{Daemon: d}
	for _, c := range cs.tunnels {
		t.Doors = append(t.Doors, tasks.Door{Door: strongswan.Door{Local: "@" + c.localID, Peer: "@" + c.peerID}, Host: c.peerID})
	}
	if c := cs.clients; c != nil {
		t.Doors = append(t.Doors, tasks.Door{Door: strongswan.Door{Local: c.id.String(), Peer: "%any", One: true}})
	}
	for _, c := range ours {
		t.Ours = append(t.Ours, c.Secrets)
	}
	return t
}

// ForeignKeys returns a sentence for each key on a host that is not ours and opens a conn
// of ours: what a plan stops at.
func (h Host) ForeignKeys(f tasks.Facts) []string {
	b := h.backend(f)
	cs, err := h.conns(h.tunnels())
	if err != nil {
		return nil // a plan says why
	}
	found, err := foreignKeys(b.Daemon, cs, b.places(cs)).Found(f)
	if err != nil {
		return []string{fmt.Sprintf("which keys open vpnpush's conns is not known: %v", err)}
	}
	return found
}
