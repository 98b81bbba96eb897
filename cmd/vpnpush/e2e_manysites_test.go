package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A network of so many sites that its packet filter is a tree: packets pass and are dropped
// as in a small one; the tree is there after a reboot, what
// somebody takes out of it by hand is found, and it goes, comes back and goes for good with
// the sites.
func TestE2EManySites(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Layer: b.layer})
	var others strings.Builder
	for i := range 25 {
		fmt.Fprintf(&others, "[sites.s%02d]\nsubnets = [\"172.16.%d.0/24\"]\npsk = \"canary-of-site-%02d-0123456789\"\n", i, 3*i, i)
	}
	here := []string{"--limit", "vps,tokyo,osaka"}
	b.write(t, l, labHub, labTokyo, labOsaka, others.String())
	vpnpush(t, l, 0, append([]string{"apply", "--yes"}, here...)...)
	ours := func(host string) string {
		t.Helper()
		save := l.MustRun(host, "sh", "-c", "iptables-save | grep VPNPUSH; grep VPNPUSH /etc/iptables/rules.v4; :")
		return regexp.MustCompile(`\[\d+:\d+\]`).ReplaceAllString(save, "")
	}
	if !strings.Contains(ours("vps"), "-j VPNPUSH-FWD-1\n") {
		t.Errorf("the hub has no tree:\n%s", ours("vps"))
	}
	lans(t, l)
	ping := func(at place, to string) bool {
		return at.in(l, "ping", "-c", "3", "-i", "0.2", "-W", "1", to).Run() == nil
	}
	for _, to := range []string{"192.168.1.10", "192.168.2.10"} {
		if !ping(hubLAN, to) {
			t.Errorf("nothing passes from the hub's LAN to %s", to)
		}
	}

	dropped := func(chain string) string {
		return l.MustRun("vps", "sh", "-c", `iptables -t filter -S | sed -n 's/^-N \(`+chain+`.*\)/\1/p' | while read -r c; do iptables -Z "$c" -vnxL; done | awk '$3 == "DROP" { n += $1 } END { print n + 0 }'`)
	}
	l.MustRun("tokyo", "systemctl", "stop", b.unit)
	l.Wait(30*time.Second, "the hub has no tunnel to tokyo", func() bool { return !up(l, "vps", "tokyo") })
	dropped("VPNPUSH")
	if ping(hubLAN, "192.168.1.10") || ping(hubItself, "192.168.1.10") {
		t.Error("packets arrive at a site whose tunnel is down")
	}
	if n := dropped("VPNPUSH-FWD-1"); n != "3\n" {
		t.Errorf("of 3 packets that the hub forwards to a tunnel that is down it drops %s", n)
	}
	if n := dropped("VPNPUSH-OUT-1"); n != "3\n" {
		t.Errorf("of 3 packets that the hub sends to a tunnel that is down it drops %s", n)
	}
	l.MustRun("tokyo", "systemctl", "start", b.unit)

	before := ours("vps")
	l.Reboot("vps")
	if got := ours("vps"); got != before {
		t.Errorf("after a reboot:\n%s\nbefore it:\n%s", got, before)
	}
	l.MustRun("vps", "iptables", "-D", "VPNPUSH-FWD-1", "1")
	if r := vpnpush(t, l, 2, "drift", "--limit", "vps"); !strings.Contains(r.Stdout, "firewall:live") {
		t.Errorf("a rule that somebody took out is no drift:\n%s", r.Stdout)
	}
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	if got := ours("vps"); got != before {
		t.Errorf("mended:\n%s\nbefore:\n%s", got, before)
	}

	b.write(t, l, labHub, labTokyo, labOsaka)
	vpnpush(t, l, 0, append([]string{"apply", "--yes", "--allow-delete", "30"}, here...)...)
	if left := ours("vps"); strings.Contains(left, "VPNPUSH-FWD-") {
		t.Errorf("with two sites, of the tree is left:\n%s", left)
	}
	vpnpush(t, l, 0, "rollback", "vps", "--yes")
	if got := ours("vps"); got != before {
		t.Errorf("rolled back:\n%s\nbefore:\n%s", got, before)
	}
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	if left := ours("vps"); left != "" {
		t.Errorf("left behind:\n%s", left)
	}
}
