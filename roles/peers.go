package roles

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// beforeSuffix ends the name of a second conn of a site on the hub: no site's name has
// this character. It is there while the site may know the hub by another name, since a
// conn has one identity.
const beforeSuffix = "~before"

// ends returns a host's ends of its tunnels, each so that it fits what the other end
// has: a change of what both must agree on is on both ends or on neither, and there is a
// tunnel at any time between. What was there before is in the manifest, and the keys in
// their files.
func (h Host) ends(b backend, f tasks.Facts, peers tasks.Peers) ([]tunnel, error) {
	ts := h.tunnels()
	m, err := tasks.ReadManifest(f)
	if err != nil || m == nil || len(peers) == 0 {
		return ts, err
	}
	var out []tunnel
	for _, t := range ts {
		has := peers[t.peerID]
		if has == tasks.PeerNew || has == tasks.PeerGone {
			t.gone = has == tasks.PeerGone
			out = append(out, t)
			continue
		}
		was := m.Conn(t.name)
		if was == nil || was.Tunnel == nil {
			out = append(out, t) // there is no other way that it was
			continue
		}
		keys, err := h.standing(b, f, m, t)
		if err != nil {
			return nil, err
		}
		t.fit(has, was, keys)
		out = append(out, t)
	}
	if h.role == inventory.RoleHub {
		for _, name := range slices.Sorted(maps.Keys(peers)) {
			if peers[name] != tasks.PeerUnread || slices.ContainsFunc(ts, func(t tunnel) bool { return t.name == name }) {
				continue
			}
			was := m.Conn(name)
			if was == nil || was.Tunnel == nil {
				continue
			}
			// a site that has another name by now, and may know of it or not
			s, err := f.File(was.Secrets)
			if err != nil {
				return nil, err
			}
			if keys := b.ran(m).keysIn(s.Content); len(keys) > 0 {
				t := siteTunnel(h.inv, &inventory.Site{Name: name})
				t.local = hubLocal(h.inv)
				t.fit(tasks.PeerUnread, was, keys)
				out = append(out, t)
			}
		}
		for _, t := range out {
			if t.also != nil && t.also.LocalID != t.localID {
				t.name, t.localID = t.name+beforeSuffix, t.also.LocalID
				out = append(out, t)
			}
		}
	}
	return out, nil
}

// Renamed returns the sites that have another name in the inventory than the hub knows
// them by, by that name: no site has that any more, and one has its key.
func (h Host) Renamed(f tasks.Facts) map[string]string {
	m, err := tasks.ReadManifest(f)
	if h.role != inventory.RoleHub || err != nil {
		return nil
	}
	out := map[string]string{}
	for _, t := range m.Tunnels() {
		was := m.Conn(t.Conn)
		if _, err := h.inv.Site(t.Peer); err == nil || was == nil {
			continue
		}
		file, err := f.File(was.Secrets)
		if err != nil {
			continue // its tasks say so
		}
		for _, key := range h.backend(f).ran(m).keysIn(file.Content) {
			if i := slices.IndexFunc(h.inv.Sites, func(s inventory.Site) bool { return s.PSK.Equal(key) }); i >= 0 {
				out[t.Conn] = h.inv.Sites[i].Name
			}
		}
	}
	return out
}

// Lacks returns why the tunnel to a site does not end at the hub as it was applied to last:
// it has none of that site, or not what the inventory says. The manifest tells that of the
// key, too, which is not read.
func (h Host) Lacks(f tasks.Facts, site string) error {
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return err
	}
	s, err := h.inv.Site(site)
	if err != nil {
		return err
	}
	t, b, hub := hubEnd(h.inv, s), h.backend(f).ran(m), h.inv.Hub.Name
	was := m.Conn(t.name)
	if was == nil || was.Tunnel == nil {
		return transport.WithHint(fmt.Errorf("not tried: the hub %s comes first, and has no tunnel for it yet", hub), "vpnpush apply --limit %s, then this again", hub)
	}
	key, err := b.keyFile(h.inv.ID, t)
	if err != nil || t.is(was.Tunnel) && key.Digest() == m.Digest(key.ID()) {
		return err
	}
	return transport.WithHint(fmt.Errorf("not tried: the tunnel that the hub %s has for it is not what the inventory says, or has another key", hub),
		"both ends change in one run: vpnpush apply --limit %s,%s", hub, site)
}

