package mask

import (
	"bytes"
	"unicode"
)

// Sanitize takes out of text that a host sent what would steer a terminal
// or reorder what is read: control characters (ESC, CR, C1; \n and \t stay),
// and Unicode's invisible ones, bidirectional overrides among them. Bytes that
// are not UTF-8 become U+FFFD. nil stays nil.
func Sanitize(b []byte) []byte {
	if b == nil {
		return nil
	}
	return bytes.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, b)
}
