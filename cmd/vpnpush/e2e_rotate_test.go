package main

import (
	"strings"
	"testing"
	"time"
)

// A new key of a site is on both ends or on neither, whatever fails: at any time
// the site could dial anew.
func TestE2ERotateKey(t *testing.T) { both(t, testRotateKey) }

func testRotateKey(t *testing.T, b backend) {
	l := applied(t, b, labHub, labTokyo, labOsaka)
	before := sas(t, l, "vps")["osaka"]
	rotated := strings.Replace(labTokyo, "tokyo-canary", "second-canary", 1)
	b.write(t, l, labHub, rotated, labOsaka)

	keys := func() (hub, site string) {
		return l.MustRun("vps", "grep", "-o", "[a-z]*-canary", b.secrets("tokyo")), l.MustRun("tokyo", "grep", "-o", "[a-z]*-canary", b.secrets("tokyo"))
	}
	ends := func(when, want string) {
		t.Helper()
		if hub, site := keys(); hub != want+"\n" || site != want+"\n" {
			t.Errorf("%s: the hub has %q, the site %q, want %s", when, hub, site, want)
		}
		l.MustRun("tokyo", "systemctl", "restart", b.unit)
		l.Wait(30*time.Second, when+": tokyo dials anew", func() bool { return l.Ping("tokyo", "10.10.0.1", 1) == 1 })
	}

	// one end is not in the run, or not reached
	for _, limit := range []string{"vps", "tokyo"} {
		if r := vpnpush(t, l, 0, "apply", "--yes", "--limit", limit); !strings.Contains(r.Stdout, "waits") {
			t.Errorf("--limit %s: nothing is said of the key that waits:\n%s", limit, r.Stdout)
		}
	}
	ends("one end only", "tokyo-canary")
	l.MustRun("tokyo", "systemctl", "stop", "ssh.service", "ssh.socket")
	if r := l.Vpnpush("apply", "--yes"); r.Code != 4 {
		t.Errorf("tokyo not reached: exit code %d\n%s", r.Code, r.Stdout)
	}
	l.MustRun("tokyo", "systemctl", "start", "ssh.service")
	ends("tokyo not reached", "tokyo-canary")

	// tokyo fails in the middle of it
	mend := breakReload(l, "tokyo")
	if r := l.Vpnpush("apply", "--yes", "--confirm-timeout", "20s"); r.Code != 5 {
		t.Errorf("tokyo fails: exit code %d\n%s", r.Code, r.Stdout)
	}
	mend()
	ends("tokyo fails", "tokyo-canary")

	// and its revert fails too: it has the one key or the other, and the hub takes both
	mend = b.hinder(l, "tokyo", "exit 1")
	if r := l.Vpnpush("apply", "--yes", "--confirm-timeout", "20s"); r.Code != 4 || !strings.Contains(r.Stdout, "the hub takes what tokyo had and what it is to have") {
		t.Errorf("tokyo fails twice: exit code %d\n%s", r.Code, r.Stdout)
	}
	mend()
	l.MustRun("tokyo", "systemctl", "restart", b.unit)
	l.Wait(30*time.Second, "tokyo dials anew, whatever it has", func() bool { return l.Ping("tokyo", "10.10.0.1", 1) == 1 })

	vpnpush(t, l, 0, "apply", "--yes")
	ends("applied", "second-canary")
	unchanged(t, l)
	if after := sas(t, l, "vps")["osaka"]; strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("tokyo's key was changed, and osaka's SA with it: %v, then %v", before, after)
	}

	// a key that somebody broke on the host is mended, also alone
	l.MustRun("tokyo", "sed", "-i", "s/second-canary/broken/", b.secrets("tokyo"))
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "tokyo")
	ends("mended", "second-canary")
}
