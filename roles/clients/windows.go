package clients

import (
	"strings"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// windows returns a PowerShell script, for the PowerShell 5.1 that every Windows has.
// It is ASCII: that one reads a file without a mark in the code page of the country.
func windows(t told) (string, error) {
	return powerShellFrom("windows.ps1.tmpl", t)
}

// windowsByHand returns the part that no form of Windows asks for. It holds no secret, and
// may be pasted.
func windowsByHand(t told) (string, error) { return powerShellFrom("windows-by-hand.ps1.tmpl", t) }

func powerShellFrom(name string, t told) (string, error) {
	return fill(name, template.FuncMap{
		"q": powerShell, "secret": func(v secret.Value) string { return powerShell(v.Reveal()) },
	}, t, "windows-network.ps1.tmpl")
}

// powerShell returns s as a literal of PowerShell. In single quotes nothing has a
// meaning but a single quote, of which PowerShell knows five; two are one of them
// (about_Quoting_Rules).
func powerShell(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if strings.ContainsRune(singleQuotes, r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}

// singleQuotes are the characters that PowerShell takes for a single quote.
const singleQuotes = "'\u2018\u2019\u201a\u201b"
