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
//
// What is shorter than Short is masked only where it stands as a word of its own.
// "lab" is in many words, and a mask in one that can be guessed, such as a path,
// tells the secret and makes the path useless.
type Redactor struct {
	// by holds the needles under their first two bytes, longest first, so that
	// a thousand secrets cost about as much as one.
	by     map[[2]byte][]string
	begins [1 << 16 / 64]uint64 // a bit for each key of by: most of a text begins none
	single [256]bool            // needles of one byte
}

// Short is how many bytes a secret must have to be masked inside of words. Only
// passwords for sudo may have fewer.
const Short = 8

// NewRedactor returns a Redactor of vs. It ignores unset and empty values.
func NewRedactor(vs ...Value) *Redactor {
	r := &Redactor{by: map[[2]byte][]string{}}
	for _, v := range vs {
		s := v.Reveal()
		if s == "" {
			continue
		}
		needles := forms(s) // most of a plain secret are itself
		slices.Sort(needles)
		for _, n := range slices.Compact(needles) {
			if len(n) == 1 {
				r.single[n[0]] = true
				continue
			}
			k := [2]byte{n[0], n[1]}
			r.by[k] = append(r.by[k], n)
		}
	}
	for k, needles := range r.by {
		slices.SortFunc(needles, func(a, b string) int {
			if len(a) != len(b) {
				return len(b) - len(a)
			}
			return strings.Compare(a, b)
		})
		r.by[k] = slices.Compact(needles)
		bit := int(k[0])<<8 | int(k[1])
		r.begins[bit/64] |= 1 << (bit % 64)
	}
	return r
}

// forms returns s and what s looks like when encoded.
func forms(s string) []string {
	if same(s) {
		return inBase64([]string{s}, s)
	}
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
	return inBase64(out, s)
}

// same reports whether s looks the same in all forms but base64: it has only what none of
// them escapes. Nearly all secrets are such, and an inventory may have thousands.
func same(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}

// inBase64 adds to out what s looks like in base64, in either alphabet.
func inBase64(out []string, s string) []string {
	add := func(text string) {
		out = append(out, text)
		if strings.ContainsAny(text, "+/") {
			out = append(out, urlAlphabet.Replace(text))
		}
	}
	add(base64.StdEncoding.EncodeToString([]byte(s)))
	add(base64.RawStdEncoding.EncodeToString([]byte(s)))
	// Inside a longer text s begins at one of three alignments; the characters that s alone
	// decides are looked for. Few of them would hit by chance.
	for offset := range 3 {
		text := base64.RawStdEncoding.EncodeToString(append(make([]byte, offset), s...))
		core := text[(offset*8+5)/6 : (offset+len(s))*8/6]
		if len(core) >= 8 {
			add(core)
		}
	}
	return out
}

var urlAlphabet = strings.NewReplacer("+", "-", "/", "_") // RFC 4648, section 5

// match returns the length of the longest needle that begins at b[i], or 0.
func (r *Redactor) match(b []byte, i int) int {
	rest := b[i:]
	if len(rest) > 1 && r.begins[int(rest[0])<<2|int(rest[1])>>6]&(1<<(rest[1]%64)) != 0 {
		for _, needle := range r.by[[2]byte{rest[0], rest[1]}] {
			n := len(needle)
			if n <= len(rest) && string(rest[:n]) == needle && (n >= Short || isWord(b, i, i+n)) {
				return n
			}
		}
	}
	if r.single[rest[0]] && isWord(b, i, i+1) {
		return 1
	}
	return 0
}

// isWord reports whether b[i:j] is a word of its own, and no part of a longer one,
// of a path, or of a name such as a host's.
func isWord(b []byte, i, j int) bool {
	letter := func(k int) bool {
		if k < 0 || k >= len(b) {
			return false
		}
		c := b[k]
		return c >= 0x80 || c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
	}
	// What stands beside it at k joins it to more: a full stop at the end does not.
	joined := func(k, beyond int) bool {
		return letter(k) || k >= 0 && k < len(b) && (b[k] == '/' || strings.IndexByte(".-~@", b[k]) >= 0 && letter(beyond))
	}
	return !joined(i-1, i-2) && !joined(j, j+1)
}

// Redact returns b with every secret replaced by Mask, b itself where there is none.
// Secrets that overlap in b share one mask: a match that begins inside of another only
// makes it longer.
func (r *Redactor) Redact(b []byte) []byte {
	var out []byte
	covered := 0 // b[:covered] is written or masked
	for i := range b {
		n := r.match(b, i)
		if n == 0 {
			continue
		}
		if i >= covered {
			out = append(append(out, b[covered:i]...), Mask...)
		}
		covered = max(covered, i+n)
	}
	if covered == 0 {
		return b
	}
	return append(out, b[covered:]...)
}
