package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport/sshconn"
)

// engineHosts returns the hosts of names as the engine sees them, in the order
// of the inventory.
func engineHosts(inv *inventory.Inventory, names []string) ([]engine.Host, error) {
	var hosts []engine.Host
	chosen := make(map[string]bool, len(names))
	for _, n := range names {
		chosen[n] = true
	}
	for _, h := range inv.Hosts() {
		if !chosen[h.Name] {
			continue
		}
		r, err := roles.Of(inv, h.Name)
		if err != nil {
			return nil, err
		}
		tunnels := r.Tunnels()
		hosts = append(hosts, engine.Host{
			Name: h.Name, Role: string(h.Role), InTunnel: inTunnel(inv, h),
			Pairs: r.Pairs, Renamed: r.Renamed, Reads: r.Reads(), Tunnels: tunnels, TunnelCount: len(tunnels),
			Daemon: r.Daemon, Daemons: roles.Daemons(),
			Preflight: func(f tasks.Facts) ([]error, []string) {
				refusals, warnings := r.Preflight(f)
				if says := lineBreaks(inv, h, tunnels, f); says != "" {
					warnings = append(warnings, says)
				}
				return refusals, warnings
			},
			Security: r.Security, Tasks: r.Tasks, Twin: r.Twin, Lacks: r.Lacks,
			Beside:      func(f tasks.Facts) []string { return append(r.ForeignKeys(f), r.Beside(f)...) },
			BesideReads: r.BesideReads(),
		})
	}
	return hosts, nil
}

// leaving returns h as a host that vpnpush is to be taken off.
func leaving(h engine.Host) engine.Host {
	h.Preflight, h.Tunnels, h.Leave = nil, nil, true
	h.Reads = append(slices.Clone(h.Reads), tasks.Remains{}.Reads()...)
	h.Tasks = func(f tasks.Facts, _ tasks.Peers) ([]tasks.Task, error) { return roles.Leave(f) }
	return h
}

// rendered returns the files of a host as they would land on a bare one.
func rendered(inv *inventory.Inventory, host string) ([]roles.RenderedFile, error) {
	r, err := roles.Of(inv, host)
	if err != nil {
		return nil, err
	}
	return r.Render()
}

