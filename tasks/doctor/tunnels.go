package doctor

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// tunnels takes from the facts how the host's tunnels stand. What was applied is what can
// be up: an inventory that has moved on since takes no tunnel down.
func (x *hostChecks) tunnels() {
	sas, err := tasks.SAsFrom(x.Facts)
	if err != nil {
		x.skip("the tunnels", err)
		return
	}
	x.shared = strongswan.SharedAddresses(sas)
	x.into = x.leadTo(sas)
	m, err := tasks.ReadManifest(x.Facts)
	if err != nil {
		x.skip("which tunnels were applied", err)
		return
	}
	applied := m.Tunnels()
	for _, st := range strongswan.CheckTunnels(sas, applied) {
		wanted := slices.ContainsFunc(x.Tunnels, func(t strongswan.Tunnel) bool { return t.Conn == st.Tunnel.Conn })
		switch {
		case st.Up:
			x.up = append(x.up, st.Tunnel)
		case wanted:
			x.down = append(x.down, st)
		}
	}
}

// leadTo returns the networks behind the hub that packets go to through a tunnel now: by a
// conn that is not ours, too, or by the old one of ours.
func (x *hostChecks) leadTo(sas []strongswan.SA) []netip.Prefix {
	var out []netip.Prefix
	for _, sa := range sas {
		addr, _, _ := strings.Cut(sa.RemoteAddr, ":") // swanctl tells the port
		if a, err := netip.ParseAddr(addr); err != nil || a != x.Hub {
			continue
		}
		for _, c := range sa.Children {
			for _, r := range c.RemoteTS {
				if p, err := netip.ParsePrefix(r); err == nil && c.Carries() {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

// lost tells of tunnels that should be up and are not, with charon's last word on it. A
// site's is told at the site, where most is known of it, if that was looked at.
func (x *hostChecks) lost(others []*hostChecks) {
	if x.sockets != nil && (!x.listensOn(500) || !x.listensOn(4500)) {
		return // ports has told why
	}
	for _, st := range x.down {
		atSite := func(o *hostChecks) bool {
			return o.Role != tasks.RoleHub && slices.ContainsFunc(o.down, func(s strongswan.TunnelState) bool { return s.Tunnel.Conn == st.Tunnel.Conn })
		}
		if x.Role == tasks.RoleHub && slices.ContainsFunc(others, atSite) {
			continue
		}
		mend := "vpnpush apply --limit " + st.Tunnel.Conn + " dials it; journalctl -u " + x.Daemon.Service() + ", at both ends, tells why it does not come up"
		why := st.Why
		if w := tasks.LastWord(x.Facts, st.Tunnel, x.Role != tasks.RoleHub); w != nil {
			why, mend = why+"; "+w.String(), w.Mend
		}
		x.find("tunnel", Problem, "nothing passes between the two ends", mend, "the tunnel to %s is down: %s", st.Tunnel.Peer, why)
	}
}

// clients tells of L2TP clients that cut each other off.
func (x *hostChecks) clients() {
	if !x.L2TP {
		return
	}
	for _, a := range x.shared {
		x.find("clients", Warning, "to the hub their packets are the same, so that the last one gets them all, and neither can work",
			"let one of them dial from there, or make that office a site", "more than one L2TP client dials from behind %s", a)
	}
}
