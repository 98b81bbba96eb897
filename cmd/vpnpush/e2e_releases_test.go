package main

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// Debian 11, 12 and 13 in one network, whichever of them the hub is: what one release's
// strongSwan is told, the other's agrees to, and none sees a change in the second plan.
// Hosts with Debian 11 are bare, so that its packages are asked for by their names too.
func TestE2EReleases(t *testing.T) {
	for hub, sites := range map[string][3]string{
		"bullseye": {"trixie", "bookworm", "bullseye"},
		"trixie":   {"bullseye", "bookworm", "trixie"},
	} {
		t.Run(hub+" hub", func(t *testing.T) {
			t.Parallel()
			host := func(name, place, suite string) lab.Host {
				h := lab.Host{Name: name, Place: place, Suite: suite, Layer: "starter"}
				if suite == "bullseye" {
					h.Layer = "bare"
				}
				return h
			}
			l := lab.Start(t, lab.Options{Hosts: []lab.Host{
				host("vps", "hub", hub), host("tokyo", "1", sites[0]), host("osaka", "2", sites[1]), host("nagoya", "3", sites[2]),
			}})
			write(t, l, labHub, labTokyo, labOsaka, labNagoya)
			vpnpush(t, l, 0, "apply", "--yes")
			for i, site := range []string{"tokyo", "osaka", "nagoya"} {
				if l.Ping(site, "10.10.0.1", 3) == 0 {
					t.Errorf("%s (%s) does not reach the hub's LAN", site, sites[i])
				}
				if got := sas(t, l, "vps")[site]; len(got) != 1 {
					t.Errorf("%s (%s) has the SAs %v on the hub", site, sites[i], got)
				}
			}
			// not empty but for what it says of Debian 11
			r := vpnpush(t, l, 0, "plan", "--detailed-exitcode")
			if !strings.Contains(r.Stdout, "\nNo changes. 4 hosts match") || !strings.Contains(r.Stdout, "warning: Debian 11 has had no security updates") {
				t.Errorf("a second plan:\n%s", r.Stdout)
			}
		})
	}
}

// Debian 13 where it is not as 12: a kernel 6.12 with AppArmor, pppd 2.5 on both ends of an
// L2TP link. A user dials in and reaches a site behind the tunnel, before and after the
// hub was rebooted, and AppArmor has refused nothing.
func TestE2EL2TPTrixie(t *testing.T) {
	t.Parallel()
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Suite: "trixie", Layer: "starter"}, {Name: "tokyo", Place: "1", Suite: "bookworm", Layer: "starter"},
		{Name: "laptop", Place: "3", Suite: "trixie", Layer: "starter"},
	}})
	head, tail, _ := strings.Cut(trueLab, "[sites.osaka]")
	_, tail, _ = strings.Cut(tail, "[firewall]")
	write(t, l, head, "[firewall]", tail)
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)

	reaches := func(when string) {
		t.Helper()
		l.Wait(60*time.Second, when+": tokyo reaches the hub", func() bool { return l.Ping("tokyo", "203.0.113.10", 1) == 1 })
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
		if out := l.MustRun("vps", "sh", "-c", "cat /proc/$(cat /run/charon.pid)/attr/current; journalctl -k -o cat --no-pager | grep apparmor=.DENIED; :"); out != "/usr/lib/ipsec/charon (enforce)\n" {
			t.Errorf("%s: charon's profile, and what AppArmor refused:\n%s", when, out)
		}
	}
	reaches("first")
	l.MustRun("laptop", "sh", "-c", hangUp)
	l.Reboot("vps")
	reaches("after a reboot of the hub")
	unchanged(t, l)
}
