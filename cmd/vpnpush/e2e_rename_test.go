package main

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A site with another name, whose tunnel is the only way to it, moves in one apply of both
// ends, and leaves nothing of the old name; whichever end is applied to alone before, it
// stays in reach.
func TestE2ERename(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := tokyoViaHub(t, b)
	osaka := sas(t, l, "vps")["osaka"]

	// both ends at once
	vpnpush(t, l, 0, "site", "rename", "tokyo", "edo")
	gap := downFor(t, l, "tokyo", func() { vpnpush(t, l, 0, "apply", "--yes") })
	t.Logf("both ends: the tunnel was down for %s", gap)
	if gap > 15*time.Second {
		t.Errorf("the tunnel was down for %s", gap)
	}
	unchanged(t, l)
	nothingOf(t, l, b, "tokyo")

	// and a new key comes to both
	vpnpush(t, l, 0, "secret", "rotate", "edo")
	gap = downFor(t, l, "tokyo", func() { vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps,edo") })
	t.Logf("a new key: the tunnel was down for %s", gap)
	if gap > 15*time.Second {
		t.Errorf("a new key: the tunnel was down for %s", gap)
	}
	unchanged(t, l)

	// one end alone: the site does not get through, the hub keeps what it had
	vpnpush(t, l, 0, "site", "rename", "edo", "nara")
	r := l.Vpnpush("apply", "--yes", "--limit", "nara", "--confirm-timeout", "20s")
	if got := results(r.Stdout); r.Code != 5 || got["nara"] != "rolled back" {
		t.Errorf("nara alone: exit code %d\n%s\n%s", r.Code, r.Stdout, r.Stderr)
	}
	mustSay(t, l.Vpnpush("apply", "--yes", "--limit", "vps"), "the tunnel to edo stays: that site is nara now, and does not get its new name in this run")
	if n := l.Ping("tokyo", "10.10.0.1", 3); n != 3 {
		t.Errorf("the hub alone: %d of 3 pings through edo's tunnel", n)
	}
	gap = downFor(t, l, "tokyo", func() { vpnpush(t, l, 0, "apply", "--yes") })
	t.Logf("the hub before: the tunnel was down for %s", gap)
	unchanged(t, l)
	nothingOf(t, l, b, "edo")
	vpnpush(t, l, 0, "status", "nara")
	if now := sas(t, l, "vps")["osaka"]; strings.Join(now, " ") != strings.Join(osaka, " ") {
		t.Errorf("osaka's SA is another: %v, then %v", osaka, now)
	}
}

// downFor returns for how long a host did not get through its tunnel to the hub while do
// was at work.
func downFor(t *testing.T, l *lab.Lab, host string, do func()) time.Duration {
	t.Helper()
	const every = 100 * time.Millisecond
	stop := l.StartPing(host, "10.10.0.1", every)
	do()
	_, lost := stop()
	if n := l.Ping(host, "10.10.0.1", 3); n != 3 {
		t.Errorf("afterwards %d of 3 pings get through", n)
	}
	return time.Duration(lost) * every
}

// nothingOf fails the test where the hub or the first site has anything of a site's name.
func nothingOf(t *testing.T, l *lab.Lab, b backend, name string) {
	t.Helper()
	const files = "/etc/ipsec.conf /etc/ipsec.secrets /etc/ipsec.d /etc/swanctl /etc/strongswan.d /etc/iptables /etc/sysctl.d /var/lib/vpnpush/manifest.json"
	for _, host := range []string{"vps", "tokyo"} {
		// the key has a name in it, and goes on
		for _, look := range []string{"grep -rsw " + name + " " + files + " | grep -v canary", "find /etc/ipsec.d /etc/swanctl -name '*" + name + "*'", b.conns + " | grep " + name} {
			if out, _ := l.Run(host, "sh", "-c", look); strings.TrimSpace(out) != "" {
				t.Errorf("of %s %s has\n%s", name, host, out)
			}
		}
	}
}
