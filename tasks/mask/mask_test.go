package mask

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What each syntax shows, line for line. A line of want stands for the line of
// text with its number; every secret in the texts contains "hush".
func TestSyntax(t *testing.T) {
	tests := map[string]struct {
		syntax Syntax
		text   [][2]string // as it stands, as it is shown
	}{
		"ipsec.secrets": {IPsecSecrets, [][2]string{
			{"# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.", "="},
			{"# This file holds shared secrets or RSA private keys for authentication.", "="},
			{"", "="},
			{"#####", "="},
			{"include /etc/ipsec.d/vpnpush/*.secrets", "="},
			{"include ipsec.*.secrets", "="},
			{"# include /etc/x # hush", "(line hidden)"},
			{`@tokyo : PSK "hush"`, "@tokyo : PSK (secret)"},
			{`@tokyo : PSK "hush" # hush`, "@tokyo : PSK (secret)"},
			{`: PSK hush hush`, ": PSK (secret)"},
			{"203.0.113.10 %any : PSK 0shush==", "203.0.113.10 %any : PSK (secret)"},
			{"2001:db8::1\t:\tPSK\t0xhush", "2001:db8::1\t:\tPSK (secret)"},
			{`  alice@example.com : XAUTH 'hush'`, "  alice@example.com : XAUTH (secret)"},
			{`bob : EAP "hush"`, "bob : EAP (secret)"},
			{`: RSA key.pem "hush"`, ": RSA (secret)"},
			{`#@old : PSK "hush"`, "(line hidden)"},
			{`# the old one was hush`, "(line hidden)"},
			{`@tokyo: PSK "hush"`, "(line hidden)"},
			{`@tokyo PSK "hush"`, "(line hidden)"},
			{`PSK hush : PSK "hush"`, "(line hidden)"},
			{`@tokyo : "hush"`, "(line hidden)"},
			{`"hush" : PSK "hush"`, "(line hidden)"},
			{`0shush : PSK x`, "(line hidden)"},
			{"@tokyo : psk hush", "(line hidden)"},
			{"include \"hush\"", "(line hidden)"},
			// Entries over several lines, as older readers have them.
			{": RSA\t{", ": RSA (secret)"},
			{"\tModulus: 0xhush", "(line hidden)"},
			{"\t}", "(line hidden)"},
			{"@a @b : PSK", "@a @b : PSK (secret)"},
			{"\t\"hush\"", "(line hidden)"},
			{`@a : PSK "hush`, "@a : PSK (secret)"},
			{"", "="},
			{"include /hush", "(line hidden)"},
			{`hush" `, "(line hidden)"},
			{`@b : PSK "hush"`, "@b : PSK (secret)"},
		}},
		"ppp options": {PPPOptions, [][2]string{
			{"# No option of a serial line belongs here", "="},
			{"auth", "="},
			{"", "="},
			{"name vpn password hush # hush", "name vpn password (secret)"},
			{"#password\thush", "#password (secret)"},
			{`password \`, "password (secret)"},
			{"hush", "(line hidden)"},
			{"password", "="},
			{"", "="},
			{"hush", "(line hidden)"},
			{"mtu 1280", "="},
		}},
		"chap-secrets": {ChapSecrets, [][2]string{
			{"# Secrets for authentication using CHAP", "="},
			{"# client\tserver\tsecret\t\t\tIP addresses", "="},
			{"# vpnpush begin owner=vps", "="},
			{`"alice" l2tpd "hush" 192.168.200.10`, `"alice" l2tpd (secret) 192.168.200.10`},
			{`bob * hush`, `bob * (secret)`},
			{"carol\t*\thush\t*", "carol\t*\t(secret)\t*"},
			{`dom\\dave * hu\"sh\  * 10.0.0.0/8`, `dom\\dave * (secret) * 10.0.0.0/8`},
			{`erin * "hush" * # hush`, `erin * (secret) * # (comment hidden)`},
			{"# vpnpush end", "="},
			{`#frank * hush *`, "(line hidden)"},
			{`grace * my hush`, "(line hidden)"},
			{`heidi hush *`, "(line hidden)"},
			{`ivan hush 10.0.0.1 *`, "(line hidden)"},
			{`judy hush`, "(line hidden)"},
			{`hush`, "(line hidden)"},
			{`ken * hush#hush *`, "(line hidden)"},
			{`lea * hu"sh" *`, "(line hidden)"},
			{`mia * "`, "(line hidden)"},
			{`hush" x *`, "(line hidden)"},
			{`nat * hush\`, "(line hidden)"},
			{`"hush" *`, "(line hidden)"},
			{`(secret) * hush`, "(line hidden)"},
			{`oli * "hush"`, `oli * (secret)`},
			{`pam * "hush`, "(line hidden)"},
			{`qed * hush`, "(line hidden)"},
		}},
		"swanctl.conf": {Swanctl, [][2]string{
			{"secrets {", "="},
			{"  ike-tokyo {", "="},
			{"    id = @tokyo", "="},
			{"    id-2 = \"C=CH, O=x\"", "="},
			{"    secret = \"hush\"", "    secret = (secret)"},
			{"    secret=0shush # hush", "    secret=(secret) # (comment hidden)"},
			{"    secret-new = hush", "    secret-new = (secret)"},
			{"    unheard = hush", "    unheard = (secret)"},
			{"    # secret = hush", "(line hidden)"},
			{"    id = @a secret = \"hush\"", "    id = (secret)"},
			{"  }", "="},
			{"  ike-osaka { secret = hush }", "(line hidden)"},
			{"  secret hush", "(line hidden)"},
			{"  x = \"hush", "(line hidden)"},
			{"id = hush", "(line hidden)"},
			{"hush\\\" hush", "(line hidden)"},
			{"hush\"", "(line hidden)"},
			{"  y = hush\\", "(line hidden)"},
			{"id = hush", "(line hidden)"},
			{"}", "="},
			{"connections { # hush", "connections { # (comment hidden)"},
			{"  dpd_delay = 30s", "="},
			{"  updown = /x --key hush", "  updown = (secret)"},
			{"include conf.d/*.conf", "="},
		}},
		"opaque":          {Syntax("opaque"), [][2]string{{"hush", "(secret)"}, {"", "="}, {"hush", "(secret)"}}},
		"unheard of":      {"new.conf", [][2]string{{"hush", "(secret)"}}},
		"holds no secret": {Plain, [][2]string{{"as is", "="}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var text, want []string
			for _, l := range tt.text {
				if l[1] == "=" {
					l[1] = l[0]
				}
				text, want = append(text, l[0]), append(want, l[1])
			}
			in := []byte(strings.Join(text, "\n"))
			old, new := Pair(tt.syntax, in, in)
			if d := cmp.Diff(want, strings.Split(string(new), "\n")); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if !bytes.Equal(old, new) {
				t.Errorf("equal texts differ when masked:\n%s", cmp.Diff(string(old), string(new)))
			}
		})
	}
}

// Which secrets are said to have changed.
func TestChanged(t *testing.T) {
	const conf = "secrets {\n a {\n  secret = %s\n }\n b {\n  secret = %s\n }\n}\n"
	tests := map[string]struct {
		syntax             Syntax
		old, new           string
		wantOld, wantNew   string
		oldAbsent, newGone bool
	}{
		"changed": {syntax: IPsecSecrets,
			old: "@a : PSK 1\n@b : PSK 2\n", new: "@a : PSK 1\n@b : PSK 3\n",
			wantOld: "@a : PSK (secret)\n@b : PSK (secret)\n", wantNew: "@a : PSK (secret)\n@b : PSK (secret, changed)\n"},
		"a line added in front marks no other": {syntax: IPsecSecrets,
			old: "@b : PSK 2\n# x\n", new: "@a : PSK 1\n# y\n@b : PSK 2\n# x\n",
			wantOld: "@b : PSK (secret)\n(line hidden)\n", wantNew: "@a : PSK (secret)\n(line hidden)\n@b : PSK (secret)\n(line hidden)\n"},
		"spaces and secret": {syntax: IPsecSecrets,
			old: "@a  : PSK 1\n", new: "@a : PSK 2\n", wantOld: "@a  : PSK (secret)\n", wantNew: "@a : PSK (secret, changed)\n"},
		"two entries of one id, swapped": {syntax: IPsecSecrets,
			old: ": PSK 1\n: PSK 2\n", new: ": PSK 2\n: PSK 1\n",
			wantOld: ": PSK (secret)\n: PSK (secret)\n", wantNew: ": PSK (secret, changed)\n: PSK (secret, changed)\n"},
		"only the quotes differ": {syntax: IPsecSecrets,
			old: "@a : PSK 1\n", new: "@a : PSK \"1\"\n", wantOld: "@a : PSK (secret)\n", wantNew: "@a : PSK (secret, changed)\n"},
		"a hidden line": {syntax: IPsecSecrets,
			old: "# 1\n# 2\n", new: "# 1\n# 3\n",
			wantOld: "(line hidden)\n(line hidden)\n", wantNew: "(line hidden)\n(line hidden, changed)\n"},
		"password and address of a user": {syntax: ChapSecrets,
			old: "a * 1 *\n", new: "\"a\" * 2 10.0.0.1\n", wantOld: "a * (secret) *\n", wantNew: "\"a\" * (secret, changed) 10.0.0.1\n"},
		"only the comment": {syntax: ChapSecrets,
			old: "a * 1 # x\n", new: "a * 1 # y\n",
			wantOld: "a * (secret) # (comment hidden)\n", wantNew: "a * (secret) # (comment hidden, changed)\n"},
		"sections keep equal keys apart": {syntax: Swanctl,
			old: fmt.Sprintf(conf, "1", "2"), new: fmt.Sprintf(conf, "1", "3"),
			wantOld: fmt.Sprintf(conf, "(secret)", "(secret)"), wantNew: fmt.Sprintf(conf, "(secret)", "(secret, changed)")},
		"opaque":  {syntax: Syntax("opaque"), old: "1\n2", new: "1\n3", wantOld: "(secret)\n(secret)", wantNew: "(secret)\n(secret, changed)"},
		"created": {syntax: IPsecSecrets, oldAbsent: true, new: "@a : PSK 1\n", wantNew: "@a : PSK (secret)\n"},
		"deleted": {syntax: IPsecSecrets, newGone: true, old: "@a : PSK 1\n", wantOld: "@a : PSK (secret)\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			old, new := []byte(tt.old), []byte(tt.new)
			if tt.oldAbsent {
				old = nil
			}
			if tt.newGone {
				new = nil
			}
			gotOld, gotNew := Pair(tt.syntax, old, new)
			if d := cmp.Diff([]string{tt.wantOld, tt.wantNew}, []string{string(gotOld), string(gotNew)}); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if (gotOld == nil) != tt.oldAbsent || (gotNew == nil) != tt.newGone {
				t.Errorf("an absent file must stay nil: old %t, new %t", gotOld == nil, gotNew == nil)
			}
		})
	}
}

// secretPlaces are the places where each syntax has secrets; %s is one.
var secretPlaces = []struct {
	syntax Syntax
	format string
}{
	{IPsecSecrets, "@a @b : PSK %s"},
	{IPsecSecrets, ": PSK \"%s\""},
	{IPsecSecrets, "a : XAUTH 0s%s"},
	{IPsecSecrets, "\ta : EAP '%s' # x"},
	{IPsecSecrets, ": RSA key.pem \"%s\""},
	{IPsecSecrets, ": RSA {\n\tPrivateExponent: 0x%s\n\t}"},
	{IPsecSecrets, "@a : PSK\n\t%s"},
	{IPsecSecrets, "# @a : PSK %s"},
	{ChapSecrets, "a * %s"},
	{ChapSecrets, "a l2tpd \"%s\" *"},
	{ChapSecrets, "\"a\" '*' '%s' 10.0.0.1 # x"},
	{ChapSecrets, "a *\\\n %s *"},
	{ChapSecrets, "#a * %s *"},
	{PPPOptions, "password %s"},
	{PPPOptions, "auth name x password \"%s\" mtu 1280"},
	{PPPOptions, "#password %s"},
	{PPPOptions, "password\n\n%s"},
	{PPPOptions, "password \\\n%s"},
	{PPPOptions, "name password password\n%s"},
	{PPPOptions, "password # x\n%s"},
	{PPPOptions, "password\n# x\n%s"},
	{Swanctl, "secret = %s"},
	{Swanctl, "secrets {\n ike-1 {\n  secret-x=\"%s\" # x\n}\n}"},
	{Swanctl, "secrets { eap { secret = %s } }"},
	{Swanctl, "pin = \"\\\n%s\""},
	{Swanctl, "# secret = %s"},
	{Syntax("opaque"), "%s"},
}

// No secret is shown, whatever else stands in the file and in the secret; the
// lines stay as many; texts are equal when masked exactly when they are equal.
func FuzzPair(f *testing.F) {
	for i, p := range secretPlaces {
		f.Add(uint8(i), "", "", "", "")
		f.Add(uint8(i), "x { \"", "# '", " * ", "\\\" #")
		f.Add(uint8(i), fmt.Sprintf(p.format, "\""), "include /x", "'", " : PSK ")
	}
	f.Fuzz(func(t *testing.T, place uint8, above, below, before, after string) {
		p := secretPlaces[int(place)%len(secretPlaces)]
		if strings.Contains(before+after, "\n") {
			return // a secret with newlines is two lines, of which only one is where secrets are
		}
		file := func(canary string) []byte {
			return []byte(above + "\n" + fmt.Sprintf(p.format, before+canary+after) + "\n" + below)
		}
		const one, two = "cAnaRyOnE", "cAnaRyTwO"
		old, new := file(one), file(two)
		gotOld, gotNew := Pair(p.syntax, old, new)
		for _, got := range [][]byte{gotOld, gotNew} {
			if bytes.Contains(got, []byte("cAnaRy")) {
				t.Fatalf("the secret is shown:\n%s\nof\n%s", got, old)
			}
			if bytes.Count(got, []byte("\n")) != bytes.Count(old, []byte("\n")) {
				t.Fatalf("lines were lost or made:\n%q\nof\n%q", got, old)
			}
		}
		if bytes.Equal(gotOld, gotNew) {
			t.Fatalf("a changed secret does not show:\n%s", gotNew)
		}
		if o, n := Pair(p.syntax, old, bytes.Clone(old)); !bytes.Equal(o, n) || !bytes.Equal(o, gotOld) {
			t.Fatalf("equal texts differ when masked:\n%s\n%s", o, n)
		}
		a, b := []byte(above), []byte(below)
		if o, n := Pair(p.syntax, a, b); bytes.Equal(o, n) != bytes.Equal(a, b) {
			t.Fatalf("%q and %q: masked %q and %q", a, b, o, n)
		}
	})
}

// What a host sends cannot steer the terminal it is shown on, nor reorder what
// is read (CVE-2021-42574).
func TestSanitizeText(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"text stays":         {"a\tb\n日本 é\n", "a\tb\n日本 é\n"},
		"escape sequence":    {"a\x1b[2Jb\x1b]0;t\x07", "a[2Jb]0;t"},
		"carriage return":    {"bad\rgood", "badgood"},
		"C1 CSI, as UTF-8":   {"a\u009b2J", "a2J"},
		"C1 CSI, as a byte":  {"a\x9b2J", "a\ufffd2J"},
		"NUL, BS, DEL":       {"a\x00\x08\x7fb", "ab"},
		"bidi override":      {"a\u202eb\u2066c\u200fd", "abcd"},
		"invisible":          {"a\u200bb\ufeffc", "abc"},
		"other line endings": {"a\u2028b\u0085c\vd", "abcd"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := string(Sanitize([]byte(tt.in))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if Sanitize(nil) != nil {
		t.Error("nil, an absent file, did not stay nil")
	}
}
