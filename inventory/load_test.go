package inventory

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// writeInventory writes text to a file of the given mode in a new directory.
func writeInventory(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "vpnpush.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
	return path
}

// load reads an inventory and fetches the secrets that hosts need, as verbs do; all
// as validate does.
func load(path string, hosts ...string) (*Inventory, Diagnostics) {
	if len(hosts) == 0 {
		return Check(context.Background(), path, Unlock{})
	}
	inv, diags := Load(context.Background(), path)
	if inv != nil {
		diags = append(diags, inv.Resolve(context.Background(), hosts...)...)
	}
	return inv.good(diags)
}

// Resolve fetches every kind of source, makes paths absolute, and puts the values
// where the roles look for them.
func TestLoadFull(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("VPNPUSH_TEST_SUDO", "sudo-password")
	inv, diags := load(filepath.Join(fixtures, "full.toml"))
	if len(diags.Errors()) > 0 {
		t.Fatal(diags)
	}
	var got []string
	for _, v := range inv.SecretValues() {
		got = append(got, v.Reveal())
	}
	want := []string{
		"sudo-password", "lab-eiNgah6eiJooMa5u", "osaka-ieR7eiph6Ohm4ohv", "tokyo-Ahquai3ohGhaeXo8",
		"l2tp-Quoo9eeChooy6aeT", "alice's pass #1", "bob-password",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if inv.Sites[1].Name != "osaka" || inv.Sites[1].PSK.Reveal() != "osaka-ieR7eiph6Ohm4ohv" {
		t.Error("osaka's key is not at osaka")
	}
	if inv.SSH.IdentityFile != filepath.Join(home, ".ssh/id_ed25519") || inv.Secrets.Identity != DefaultIdentity {
		t.Errorf("paths %q, %q", inv.SSH.IdentityFile, inv.Secrets.Identity)
	}
}

const siteText = `[hub]
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = %s
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = %s
`

// Faults that only the values show come with the line of their key; what a
// command printed is in none of them.
func TestLoadFaults(t *testing.T) {
	t.Setenv("VPNPUSH_TEST_SHORT", "short")
	t.Setenv("VPNPUSH_TEST_EMPTY", "")
	const good = `"osaka-Ahquai3ohGhaeXo8"`
	for _, tt := range []struct{ name, tokyo, osaka, want string }{
		{"not set", `{ env = "VPNPUSH_TEST_NONE" }`, good, "FILE:5: sites.tokyo.psk: the environment variable that env names is not set; export it, or check its name\n"},
		{"empty", `{ env = "VPNPUSH_TEST_EMPTY" }`, good, "FILE:5: sites.tokyo.psk is empty; write a psk\n"},
		{"no file", `{ file = "none" }`, good, "FILE:5: sites.tokyo.psk: read the file that it names: no such file or directory; write the secret into that file, or name another; a relative path starts from the inventory's folder\n"},
		{
			"several at once", `{ env = "VPNPUSH_TEST_SHORT" }`, `{ file = "none" }`,
			"FILE:5: sites.tokyo.psk has 5 characters; write 16 at least, at random\nFILE:8: sites.osaka.psk: read the file that it names: no such file or directory; write the secret into that file, or name another; a relative path starts from the inventory's folder\n",
		},
		{
			"failing commands", `{ command = ["sh", "-c", "echo hunter2hunter2hunter2; echo store; echo locked >&2; exit 2"] }`, `{ command = ["./no-such"] }`,
			"FILE:5: sites.tokyo.psk: run sh: exit status 2: locked; run it by hand: it must print the secret, and nothing else, and end with 0\n" +
				"FILE:8: sites.osaka.psk: there is no such program as its command begins with: no such file or directory; install it, or write its whole path\n",
		},
		{
			"the same by two ways", `{ command = ["echo", "osaka-Ahquai3ohGhaeXo8"] }`, good,
			"FILE:8: sites.osaka.psk is the same as sites.tokyo.psk (line 5); give each its own: who knows one key must not open another tunnel\n",
		},
		{
			"two lines", `{ command = ["printf", "first-line-of-it\\nsecond"] }`, good,
			"FILE:5: sites.tokyo.psk has a line end, which ipsec.secrets cannot carry; use letters, digits and other punctuation\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeInventory(t, fmt.Sprintf(siteText, tt.tokyo, tt.osaka), 0o600)
			inv, diags := load(path)
			if inv != nil {
				t.Error("accepted")
			}
			var got strings.Builder
			for _, d := range diags {
				fmt.Fprintln(&got, d)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(got.String(), path, "FILE"), filepath.Dir(path), "DIR")
			if diff := cmp.Diff(tt.want, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A command that asks for a passphrase runs once, also where several keys name it,
// only for hosts that need what it prints, and not at all when the file has other
// faults. The hub needs its sites' keys, a site its own; what only the hub has, such
// as the L2TP users, is for the hub alone, and each host's sudo password for itself.
func TestResolveRunsCommandsOnce(t *testing.T) {
	const text = `[ssh]
become_password = { command = ["sh", "-c", "echo sudo >> log; echo sudo-password"] }
[hub]
name = "vps"
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = { command = ["sh", "-c", "echo tokyo >> log; echo tokyo-Ahquai3ohGhaeXo8"] }
ssh.become_password = { command = ["sh", "-c", "echo tokyo-sudo >> log; echo tokyo-sudo"] }
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = %s
[l2tp]
psk = { command = ["sh", "-c", "echo l2tp >> log; echo l2tp-Ahquai3ohGhaeXo8"] }
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.32"
[l2tp.users]
alice.password = { command = ["sh", "-c", "echo guests >> log; echo guest-password"] }
bob.password = { command = ["sh", "-c", "echo guests >> log; echo guest-password"] }
`
	const osaka = `{ command = ["sh", "-c", "echo osaka >> log; echo osaka-Ahquai3ohGhaeXo8"] }`
	for _, tt := range []struct {
		name, osaka string
		hosts       []string
		ran         string
	}{
		{"all", osaka, nil, "guests l2tp osaka sudo tokyo tokyo-sudo"},
		{"every host by name", osaka, []string{"vps", "tokyo", "osaka"}, "guests l2tp osaka sudo tokyo tokyo-sudo"},
		{"hub", osaka, []string{"vps"}, "guests l2tp osaka sudo tokyo"},
		{"a site", osaka, []string{"osaka"}, "osaka sudo"},
		{"a site with a sudo password of its own", osaka, []string{"tokyo"}, "tokyo tokyo-sudo"},
		{"bad file", `"too short"`, nil, ""},
		{"bad secret elsewhere", `{ env = "VPNPUSH_TEST_NONE" }`, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeInventory(t, fmt.Sprintf(text, tt.osaka), 0o600)
			inv, diags := load(path, tt.hosts...)
			if (tt.ran == "") != (len(diags.Errors()) > 0) {
				t.Errorf("faults: %v", diags)
			}
			log, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "log"))
			ran := strings.Fields(string(log))
			slices.Sort(ran)
			if got := strings.Join(ran, " "); got != tt.ran {
				t.Errorf("ran %q, want %q", got, tt.ran)
			}
			if inv != nil && len(tt.hosts) != 1 && inv.L2TP.Users[1].Password.Reveal() != "guest-password" {
				t.Error("a command that two keys name gave its answer to one")
			}
		})
	}
}

// What two sites share is found among those secrets that were fetched.
func TestResolveUnique(t *testing.T) {
	const key = `{ command = ["echo", "tokyo-Ahquai3ohGhaeXo8"] }`
	path := writeInventory(t, fmt.Sprintf(siteText, key, key), 0o600)
	if _, diags := load(path, "tokyo"); len(diags) > 0 {
		t.Errorf("tokyo alone: %v", diags)
	}
	if _, diags := load(path, "hub"); len(diags.Errors()) != 1 || !strings.Contains(diags[0].Summary, "is the same as") {
		t.Errorf("the hub: %v", diags)
	}
}

// Parse alone runs nothing and leaves the secret unset.
func TestParseRunsNothing(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	inv, diags := Parse("x.toml", fmt.Appendf(nil, siteText, fmt.Sprintf(`{ command = ["touch", %q] }`, log), `{ env = "HOME" }`))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	if _, err := os.Stat(log); !os.IsNotExist(err) {
		t.Errorf("the command ran: %v", err)
	}
	if !inv.Sites[0].PSK.IsZero() || len(inv.SecretValues()) != 0 {
		t.Error("a secret is set before Resolve")
	}
}

func TestModeWarning(t *testing.T) {
	t.Setenv("VPNPUSH_TEST_PSK", "tokyo-Ahquai3ohGhaeXo8")
	const env, literal = `{ env = "VPNPUSH_TEST_PSK" }`, `"osaka-Ahquai3ohGhaeXo8"`
	t.Setenv("VPNPUSH_TEST_PSK2", "kyoto-Ahquai3ohGhaeXo8")
	for _, tt := range []struct {
		name, osaka string
		mode        os.FileMode
		warns       bool
	}{
		{"literal, private", literal, 0o600, false},
		{"literal, others", literal, 0o604, true},
		{"literal, group", literal, 0o640, true},
		{"no literal, others", `{ env = "VPNPUSH_TEST_PSK2" }`, 0o644, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeInventory(t, fmt.Sprintf(siteText, env, tt.osaka), tt.mode)
			inv, diags := load(path)
			if inv == nil || len(diags.Errors()) > 0 {
				t.Fatalf("refused: %v", diags)
			}
			if len(diags.Warnings()) == 1 != tt.warns {
				t.Fatalf("warnings: %v", diags)
			}
			if tt.warns && !strings.HasPrefix(diags[0].String(), path+":8: warning: sites.osaka.psk stands in a file that other users can read") {
				t.Errorf("warning: %s", diags[0])
			}
		})
	}
}

func TestLoadNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.toml")
	inv, diags := Load(context.Background(), path)
	if inv != nil || len(diags) != 1 || diags[0].Line != 0 || !strings.Contains(diags[0].String(), "no such file") || diags[0].Mend == "" {
		t.Errorf("%v", diags)
	}
}

