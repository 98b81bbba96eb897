package mask

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Who may log in is read as pppd reads it, and nothing of a password with it.
func TestClients(t *testing.T) {
	text := strings.Join([]string{
		"# alice * hush *",
		"bob * hush *",
		"\t\"carol\"  l2tpd\t'hush hush' 10.0.0.1 # x",
		`dom\\dave "my server" hush`,
		"* * hush *",
		"erin hush",
		"frank#x * hush",
		"",
	}, "\n")
	want := []Client{{2, "bob", "*"}, {3, "carol", "l2tpd"}, {4, `dom\dave`, "my server"}, {5, "*", "*"}}
	if d := cmp.Diff(want, Clients([]byte(text))); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// Whatever stands in the file, it is read without a panic, and a password is no name.
func FuzzClients(f *testing.F) {
	f.Add("bob * x", "\"", "a\\")
	f.Fuzz(func(t *testing.T, above, name, password string) {
		if strings.ContainsAny(name+password, "\n\\\"'") {
			return
		}
		const canary = "cAnaRy"
		for _, c := range Clients([]byte(above + "\n\"" + name + "\" * \"" + canary + password + "\" *\n")) {
			if c.Line > strings.Count(above, "\n")+1 && (c.Name != name || c.Server != "*") || strings.Contains(c.Name+c.Server, canary) && !strings.Contains(above, canary) {
				t.Fatalf("%+v", c)
			}
		}
	})
}
