package secret

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Redactor masks known secrets in text that is about to be shown. It knows a
// secret as it is, and in the forms it takes on its way through files and
// messages: base64 (also inside a longer encoded text), Go, JSON and shell
// quoting, HTML and URL escapes. It is the last net, not the first: a secret
// that was cut in two or encoded otherwise passes. The zero Redactor masks
// nothing. It may be used from several goroutines at once.
type Redactor struct {
	// by holds the needles under their first two bytes, longest first, so that
	// a thousand secrets cost about as much as one.
	by     map[[2]byte][]string
	single [256]bool // needles of one byte
}

// NewRedactor returns a Redactor of vs. It ignores unset and empty values.
func NewRedactor(vs ...Value) *Redactor {
	var needles []string
	for _, v := range vs {
		if s := v.Reveal(); s != "" {
			needles = append(needles, forms(s)...)
		}
	}
	slices.SortFunc(needles, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r := &Redactor{by: map[[2]byte][]string{}}
	for _, n := range slices.Compact(needles) {
		if len(n) == 1 {
			r.single[n[0]] = true
			continue
		}
		k := [2]byte{n[0], n[1]}
		r.by[k] = append(r.by[k], n)
	}
	return r
}

// forms returns s and what s looks like when encoded.
func forms(s string) []string {
	quoted := strconv.Quote(s)
	ascii := strconv.QuoteToASCII(s)
	plain, _ := json.Marshal(s) // a string always marshals
	out := []string{
		s,
		quoted[1 : len(quoted)-1],
		ascii[1 : len(ascii)-1],
		string(plain[1 : len(plain)-1]),
		strings.ReplaceAll(s, "'", `'\''`),
		html.EscapeString(s),
		url.QueryEscape(s),
		url.PathEscape(s),
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		out = append(out, enc.EncodeToString([]byte(s)), enc.WithPadding(base64.NoPadding).EncodeToString([]byte(s)))
		// Inside a longer text s begins at one of three alignments; the
		// characters that s alone decides are looked for. Few of them would hit
		// by chance.
		for offset := range 3 {
			text := enc.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, offset), s...))
			core := text[(offset*8+5)/6 : (offset+len(s))*8/6]
			if len(core) >= 8 {
				out = append(out, core)
			}
		}
	}
	return out
}

// match returns the length of the longest needle that b begins with, or 0.
func (r *Redactor) match(b []byte) int {
	if len(b) > 1 {
		for _, needle := range r.by[[2]byte{b[0], b[1]}] {
			if len(needle) <= len(b) && string(b[:len(needle)]) == needle {
				return len(needle)
			}
		}
	}
	if r.single[b[0]] {
		return 1
	}
	return 0
}

// Redact returns b with every secret replaced by Mask. Secrets that overlap in
// b share one mask: a match that begins inside of another only makes it longer.
func (r *Redactor) Redact(b []byte) []byte {
	var out []byte
	covered := 0 // b[:covered] is written or masked
	for i := range b {
		n := r.match(b[i:])
		switch {
		case i < covered:
		case n > 0:
			out = append(out, Mask...)
		default:
			out = append(out, b[i])
		}
		covered = max(covered, i+n)
	}
	return out
}