// What init writes is valid as it stands, with keys of its own each time.
func TestStarter(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		text, err := Starter()
		if err != nil {
			t.Fatal(err)
		}
		inv, diags := Parse("starter.toml", text)
		if len(diags) > 0 {
			t.Fatalf("%s\n%s", diags, text)
		}
		if len(inv.Sites) != 2 || inv.L2TP == nil || len(inv.L2TP.Users) != 1 {
			t.Errorf("%d sites, l2tp %v", len(inv.Sites), inv.L2TP)
		}
		if nets := inv.ClientNets(); len(nets) != 1 { // each is a line more for a peer that is not vpnpush's
			t.Errorf("the clients' addresses fill no network: %v", nets)
		}
		psks := []secret.Value{inv.L2TP.PSK, inv.Sites[0].PSK, inv.Sites[1].PSK}
		for _, v := range psks {
			if len(v.Reveal()) < 32 || seen[v.Reveal()] {
				t.Error("a key is short, or not fresh")
			}
			seen[v.Reveal()] = true
		}
	}
}

// Everything that docs/inventory.md shows is a good inventory, or a part of one.
func TestDocs(t *testing.T) {
	data, err := os.ReadFile("../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for rest := data; ; {
		_, after, found := bytes.Cut(rest, []byte("```toml\n"))
		if !found {
			break
		}
		block, next, closed := bytes.Cut(after, []byte("```\n"))
		if !closed {
			t.Fatal("a block is not closed")
		}
		line := bytes.Count(data[:len(data)-len(after)], []byte("\n")) + 1
		rest = next
		blocks++
		if !bytes.Contains(block, []byte("[hub]")) {
			block = append(bytes.Clone(block), "\n[hub]\naddress = \"203.0.113.10\"\n"...)
		}
		if _, diags := Parse("block", block); len(diags) > 0 {
			t.Errorf("docs/inventory.md, block from line %d: %v", line, diags)
		}
	}
	if blocks == 0 {
		t.Error("no blocks in docs/inventory.md")
	}
}

