package tasks

import (
	"archive/tar"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

const rulesPath = "/etc/iptables/rules.v4"

var updateGolden = flag.Bool("update-golden", false, "write the goldens of rules anew, and fail")

func rulesFile(path, content string) FileState {
	return FileState{Path: path, Exists: true, Type: tar.TypeReg, Content: []byte(content), Mode: 0o644, Owner: "root:adm"}
}

func rulesFacts(live string, file FileState) Facts {
	return answered(map[string]CommandState{"iptables-save": says(live)}, file)
}

// content is what a change would write; "" for a file that goes.
func content(c *Change) string { return c.Do[len(c.Do)-1].Stdin.Reveal() }

// The file of a host with docker and fail2ban: our lines come in, and nothing
// else moves.
func TestRulesV4Golden(t *testing.T) {
	old, golden := testdata(t, "docker-fail2ban.rules.v4"), "testdata/iptables/docker-fail2ban.golden.v4"
	live := "*mangle\n:PREROUTING ACCEPT [9:9]\n:FORWARD DROP [0:0]\nCOMMIT\n"
	c := mustCheck(t, RulesV4{Path: rulesPath, Chains: hubChains}, rulesFacts(live, rulesFile(rulesPath, old)))
	got := content(c)
	if *updateGolden {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Error("golden written: look at it, then run without -update-golden")
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
	var rest []string
	for l := range strings.Lines(got) {
		if !strings.Contains(l, iptables.Prefix) {
			rest = append(rest, l)
		}
	}
	if kept := strings.Join(rest, ""); !strings.HasPrefix(kept, old) {
		t.Errorf("the rest is not byte for byte what it was: %s", cmp.Diff(old, kept))
	}
	if c.Action != Update || c.Do[1].Shell != "put /etc/iptables/rules.v4 0644 root:adm" {
		t.Errorf("%s by %q: mode and owner of the file must stay", c.Action, c.Do[1].Shell)
	}
	if d := cmp.Diff([]Precondition{{rulesPath, SHA256([]byte(old))}}, c.Pre); d != "" || c.Backups[0] != rulesPath {
		t.Errorf("precondition: %s; backs %q", d, c.Backups)
	}
}

// Putting in and taking out are inverse, on any file; and what was put in is
// what Check wants.
func TestRulesV4RoundTrip(t *testing.T) {
	files := map[string]string{
		"docker and fail2ban": testdata(t, "docker-fail2ban.rules.v4"),
		"nft save":            testdata(t, "docker-fail2ban-nft.save"),
		"legacy save":         testdata(t, "docker-fail2ban-legacy.save"),
		"bare tables":         "*filter\nCOMMIT\n*nat\n:POSTROUTING ACCEPT\nCOMMIT\n",
		"unusual order":       "# mine\n\n*mangle\n-A FORWARD -j ACCEPT\n:FORWARD ACCEPT [0:0]\nCOMMIT\n\n",
		"empty":               "",
		"comment only":        "# nothing yet\n",
	}
	for name, old := range files {
		t.Run(name, func(t *testing.T) {
			task := RulesV4{Path: rulesPath, Chains: hubChains}
			c := mustCheck(t, task, rulesFacts("", rulesFile(rulesPath, old)))
			with := content(c)
			if again := mustCheck(t, task, rulesFacts("", rulesFile(rulesPath, with))); again != nil {
				t.Errorf("after apply it still wants:\n%s\nof\n%s", content(again), with)
			}
			if old == "" {
				c = mustCheck(t, RulesV4{Path: rulesPath}, rulesFacts("", rulesFile(rulesPath, with)))
				if c.Action != Delete || c.Do[0].Shell != "rm -f -- /etc/iptables/rules.v4" {
					t.Errorf("the last chain goes: %s by %q", c.Action, c.Do[0].Shell)
				}
				return
			}
			c = mustCheck(t, RulesV4{Path: rulesPath}, rulesFacts("", rulesFile(rulesPath, with)))
			if d := cmp.Diff(old, content(c)); d != "" {
				t.Errorf("in and out again: %s", d)
			}
		})
	}
}

// A file that is not there yet takes the policies that are in force, so that
// the next boot changes none.
func TestRulesV4New(t *testing.T) {
	live := testdata(t, "docker-fail2ban-nft.save")
	c := mustCheck(t, RulesV4{Path: rulesPath, Chains: hubChains[:3]}, rulesFacts(live, FileState{Path: rulesPath}))
	want := `# Added by vpnpush, and removed with the last VPNPUSH- chain in it
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:VPNPUSH-IN - [0:0]
:VPNPUSH-FWD - [0:0]
-A INPUT -j VPNPUSH-IN
-A FORWARD -j VPNPUSH-FWD
-A VPNPUSH-IN -p udp -m multiport --dports 500,4500 -j ACCEPT
-A VPNPUSH-IN -p esp -j ACCEPT
-A VPNPUSH-IN -p udp -m udp --dport 1701 -m policy --dir in --pol ipsec -j ACCEPT
-A VPNPUSH-IN -p udp -m udp --dport 1701 -j DROP
-A VPNPUSH-FWD -s 192.168.1.0/24 -d 203.0.113.10/32 -m policy --dir in --pol ipsec -j ACCEPT
-A VPNPUSH-FWD -s 192.168.200.0/27 -d 192.168.1.0/24 -i ppp+ -j ACCEPT
-A VPNPUSH-FWD -o ppp+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
COMMIT
# Added by vpnpush, and removed with the last VPNPUSH- chain in it
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:VPNPUSH-NAT - [0:0]
-A POSTROUTING -j VPNPUSH-NAT
-A VPNPUSH-NAT -m policy --dir out --pol ipsec -j ACCEPT
-A VPNPUSH-NAT -s 192.168.200.0/27 ! -o ppp+ -j MASQUERADE
COMMIT
`
	if d := cmp.Diff(want, content(c)); d != "" {
		t.Error(d)
	}
	if c.Action != Create || c.Attrs[0].Old != nil || c.Pre[0].SHA256 != "" || c.Do[1].Shell != "put /etc/iptables/rules.v4 0640 root:root" {
		t.Errorf("%s, old %q, precondition %q, by %q", c.Action, c.Attrs[0].Old, c.Pre[0].SHA256, c.Do[1].Shell)
	}
}

// A table that we added and the user went on to use stays when our chains go.
func TestRulesV4AddedTableInUse(t *testing.T) {
	with := content(mustCheck(t, RulesV4{Path: rulesPath, Chains: hubChains[2:3]}, rulesFacts("", FileState{Path: rulesPath})))
	used := strings.Replace(with, "COMMIT\n", "-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n", 1)
	c := mustCheck(t, RulesV4{Path: rulesPath}, rulesFacts("", rulesFile(rulesPath, used)))
	want := "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"
	if d := cmp.Diff(want, content(c)); d != "" {
		t.Error(d)
	}
}

// A file we do not understand is never rewritten, and never taken for empty.
func TestRulesV4Unknown(t *testing.T) {
	good := rulesFile(rulesPath, "*filter\nCOMMIT\n")
	link := good
	link.Type = tar.TypeSymlink
	unreadable := good
	unreadable.Err = "Input/output error"
	for name, file := range map[string]FileState{
		"cut":                    rulesFile(rulesPath, "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j ACCEPT\n"),
		"rule outside":           rulesFile(rulesPath, "-A INPUT -j ACCEPT\n*filter\nCOMMIT\n"),
		"table in table":         rulesFile(rulesPath, "*filter\n*nat\nCOMMIT\n"),
		"table twice":            rulesFile(rulesPath, "*filter\nCOMMIT\n*filter\nCOMMIT\n"),
		"commands":               rulesFile(rulesPath, "*filter\n-I INPUT -j DROP\nCOMMIT\n"),
		"nftables.conf":          rulesFile(rulesPath, "#!/usr/sbin/nft -f\nflush ruleset\n"),
		"DOS line ends":          rulesFile(rulesPath, "*filter\r\nCOMMIT\r\n"),
		"zero bytes of a crash":  rulesFile(rulesPath, "*filter\n\x00\x00\x00\x00"),
		"declaration half there": rulesFile(rulesPath, "*filter\n:INPUT\nCOMMIT\n"),
		"symlink":                link,
		"unreadable":             unreadable,
	} {
		c, err := RulesV4{Path: rulesPath, Chains: hubChains}.Check(rulesFacts("", file))
		if c != nil || !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: change %v, error %v; want ErrUnknown", name, c, err)
		}
	}
	failed := answered(map[string]CommandState{"iptables-save": {Code: 1}}, good)
	if c, err := (RulesV4{Path: rulesPath, Chains: hubChains}).Check(failed); c != nil || !errors.Is(err, ErrUnknown) {
		t.Errorf("live policies not known: change %v, error %v", c, err)
	}
}

// What netfilter-persistent save makes of the rules as they run is as wanted:
// its order of declarations and chains is not ours.
func TestRulesV4AfterSave(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		h.must("iptables-restore", testdata(t, "docker-fail2ban.rules.v4"))
		h.mustApply(mustCheck(t, Firewall{Chains: hubChains}, h.facts()).Do)
		saved := h.must("iptables-save", "")
		if c := mustCheck(t, RulesV4{Path: rulesPath, Chains: hubChains}, rulesFacts("", rulesFile(rulesPath, saved))); c != nil {
			t.Errorf("of\n%s\nit still wants\n%s", saved, content(c))
		}
	})
}

