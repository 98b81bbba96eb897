package secret

import (
	"encoding/base64"
	"encoding/json"
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
		{"longest first", []string{"abcdefgh", "abcdefghij"}, "abcdefghijk abcdefghx", "(secret)k (secret)x"},
		{"overlapping", []string{"abcdefgh", "cdefghij"}, "abcdefghij.", "(secret)."},
		{"inside another", []string{"abcdefghij", "bcdefghi"}, "abcdefghij bcdefghi", "(secret) (secret)"},
		{"one character", []string{"x"}, "a x, axb x", "a (secret), axb (secret)"},
		{"short, a word", []string{"lab"}, "lab \"lab\" (lab) it is lab. password=lab: lab", "(secret) \"(secret)\" ((secret)) it is (secret). password=(secret): (secret)"},
		{"short, in a path", []string{"lab"}, "ssh-keygen -f /home/lab1/known_hosts -R lab.example.com /lab lab/x ~/lab-2/lab_ lab@vps", "ssh-keygen -f /home/lab1/known_hosts -R lab.example.com /lab lab/x ~/lab-2/lab_ lab@vps"},
		{"short, in words", []string{"lab", "se"}, "labels, a slab, colab: secret, étlab", "labels, a slab, colab: secret, étlab"},
		{"short in base64", []string{"laboro"}, "bGFib3Jv xbGFib3Jv", "(secret) x(secret)"},
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

// Redact hides every secret, short ones as words, and shows the rest of the text as
// it is.
func FuzzRedact(f *testing.F) {
	f.Add("abcdefgh", "cdefghij", "xabcdefghijx")
	f.Add("aaaaaaaa", "aa", "aaaaaaaaab aa")
	f.Add(plain, "pa'ss \"w\\ord", "echo 'pa'\\''ss \"w\\ord' "+plain)
	f.Add("t)", "(s", "(secret)")
	f.Fuzz(func(t *testing.T, a, b, text string) {
		whole := string(redactor(a, b).Redact([]byte(text)))
		rest := text
		for _, piece := range strings.Split(whole, Mask) {
			for _, s := range []string{a, b} {
				if len(s) >= Short && strings.Contains(piece, s) {
					t.Errorf("%q is left in %q", s, whole)
				}
			}
			_, after, found := strings.Cut(rest, piece)
			if !found {
				t.Errorf("%q of %q is not in %q", piece, whole, text)
			}
			rest = after
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
