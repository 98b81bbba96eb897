// Package secret holds values that must not be seen: pre-shared keys and
// passwords. A Value prints as "(secret)" under every verb and encoder, and
// only Reveal returns the text. The package imports nothing else of vpnpush.
package secret

import "fmt"

// Mask replaces a secret in anything that is shown.
const Mask = "(secret)"

// Value is a secret. The zero Value is "no secret".
//
// It holds a pointer, not a string: fmt reads unexported struct fields by
// reflection, past any String method, and a string there would be printed.
type Value struct{ p *string }

// New returns a Value that holds s. An empty s is still a set Value; see IsZero.
func New(s string) Value { return Value{p: &s} }

// Reveal returns the text. Callers write it to a file's content or to a remote
// standard input, never to an argument, an error or a log.
func (v Value) Reveal() string {
	if v.p == nil {
		return ""
	}
	return *v.p
}

// IsZero reports whether v was never set.
func (v Value) IsZero() bool { return v.p == nil }

// Equal reports whether v and w have the same text, or are both unset.
func (v Value) Equal(w Value) bool {
	return v.IsZero() == w.IsZero() && v.Reveal() == w.Reveal()
}

// Format implements fmt.Formatter: every verb prints Mask.
func (v Value) Format(f fmt.State, verb rune) { fmt.Fprint(f, Mask) }

// String implements fmt.Stringer.
func (v Value) String() string { return Mask }

// MarshalText implements encoding.TextMarshaler, and with it JSON and TOML.
func (v Value) MarshalText() ([]byte, error) { return []byte(Mask), nil }
