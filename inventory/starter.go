package inventory

import (
	"bytes"
	_ "embed"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

//go:embed starter.toml.tmpl
var starterText string

var starter = template.Must(template.New("starter").Parse(starterText))

// Starter returns a commented inventory to begin with: the hub at an address
// for documentation (RFC 5737), two example sites and one L2TP user, with fresh
// keys. It is valid as it stands.
func Starter() []byte {
	key := func(n int) string { return secret.Generate(n).Reveal() }
	var b bytes.Buffer
	err := starter.Execute(&b, map[string]string{
		"ID": "vpn-" + key(8), "Tokyo": key(40), "Osaka": key(40), "L2TP": key(40), "Alice": key(20),
	})
	if err != nil {
		panic(err) // the template is fixed, and a Buffer takes everything
	}
	return b.Bytes()
}
