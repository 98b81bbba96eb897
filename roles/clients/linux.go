package clients

import (
	"encoding/base64"
	"strings"
	"text/template"
)

// linux returns a connection of NetworkManager with its plugin NetworkManager-l2tp.
// The secrets are in a table of their own, which NetworkManager shows to root alone.
func linux(t told) (string, error) {
	return fill("linux.nmconnection.tmpl", template.FuncMap{
		"uuid": func() string { return uuid("vpnpush." + t.ID + "." + t.User + "/linux") },
		"v":    keyfile,
		// base64 is what the plugin itself keeps, so that no character has a meaning
		"psk":      func() string { return "0s" + base64.StdEncoding.EncodeToString([]byte(t.PSK.Reveal())) },
		"password": func() string { return keyfile(t.Password.Reveal()) },
		"inc":      func(i int) int { return i + 1 },
	}, t)
}

// keyfile returns s as a value of GLib's key files, which drops the space that a value
// begins with and knows \s for it.
func keyfile(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	if rest, ok := strings.CutPrefix(s, " "); ok {
		s = `\s` + rest
	}
	if rest, ok := strings.CutSuffix(s, " "); ok {
		s = rest + `\s`
	}
	return s
}