// inTunnel reports whether the way to a host is its own tunnel: from the hub, by
// an address of its LAN.
func inTunnel(inv *inventory.Inventory, h inventory.Host) bool {
	if h.Role != inventory.RoleSite || h.SSH.Connection == "local" {
		return false
	}
	hops := strings.Split(h.SSH.Jump, ",")
	last := hops[len(hops)-1]
	hub := inv.HubHost()
	if last != "hub" && last != hub.Name && (last != "" || hub.SSH.Connection != "local") {
		return false
	}
	addr, err := netip.ParseAddr(h.SSH.Host)
	if err != nil {
		return true // a name: the hub may know it as an address of the LAN
	}
	s, err := inv.Site(h.Name)
	return err == nil && slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// behindTunnel is the mend where a site is not reached whose way in is its own tunnel.
func behindTunnel(site string) string {
	return fmt.Sprintf("it is reached through its own tunnel: `vpnpush status %[1]s` tells how that stands; "+
		"a box that has none yet, or not any more, is set up by a script that is run there, `vpnpush bundle %[1]s`, or over a line that it opens, `vpnpush invite %[1]s`: docs/ssh.md, \"A box that nothing reaches yet\"", site)
}

// dialer returns what connects to the hosts of an inventory, once it has their
// targets. Its questions end with ctx.
func (a *app) dialer(ctx context.Context, inv *inventory.Inventory) *sshconn.Dialer {
	d := &sshconn.Dialer{
		Hub: inv.Hub.Name, SSHConfig: os.Getenv("VPNPUSH_SSH_CONFIG"),
		Passphrase: func(path string) ([]byte, error) { return a.passphrase(ctx, path) },
	}
	if !a.onlyNews() {
		d.Warn = func(text string) { a.view.Note("vpnpush: warning: " + text) }
	}
	return d
}

// targets returns how each host of an inventory is reached, those too that are
// only on the way to another, with the password for its sudo where that was fetched.
func (a *app) targets(inv *inventory.Inventory) []sshconn.Target {
	var out []sshconn.Target
	for _, h := range inv.Hosts() {
		t := a.target(h)
		t.Either, t.Ways = before(inv, h), ways(inv, h)
		if inTunnel(inv, h) {
			t.Beyond = behindTunnel(h.Name)
			if len(t.Either) > 0 {
				t.Beyond = fmt.Sprintf("nor does the hub before, %s, lead to it; %s", inv.Hub.MovesFrom, t.Beyond)
			}
		}
		out = append(out, t)
	}
	return out
}

// before returns the way to a site through the hub as it was, where the hub moves: the
// site is behind the one or the other. Where no way to a site goes through the hub there
// is none.
func before(inv *inventory.Inventory, h inventory.Host) []sshconn.Way {
	hops := strings.Split(h.SSH.Jump, ",")
	i := slices.Index(hops, inv.Hub.Name)
	if inv.Hub.MovesFrom == "" || h.Role != inventory.RoleSite || i < 0 {
		return nil
	}
	hops[i] = inv.Hub.MovesFrom
	return []sshconn.Way{{Jump: strings.Join(hops, ",")}}
}

// ways returns the other ways to a host that the inventory knows: a change can close the
// one that led to it. The hub has its addresses, and a site is reached straight, or from
// the hub by an address of its LAN. Of a line that a site opens itself only the end is on
// the loopback of the jump host: it is no way by another, and its port no other address's.
func ways(inv *inventory.Inventory, h inventory.Host) []sshconn.Way {
	hosts, jumps := []string{h.SSH.Host}, []string{h.SSH.Jump, "none"}
	add := func(a netip.Addr) {
		if a.IsValid() && !slices.Contains(hosts, a.String()) {
			hosts = append(hosts, a.String())
		}
	}
	if h.Role == inventory.RoleHub {
		add(inv.Hub.Address)
		add(inv.Hub.LocalAddress)
	} else {
		jumps = append(jumps, inv.Hub.Name)
		if s, err := inv.Site(h.Name); err == nil {
			add(s.Address)
		}
	}
	var out []sshconn.Way
	port := 0
	if opened(h) {
		hosts, port = hosts[1:], sshPort
	}
	for _, host := range hosts {
		for i, jump := range jumps {
			if host == h.SSH.Host && jump == h.SSH.Jump || slices.Contains(jumps[:i], jump) || jump == "" {
				continue // the way that it has, or one more time
			}
			out = append(out, sshconn.Way{Host: host, Port: port, Jump: jump})
		}
	}
	return out
}

const sshPort = 22

// opened reports whether the way to a host is a line that it has opened itself, as ssh -R
// does: it ends on the loopback of a jump host.
func opened(h inventory.Host) bool {
	addr, err := netip.ParseAddr(h.SSH.Host)
	loopback := err == nil && addr.IsLoopback() || h.SSH.Host == "localhost"
	return loopback && h.SSH.Jump != "" && h.SSH.Jump != "none" && h.SSH.Connection != "local"
}

// lineBreaks returns a warning where the way to a site is a line that it has opened to the
// hub, and its tunnel, which is not up yet, will carry what is for the hub's address: what
// runs there dies then. "": it stays.
func lineBreaks(inv *inventory.Inventory, h inventory.Host, tunnels []strongswan.Tunnel, f tasks.Facts) string {
	hops := strings.Split(h.SSH.Jump, ",")
	carried := slices.ContainsFunc(inv.Hub.Subnets, func(p netip.Prefix) bool { return p.Contains(inv.Hub.Address) })
	if h.Role != inventory.RoleSite || !opened(h) || hops[len(hops)-1] != inv.Hub.Name || !carried {
		return ""
	}
	if sas, err := tasks.SAsFrom(f); err == nil && !slices.ContainsFunc(strongswan.CheckTunnels(sas, tunnels), func(t strongswan.TunnelState) bool { return !t.Up }) {
		return "" // it goes through the tunnel, or round it
	}
	says := fmt.Sprintf("the way in is a line that this box opens to the hub, and %s is in hub.subnets: the line breaks when the tunnel comes up", inv.Hub.Address)
	if s, err := inv.Site(h.Name); err == nil && s.Address.IsValid() {
		return fmt.Sprintf("%s; the apply goes on through the tunnel, to %s: set ssh.host to that afterwards, and take ssh.port out (docs/ssh.md)", says, s.Address)
	}
	return says + fmt.Sprintf(", and all is put back, for nothing else leads here: set sites.%s.address, or keep the line as docs/ssh.md says", h.Name)
}

func (a *app) target(h inventory.Host) sshconn.Target {
	s := h.SSH
	t := sshconn.Target{
		Name: h.Name, Host: s.Host, User: s.User, Port: s.Port,
		IdentityFile: s.IdentityFile, KnownHosts: s.KnownHosts, AcceptNew: s.AcceptNew,
		Become: s.Become, ConnectTimeout: s.ConnectTimeout, Jump: s.Jump, Local: s.Connection == "local",
	}
	if pw := s.BecomePassword; !pw.IsZero() {
		t.BecomePassword = pw.Reveal
	} else if pw := a.becomePassword; !pw.IsZero() {
		t.BecomePassword = pw.Reveal
	}
	return t
}

// operator returns who runs this, "user@machine".
func operator() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return name + "@" + host
}
