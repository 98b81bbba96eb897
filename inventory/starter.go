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
	psk := func() string { return secret.GeneratePSK().Reveal() }
	var b bytes.Buffer
	err := starter.Execute(&b, map[string]string{
		"ID": "vpn-" + secret.Generate(8).Reveal(), "Tokyo": psk(), "Osaka": psk(), "L2TP": psk(),
		"Alice": secret.GeneratePassword().Reveal(),
	})
	if err != nil {
		panic(err) // the template is fixed, and a Buffer takes everything
	}
	return b.Bytes()
}
