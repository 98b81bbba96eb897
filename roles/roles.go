// Package roles says what a hub and a site are to look like: a pure function
// of the inventory and of the facts of one host. What lands and why:
// docs/what-lands.md. Nothing here reads a clock, a file or a network.
package roles

import (
	"fmt"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// Where things land on a host (DESIGN section 5).
const (
	confDir     = "/etc/ipsec.d/vpnpush/"
	includeConf = "include " + confDir + "*.conf"
	includeKeys = "include " + confDir + "*.secrets"
	sysctlPath  = "/etc/sysctl.d/60-vpnpush.conf"
	ipsecConf   = "/etc/ipsec.conf"
	ipsecKeys   = "/etc/ipsec.secrets"
	xl2tpdConf  = "/etc/xl2tpd/xl2tpd.conf"
	pppOptions  = "/etc/ppp/options.xl2tpd"
	chapSecrets = "/etc/ppp/chap-secrets"
	rulesV4     = "/etc/iptables/rules.v4"
	rulesV6     = "/etc/iptables/rules.v6" // read only
	// run-parts(8) takes names without a dot only
	pppUp   = "/etc/ppp/ip-up.d/vpnpush"
	pppDown = "/etc/ppp/ip-down.d/vpnpush"
)

// The units that run it. On Debian 11 and later strongswan.service is the other
// daemon, charon-systemd (research: NEWS.Debian of strongswan 5.8.0).
const (
	unitIPsec    = "strongswan-starter.service"
	unitCharon   = "strongswan.service"
	unitXL2TPD   = "xl2tpd.service"
	unitFirewall = "netfilter-persistent.service"
)

// connL2TP is the name of the conn for L2TP clients.
const connL2TP = "l2tp"

// Reads is everything that must be read on a host for its tasks to be told and
// checked, whatever is found there. An unknown host reads nothing.
func Reads(inv *inventory.Inventory, host string) []tasks.Read {
	p, err := place(inv, host)
	if err != nil {
		return nil
	}
	reads := preflightReads()
	if ts, err := p.tasks(); err == nil {
		for _, t := range ts {
			reads = append(reads, t.Reads()...)
		}
	}
	seen := make(map[tasks.Read]bool)
	out := reads[:0]
	for _, r := range reads {
		if !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return out
}

// Tasks is what is wanted of a host, in the order in which it is to be made:
// packages, kernel parameters, files, packet filter, services, IPsec.
func Tasks(inv *inventory.Inventory, host string, f tasks.Facts) ([]tasks.Task, error) {
	p, err := place(inv, host)
	if err != nil {
		return nil, err
	}
	ts, err := p.tasks()
	if err != nil || p.filtered() {
		return ts, err
	}
	forgotten, err := forgottenChains(f)
	return append(ts, forgotten...), err
}

// placed is one host's place in the network.
type placed struct {
	inv  *inventory.Inventory
	role inventory.Role
	site *inventory.Site // nil on the hub
}

// place finds a host of the inventory by its name, and refuses what no role can
// put down.
func place(inv *inventory.Inventory, host string) (placed, error) {
	switch inv.Tunnel.Backend {
	case "", inventory.BackendAuto, inventory.BackendIPsecConf:
	case inventory.BackendSwanctl:
		return placed{}, transport.WithHint(
			fmt.Errorf("tunnel.backend %q is not built yet", inv.Tunnel.Backend),
			`set tunnel.backend = "ipsec.conf": Debian 11, 12 and 13 all ship strongswan-starter for it`)
	default:
		return placed{}, fmt.Errorf("tunnel.backend %q is not known", inv.Tunnel.Backend)
	}
	if host == inv.Hub.Name {
		return placed{inv: inv, role: inventory.RoleHub}, nil
	}
	for i := range inv.Sites {
		if inv.Sites[i].Name == host {
			return placed{inv: inv, role: inventory.RoleSite, site: &inv.Sites[i]}, nil
		}
	}
	return placed{}, fmt.Errorf("host %q is not in the inventory", host)
}

// l2tp gives the L2TP layer where it is this host's: on the hub.
func (p placed) l2tp() *inventory.L2TP {
	if p.role != inventory.RoleHub {
		return nil
	}
	return p.inv.L2TP
}

// filtered tells whether vpnpush keeps a packet filter on the hosts.
func (p placed) filtered() bool { return p.inv.Firewall.Backend != "none" }

func (p placed) tasks() ([]tasks.Task, error) {
	files, conns, err := p.files()
	if err != nil {
		return nil, err
	}
	var ts []tasks.Task
	for _, pkg := range p.packages() {
		ts = append(ts, pkg)
	}
	sysctlFile, sysctls, err := p.sysctl()
	if err != nil {
		return nil, err
	}
	ts = append(ts, sysctlFile)
	for _, s := range sysctls {
		ts = append(ts, s)
	}
	ts = append(ts, files...)
	if p.filtered() {
		chains := p.chains()
		ts = append(ts, tasks.RulesV4{Path: rulesV4, Chains: chains}, tasks.Firewall{Chains: chains})
	}
	for _, u := range p.units(files) {
		ts = append(ts, u)
	}
	ts = append(ts, tasks.IPsec{Daemon: starter, Conns: conns})
	if l := p.l2tp(); l != nil {
		s := tasks.Sessions{Local: l.LocalIP.String()}
		for _, u := range l.Users {
			s.Users = append(s.Users, u.Name)
		}
		ts = append(ts, s)
	}
	return ts, nil
}

// packages are named one by one rather than left to Recommends, which many
// servers have turned off: strongswan-starter only recommends its daemon
// (strongswan-charon), without libstrongswan-standard-plugins Debian 11 and 12
// have neither AES-GCM nor the ECP groups that Windows offers, and
// iptables-persistent comes without iptables. The metapackage `strongswan` is
// the other daemon on Debian 13.
func (p placed) packages() []tasks.Package {
	names := []string{"strongswan-starter", "strongswan-charon", "libstrongswan-standard-plugins"}
	if p.l2tp() != nil {
		names = append(names, "ppp", "xl2tpd")
	}
	var out []tasks.Package
	for _, n := range names {
		out = append(out, tasks.Package{Name: n})
	}
	if p.filtered() {
		// The preseed keeps the installation from writing the rules of the
		// moment, fail2ban's and Docker's too, into rules.v4.
		out = append(out, tasks.Package{Name: "iptables"}, tasks.Package{
			Name: "iptables-persistent",
			Preseed: []string{
				"iptables-persistent iptables-persistent/autosave_v4 boolean false",
				"iptables-persistent iptables-persistent/autosave_v6 boolean false",
			},
		})
	}
	return out
}

// units are the services that must run, before IPsec is loaded into one of
// them.
func (p placed) units(files []tasks.Task) []tasks.Unit {
	us := []tasks.Unit{{Name: starter.Unit, Shared: true, Start: "starter_start", Part: starter.Part}}
	if p.filtered() {
		us = append(us, tasks.Unit{Name: unitFirewall, BootOnly: true, Shared: true})
	}
	if p.l2tp() != nil {
		us = append(us, tasks.Unit{Name: unitXL2TPD, Config: map[string]string{xl2tpdConf: digest(files, xl2tpdConf)}})
	}
	return us
}

// digest is the digest that a File among ts is to have.
func digest(ts []tasks.Task, path string) string {
	for _, t := range ts {
		if f, ok := t.(tasks.File); ok && f.Path == path {
			return tasks.SHA256(f.Content)
		}
	}
	return ""
}
