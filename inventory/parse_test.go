package inventory

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "rewrite the golden files; the run fails all the same")

const fixtures = "../testdata/inventories"

func readFixture(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(fixtures, name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden compares got with a file, or with -update writes it and fails, so
// that no run can bless its own output unseen.
func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s written; look at it and run again without -update", path)
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// Every fault is refused with its line and what would mend it, all faults of a
// file at once.
func TestBadInventories(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(fixtures, "bad-*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad inventories: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".toml"), func(t *testing.T) {
			inv, diags := Parse(name, readFixture(t, name))
			if inv != nil || len(diags.Errors()) == 0 {
				t.Error("a bad inventory was accepted")
			}
			var got bytes.Buffer
			for _, d := range diags {
				fmt.Fprintln(&got, d)
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".want", got.Bytes())
		})
	}
}

// Messages name keys, never what a secret is; here every key of the file that
// could hold one has a fault.
func TestFaultsShowNoSecret(t *testing.T) {
	for _, text := range []string{
		"[hub]\naddress='203.0.113.10'\n[sites.a]\npsk = hunter2hunter2\n",
		"[sites.a]\npsk = true-hunter2\n",
		"[sites.a]\npsk = 0123hunter2\n",
		"[sites.a]\npsk = 1.hunter2\n",
		"[sites.a]\npsk = \"hunter2\\xzz\"\n",
		"[sites.a]\npsk = \"hunter2 \\\" ' \\uzzzz\"\n",
		"[sites.a]\npsk = \"hunter2\n",
		"[sites.a]\npsk = 'hunter2'hunter2\n",
		"[sites.a]\npsk = [\"hunter2\"]\n",
		"[sites.a]\npsk = \"hunter2\"\n",
		"[sites.a]\npsk = \"age:hunter2\"\n",
		"[sites.a]\npsk = \"hunter2\\nhunter2hunter2\"\nssh.become_password = \"hunter2\\u0000\"",
		"[l2tp]\npsk = 'hunter2\"'\nusers.alice.password = 'hunter2\\'\n",
		"[sites.a]\npsk = 1979-05-27T07:32:00-99:99hunter2\n",
	} {
		_, diags := Parse("x.toml", []byte(text))
		if len(diags) == 0 {
			t.Errorf("%q was accepted", text)
		}
		for _, d := range diags {
			if strings.Contains(d.String(), "unter2") {
				t.Errorf("%q: the message shows the secret: %s", text, d)
			}
		}
	}
}

// The defaults are those of docs/inventory.md.
func TestMinimal(t *testing.T) {
	inv, diags := Parse("minimal.toml", readFixture(t, "minimal.toml"))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	want := &Inventory{
		ID:   "hub",
		Path: "minimal.toml",
		Tunnel: Tunnel{
			Backend: BackendAuto, IKE: []string{"aes256-sha256-modp2048"}, ESP: []string{"aes256-sha256-modp2048", "aes256-sha256"}, DPDDelay: 10 * time.Second, MSS: 1300,
		},
		Hub: Hub{
			Name: "hub", Address: addr("203.0.113.10"), LocalAddress: addr("203.0.113.10"), Subnets: prefixes("203.0.113.10/32"),
		},
		Firewall: Firewall{Backend: "iptables"},
	}
	if diff := cmp.Diff(want, inv, model); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Host{{Name: "hub", Role: RoleHub, SSH: SSH{Host: "203.0.113.10"}}}, inv.Hosts()); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

// An [l2tp] with only the keys that it must have gets the documented defaults.
func TestL2TPDefaults(t *testing.T) {
	const text = `
[hub]
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
[l2tp]
psk = "l2tp-Quoo9eeChooy6aeT"
pool = "192.168.200.2-192.168.200.32"
local_ip = "192.168.200.1"
`
	for relay, reach := range map[string][]string{"false": {"203.0.113.10/32"}, "true": {"203.0.113.10/32", "192.168.1.0/24"}} {
		inv, diags := Parse("x.toml", []byte(text+"[tunnel]\nrelay = "+relay+"\n"))
		if len(diags) > 0 {
			t.Fatal(diags)
		}
		if l := inv.L2TP; l.MTU != 1280 || !l.ReachAuto || len(l.DNS) != 0 {
			t.Errorf("mtu %d, reach defaulted %v, dns %v", l.MTU, l.ReachAuto, l.DNS)
		}
		if diff := cmp.Diff(prefixes(reach...), inv.L2TP.Reach, model); diff != "" {
			t.Errorf("reach with relay = %s (-want +got):\n%s", relay, diff)
		}
	}
}