// What is written boots into what Firewall wants, and is tested on the host
// before it lands.
func TestRulesV4Apply(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		path := filepath.Join(t.TempDir(), "iptables", "rules.v4")
		task, live := RulesV4{Path: path, Chains: hubChains}, Firewall{Chains: hubChains}

		c := mustCheck(t, task, h.facts(FileState{Path: path}))
		h.mustApply(c.Do)
		if got := h.rules(); got != "" {
			t.Errorf("the test of the file loaded it: %s", got)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		file := rulesFile(path, string(b))
		if c := mustCheck(t, task, h.facts(file)); c != nil {
			t.Errorf("after apply it still wants %s", content(c))
		}
		h.must("iptables-restore", string(b)) // the next boot
		if c := mustCheck(t, live, h.facts()); c != nil {
			t.Errorf("after a boot: %s", c.Do[0].Stdin.Reveal())
		}

		// removed again, the file is gone
		h.mustApply(mustCheck(t, RulesV4{Path: path}, h.facts(file)).Do)
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file: %v, want it gone", err)
		}

		// a host with rules of its own
		old := testdata(t, "docker-fail2ban.rules.v4")
		if err := os.WriteFile(path, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		c = mustCheck(t, task, h.facts(rulesFile(path, old)))
		h.mustApply(c.Do)
		h.must("iptables-restore", content(c))
		if c := mustCheck(t, live, h.facts()); c != nil {
			t.Errorf("after a boot: %s", c.Do[0].Stdin.Reveal())
		}
	})
}

