package main

import (
	"cmp"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// Debian 11, 12 and 13 in one network, whichever of them the hub is, by either of
// strongSwan's daemons: what one is told, the other agrees to, and none sees a change in
// the second plan. A bare host installs what is its release's.
func TestE2EReleases(t *testing.T) {
	t.Parallel()
	for name, hosts := range map[string][4]lab.Host{
		"hub 11": {{Suite: "bullseye"}, {Suite: "trixie", Layer: "swanctl"}, {Suite: "bookworm", Layer: "starter"}, {Suite: "bullseye", Layer: "swanctl"}},
		"hub 13": {{Suite: "trixie", Layer: "swanctl"}, {Suite: "bullseye"}, {Suite: "bookworm", Layer: "swanctl"}, {Suite: "trixie", Layer: "starter"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i, at := range [4][2]string{{"vps", "hub"}, {"tokyo", "1"}, {"osaka", "2"}, {"nagoya", "3"}} {
				hosts[i].Name, hosts[i].Place = at[0], at[1]
			}
			l := lab.Start(t, lab.Options{Hosts: hosts[:]})
			write(t, l, labHub, labTokyo, labOsaka, labNagoya)
			vpnpush(t, l, 0, "apply", "--yes")
			for _, h := range hosts[1:] {
				if l.Ping(h.Name, "10.10.0.1", 3) == 0 {
					t.Errorf("%s (%s %s) does not reach the hub's LAN", h.Name, h.Suite, h.Layer)
				}
			}
			vpnpush(t, l, 0, "status")
			// not empty but for what it says of Debian 11
			r := vpnpush(t, l, 0, "plan", "--detailed-exitcode")
			if !strings.Contains(r.Stdout, "\nNo changes. 4 hosts match") || !strings.Contains(r.Stdout, "warning: Debian 11 has had no security updates") {
				t.Errorf("a second plan:\n%s", r.Stdout)
			}
		})
	}
}

// A kernel, an AppArmor, an xl2tpd and a pppd of another release than 12, on both ends of
// an L2TP link, 13 or what LAB_SUITE says, by both of strongSwan's daemons: a user dials in
// and reaches a site behind the tunnel, before and after the hub was rebooted, and AppArmor
// has refused nothing, nor would have. It is a long one: one of the first to start,
// by the name of this file, and by subtests that do not queue up once more.
func TestE2EL2TPRelease(t *testing.T) {
	t.Parallel()
	suite := cmp.Or(os.Getenv("LAB_SUITE"), "trixie")
	head, tail, _ := strings.Cut(trueLab, "[sites.osaka]")
	_, tail, _ = strings.Cut(tail, "[firewall]")
	for layer, daemon := range map[string]string{"starter": "/usr/lib/ipsec/charon", "swanctl": "/usr/sbin/charon-systemd"} {
		t.Run(layer, func(t *testing.T) {
			l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
				{Name: "vps", Place: "hub", Suite: suite, Layer: layer}, {Name: "tokyo", Place: "1", Suite: "bookworm", Layer: "starter"},
				{Name: "laptop", Place: "3", Suite: suite, Layer: "starter"},
			}})
			write(t, l, head, "[firewall]", tail)
			vpnpush(t, l, 0, "apply", "--yes")
			reaches := func(when string) {
				t.Helper()
				l.Wait(90*time.Second, when+": tokyo's tunnel is up", func() bool { return l.Vpnpush("status").Code == 0 })
				if r := vpnpush(t, l, 0, "plan", "--detailed-exitcode"); !strings.Contains(r.Stdout, "No changes. 2 hosts match") {
					t.Errorf("%s: the plan is not empty:\n%s", when, r.Stdout)
				}
				since := strings.TrimSpace(l.MustRun("laptop", "date", "+%s"))
				if got := strings.TrimSpace(l.MustRun("laptop", "sh", "-c", dial, "sh", "bob", "@bob-canary", since)); got != "192.168.200.20" {
					t.Fatalf("%s: bob got the address %q, his is 192.168.200.20", when, got)
				}
				l.MustRun("laptop", "ip", "route", "replace", "192.168.1.0/24", "dev", "ppp0")
				for _, to := range []string{"192.168.200.1", "192.168.1.10"} {
					if l.Ping("laptop", to, 3) != 3 {
						t.Errorf("%s: bob does not reach %s", when, to)
					}
				}
				if r := vpnpush(t, l, 0, "status"); !strings.Contains(r.Stdout, "\nbob ") {
					t.Errorf("%s: status does not show bob:\n%s", when, r.Stdout)
				}
				if out := l.MustRun("vps", "sh", "-c", "cat /proc/$(pidof charon charon-systemd)/attr/current; journalctl -k -o cat --no-pager | grep -E 'apparmor=.(DENIED|ALLOWED)'; :"); !regexp.MustCompile("^" + daemon + ` \((enforce|complain)\)\n$`).MatchString(out) {
					t.Errorf("%s: the profile of what runs, and what AppArmor refused:\n%s", when, out)
				}
			}
			reaches("first")
			l.MustRun("laptop", "sh", "-c", hangUp)
			l.Reboot("vps")
			reaches("after a reboot of the hub")
		})
	}
}
