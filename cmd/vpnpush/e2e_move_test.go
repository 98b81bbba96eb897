package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// by is the network of the move: hub and site by one backend.
func by(backend string) string {
	return labHub + labTokyo + fmt.Sprintf("[tunnel]\nbackend = %q\n", backend)
}

// standsBy is what a move back must leave as it was.
const standsBy = snapshot + movedBy

// movedBy prints, beside what snapshot does, the packages, the other daemon, and what it has loaded.
const movedBy = `
dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' 'strongswan*' 'charon*' 'libstrongswan*' 'libcharon*' 2>/dev/null | grep ' installed '
printf 'strongswan: %s, %s\n' "$(systemctl is-enabled strongswan 2>&1)" "$(systemctl is-active strongswan)"
swanctl --list-conns 2>/dev/null
ls -d /usr/sbin/policy-rc.d /var/lib/vpnpush/txn/*/debs 2>/dev/null
:`

// remains prints what is left of a backend that was moved away from, to go with its name.
var remains = map[string]string{
	"ipsec.conf": `ls -d /etc/ipsec.d/vpnpush /etc/systemd/system/strongswan-starter.service.d /run/vpnpush/loaded/strongswan-starter.service 2>/dev/null
grep -l vpnpush /etc/ipsec.conf /etc/ipsec.secrets 2>/dev/null; systemctl is-active strongswan-starter | grep -x active; systemctl is-enabled strongswan-starter 2>/dev/null | grep -x enabled
pgrep -a starter; ls /usr/sbin/policy-rc.d 2>/dev/null; :`,
	"swanctl": `ls -d /etc/swanctl/conf.d/vpnpush-* /etc/systemd/system/strongswan.service.d /run/vpnpush/loaded/strongswan.service 2>/dev/null
systemctl is-active strongswan | grep -x active; systemctl is-enabled strongswan 2>/dev/null | grep -x enabled; pgrep -a charon-systemd; ls /usr/sbin/policy-rc.d 2>/dev/null; :`,
}

// A host moves from one way to run strongSwan to the other and back, where both can be
// installed beside each other (Debian 12) and where they exclude each other (13): one
// change, one gap, nothing of the old one left. What goes wrong in between puts back what
// was there, packages too, with no network, also at a boot.
func TestE2EMove(t *testing.T) {
	t.Parallel()
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Suite: "trixie", Layer: "starter"}}})
	write(t, l, by("ipsec.conf"))
	vpnpush(t, l, 0, "apply", "--yes")
	move := func(t *testing.T, from, to string) {
		t.Helper()
		write(t, l, by(to))
		stop := l.StartPing("tokyo", "10.10.0.1", 100*time.Millisecond)
		r := vpnpush(t, l, 0, "apply", "--yes")
		mustSay(t, r, "runs strongSwan: yes -> no", "tunnels down for some seconds, and up again: tokyo")
		sent, lost := stop()
		t.Logf("%s to %s, hub and site: %d of %d packets lost, %.1f s", from, to, lost, sent, float64(lost)/10)
		unchanged(t, l)
		vpnpush(t, l, 0, "drift")
		if got := l.Ping("tokyo", "10.10.0.1", 3); got != 3 {
			t.Errorf("%d of 3 pings answered", got)
		}
		for _, h := range []string{"vps", "tokyo"} {
			if left := l.MustRun(h, "sh", "-c", remains[from]); left != "" {
				t.Errorf("%s has left on %s:\n%s", from, h, left)
			}
		}
	}
	t.Run("to swanctl", func(t *testing.T) { move(t, "ipsec.conf", "swanctl") })

	faults := func(t *testing.T, host, to string) {
		bug(t, l, host)
		for _, tt := range []struct {
			name string
			fault
			say string
		}{
			// what was to be fetched is fetched by then
			{"the new one does not start, and there is no network", fault{mode: "run", n: 1, match: "systemctl start strongswan", action: "mv /etc/apt/sources.list /root; exit 1"}, "the host stands as before"},
			{"a power cut before it is confirmed", fault{mode: "confirm", n: 1, action: "reboot -ff; sleep 60"}, "the host was rebooted before it was confirmed"},
			{"a power cut between the packages", fault{mode: "run", n: 1, match: "systemctl stop strongswan", action: "reboot -ff; sleep 60"}, "the host was rebooted before it was confirmed"},
		} {
			t.Run(tt.name+", "+host, func(t *testing.T) {
				write(t, l, by(to))
				before := l.MustRun(host, "sh", "-c", standsBy)
				arm(t, l, host, tt.fault)
				mustSay(t, vpnpush(t, l, 5, "apply", "--yes", "--limit", host), tt.say)
				if disarm(t, l, host) == "" && !strings.Contains(tt.name, "power cut") {
					t.Error("it did not come to that")
				}
				l.Run(host, "sh", "-c", "[ ! -e /root/sources.list ] || mv /root/sources.list /etc/apt")
				after := ""
				l.Wait(30*time.Second, host+" is as before", func() bool {
					after = l.MustRun(host, "sh", "-c", standsBy)
					return after == before || t.Failed()
				})
			})
		}
		l.MustRun(host, "sh", "-c", "cd /usr/local/sbin && rm -f "+intercepted+" chaos")
		l.Wait(60*time.Second, "the tunnel is up again", func() bool { return l.Ping("tokyo", "10.10.0.1", 1) == 1 })
	}
	faults(t, "tokyo", "ipsec.conf")
	faults(t, "vps", "ipsec.conf")
	t.Run("and back", func(t *testing.T) { move(t, "swanctl", "ipsec.conf") })

	t.Run("a rollback moves, too", func(t *testing.T) {
		vpnpush(t, l, 0, "rollback", "tokyo", "--yes")
		if left := l.MustRun("tokyo", "sh", "-c", remains["ipsec.conf"]); left != "" {
			t.Errorf("left on tokyo:\n%s", left)
		}
		if got := l.Ping("tokyo", "10.10.0.1", 3); got != 3 {
			t.Errorf("%d of 3 pings answered", got)
		}
	})
	t.Run("not where the admin has conns", func(t *testing.T) {
		l.MustRun("tokyo", "sh", "-c", `printf 'connections {\n  mine {\n    remote_addrs = 198.51.100.1\n  }\n}\n' >/etc/swanctl/conf.d/mine.conf`)
		r := vpnpush(t, l, 4, "apply", "--yes", "--limit", "tokyo")
		mustSay(t, r, "/etc/swanctl/conf.d/mine.conf:2: conn mine", `backend = "swanctl"`)
	})
}
