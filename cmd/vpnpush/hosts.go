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
	"github.com/vpnpush/vpnpush/transport/sshconn"
)

// engineFor builds the engine of an inventory, and the hosts that --limit
// leaves.
func (a *app) engineFor(inv *inventory.Inventory) (*engine.Engine, []engine.Host, *sshconn.Dialer, error) {
	names, err := inv.Select(a.limit)
	if err != nil {
		return nil, nil, nil, err
	}
	selected := map[string]bool{}
	for _, n := range names {
		selected[n] = true
	}
	d := &sshconn.Dialer{Hub: inv.Hub.Name, SSHConfig: os.Getenv("VPNPUSH_SSH_CONFIG"), Passphrase: a.passphrase}
	var hosts []engine.Host
	for _, h := range inv.Hosts() {
		d.Targets = append(d.Targets, a.target(h))
		if !selected[h.Name] {
			continue
		}
		name := h.Name
		hosts = append(hosts, engine.Host{
			Name: name, Role: string(h.Role), InTunnel: inTunnel(inv, h), Keys: roles.Keys(inv, name), Reads: roles.Reads(inv, name), Tunnels: roles.Tunnels(inv, name),
			Daemon: roles.Daemon(inv, name), Daemons: roles.Daemons(),
			Preflight: func(f tasks.Facts) ([]error, []string) { return roles.Preflight(inv, name, f) },
			Tasks:     func(f tasks.Facts) ([]tasks.Task, error) { return roles.Tasks(inv, name, f) },
		})
	}
	e := &engine.Engine{Dialer: d, Observer: a.view, Forks: a.forks, Owner: inv.ID, By: operator()}
	return e, hosts, d, nil
}

// inTunnel tells whether the way to a host is its own tunnel: from the hub, by an
// address of its LAN.
func inTunnel(inv *inventory.Inventory, h inventory.Host) bool {
	if h.Role != inventory.RoleSite || h.SSH.Connection == "local" {
		return false
	}
	hops := strings.Split(h.SSH.Jump, ",")
	last := hops[len(hops)-1]
	hub := inv.Hosts()[0]
	if last != "hub" && last != hub.Name && (last != "" || hub.SSH.Connection != "local") {
		return false
	}
	addr, err := netip.ParseAddr(h.SSH.Host)
	if err != nil {
		return true // a name: the hub may know it as an address of the LAN
	}
	for _, s := range inv.Sites {
		if s.Name == h.Name {
			return slices.ContainsFunc(s.Subnets, func(p netip.Prefix) bool { return p.Contains(addr) })
		}
	}
	return false
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

// operator says who runs this, "user@machine".
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

// load reads the inventory; its faults are told, and end the run.
func (a *app) load(ctx context.Context) (*inventory.Inventory, error) {
	inv, diags := inventory.Load(ctx, a.inventory)
	if inv == nil {
		a.view.Diagnostics(stringers(diags))
		n := len(diags.Errors())
		return nil, &codeError{exitError, fmt.Errorf("%s: %s", a.inventory, count(n, "fault"))}
	}
	a.redact(inv.SecretValues()...)
	if w := diags.Warnings(); len(w) > 0 {
		a.view.Diagnostics(stringers(w))
	}
	return inv, nil
}

func stringers(ds inventory.Diagnostics) []fmt.Stringer {
	out := make([]fmt.Stringer, len(ds))
	for i, d := range ds {
		out[i] = d
	}
	return out
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
