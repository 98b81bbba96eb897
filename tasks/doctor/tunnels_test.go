package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// withTunnel is a manifest of a host that a tunnel of these networks was applied to.
func withTunnel(local, remote, localID, peerID string) string {
	return fmt.Sprintf(`{"format_version": 2, "owner": "vps", "host": "x", "tasks": [{"id": "ipsec:loaded", "kind": "ipsec", "conns": [
{"name": "tokyo", "conf": "/c", "secrets": "/s", "tunnel": {"conn": "tokyo", "peer": %q, "local": [%q], "remote": [%q], "local_id": %q, "peer_id": %q}}]}]}`,
		peerID, local, remote, localID, peerID)
}

// A tunnel that is down is a problem with charon's own word on it, told once for both
// ends; what was applied counts, and not an inventory that has moved on.
func TestTunnelDown(t *testing.T) {
	const bare = "Security Associations (1 up, 0 connecting):\n       tokyo[1]: ESTABLISHED 5 seconds ago, 192.168.1.10[tokyo]...203.0.113.10[vps]\n"
	const up = bare + "       tokyo{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: c7_i b7_o\n       tokyo{1}:   192.168.1.0/24 === 10.10.0.0/24\n"
	applied := func(status, log string) map[string]string {
		c := well()
		c["manifest"] = withTunnel("192.168.1.0/24", "10.10.0.0/24", "tokyo", "vps")
		c[readSockets] = captured(t, "ss-charon.txt")
		c["ipsec-statusall"], c[tasks.CharonLog.Arg] = status, log
		return c
	}
	moved := site(t, "tokyo", applied(up, ""))
	moved.Tunnels[0].Remote = []string{"10.99.0.0/24"}
	silent := applied(bare, "")
	silent[readSockets] = well()[readSockets]
	hubEnd := hub(t, true)
	hubEnd.Tunnels = site(t, "tokyo", well()).Tunnels
	c := applied(strings.ReplaceAll(bare, "192.168.1.10[tokyo]...203.0.113.10[vps]", "203.0.113.10[vps]...203.0.113.51[tokyo]"), "")
	c["manifest"] = withTunnel("10.10.0.0/24", "192.168.1.0/24", "vps", "tokyo")
	c["addresses"] = "2: eth0    inet 203.0.113.10/24 scope global eth0\\       valid_lft forever preferred_lft forever\n"
	hubEnd.Facts = facts(t, c, "boot-of-vps")

	for _, tt := range []struct {
		name  string
		hosts []HostFacts
		want  string // "HOST: WHAT | MEND"
	}{
		{"up", []HostFacts{site(t, "tokyo", applied(up, ""))}, ""},
		{"never applied", []HostFacts{site(t, "tokyo", well())}, ""},
		{"up, and the inventory has moved on", []HostFacts{moved}, ""},
		{"down, and charon does not listen: ports tells why", []HostFacts{site(t, "tokyo", silent)}, ""},
		{"down", []HostFacts{site(t, "tokyo", applied(bare, ""))},
			"tokyo: the tunnel to vps is down: IKE SA ESTABLISHED but no child SA | vpnpush apply --limit tokyo dials it; journalctl -u ike, at both ends, tells why it does not come up"},
		{"down, with a word of charon's", []HostFacts{site(t, "tokyo", applied(bare, "06[IKE] received TS_UNACCEPTABLE notify, no CHILD_SA built\n"))},
			"tokyo: the tunnel to vps is down: IKE SA ESTABLISHED but no child SA; the other end accepts none of this end's networks " +
				"(charon: received TS_UNACCEPTABLE notify, no CHILD_SA built) | apply to both ends: the networks of the two do not fit together"},
		{"down at both ends", []HostFacts{hubEnd, site(t, "tokyo", applied(bare, ""))},
			"tokyo: the tunnel to vps is down: IKE SA ESTABLISHED but no child SA | vpnpush apply --limit tokyo dials it; journalctl -u ike, at both ends, tells why it does not come up"},
		{"the hub alone was asked", []HostFacts{hubEnd},
			"vps: the tunnel to tokyo is down: IKE SA ESTABLISHED but no child SA | vpnpush apply --limit tokyo dials it; journalctl -u ike, at both ends, tells why it does not come up"},
	} {
		var got []string
		for _, d := range Diagnose(tt.hosts) {
			for _, f := range d.Findings {
				if f.Check == "tunnel" {
					if f.Severity != Problem {
						t.Errorf("%s: %+v", tt.name, f)
					}
					got = append(got, d.Name+": "+f.What+" | "+f.Mend)
				}
			}
		}
		if strings.Join(got, "\n") != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, strings.Join(got, "\n"), tt.want)
		}
	}
}

