package roles

import (
	"fmt"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Twin returns a site's end of its tunnel as it is to be, for a strongSwan that on runs.
// f is what was read on the site, if it was: what is not ours in the main file of conns
// comes along, and keys that are not ours never leave the site.
func (h Host) Twin(on tasks.Daemon, f tasks.Facts, peers tasks.Peers) (tasks.Twin, error) {
	i := slices.IndexFunc(backends, func(b backend) bool { return b.Name == on.Name })
	if i < 0 || h.role != inventory.RoleSite {
		return tasks.Twin{}, transport.Bug(fmt.Errorf("a twin of %s with %q", h.role, on.Name))
	}
	ends := h.tunnels()
	if len(peers) > 0 { // it was read, and does not change in this run
		var err error
		if ends, err = h.ends(h.backend(f), f, peers); err != nil {
			return tasks.Twin{}, err
		}
	}
	cs, err := h.conns(ends)
	if err != nil {
		return tasks.Twin{}, err
	}
	files, _, err := backends[i].files(h.inv.ID, cs)
	if err != nil {
		return tasks.Twin{}, err
	}
	settings, _, err := h.settings(backends[i])
	if err != nil {
		return tasks.Twin{}, err
	}
	var out tasks.Twin
	if h.site.Address.IsValid() {
		out.Address = h.site.Address.String()
	}
	for _, t := range append(files, settings) {
		switch t := t.(type) {
		case tasks.File:
			out.Files = append(out.Files, tasks.Put(t.Path, t.Mode, t.Content))
		case tasks.Line:
			var old []byte
			if s, err := f.File(t.Path); err == nil && t.Syntax == mask.Plain {
				old = s.Content
			}
			if n := len(old); n > 0 && old[n-1] != '\n' {
				old = append(old[:n:n], '\n')
			}
			text, err := t.Edit(old)
			if err != nil {
				return tasks.Twin{}, err
			}
			out.Files = append(out.Files, tasks.Put(t.Path, t.Mode, text))
		}
	}
	return out, nil
}