// A bad rule of ours does not land; one that was there before does not keep
// ours from landing.
func TestRulesV4Test(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		path := filepath.Join(t.TempDir(), "rules.v4")
		bad := []iptables.Chain{{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p udp -m nonesuch -j ACCEPT"}}}
		good := "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
		broken := "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m alsonone -j ACCEPT\nCOMMIT\n"
		for _, tc := range []struct {
			name, old string
			chains    []iptables.Chain
			lands     bool
		}{
			{"no file, bad rule", "", bad, false},
			{"good file, bad rule", good, bad, false},
			{"broken file, good rule", broken, hubChains, true},
			{"good file, good rule", good, hubChains, true},
		} {
			file := FileState{Path: path}
			os.Remove(path)
			if tc.old != "" {
				file = rulesFile(path, tc.old)
				file.Owner = "root:root"
				if err := os.WriteFile(path, []byte(tc.old), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			c := mustCheck(t, RulesV4{Path: path, Chains: tc.chains}, h.facts(file))
			out, err := h.apply(c.Do)
			b, _ := os.ReadFile(path)
			want := tc.old
			if tc.lands {
				want = content(c)
			}
			if (err == nil) != tc.lands || string(b) != want {
				t.Errorf("%s: error %v, want it to land: %t\n%s\nthe file:\n%s", tc.name, err, tc.lands, out, b)
			}
		}
	})
}
