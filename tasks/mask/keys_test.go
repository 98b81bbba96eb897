package mask

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each key is found with its lines and what it is found by, and nothing else is taken
// for one: of a key that is missed nobody is told whom it lets in.
func TestKeys(t *testing.T) {
	line := func(n int, selectors ...string) Key {
		return Key{First: n, Last: n, Selectors: selectors, Secret: true, Alone: true}
	}
	for name, tt := range map[string]struct {
		syntax Syntax
		text   string
		want   []Key
	}{
		"an entry a line": {IPsecSecrets, strings.Join([]string{
			`# : PSK "hush"`,
			`: PSK "hush"`,
			"  203.0.113.10\t%any : PSK 0shush==\r",
			`"@vps" '@tokyo' : PSK "hu : PSK sh"`,
			`@vps @tokyo : XAUTH "hush"`,
			`: RSA key.pem "hush"`,
			`include ipsec.*.secrets`,
			`@vps: PSK "hush"`,
			`@vps : psk "hush"`,
			`@vps : PSK`,
			`"@vps : PSK "hush"`,
			`@last : 	PSK	hush`,
		}, "\n"), []Key{line(2), line(3, "203.0.113.10", "%any"), line(4, "@vps", "@tokyo"), line(12, "@last")}},
		"sections": {Swanctl, `connections {
  x { remote { id = @tokyo } }
}
secrets {
  ike-any {
    secret = "hush {
}" # a comment
  }   # the end
  ike-two { secret = hush
    id-1 = @vps
    id-2 = "C=CH, O=x" }
  eap-x { id = alice
  secret = "hush" }
  ike-ids {
    id = %any
  }
  ike-from : ike-ids, other { }
  ike-one { secret = hush }; ike-in-line { id = @vps }
  include /etc/hush.conf
}
secrets { ike { secret = 0shush } }
ike-out { secret = hush }
secrets { ike-open { secret = hush
`, []Key{
			{First: 5, Last: 8, Name: "ike-any", Secret: true, Alone: true},
			{First: 9, Last: 11, Name: "ike-two", Selectors: []string{"@vps", "C=CH, O=x"}, Secret: true, Alone: true},
			{First: 14, Last: 16, Name: "ike-ids", Selectors: []string{"%any"}, Alone: true},
			{First: 17, Last: 17, Name: "ike-from", Secret: true, Alone: true},
			{First: 18, Last: 18, Name: "ike-one", Secret: true},
			{First: 18, Last: 18, Name: "ike-in-line", Selectors: []string{"@vps"}},
			{First: 21, Last: 21, Name: "ike", Secret: true},
		}},
		"no such keys": {ChapSecrets, ": PSK x y", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(tt.want, Keys(tt.syntax, []byte(tt.text))); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// What a key is found by is shown, and what may be a secret in its place is not.
func TestKeyShown(t *testing.T) {
	for want, selectors := range map[string][]string{
		"any identity":           nil,
		"203.0.113.10 %any":      {"203.0.113.10", "%any"},
		"@vps (identity hidden)": {"@vps", "my secret"},
		"(identity hidden)":      {"0shush"},
	} {
		if got := (Key{Selectors: selectors}).Shown(); got != want {
			t.Errorf("%q: %q, want %q", selectors, got, want)
		}
	}
}

// A key is found wherever it stands, on its lines, and its secret is in nothing that is
// returned of it.
func FuzzKeys(f *testing.F) {
	f.Add(": PSK x\n", "", "secrets { a { secret = y } }")
	f.Add("@a @b : RSA x", "\"", "\\\"")
	f.Add("secrets {\n ike-x {", "}", "#")
	f.Fuzz(func(t *testing.T, above, below, secret string) {
		if strings.ContainsAny(secret, "\"\\\n") {
			return
		}
		const canary = "cAnaRy"
		for syntax, entry := range map[Syntax]string{
			IPsecSecrets: "@vps : PSK \"%s\"",
			Swanctl:      "secrets {\n  ike-x {\n    id = @vps\n    secret = \"%s\"\n  }\n}",
		} {
			text := above + "\n" + fmt.Sprintf(entry, canary+secret) + "\n" + below
			lines := strings.Count(text, "\n") + 1
			found := false
			for _, k := range Keys(syntax, []byte(text)) {
				if k.First < 1 || k.Last < k.First || k.Last > lines {
					t.Fatalf("lines %d to %d of %d", k.First, k.Last, lines)
				}
				if strings.Contains(strings.Join(append(k.Selectors, k.Name), " "), canary) && !strings.Contains(above, "\"") && !strings.Contains(above, "=") {
					t.Fatalf("the secret is in %+v", k)
				}
				found = found || k.First > strings.Count(above, "\n")+1
			}
			if syntax == IPsecSecrets && !found {
				t.Fatalf("the key of %q is not found", text)
			}
		}
	})
}
