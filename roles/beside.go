package roles

import (
	"fmt"
	"slices"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Beside returns a sentence for each thing of the admin's own that works beside ours on a
// host and gets in its way: conns that answer for ours, or lead to where ours do, and
// users who log in through our L2TP. It is told, and not touched. What cannot be known
// is told, too.
func (h Host) Beside(f tasks.Facts) []string {
	var out []string
	b := h.backend(f)
	if cs, err := h.conns(h.tunnels()); err == nil { // that they cannot be told is said elsewhere
		says, err := b.beside(cs, f)
		if err != nil {
			says = []string{fmt.Sprintf("which conns stand beside vpnpush's is not known: %v", err)}
		}
		out = append(out, says...)
	}
	if h.l2tp() != nil {
		out = append(out, h.otherUsers(f)...)
	}
	return out
}

// BesideReads returns what Beside and ForeignKeys look at.
func (h Host) BesideReads() []tasks.Read {
	reads := append(tasks.AddressReads(), tasks.Read{Kind: tasks.ReadFile, Arg: chapSecrets})
	for _, b := range h.backends {
		reads = append(reads, b.besideReads...)
		for _, s := range b.Keys {
			reads = append(reads, s.Read)
		}
	}
	return reads
}

// otherUsers returns a sentence for each user who may log in and is not in the inventory.
// One of the same name as ours counts only where pppd takes his line before ours, which
// names the server.
func (h Host) otherUsers(f tasks.Facts) []string {
	s, err := f.File(chapSecrets)
	if err != nil {
		return []string{fmt.Sprintf("who else may log in by L2TP is not known: %v", err)}
	}
	ours := map[string]bool{}
	for _, u := range h.inv.L2TP.Users {
		ours[u.Name] = true
	}
	var out []string
	for _, c := range mask.Clients(h.chapBlock().Others(s.Content)) {
		if c.Server != "*" && c.Server != h.inv.Hub.Name || c.Server == "*" && ours[c.Name] {
			continue
		}
		who := c.Name + " logs in"
		if c.Name == "*" {
			who = "whoever knows the password of the line for * logs in, by any name,"
		}
		if ours[c.Name] {
			who = c.Name + " logs in with the password there, not the inventory's,"
		}
		out = append(out, fmt.Sprintf("%s:%d is not vpnpush's: %s through its xl2tpd", chapSecrets, c.Line, who))
	}
	return first(out, 5, chapSecrets)
}

// first returns the first n of says, and how many more there are of where.
func first(says []string, n int, where string) []string {
	if len(says) <= n+1 {
		return says
	}
	return append(slices.Clone(says[:n]), fmt.Sprintf("%s has %d more like that", where, len(says)-n))
}