// A probe goes into a tunnel that runs by another conn than the one that is wanted: one made
// by hand, or the old one after a change. Its silence says nothing of the way, and that the
// tunnel carries packets is proof enough.
func TestTunnelOfAnotherConn(t *testing.T) {
	const status = "Security Associations (1 up, 0 connecting):\n" +
		"       tokyo[1]: ESTABLISHED 5 seconds ago, 192.168.1.10[tokyo]...203.0.113.10[vps]\n" +
		"       tokyo{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: c7_i b7_o\n" +
		"       tokyo{1}:   192.168.1.0/24 === 203.0.113.10/32\n"
	silent := func(status string) map[string]string {
		c := well()
		c["ipsec-statusall"], c[readSockets] = status, captured(t, "ss-charon.txt")
		c[readWay] = "udp 500 silent\nudp 4500 silent\nhop 1 100.64.0.1\nhop 2 100.64.0.1\nping ok\nmtu 1500 lost\nmtu 1492 lost\nmtu 1400 ok\n"
		return c
	}
	// up, as it was applied, to a hub that moves: what counts is the way to where it is then
	before := strings.ReplaceAll(status, "203.0.113.10[vps]", "203.0.113.99[vps]")
	tohub := func(address, status string) map[string]string {
		c := silent(status)
		c["manifest"] = strings.Replace(withTunnel("192.168.1.0/24", "203.0.113.10/32", "tokyo", "vps"), `"peer_id"`, `"hub": "`+address+`", "peer_id"`, 1)
		return c
	}
	moved := silent(status)
	moved["manifest"] = withTunnel("192.168.1.0/24", "10.10.0.0/24", "tokyo", "vps")
	for _, tt := range []struct {
		name     string
		commands map[string]string
		want     []string
	}{
		{"made by hand", silent(strings.ReplaceAll(status, "tokyo[1]", "net-net[1]")), nil},
		{"the inventory's networks were applied, and charon has the old ones", moved, []string{"tunnel problem"}},
		{"to another peer", silent(strings.ReplaceAll(status, "203.0.113.10[vps]", "203.0.113.99[vps]")), []string{"udp problem", "mtu problem", "nat warning"}},
		{"to where the hub was before", tohub("203.0.113.99", before), []string{"udp problem", "mtu problem", "nat warning"}},
		{"to where it is", tohub("203.0.113.10", status), nil},
		{"without a child SA", silent(strings.Join(strings.SplitAfter(status, "\n")[:2], "")), []string{"udp problem", "mtu problem", "nat warning"}},
	} {
		d := Diagnose([]HostFacts{site(t, "tokyo", tt.commands), hub(t, true)})[0]
		if got := summary(d); !slices.Equal(got, tt.want) {
			t.Errorf("%s: found %q, want %q\n%+v", tt.name, got, tt.want, d)
		}
	}
}

