package main

import (
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

const viaHub = "ssh = { host = \"192.168.1.10\", jump = \"hub\" }\n"

// tokyoViaHub returns a lab that was applied to, and in which tokyo is reached through its
// own tunnel from then on.
func tokyoViaHub(t *testing.T, b backend) *lab.Lab {
	t.Helper()
	// the first time, tokyo is still reached from its own LAN
	l := applied(t, b, labHub, labTokyo, labOsaka)
	b.write(t, l, labHub, labTokyo, viaHub, labOsaka)
	unchanged(t, l)
	return l
}

// Where the tunnel itself is the way to a site, a change of both its ends is
// kept by both or by none: whatever fails, the site can be reached afterwards.
func TestE2ETogether(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := tokyoViaHub(t, b)

	wider := strings.Replace(labHub, `"10.10.0.0/24"`, `"10.10.0.0/24", "10.11.0.0/24"`, 1)
	l.MustRun("vps", "ip", "addr", "add", "10.11.0.1/24", "dev", "lo")
	b.write(t, l, wider, labTokyo, viaHub, labOsaka)

	// tokyo's new end does not come up: nothing is kept, and tokyo is reached
	mend := breakReload(l, "tokyo")
	r := l.Vpnpush("apply", "--yes", "--confirm-timeout", "20s")
	if r.Code != 5 {
		t.Errorf("exit code %d, want 5\n%s\n%s", r.Code, r.Stdout, r.Stderr)
	}
	mend()
	for _, h := range []string{"vps", "tokyo"} {
		if out := l.MustRun(h, "cat", b.conf("tokyo")); strings.Contains(out, "10.11.0.0") {
			t.Errorf("%s kept its end of a tunnel whose other end failed", h)
		}
	}
	if p := l.Vpnpush("plan", "--limit", "tokyo"); p.Code != 0 || strings.HasPrefix(p.Stdout, "No changes.") {
		t.Errorf("tokyo is not reached, or was changed: %d\n%s\n%s", p.Code, p.Stdout, p.Stderr)
	}

	// and when nothing is in the way, both change
	vpnpush(t, l, 0, "apply", "--yes")
	if got := installed(t, l, "tokyo", "tokyo"); len(got) != 1 || strings.Join(got[0].RemoteTS, " ") != "10.10.0.0/24 10.11.0.0/24" {
		t.Errorf("tokyo's selectors: %+v", got)
	}
	unchanged(t, l)
}
