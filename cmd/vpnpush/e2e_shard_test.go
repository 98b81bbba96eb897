package main

import (
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A shard goes by what stands in the hub's manifest: a site whose tunnel is not there is
// left as it is, the others are applied to, and when the hub has had its run all are.
func TestE2EShard(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Layer: b.layer})
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "hub")
	b.write(t, l, labHub, labTokyo, labOsaka)

	r := vpnpush(t, l, 4, "apply", "--yes", "--shard", "1/1")
	mustSay(t, r, "tokyo  site  changed", "osaka  site  skipped", "not tried: the hub vps comes first, and has no tunnel for it yet")
	if got := installed(t, l, "tokyo", "tokyo"); len(got) != 1 {
		t.Errorf("tokyo's tunnel: %+v", got)
	}
	if _, code := l.Run("osaka", "test", "-e", b.conf("osaka")); code == 0 {
		t.Error("osaka was changed")
	}

	vpnpush(t, l, 0, "apply", "--yes", "--limit", "hub")
	vpnpush(t, l, 0, "apply", "--yes", "--shard", "1/1")
	unchanged(t, l)
	if r := vpnpush(t, l, 0, "drift", "--shard", "1/1"); r.Stdout != "" {
		t.Errorf("a drift says %q", r.Stdout)
	}
}
