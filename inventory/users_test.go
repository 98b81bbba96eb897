package inventory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

const usersText = `[hub]
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = { command = ["sh", "-c", "echo tokyo >> log; echo tokyo-Ahquai3ohGhaeXo8"] }
ssh.become_password = { command = ["sh", "-c", "echo sudo >> log; echo sudo-password"] }
[l2tp]
psk = { command = ["sh", "-c", "echo l2tp >> log; echo l2tp-Ahquai3ohGhaeXo8"] }
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.32"
[l2tp.users]
alice.password = { command = ["sh", "-c", "echo alice >> log; echo alice-password"] }
"bob@example.com".password = { command = ["sh", "-c", "echo bob >> log; echo bob-password"] }
`

// A device is told the key of all clients and its user's password. A password manager
// is asked for nothing else.
func TestResolveUsers(t *testing.T) {
	for _, tt := range []struct {
		users []string
		ran   string
	}{
		{[]string{"alice"}, "alice l2tp"},
		{[]string{"bob@example.com"}, "bob l2tp"},
		{[]string{"alice", "bob@example.com"}, "alice bob l2tp"},
	} {
		path := writeInventory(t, usersText, 0o600)
		inv, diags := Load(context.Background(), path)
		if inv == nil {
			t.Fatal(diags)
		}
		if diags := inv.ResolveUsers(context.Background(), tt.users...); len(diags) > 0 {
			t.Error(diags)
		}
		log, err := os.ReadFile(filepath.Join(filepath.Dir(path), "log"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(slices.Sorted(slices.Values(strings.Fields(string(log)))), " "); got != tt.ran {
			t.Errorf("%v: ran %s, want %s", tt.users, got, tt.ran)
		}
		us, err := inv.FindUsers(tt.users...)
		if err != nil || len(us) != len(tt.users) {
			t.Fatal(us, err)
		}
		for i, u := range us {
			if u.Name != tt.users[i] || u.Password.IsZero() {
				t.Errorf("%s has the password %q", u.Name, u.Password.Reveal())
			}
		}
	}
}

// Who misspells a name is told whom it may have meant, and never gets another's.
func TestFindUsers(t *testing.T) {
	inv := &Inventory{}
	check := func(names []string, want string) {
		t.Helper()
		us, err := inv.FindUsers(names...)
		got := fmt.Sprintf("%d users", len(us))
		if h, ok := err.(interface{ Hint() string }); ok {
			got = err.Error() + "; " + h.Hint()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", names, got, want)
		}
	}
	check(nil, "the inventory has no [l2tp], and so no users; add the table l2tp and a user: docs/inventory.md")
	inv.L2TP = &L2TP{}
	check([]string{"alice"}, "the inventory has no users; add one: [l2tp.users.NAME] with a password")
	inv.L2TP.Users = []User{{Name: "alice", Password: secret.New("x")}, {Name: "bob"}}
	check(nil, "2 users")
	check([]string{"bob"}, "1 users")
	check([]string{"alcie"}, `no user "alcie"; did you mean "alice"?`)
	check([]string{"Bob"}, `no user "Bob"; did you mean "bob"?`)
	check([]string{"zzzzzz"}, `no user "zzzzzz"; the inventory has alice, bob`)
}
