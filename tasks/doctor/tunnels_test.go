package doctor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
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