// standing returns the keys of a tunnel that stand on the host, none where that is to
// become the inventory's in any case: it is what was applied last, and the other end has
// it, whatever somebody has made of the file since.
func (h Host) standing(b backend, f tasks.Facts, m *tasks.Manifest, t tunnel) ([]secret.Value, error) {
	if was := b.ran(m); was.Name != b.Name { // it is in the files of that one yet
		s, err := f.File(m.Conn(t.name).Secrets)
		return was.keysIn(s.Content), err
	}
	file, err := b.keyFile(h.inv.ID, t)
	if err != nil || file.Digest() == m.Digest(file.ID()) {
		return nil, err
	}
	s, err := f.File(file.Path)
	return b.keysIn(s.Content), err
}

// keyFile returns the file that holds the keys of a tunnel.
func (b backend) keyFile(owner string, t tunnel) (tasks.File, error) {
	ts, _, err := b.files(owner, conns{tunnels: []tunnel{t}})
	for _, task := range ts {
		if file, ok := task.(tasks.File); ok && file.ID() == b.keyTask(t.name) {
			return file, nil
		}
	}
	return tasks.File{}, err
}

// fit makes t fit an other end that has what has says. was is the conn as it was applied
// here, and keys are those that stand here, nil for the one that t has.
func (t *tunnel) fit(has tasks.Peer, was *tasks.ConnWas, keys []secret.Value) {
	t.fitted = true
	switch has {
	case tasks.PeerUnread:
		t.take(was.Tunnel)
		t.also = was.Also
		if n := len(keys); n > 0 {
			t.psk, t.alsoKeys = keys[n-1], keys[:n-1]
		}
	case tasks.PeerOld:
		old := was.Tunnel
		if was.Also != nil {
			old = was.Also
		}
		t.take(old)
		if n := len(keys); n > 0 {
			t.psk = keys[n-1] // what this end sends is what the other has
		}
	case tasks.PeerEither:
		switch {
		case t.dials:
		case !t.is(was.Tunnel):
			t.also = takes(was)
		default:
			t.also = was.Also // it fits both already, or there is no other
		}
		others := slices.DeleteFunc(slices.Clone(keys), func(k secret.Value) bool { return k.Equal(t.psk) })
		if n := len(others); n > 0 {
			if t.dials || keys[len(keys)-1].Equal(t.psk) {
				// it has the new key, and takes a hub that has not; or it is a hub whose
				// site had this key before, and sends what it sent
				t.alsoKeys = others
			} else {
				// it has the key that the site knows, and takes one that is ahead
				t.psk, t.alsoKeys = others[n-1], append([]secret.Value{t.psk}, others[:n-1]...)
			}
		}
	}
}

// takes returns all that a conn took when it was applied: what it was for, and what it
// took besides, in one.
func takes(was *tasks.ConnWas) *strongswan.Tunnel {
	if was.Also == nil {
		return was.Tunnel
	}
	t, also := *was.Tunnel, was.Also
	t.Local, t.Remote = with(t.Local, also.Local), with(t.Remote, also.Remote)
	t.IKE, t.ESP = with(t.IKE, also.IKE), with(t.ESP, also.ESP)
	// of these there is but one, and the other end had the earlier
	t.LocalID, t.Hub = also.LocalID, also.Hub
	return &t
}

// take makes of t what an end was. What an earlier version has not written down is as it
// is now.
func (t *tunnel) take(was *strongswan.Tunnel) {
	t.localID, t.peerID = was.LocalID, was.PeerID
	t.localNets, t.remoteNets = inOrder(t.localNets, parsed(was.Local)), inOrder(t.remoteNets, parsed(was.Remote))
	if len(was.IKE) > 0 {
		t.ike = was.IKE
	}
	if len(was.ESP) > 0 {
		t.esp = was.ESP
	}
	if a, err := netip.ParseAddr(was.Hub); err == nil {
		if t.dials {
			t.remote = a
		} else {
			t.local = a
		}
	}
}

