package inventory

import "testing"

// A fault that is found on a host leads to the line of the inventory that it comes from,
// also where the value is a default, or its table is written in another way.
func TestPlace(t *testing.T) {
	inv, diags := Parse("v.toml", []byte(`[hub]
name = "vps"
address = "203.0.113.10"

[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-0123456789abcdef"

[sites]
osaka = { subnets = ["192.168.2.0/24"], psk = "osaka-0123456789abcdef" }

[tunnel]
ike = ["aes256-sha256-modp2048"]
`))
	if inv == nil {
		t.Fatal(diags)
	}
	for _, tt := range []struct {
		want string
		key  []string
	}{
		{"v.toml:7: sites.tokyo.psk", []string{"sites", "tokyo", "psk"}},
		{"v.toml:5: sites.tokyo", []string{"sites", "tokyo"}},
		{"v.toml:10: sites.osaka.subnets", []string{"sites", "osaka", "subnets"}},
		{"v.toml:13: tunnel.ike", []string{"tunnel", "ike"}},
		{"v.toml:12: tunnel.esp, which is not set", []string{"tunnel", "esp"}},
		{"v.toml: l2tp.psk, which is not set", []string{"l2tp", "psk"}},
	} {
		if got := inv.Place(tt.key...); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	if got := new(Inventory).Place("hub", "subnets"); got != ": hub.subnets, which is not set" {
		t.Errorf("an inventory of no text: got %q", got)
	}
}
