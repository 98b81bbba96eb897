package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/sshconn"
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
[sites.nara]
subnets = ["192.168.4.0/24"]
psk = "0123456789abcdef-nara"
address = "192.168.4.10"
ssh = { host = "127.0.0.1", port = 2204, jump = "hub" }
`))
	if inv == nil {
		t.Fatal(diags)
	}
	want := map[string]string{
		"vps":   "vpn.example.com by none, 203.0.113.20 by none",
		"tokyo": "192.168.1.10 by none, 192.168.1.10 by vps",
		"osaka": "192.168.2.10 by none",
		"kobe":  "kobe.example.com by none, kobe.example.com by vps",
		"nara":  "192.168.4.10:22 by vps, 192.168.4.10:22 by none",
	}
	for _, h := range inv.Hosts() {
		var got []string
		for _, w := range ways(inv, h) {
			port := ""
			if w.Port != 0 {
				port = fmt.Sprintf(":%d", w.Port)
			}
			got = append(got, fmt.Sprintf("%s%s by %s", w.Host, port, w.Jump))
		}
		if s := strings.Join(got, ", "); s != want[h.Name] {
			t.Errorf("%s: %s, want %s", h.Name, s, want[h.Name])
		}
	}
}

// Where the hub moves, a site that is reached through it is looked for behind the hub as
// it was, too, and by no other jump than that of the inventory.
func TestWaysBefore(t *testing.T) {
	const text = `
[ssh]
jump = "hub"
[hub]
name = "vps"
address = "203.0.113.20"
moves_from = "root@203.0.113.10:2222"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "0123456789abcdef-tokyo"
address = "192.168.1.10"
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "0123456789abcdef-osaka"
ssh = { host = "192.168.2.10", jump = "root@bastion.example.com,hub" }
[sites.kobe]
subnets = ["192.168.3.0/24"]
psk = "0123456789abcdef-kobe"
ssh = { host = "kobe.example.com", jump = "" }
`
	want := map[string][]sshconn.Way{
		"tokyo": {{Jump: "root@203.0.113.10:2222"}},
		"osaka": {{Jump: "root@bastion.example.com,root@203.0.113.10:2222"}},
	}
	inv, diags := inventory.Parse("vpnpush.toml", []byte(text))
	if inv == nil {
		t.Fatal(diags)
	}
	for _, h := range inv.Hosts() {
		if got := before(inv, h); !slices.Equal(got, want[h.Name]) {
			t.Errorf("%s: %v, want %v", h.Name, got, want[h.Name])
		}
	}
	for _, target := range new(app).targets(inv) {
		if moves := strings.Contains(target.Beyond, "nor does the hub before"); moves != (target.Name == "tokyo" || target.Name == "osaka") {
			t.Errorf("%s: the mend is %q", target.Name, target.Beyond)
		}
	}
}

// A line that a site opens to the hub is told to break where its tunnel, not yet up, will
// carry what is for the hub; and not where that goes past the tunnel, or nobody opened one.
func TestLineBreaks(t *testing.T) {
	const line = `{ host = "127.0.0.1", port = 2201, jump = "hub" }`
	for _, tt := range []struct{ name, hub, ssh, address, want string }{
		{"with an address", "", line, `address = "192.168.1.10"`, "goes on through the tunnel, to 192.168.1.10"},
		{"without one", "", line, "", "all is put back, for nothing else leads here: set sites.tokyo.address"},
		{"by name", "", `{ host = "localhost", port = 2201, jump = "hub" }`, "", "the line breaks"},
		{"past the tunnel", `subnets = ["10.10.0.0/24"]`, line, "", ""},
		{"to another machine", "", `{ host = "127.0.0.1", port = 2201, jump = "root@198.51.100.7" }`, "", ""},
		{"through the tunnel", "", `{ host = "192.168.1.10", jump = "hub" }`, "", ""},
	} {
		inv, diags := inventory.Parse("vpnpush.toml", []byte("[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\n"+tt.hub+
			"\n[sites.tokyo]\nsubnets = [\"192.168.1.0/24\"]\npsk = \"0123456789abcdef-tokyo\"\n"+tt.address+"\nssh = "+tt.ssh+"\n"))
		if inv == nil {
			t.Fatalf("%s: %v", tt.name, diags)
		}
		got := lineBreaks(inv, inv.Hosts()[1], nil, tasks.Facts{})
		if (got != "") != (tt.want != "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