// is reports whether an end was what t is. What an earlier version has not written down
// was as it is now.
func (t tunnel) is(was *strongswan.Tunnel) bool {
	w := t.wanted()
	return slices.Equal(w.Local, was.Local) && slices.Equal(w.Remote, was.Remote) && w.LocalID == was.LocalID &&
		(len(was.IKE) == 0 || slices.Equal(w.IKE, was.IKE)) && (len(was.ESP) == 0 || slices.Equal(w.ESP, was.ESP)) &&
		(was.Hub == "" || w.Hub == was.Hub)
}

// nets returns the networks on both sides that the end takes.
func (t tunnel) nets() (local, remote []netip.Prefix) {
	local, remote = t.localNets, t.remoteNets
	if t.also != nil {
		local, remote = with(local, parsed(t.also.Local)), with(remote, parsed(t.also.Remote))
	}
	return local, remote
}

// proposals returns the proposals that the end takes, its own before others.
func (t tunnel) proposals() (ike, esp []string) {
	ike, esp = t.ike, t.esp
	if t.also != nil {
		ike, esp = with(ike, t.also.IKE), with(esp, t.also.ESP)
	}
	return ike, esp
}

// anyAddress reports whether the end has to answer at another address than its own one:
// the other end may still dial the hub where it was.
func (t tunnel) anyAddress() bool {
	return t.also != nil && t.also.Hub != "" && t.also.Hub != t.hub().String()
}

// keys returns the keys that the end takes, the one that it sends last.
func (t tunnel) keys() []secret.Value { return append(slices.Clone(t.alsoKeys), t.psk) }

// passing returns the inventory that the packet filter of the hub is to be made of: each
// site with the networks that its tunnel takes, and the hub with those of its own that a
// site may still have.
func (h Host) passing(ends []tunnel) *inventory.Inventory {
	if h.role != inventory.RoleHub || !slices.ContainsFunc(ends, func(t tunnel) bool { return t.fitted }) {
		return h.inv
	}
	inv := *h.inv
	inv.Sites = nil
	var sites []netip.Prefix
	for _, t := range ends {
		_, nets := t.nets()
		sites = append(sites, nets...)
		if i := slices.IndexFunc(inv.Sites, func(s inventory.Site) bool { return s.Name == t.peerID }); i >= 0 {
			inv.Sites[i].Subnets = with(inv.Sites[i].Subnets, nets)
		} else {
			inv.Sites = append(inv.Sites, inventory.Site{Name: t.peerID, Subnets: nets})
		}
	}
	if inv.L2TP != nil {
		sites = append(sites, h.inv.ClientNets()...)
	}
	inv.Hub.Subnets = slices.Clone(inv.Hub.Subnets)
	for _, t := range ends {
		local, _ := t.nets()
		for _, p := range local {
			if !slices.Contains(inv.Hub.Subnets, p) && !overlapAny([]netip.Prefix{p}, sites) {
				inv.Hub.Subnets = append(inv.Hub.Subnets, p)
			}
		}
	}
	return &inv
}

// with returns a and what of b it has not.
func with[T comparable](a, b []T) []T {
	out := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(out, x) {
			out = append(out, x)
		}
	}
	return out
}

// inOrder returns nets as now has them, and those that it has not last: a manifest has
// them sorted, and another order is another conn.
func inOrder(now, nets []netip.Prefix) []netip.Prefix {
	gone := func(p netip.Prefix) bool { return !slices.Contains(nets, p) }
	return with(slices.DeleteFunc(slices.Clone(now), gone), nets)
}

// parsed returns prefixes of a manifest. One that is none was not written by us.
func parsed(texts []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range texts {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p)
		}
	}
	return out
}
