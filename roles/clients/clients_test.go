package clients

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory"
)

var update = flag.Bool("update", false, "rewrite the golden files; the run fails all the same")

// network is a hub that passes nothing on to the internet. What stands for %s is more of
// its tables.
const network = `
id = "acme"
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["203.0.113.10/32", "10.10.0.0/24"]
%[1]s
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "osaka-Ahquai3ohGhaeXo8"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
[tunnel]
relay = true
%[2]s
[l2tp]
pool = "192.168.200.2-192.168.200.30"
local_ip = "192.168.200.1"
%[3]s
[firewall]
%[4]s
`

const alice = `psk = "the-key-of-all-clients"
%s
[l2tp.users.alice]
password = "password-of-alice"`

const nameservers = `dns = ["192.168.200.1", "10.10.0.53"]`

func parsedNetwork(hub, tunnel, l2tp, firewall string) *inventory.Inventory {
	inv, diags := inventory.Parse("acme.toml", fmt.Appendf(nil, network, hub, tunnel, l2tp, firewall))
	if len(diags) > 0 {
		panic(fmt.Sprint(diags))
	}
	return inv
}

func split() *inventory.Inventory {
	return parsedNetwork("", "", fmt.Sprintf(alice, nameservers), "")
}

// full is a hub that passes everything on.
func full() *inventory.Inventory {
	return parsedNetwork("", "", fmt.Sprintf(alice, ""), "masquerade = true")
}

// nated is a hub behind NAT that also takes weak ciphers, and a user whose name, and
// secrets, have what some language gives a meaning.
func nated() *inventory.Inventory {
	return parsedNetwork(`local_address = "10.10.0.5"`, "allow_weak = true", nameservers+"\nmtu = 1400\n"+`psk = " it's $(a) <key> & \\more`+"`"+`"
[l2tp.users."bob+1@example.com"]
password = " 'p' <w>&$x;%y#"`, "")
}

var inventories = map[string]func() *inventory.Inventory{"split": split, "full": full, "nated": nated}

// export returns one form for an inventory's first user.
func export(t testing.TB, inv *inventory.Inventory, form string) File {
	t.Helper()
	f, err := Export(inv, inv.L2TP.Users[0], form)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// What is handed to people does not change unseen. The first line of a file, or nearly,
// says that it holds the key, if it does.
func TestGolden(t *testing.T) {
	for name, inv := range inventories {
		for _, form := range Forms() {
			f := export(t, inv(), form)
			if form != "html" || name != "split" { // two pages have every sentence
				compare(t, filepath.Join("testdata", name, f.Name), []byte(f.Content.Reveal()))
			}
			holds := form != "android" || inv().Tunnel.AllowWeak
			head := strings.ToUpper(f.Content.Reveal())
			if form != "html" {
				head = head[:min(len(head), 300)]
			}
			if holds != strings.Contains(head, "KEEP THIS") {
				t.Errorf("%s: holds the key: %v, but it begins with\n%s", f.Name, holds, head)
			}
		}
	}
}

// compare never lets a run that rewrites a golden file pass: CI could otherwise
// bless anything.
func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s was written: look at it, and run again without -update", path)
	}
	if want, err := os.ReadFile(path); err != nil || !bytes.Equal(want, got) {
		t.Errorf("%s (-want +got): %v\n%s", path, err, cmp.Diff(string(want), string(got)))
	}
}

