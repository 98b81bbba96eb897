package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// After a change each way to a host is tried that the inventory knows, and none twice.
func TestWays(t *testing.T) {
	inv, diags := inventory.Parse("vpnpush.toml", []byte(`
[hub]
name = "vps"
address = "203.0.113.20"
ssh.host = "vpn.example.com"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "0123456789abcdef-tokyo"
address = "192.168.1.10"
ssh = { host = "192.168.1.10", jump = "root@203.0.113.10" }
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "0123456789abcdef-osaka"
ssh = { host = "192.168.2.10", jump = "hub" }
[sites.kobe]
subnets = ["192.168.3.0/24"]
psk = "0123456789abcdef-kobe"
ssh = { host = "kobe.example.com" }
`))
	if inv == nil {
		t.Fatal(diags)
	}
	want := map[string]string{
		"vps":   "vpn.example.com by none, 203.0.113.20 by none",
		"tokyo": "192.168.1.10 by none, 192.168.1.10 by vps",
		"osaka": "192.168.2.10 by none",
		"kobe":  "kobe.example.com by none, kobe.example.com by vps",
	}
	for _, h := range inv.Hosts() {
		var got []string
		for _, w := range ways(inv, h) {
			got = append(got, fmt.Sprintf("%s by %s", w.Host, w.Jump))
		}
		if s := strings.Join(got, ", "); s != want[h.Name] {
			t.Errorf("%s: %s, want %s", h.Name, s, want[h.Name])
		}
	}
}
