package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	odd := `a"b\c'd<e>&f g`
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	quoted, _ := json.Marshal(odd)
	for _, tt := range []struct {
		name    string
		secrets []string
		in      string
		want    string
	}{
		{"none", nil, "text", "text"},
		{"empty secret", []string{""}, "text", "text"},
		{"plain", []string{plain}, "psk " + plain + ".", "psk (secret)."},
		{"twice", []string{plain}, plain + plain, "(secret)(secret)"},
		{"longest first", []string{"abcd", "abcdef"}, "abcdefg abcdx", "(secret)g (secret)x"},
		{"overlapping", []string{"abcd", "cdef"}, "abcdef.", "(secret)."},
		{"inside another", []string{"abcd", "bc"}, "abcd bc", "(secret) (secret)"},
		{"one character", []string{"x"}, "axb", "a(secret)b"},
		{"base64", []string{plain}, "psk=0s" + enc(plain) + "\n", "psk=0s(secret)\n"},
		{"unpadded base64", []string{plain}, base64.RawStdEncoding.EncodeToString([]byte(plain)) + ";", "(secret);"},
		{"Go quoting", []string{odd}, fmt.Sprintf("%q", odd), `"(secret)"`},
		{"JSON", []string{odd}, string(quoted), `"(secret)"`},
		{"shell", []string{odd}, `'` + strings.ReplaceAll(odd, "'", `'\''`) + `'`, `'(secret)'`},
		{"HTML", []string{odd}, html.EscapeString(odd), "(secret)"},
		{"URL query", []string{odd}, "?p=" + url.QueryEscape(odd), "?p=(secret)"},
		{"URL path", []string{odd}, "/" + url.PathEscape(odd), "/(secret)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(redactor(tt.secrets...).Redact([]byte(tt.in))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func redactor(secrets ...string) *Redactor {
	var vs []Value
	for _, s := range secrets {
		vs = append(vs, New(s))
	}
	return NewRedactor(append(vs, Value{})...)
}

// A secret inside a text that was encoded whole begins at any of three alignments.
func TestRedactInsideBase64(t *testing.T) {
	for offset := range 6 {
		text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("-", offset) + plain + "--end"))
		got := string(redactor(plain).Redact([]byte(text)))
		// Of the characters that mix the secret with its neighbours one stays at each end.
		if !strings.Contains(got, Mask) || len(got)-len(Mask) > len(text)-(len(plain)*8/6-1) {
			t.Errorf("offset %d: %q became %q", offset, text, got)
		}
	}
}

// What may become a secret is held back; what cannot is passed on at once.
func TestWriterHoldsBack(t *testing.T) {
	var out bytes.Buffer
	w := redactor("abcdef").Writer(&out)
	for _, step := range []struct{ in, want string }{
		{"xabc", "x"}, {"de", "x"}, {"f", "x(secret)"}, {"ab!", "x(secret)ab!"}, {"abc", "x(secret)ab!"},
	} {
		if n, err := w.Write([]byte(step.in)); n != len(step.in) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		if out.String() != step.want {
			t.Fatalf("after %q: %q, want %q", step.in, out.String(), step.want)
		}
	}
	if err := w.Close(); err != nil || out.String() != "x(secret)ab!abc" {
		t.Errorf("after Close: %q, %v", out.String(), err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestWriterReportsErrors(t *testing.T) {
	if _, err := redactor("abc").Writer(brokenWriter{}).Write([]byte("text")); err == nil {
		t.Error("a failed write was not reported")
	}
}

// However a stream is cut, the Writer gives what Redact gives, and nothing
// between the masks holds a secret.
func FuzzRedact(f *testing.F) {
	f.Add("abcd", "cdef", "xabcdefx", uint8(3))
	f.Add("aaaa", "aa", "aaaaaaaaab", uint8(1))
	f.Add(plain, "pa'ss \"w\\ord", "echo 'pa'\\''ss \"w\\ord' "+plain, uint8(5))
	f.Add("t)", "(s", "(secret)", uint8(2))
	f.Fuzz(func(t *testing.T, a, b, text string, size uint8) {
		r := redactor(a, b)
		whole := string(r.Redact([]byte(text)))
		var out bytes.Buffer
		w := r.Writer(&out)
		for rest := []byte(text); len(rest) > 0; {
			n := min(len(rest), int(size)+1)
			if _, err := w.Write(rest[:n]); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if out.String() != whole {
			t.Errorf("in pieces of %d: %q, whole: %q", int(size)+1, out.String(), whole)
		}
		for _, piece := range strings.Split(whole, Mask) {
			for _, s := range []string{a, b} {
				if s != "" && strings.Contains(piece, s) {
					t.Errorf("%q is left in %q", s, whole)
				}
			}
		}
	})
}

// A run of a thousand sites must not make redaction the slow part.
func BenchmarkRedact(b *testing.B) {
	var vs []Value
	for range 1000 {
		vs = append(vs, Generate(40))
	}
	r := NewRedactor(vs...)
	text := []byte(strings.Repeat("include /etc/ipsec.d/vpnpush/*.conf\n", 1000))
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		r.Redact(text)
	}
}
