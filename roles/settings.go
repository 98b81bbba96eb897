package roles

import "github.com/vpnpush/vpnpush/tasks"

// charonConf is a file among those that charon reads whichever daemon runs it
// (strongswan.conf(5)); the last of them to name a setting wins.
const charonConf = "/etc/strongswan.d/vpnpush.conf"

// settings returns the file with charon's settings, and the task that has it read.
func (h Host) settings(b backend) (tasks.File, tasks.Settings, error) {
	text, err := fill(h.inv.ID, "#", "strongswan.tmpl", nil)
	return tasks.File{Path: charonConf, Content: text, Mode: 0o644, Owner: h.inv.ID},
		tasks.Settings{Daemon: b.Daemon, Path: charonConf, SHA256: tasks.SHA256(text)}, err
}