// A device is told what the hub lets it do. What goes into the VPN is l2tp.reach and the
// hub's end of it, never the hub's public address, by which the VPN itself goes.
func TestTold(t *testing.T) {
	nets := func(ss ...string) (out []netip.Prefix) {
		for _, s := range ss {
			out = append(out, netip.MustParsePrefix(s))
		}
		return out
	}
	routes := func(inv *inventory.Inventory) []netip.Prefix { return tell(inv, inv.L2TP.Users[0]).Routes() }
	for _, tt := range []struct {
		name   string
		change func(*inventory.Inventory)
		want   []netip.Prefix
	}{
		{"as it is", func(*inventory.Inventory) {}, nets("192.168.200.1/32", "10.10.0.0/24", "192.168.2.0/24", "192.168.1.0/24")},
		{"one site", func(i *inventory.Inventory) { i.L2TP.Reach = nets("192.168.1.0/24") }, nets("192.168.200.1/32", "192.168.1.0/24")},
		{"nothing but the hub", func(i *inventory.Inventory) { i.L2TP.Reach = nets("203.0.113.10/32") }, nets("192.168.200.1/32")},
		{"masquerade", func(i *inventory.Inventory) { i.Firewall.Masquerade = true }, nil},
		{"masquerade that has no effect", func(i *inventory.Inventory) { i.Firewall.Masquerade, i.Firewall.Backend = true, inventory.FilterNone }, nets("192.168.200.1/32", "10.10.0.0/24", "192.168.2.0/24", "192.168.1.0/24")},
		{"everything", func(i *inventory.Inventory) { i.L2TP.Reach = nets("0.0.0.0/0") }, nil},
	} {
		inv := split()
		tt.change(inv)
		if diff := cmp.Diff(tt.want, routes(inv), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		for _, form := range []string{"windows", "linux"} {
			content := export(t, inv, form).Content.Reveal()
			for _, p := range tt.want {
				if !strings.Contains(content, p.String()) {
					t.Errorf("%s: %s has no route for %s", tt.name, form, p)
				}
			}
			isSplit := strings.Contains(content, "SplitTunneling       = $true") || strings.Contains(content, "never-default=true")
			if isSplit != (tt.want != nil) || strings.Contains(content, "203.0.113.10/32") {
				t.Errorf("%s: %s is\n%s", tt.name, form, content)
			}
		}
	}
}

// Only behind NAT is Windows told of it: the value weakens what it accepts.
func TestRegistryOnlyWhereNATed(t *testing.T) {
	for name, inv := range inventories {
		for _, form := range []string{"windows", "text"} {
			if got := strings.Contains(export(t, inv(), form).Content.Reveal(), "AssumeUDPEncapsulationContextOnSendRule"); got != (name == "nated") {
				t.Errorf("%s, %s: the registry is in it: %v", name, form, got)
			}
		}
	}
}

// A name is a file's on every system, and stays in its folder, whatever the user's is.
func TestFileNames(t *testing.T) {
	safe := regexp.MustCompile(`^vpn-[A-Za-z0-9][A-Za-z0-9._@+-]*\.[a-z0-9]+$`)
	for _, user := range []string{"alice", "CON", "a..", "a.b@example.com", "x+-"} {
		for _, f := range forms {
			if name := fileName(user, f.suffix); !safe.MatchString(name) || filepath.Base(name) != name {
				t.Errorf("%s: the file is called %q", user, name)
			}
		}
	}
}

// A secret shows nowhere but in the content that was asked for.
func TestFileHidesItsContent(t *testing.T) {
	if s := export(t, split(), "text"); strings.Contains(fmt.Sprintf("%v %+v %#v", s, s, s), "key-of-all") {
		t.Errorf("%v", s)
	}
}

// Who hands out a form hears what does not work with it.
func TestNotes(t *testing.T) {
	for _, tt := range []struct{ inventory, form, want string }{
		{"split", "android", "there is no way in from Android"},
		{"nated", "android", "for Android 11 and before"},
		{"split", "apple", "while connected they have none"},
		{"full", "apple", ""},
		{"nated", "windows", "behind NAT"},
		{"split", "windows", ""},
		{"split", "linux", ""},
		{"split", "text", ""},
	} {
		inv := inventories[tt.inventory]()
		got := strings.Join(Notes(inv, tt.form), "\n")
		if (tt.want == "") != (got == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s, %s: %q, want %q", tt.inventory, tt.form, got, tt.want)
		}
	}
}
