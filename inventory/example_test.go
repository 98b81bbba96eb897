package inventory_test

import (
	"fmt"

	"github.com/vpnpush/vpnpush/inventory"
)

// Parse reports every fault at once, each with its line and what would mend it.
func ExampleParse() {
	const text = `
[hub]
address = "203.0.113.10"

[sites.tokyo]
subnets = ["192.168.1.0/24"]
adress = "192.168.1.10"
psk = "tokyo-Ahquai3ohGhaeXo8"
ssh.jump = "hbu"
`
	inv, diags := inventory.Parse("vpnpush.toml", []byte(text))
	fmt.Println(inv == nil)
	for _, d := range diags {
		fmt.Println(d)
	}
	// Output:
	// true
	// vpnpush.toml:7: unknown key sites.tokyo.adress; did you mean address?
	// vpnpush.toml:9: sites.tokyo.ssh.jump: there is no host "hbu"; did you mean "hub"?
}