// The docs name every key that the parser knows, so that none is hidden.
func TestDocsNameEveryKey(t *testing.T) {
	data, err := os.ReadFile("../docs/inventory.md")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, words := range tableKeys(t) {
		keys = append(keys, words...)
	}
	if len(keys) < 40 {
		t.Fatalf("found %d keys only", len(keys))
	}
	for _, k := range keys {
		if !bytes.Contains(data, []byte("`"+k+"`")) {
			t.Errorf("docs/inventory.md does not name `%s`", k)
		}
	}
}

// tableKeys asks the parser for its keys: an unknown one makes it list them.
func tableKeys(t *testing.T) map[string][]string {
	t.Helper()
	const strange = "zzzzzzzzzzzzzzz"
	out := map[string][]string{}
	for _, table := range []string{"", "ssh", "tunnel", "hub", "hub.ssh", "sites.a", "sites.a.psk", "l2tp", "l2tp.users.a", "firewall", "secrets"} {
		text := strange + " = 1\n"
		if table != "" {
			text = "[" + table + "]\n" + text
		}
		_, diags := Parse("keys", []byte(text))
		for _, d := range diags {
			if _, list, ok := strings.Cut(d.Mend, "known here: "); ok && strings.HasPrefix(d.Summary, "unknown key ") {
				out[table] = strings.Split(list, ", ")
			}
		}
		if len(out[table]) == 0 {
			t.Errorf("[%s] lists no keys: %v", table, diags)
		}
	}
	return out
}