// model compares inventories by their exported fields; secret.Value compares
// itself.
var model = cmp.Options{
	cmpopts.IgnoreUnexported(Inventory{}),
	cmpopts.EquateComparable(addr("192.0.2.1"), prefixes("192.0.2.0/24")[0]),
	cmpopts.EquateEmpty(),
}

// One site is checked against all others without the time growing as their
// square, and a thousand faults are a thousand messages.
func TestThousandSites(t *testing.T) {
	var good, bad strings.Builder
	for _, b := range []*strings.Builder{&good, &bad} {
		b.WriteString("[hub]\naddress = \"203.0.113.10\"\n")
	}
	for i := range 1000 {
		fmt.Fprintf(&good, "[sites.site%d]\nsubnets = [\"10.%d.%d.0/24\"]\npsk = \"%024d\"\nssh.jump = \"hub\"\n", i, i/250, i%250, i)
		fmt.Fprintf(&bad, "[sites.site%d]\nsubnets = [\"10.0.0.0/8\"]\npsk = \"%024d\"\n", i, 0)
	}
	inv, diags := Parse("good.toml", []byte(good.String()))
	if len(diags) > 0 {
		t.Fatalf("%d faults, first: %v", len(diags), diags[0])
	}
	if len(inv.Hosts()) != 1001 {
		t.Errorf("%d hosts", len(inv.Hosts()))
	}
	// 999 overlap one before them, and 999 have the key of one before them.
	if _, diags := Parse("bad.toml", []byte(bad.String())); len(diags) != 2*999 {
		t.Errorf("%d faults, want %d", len(diags), 2*999)
	}
}

func BenchmarkParseThousandSites(b *testing.B) {
	var text strings.Builder
	text.WriteString("[hub]\naddress = \"203.0.113.10\"\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "[sites.site%d]\nsubnets = [\"10.%d.%d.0/24\"]\npsk = \"%024d\"\nssh.jump = \"hub\"\n", i, i/250, i%250, i)
	}
	for b.Loop() {
		if inv, _ := Parse("bench.toml", []byte(text.String())); inv == nil {
			b.Fatal("refused")
		}
	}
}

// Parse never panics; every fault has a line of the file and is one line of
// text; and what Parse accepts has no errors.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(fixtures, "*.toml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add(readFixture(f, filepath.Base(file)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, diags := Parse("x.toml", data)
		last := bytes.Count(data, []byte("\n")) + 1
		for _, d := range diags {
			if d.Line < 1 || d.Line > last {
				t.Errorf("line %d of %d: %s", d.Line, last, d)
			}
			if s := d.String(); strings.ContainsAny(s, "\r\n\x1b\x00") {
				t.Errorf("control characters in %q", s)
			}
		}
		if (inv == nil) != (len(diags.Errors()) > 0) {
			t.Errorf("inventory %v with %v", inv != nil, diags)
		}
		if inv != nil {
			inv.Hosts()
			inv.SecretValues()
		}
	})
}

// What no tunnel could carry, or is none of the two forms, is refused with its line.
func TestTunnelMSS(t *testing.T) {
	parse := func(text string) (*Inventory, string) {
		inv, diags := Parse("x.toml", []byte("[hub]\naddress = \"203.0.113.10\"\n[tunnel]\n"+text+"\n"))
		var faults strings.Builder
		for _, d := range diags {
			faults.WriteString(d.String())
		}
		return inv, faults.String()
	}
	for text, want := range map[string]int{"": 1300, `mss = "off"`: 0, "mss = 536": 536, "mss = 1460": 1460} {
		if inv, faults := parse(text); faults != "" || inv.Tunnel.MSS != want {
			t.Errorf("%q: %v %s, want %d", text, inv, faults, want)
		}
	}
	for value, is := range map[string]string{
		"1461": "1461", "0": "0", "-1": "-1", "true": "true or false", `"1300"`: `"1300"`, "1300.0": "a fraction", "[]": "a list",
	} {
		want := fmt.Sprintf(`x.toml:4: tunnel.mss is %s; write a number from 536 to 1460, or "off"`, is)
		if _, faults := parse("mss = " + value); faults != want {
			t.Errorf("%s: %q, want %q", value, faults, want)
		}
	}
}
