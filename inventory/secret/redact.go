package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
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
// nothing. It may be used from many goroutines.
type Redactor struct {
	// by holds the needles under their first two bytes, longest first, so that
	// a thousand secrets cost about as much as one.
	by      map[[2]byte][]string
	single  [256]bool // needles of one byte
	first   [256]bool // first bytes of longer ones
	longest int
}

// NewRedactor makes a Redactor of vs. Unset and empty values are passed over.
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
		r.longest = max(r.longest, len(n))
		if len(n) == 1 {
			r.single[n[0]] = true
			continue
		}
		r.first[n[0]] = true
		k := [2]byte{n[0], n[1]}
		r.by[k] = append(r.by[k], n)
	}
	return r
}

// forms gives s and what s looks like when encoded.
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

// match gives the length of the longest needle that b begins with, 0 if none,
// and whether b is the beginning of a longer one.
func (r *Redactor) match(b []byte) (n int, partial bool) {
	if r.single[b[0]] {
		n = 1
	}
	if len(b) == 1 {
		return n, r.first[b[0]]
	}
	for _, needle := range r.by[[2]byte{b[0], b[1]}] {
		if len(needle) > len(b) {
			partial = partial || needle[:len(b)] == string(b)
		} else if string(b[:len(needle)]) == needle {
			return len(needle), partial
		}
	}
	return n, partial
}

// Redact gives b with every secret replaced by Mask. Secrets that overlap in b
// are masked together.
func (r *Redactor) Redact(b []byte) []byte {
	var out bytes.Buffer
	w := writer{r: r, w: &out}
	w.held = b
	w.scan(true) // a bytes.Buffer does not fail
	return out.Bytes()
}

// Writer gives a Writer that masks on the way to w. It holds back what may be
// the beginning of a secret until the next Write or Close decides it, never
// more than the longest secret. Close does not close w.
func (r *Redactor) Writer(w io.Writer) io.WriteCloser {
	return &writer{r: r, w: w}
}

type writer struct {
	r       *Redactor
	w       io.Writer
	held    []byte
	covered int // so many bytes of held are already masked by what was written
}

func (w *writer) Write(p []byte) (int, error) {
	w.held = append(w.held, p...)
	if err := w.scan(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *writer) Close() error { return w.scan(true) }

// scan writes what is decided. Overlapping matches share one mask: a match
// that begins inside a covered stretch only makes it longer.
func (w *writer) scan(final bool) error {
	var out []byte
	i := 0
	for ; i < len(w.held); i++ {
		n, partial := w.r.match(w.held[i:])
		if partial && !final {
			break
		}
		if n > 0 && i >= w.covered {
			out = append(out, Mask...)
		}
		if n == 0 && i >= w.covered {
			out = append(out, w.held[i])
		}
		w.covered = max(w.covered, i+n)
	}
	w.held = slices.Clone(w.held[i:])
	w.covered = max(0, w.covered-i)
	if len(out) == 0 {
		return nil
	}
	_, err := w.w.Write(out)
	return err
}
