package main

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A hub moves to another machine, with another address and name, and its sites, which
// nothing but their tunnels leads to, follow one after another, each found behind whichever
// hub it is: at no moment is one out of reach. One that does not get to the new hub goes
// back by itself. Then the box of one is stolen: its key is good for nothing from then on,
// and a bare one takes its place and its name.
func TestE2EMoveHub(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	host := func(name, place string) lab.Host { return lab.Host{Name: name, Place: place, Layer: b.layer} }
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{host("vps", "hub"), host("new", "e1"), host("tokyo", "1"), host("osaka", "2")}})
	l.MustRun("new", "sh", "-ec", "for a in 10.10.0.1 192.168.1.254 192.168.2.254; do ip addr add $a/32 dev lo; done") // as the hub of a lab has them
	control := func(argv ...string) {
		t.Helper()
		if out, code := l.Control(argv...); code != 0 {
			t.Fatalf("%q: %s", argv, out)
		}
	}
	b.write(t, l, labHub, labTokyo, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	behind := strings.NewReplacer("192.168.1.10", "192.168.2.10").Replace
	sites := labTokyo + viaHub + labOsaka + behind(viaHub)
	b.write(t, l, labHub, sites)
	// the operator is at none of the offices
	control("ip", "route", "del", "192.168.1.0/24")
	control("ip", "route", "del", "192.168.2.0/24")
	unchanged(t, l)

	moved := strings.NewReplacer(`"vps"`, `"new"`, `"203.0.113.10"`, "\"203.0.113.101\"\nmoves_from = \"root@203.0.113.10\"").Replace(labHub)
	b.write(t, l, moved, sites)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "new")
	if r := vpnpush(t, l, 2, "drift"); !strings.Contains(r.Stdout, "2 pending") || !strings.Contains(r.Stdout, "As it should be: new") {
		t.Errorf("before the sites move, drift says\n%s", r.Stdout)
	}

	// osaka's router lets nothing through to the new hub: tokyo moves, and osaka goes back
	control("ip", "netns", "exec", "r2", "iptables", "-I", "FORWARD", "-p", "udp", "-d", "203.0.113.101", "-j", "DROP")
	mustSay(t, l.Vpnpush("doctor", "osaka"), "UDP 500 and 4500 of the hub (203.0.113.101) gives no")
	told := func(site string, gap time.Duration) {
		t.Helper()
		t.Logf("%s: the tunnel was down for %s", site, gap)
		if gap > 15*time.Second {
			t.Errorf("%s: the tunnel was down for %s", site, gap)
		}
	}
	told("tokyo", downFor(t, l, "tokyo", func() {
		r := l.Vpnpush("apply", "--yes", "--no-canary")
		if got := results(r.Stdout); r.Code != 5 || got["tokyo"] != "changed" || got["osaka"] != "rolled back" {
			t.Errorf("osaka does not get to the new hub: exit code %d\n%s\n%s", r.Code, r.Stdout, r.Stderr)
		}
		mustSay(t, r, "the host stands as before", "`vpnpush doctor osaka` looks for what stops it")
	}))
	if n := l.Ping("osaka", "10.10.0.1", 3); n != 3 {
		t.Errorf("osaka is back, and %d of 3 pings reach the old hub", n)
	}
	control("ip", "netns", "exec", "r2", "iptables", "-D", "FORWARD", "1")

	// the one that has moved is reached, and the other
	mustSay(t, vpnpush(t, l, 0, "plan"), "Match the inventory: new, tokyo", "the way to this host is its own tunnel, and that changes")
	told("osaka", downFor(t, l, "osaka", func() { vpnpush(t, l, 0, "apply", "--yes", "--limit", "new,osaka") }))
	unchanged(t, l)
	now := strings.Replace(moved, "moves_from = \"root@203.0.113.10\"\n", "", 1)
	b.write(t, l, now, sites)
	vpnpush(t, l, 0, "drift")
	vpnpush(t, l, 0, "status")

	// the old hub, by the inventory of before
	b.write(t, l, labHub, sites)
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	if left := l.MustRun("vps", "sh", "-c", "ls -d /var/lib/vpnpush "+b.ours+"* 2>/dev/null; :"); left != "" {
		t.Errorf("left on the old hub:\n%s", left)
	}

	// osaka's box is stolen, and dials on from where it is
	b.write(t, l, now, sites)
	vpnpush(t, l, 0, "secret", "rotate", "osaka")
	mustSay(t, vpnpush(t, l, 0, "apply", "--yes", "--limit", "new"), "new alone with --gone osaka")
	tokyo := sas(t, l, "new")["tokyo"]
	since := strings.TrimSpace(l.MustRun("osaka", "date", "+%F %T"))
	mustSay(t, vpnpush(t, l, 0, "apply", "--yes", "--gone", "osaka"), "ends: tunnel osaka to a box that is gone", "new    hub   changed")
	l.Wait(backWithin, "the stolen box is refused", func() bool {
		return strings.Contains(l.MustRun("osaka", "journalctl", "-q", "-o", "cat", "-u", b.unit, "--since", since), "AUTHENTICATION_FAILED")
	})
	got := sas(t, l, "new")
	if len(got["osaka"]) > 0 || strings.Join(got["tokyo"], " ") != strings.Join(tokyo, " ") {
		t.Errorf("the hub has the SAs %v, and had %v of tokyo", got, tokyo)
	}

	// a bare one with its name and address, which is set up on the office's own network
	l.Run("osaka", "systemctl", "poweroff", "-ff")
	l.Control("ip", "link", "del", "v-osaka") // it goes by itself, sooner or later
	control("ip", "route", "add", "192.168.2.0/24", "via", "203.0.113.52")
	l.Add(host("osaka2", "2"))
	text, _ := l.Control("cat", l.Inventory)
	write(t, l, strings.Replace(text, behind(viaHub), "ssh.host = \"192.168.2.10\"\n", 1))
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "osaka")
	write(t, l, text)
	control("ip", "route", "del", "192.168.2.0/24")
	unchanged(t, l)
	if n := l.Ping("osaka2", "10.10.0.1", 3); n != 3 {
		t.Errorf("the new box: %d of 3 pings get through", n)
	}
}
