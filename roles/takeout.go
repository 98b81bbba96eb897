package roles

import (
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// adopted returns ts with the tasks that take out what the admin wrote by hand and ours
// replace. Of a tunnel that is to be replaced at both ends the hub keeps its end, and the
// keys, until the site has moved: a site that puts back what it had must be able to dial.
func (h Host) adopted(b backend, ts []tasks.Task, f tasks.Facts, peers tasks.Peers) []tasks.Task {
	if h.l2tp() != nil { // before our block comes, or grows, and moves the lines
		ts = append([]tasks.Task{tasks.TakeOut{Of: tasks.TakeOutUsers, Lines: h.usersByHand(f)}}, ts...)
	}
	cs, err := h.conns(h.tunnels())
	if b.handmade == nil || err != nil {
		return ts
	}
	moved := func(peer string) bool {
		has := peers[peer]
		return has == tasks.PeerNew || has == tasks.PeerGone || h.role == inventory.RoleSite && has == tasks.PeerEither
	}
	t := tasks.TakeOut{Of: tasks.TakeOutConns, Daemon: b.Daemon}
	for _, end := range cs.tunnels {
		if end.dials {
			t.Ours = end.name
		}
	}
	// what cannot be known is told with the keys, which stand in the same list
	lines, kept, _ := b.handmade(cs, func(peer string) bool { return !moved(peer) }, f)
	t.Lines = lines
	for i, task := range ts {
		if keys, ok := task.(tasks.ForeignKeys); ok {
			keys.Later = len(kept) > 0
			ts[i] = keys
		}
	}
	return append(ts, t)
}

// usersByHand returns the lines of chap-secrets by which a user of the inventory can log in
// with a password that is not the inventory's, or will once he is no user any more.
func (h Host) usersByHand(f tasks.Facts) []tasks.OutLines {
	s, err := f.File(chapSecrets)
	if err != nil {
		return nil // its block says so
	}
	var out []tasks.OutLines
	for _, c := range mask.Clients(h.chapBlock().Others(s.Content)) {
		if ours := slices.ContainsFunc(h.inv.L2TP.Users, func(u inventory.User) bool { return u.Name == c.Name }); ours && (c.Server == "*" || c.Server == h.inv.Hub.Name) {
			out = append(out, tasks.OutLines{
				Path: chapSecrets, SHA256: s.SHA256(), First: c.Line, Last: c.Line,
				Name: c.Name, Does: "has a password of its own there",
			})
		}
	}
	return out
}

// chapBlock is our block in chap-secrets, empty.
func (h Host) chapBlock() tasks.Block {
	return tasks.Block{Path: chapSecrets, Mode: 0o600, Syntax: mask.ChapSecrets, Owner: h.inv.ID}
}

// handTunnels returns the names of those peers that a conn by hand leads to.
func (h Host) handTunnels(b backend, f tasks.Facts) []string {
	cs, err := h.conns(h.tunnels())
	if b.handmade == nil || err != nil {
		return nil
	}
	_, peers, _ := b.handmade(cs, func(string) bool { return true }, f) // what cannot be known is told elsewhere
	return peers
}
