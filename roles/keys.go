package roles

import (
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