// A rule of the hub's that drops before vpnpush's is asked is told at the hub, and is what
// a site's probe blames.
func TestRuleBeforeOurs(t *testing.T) {
	chains := []iptables.Chain{{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p udp -m multiport --dports 500,4500 -j ACCEPT"}}}
	const manifest = `{"format_version":2,"owner":"vps","host":"vps","generation":1,"tasks":[]}`
	save := func(policy string, rules ...string) string {
		text := "*filter\n:INPUT " + policy + " [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:VPNPUSH-IN - [0:0]\n"
		for _, r := range append(rules, "-A VPNPUSH-IN "+chains[0].Rules[0]) {
			text += r + "\n"
		}
		return text + "COMMIT\n"
	}
	const ours = "-A INPUT -j VPNPUSH-IN"
	for _, tt := range []struct {
		name, save string
		bare       bool // vpnpush was not applied
		hub, site  string
		says       string // of the hub
	}{
		{name: "first", save: save("DROP", ours, "-A INPUT -p udp -j DROP"), site: "udp problem"},
		{name: "behind", save: save("ACCEPT", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT", "-A INPUT -p udp -j DROP", ours), hub: "filter problem", site: "udp problem",
			says: "rule 2 of INPUT, -p udp -j DROP, stands before vpnpush's"},
		{name: "behind a REJECT of its ports", save: save("ACCEPT", "-A INPUT -p udp -m udp --dport 400:600 -j REJECT --reject-with icmp-port-unreachable", ours), hub: "filter problem", site: "udp problem"},
		{name: "behind a list of ports", save: save("ACCEPT", "-A INPUT -p udp -m multiport --dports 53,4500 -j DROP", ours), hub: "filter problem", site: "udp problem"},
		{name: "behind a ban", save: save("ACCEPT", "-A INPUT -s 198.51.100.7/32 -j DROP", ours), hub: "filter warning", site: "udp problem"},
		{name: "behind another port's", save: save("ACCEPT", "-A INPUT -p udp -m udp --dport 53 -j DROP", "-A INPUT -p tcp -j DROP", ours), site: "udp problem"},
		{name: "no jump, and nothing else lets it in", save: save("DROP", "-A INPUT -p tcp -j ACCEPT"), hub: "filter problem", site: "udp problem", says: "nothing leads to VPNPUSH-IN, and the policy of INPUT drops"},
		{name: "no jump, and a policy that accepts", save: save("ACCEPT"), site: "udp problem"},
		{name: "before an apply", save: save("ACCEPT", "-A INPUT -p udp -j DROP"), bare: true, site: "udp problem"},
	} {
		h := hub(t, true)
		c := well()
		c["addresses"], c[readSockets] = "2: eth0    inet 203.0.113.10/24 scope global eth0\n", captured(t, "ss-charon.txt")
		c["iptables-save"] = tt.save
		if !tt.bare {
			c["manifest"] = manifest
		}
		h.Facts, h.Filter = facts(t, c, "boot-of-vps"), &tasks.Firewall{Chains: chains}
		c = well()
		c[readWay] = "udp 500 silent\nudp 4500 silent\nping ok\nmtu 1500 ok\n"
		ds := Diagnose([]HostFacts{h, site(t, "tokyo", c)})
		if got := strings.Join(summary(ds[0]), " "); got != tt.hub {
			t.Errorf("%s: found %q at the hub, want %q\n%+v", tt.name, got, tt.hub, ds[0])
		}
		if got := strings.Join(summary(ds[1]), " "); got != tt.site {
			t.Errorf("%s: found %q at the site, want %q\n%+v", tt.name, got, tt.site, ds[1])
		} else if f := ds[1].Findings[0]; (tt.hub == "filter problem") != strings.HasPrefix(f.Mend, "mend the hub's own packet filter first") {
			t.Errorf("%s: the site's mend is %q", tt.name, f.Mend)
		}
		if tt.says != "" && (len(ds[0].Findings) != 1 || !strings.Contains(ds[0].Findings[0].What, tt.says)) {
			t.Errorf("%s: it does not say %q: %+v", tt.name, tt.says, ds[0].Findings)
		}
	}
}

// Two L2TP clients behind one address are told of, where there is L2TP.
func TestClientsBehindOneAddress(t *testing.T) {
	c := well()
	c["ipsec-statusall"] = "Security Associations (2 up, 0 connecting):\n"
	for i, id := range []string{"192.168.3.10", "192.168.3.11"} {
		c["ipsec-statusall"] += fmt.Sprintf("        l2tp[%d]: ESTABLISHED 11 seconds ago, 203.0.113.10[203.0.113.10]...203.0.113.53[%s]\n"+
			"        l2tp{%[1]d}:  INSTALLED, TRANSPORT, reqid 3, ESP in UDP SPIs: ca_i ce_o\n        l2tp{%[1]d}:   203.0.113.10/32[udp/l2f] === 203.0.113.53/32[udp/l2f]\n", i, id)
	}
	for _, l2tp := range []bool{true, false} {
		h := hub(t, l2tp)
		h.L2TP = l2tp
		h.Facts = facts(t, c, "boot-of-vps")
		var got []string
		for _, f := range Diagnose([]HostFacts{h})[0].Findings {
			if f.Check == "clients" {
				got = append(got, f.What)
			}
		}
		if want := "more than one L2TP client dials from behind 203.0.113.53"; l2tp != (strings.Join(got, "\n") == want) {
			t.Errorf("L2TP %t: %q", l2tp, got)
		}
	}
}
