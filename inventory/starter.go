package inventory

import (
	"bytes"
	"cmp"
	_ "embed"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

//go:embed starter.toml.tmpl
var starterText string

var starter = template.Must(template.New("starter").Parse(starterText))

// Starter returns a commented inventory to begin with: the hub at an address
// for documentation (RFC 5737), two example sites and one L2TP user, with fresh
// keys, which are encrypted where there are recipients. It is valid as it stands.
func Starter(to ...secret.Recipient) ([]byte, error) {
	var failed error
	text := func(v secret.Value) string {
		if len(to) == 0 {
			return v.Reveal()
		}
		s, err := secret.Seal(v, to)
		failed = cmp.Or(failed, err)
		return s
	}
	psk := func() string { return text(secret.GeneratePSK()) }
	var recipients []string
	for _, r := range to {
		recipients = append(recipients, quoted(r.String()))
	}
	var b bytes.Buffer
	err := starter.Execute(&b, map[string]any{
		"ID": "vpn-" + secret.Generate(8).Reveal(), "Tokyo": psk(), "Osaka": psk(), "L2TP": psk(),
		"Alice": text(secret.GeneratePassword()), "Recipients": recipients,
	})
	if err != nil {
		panic(err) // the template is fixed, and a Buffer takes everything
	}
	return b.Bytes(), failed
}
