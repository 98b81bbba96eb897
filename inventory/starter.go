package inventory

import (
	"bytes"
	_ "embed"
	"net/netip"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

//go:embed starter.toml.tmpl
var starterText string

var starter = template.Must(template.New("starter").Parse(starterText))

// ExampleAddress stands for the hub's address where none is known (RFC 5737).
const ExampleAddress = "203.0.113.10"

// Starter gives a commented inventory to begin with: the hub, two example
// sites and one L2TP user, with fresh keys. It is valid as it stands. An empty
// hubAddress becomes ExampleAddress; one that is not an address is written as
// it is, for the check to find.
func Starter(hubAddress string) []byte {
	if hubAddress == "" {
		hubAddress = ExampleAddress
	}
	key := func(n int) string { return secret.Generate(n).Reveal() }
	a, err := netip.ParseAddr(hubAddress)
	var b bytes.Buffer
	err = starter.Execute(&b, map[string]any{
		"ID":      "vpn-" + key(8),
		"Address": hubAddress, "Private": err == nil && notPublic(a),
		"Tokyo": key(40), "Osaka": key(40), "L2TP": key(40), "Alice": key(20),
	})
	if err != nil {
		panic(err) // the template is fixed, and a Buffer takes everything
	}
	return b.Bytes()
}
