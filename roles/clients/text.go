package clients

import (
	"text/template"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// text returns what a form of any system asks for, to be typed in.
func text(t told) (string, error) { return plain("text.txt.tmpl", t) }

// android returns what works on Android and what does not: it has no file for a VPN.
func android(t told) (string, error) { return plain("android.txt.tmpl", t) }

func plain(name string, t told) (string, error) {
	return fill(name, template.FuncMap{"secret": secret.Value.Reveal}, t)
}
