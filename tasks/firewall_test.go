package tasks

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// hubChains is about what a hub wants.
var hubChains = []iptables.Chain{
	{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{
		"-p udp -m multiport --dports 500,4500 -j ACCEPT",
		"-p esp -j ACCEPT",
		"-p udp -m udp --dport 1701 -m policy --dir in --pol ipsec -j ACCEPT",
		"-p udp -m udp --dport 1701 -j DROP",
	}},
	{Table: "filter", From: "FORWARD", Name: "VPNPUSH-FWD", Rules: []string{
		"-s 192.168.1.0/24 -d 203.0.113.10/32 -m policy --dir in --pol ipsec -j ACCEPT",
		"-s 192.168.200.0/27 -d 192.168.1.0/24 -i ppp+ -j ACCEPT",
		"-o ppp+ -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
	}},
	{Table: "nat", From: "POSTROUTING", Name: "VPNPUSH-NAT", Rules: []string{
		"-m policy --dir out --pol ipsec -j ACCEPT",
		"-s 192.168.200.0/27 ! -o ppp+ -j MASQUERADE",
	}},
	{Table: "mangle", From: "PREROUTING", Name: "VPNPUSH-SRC", Rules: []string{
		"-m devgroup --src-group 0x6a5 -m rpfilter --invert -j DROP",
		"-s 10.10.0.0/24 -d 192.168.1.0/24 -m policy --dir in --pol none -m rpfilter --invert -j DROP",
	}},
	{Table: "mangle", From: "FORWARD", Name: "VPNPUSH-MSS", Rules: []string{
		"-p tcp -m policy --dir in --pol ipsec -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss 1361:1536 -j TCPMSS --set-mss 1360",
	}},
}

// treeChains is what a hub with many sites wants: chains that lead to chains.
var treeChains = append(slices.Clone(hubChains[1:]),
	iptables.Chain{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{
		"-p esp -j ACCEPT",
		"-s 172.16.0.0/14 -j VPNPUSH-IN-1-ac100000-14",
		"-s 10.0.0.0/8 -j VPNPUSH-IN-1-0a000000-8",
	}},
	iptables.Chain{Table: "filter", Name: "VPNPUSH-IN-1", Rules: []string{
		"-m policy --dir in --pol ipsec -j ACCEPT",
	}},
	iptables.Chain{Table: "filter", Name: "VPNPUSH-IN-1-ac100000-14", Rules: []string{
		"-s 172.16.0.0/24 -j VPNPUSH-IN-1",
		"! -s 172.17.0.0/26 -d 172.17.0.0/26 -j VPNPUSH-IN-1",
	}},
	iptables.Chain{Table: "filter", Name: "VPNPUSH-IN-1-0a000000-8", Rules: []string{
		"-s 10.0.0.0/9 -j VPNPUSH-IN-1",
	}},
)

// netns puts the calling test into a network namespace of its own, with the
// iptables of each backend, and runs f there. The namespace ends with the test.
func netns(t *testing.T, f func(t *testing.T, h *rulesHost)) {
	for _, backend := range []string{"nft", "legacy"} {
		t.Run(backend, func(t *testing.T) {
			if os.Getuid() != 0 {
				t.Skip("SKIPPED: needs root for a network namespace")
			}
			multi, err := exec.LookPath("xtables-" + backend + "-multi")
			if err != nil {
				t.Skip("SKIPPED: no iptables-" + backend + " here; apt-get install iptables")
			}
			runtime.LockOSThread() // never unlocked: the thread, and its namespace, end with this goroutine
			if err := unshareNet(); err != nil {
				t.Skipf("SKIPPED: no network namespaces here: %v", err)
			}
			h := &rulesHost{t: t, dir: t.TempDir()}
			for _, name := range []string{"iptables", "iptables-save", "iptables-restore"} {
				if err := os.Symlink(multi, filepath.Join(h.dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if out, err := h.run("iptables -nL >&2", ""); err != nil {
				t.Skipf("SKIPPED: this kernel has no iptables-%s: %s", backend, out)
			}
			h.must("iptables-save", "") // loads tables early: a save lists them then
			f(t, h)
		})
	}
}

// rulesHost runs commands as an apply script does.
type rulesHost struct {
	t   *testing.T
	dir string // its iptables; the script's own files too
}

func (h *rulesHost) run(script, stdin string) (string, error) {
	c := exec.Command("sh", "-eu", "-c", script)
	c.Env = []string{"PATH=" + h.dir + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	c.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		return string(out) + stderr.String(), err
	}
	return string(out), nil
}

func (h *rulesHost) must(script, stdin string) string {
	h.t.Helper()
	out, err := h.run(script, stdin)
	if err != nil {
		h.t.Fatalf("%.300s: %v\n%s", script, err, out)
	}
	return out
}

// apply runs steps with the functions of an apply script.
func (h *rulesHost) apply(ss []Step) (string, error) {
	h.t.Helper()
	var b strings.Builder
	b.WriteString("at() { :; }\nsha() { sha256sum <\"$1\" | cut -d ' ' -f 1; }\n" + filesShell)
	b.WriteString("\ntxn='" + h.dir + "'\nexport PATH='" + h.dir + "':$PATH\nset -eu\n")
	for p := PhasePackages; p <= PhaseVerify; p++ {
		for _, s := range ss {
			switch {
			case s.Phase != p:
			case s.Stdin.IsZero():
				b.WriteString(s.Shell + "\n")
			default:
				b.WriteString(s.Shell + " <<'END'\n" + s.Stdin.Reveal() + "END\n")
			}
		}
	}
	return h.run("exec sh -s", b.String())
}

func (h *rulesHost) mustApply(ss []Step) {
	h.t.Helper()
	if out, err := h.apply(ss); err != nil {
		h.t.Fatalf("apply: %v\n%s", err, out)
	}
}

func (h *rulesHost) facts(files ...FileState) Facts {
	return answered(map[string]CommandState{"iptables-save": says(h.must("iptables-save", ""))}, files...)
}

var counters = regexp.MustCompile(`\[\d+:\d+\]`)

// rules is what runs, without what may differ between two equal states:
// comments, counters, the order of declarations, tables nobody uses.
func (h *rulesHost) rules() string {
	h.t.Helper()
	return essence(h.t, h.must("iptables-save", ""), func(string) bool { return true })
}

func (h *rulesHost) foreign() string {
	h.t.Helper()
	return essence(h.t, h.must("iptables-save", ""), func(l string) bool { return !strings.Contains(l, iptables.Prefix) })
}

func essence(t *testing.T, text string, keep func(string) bool) string {
	t.Helper()
	var tables []string
	for _, table := range strings.Split("\n"+text, "\n*")[1:] {
		name, rest, _ := strings.Cut(table, "\n")
		body, _, committed := strings.Cut(rest, "COMMIT\n")
		if !committed {
			t.Fatalf("table %s: no COMMIT in:\n%s", name, text)
		}
		var decls, rules []string
		used := false
		for l := range strings.Lines(body) {
			if l = counters.ReplaceAllString(l, "[0:0]"); !keep(l) || l[0] == '#' {
				continue
			}
			if l[0] == ':' {
				decls = append(decls, l)
				used = used || !strings.HasSuffix(l, " ACCEPT [0:0]\n")
			} else {
				rules = append(rules, l)
			}
		}
		if used || len(rules) > 0 {
			slices.Sort(decls)
			tables = append(tables, "*"+name+"\n"+strings.Join(append(decls, rules...), ""))
		}
	}
	slices.Sort(tables)
	return strings.Join(tables, "")
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata/iptables", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Rules are compared as text. Each of these is read back as it was written, by
// both backends (seen with 1.8.7, 1.8.9 and 1.8.11), so roles may use it.
func TestCanonicalRules(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		var lines []string
		for l := range strings.Lines(testdata(t, "canonical.txt")) {
			if l[0] != '#' {
				lines = append(lines, strings.TrimSpace(l))
			}
		}
		for _, l := range lines {
			table, rule, _ := strings.Cut(l, " ")
			chain, _, _ := strings.Cut(rule, " ")
			h.must("iptables-restore --noflush", "*"+table+"\n:VPNPUSH-IN-1 - [0:0]\n-A "+rule+"\nCOMMIT\n")
			if got := h.must("iptables-save -t "+table+" | grep '^-A'; iptables -t "+table+" -F "+chain, ""); got != "-A "+rule+"\n" {
				t.Errorf("wrote -A %s\nread  %s", rule, got)
			}
		}
		for _, c := range hubChains {
			for _, r := range c.Rules {
				if !slices.Contains(lines, c.Table+" "+c.From+" "+r) {
					t.Errorf("canonical.txt lacks: %s %s %s", c.Table, c.From, r)
				}
			}
		}
	})
}

// The whole way, on a real kernel: what Do makes is what Check wants; foreign
// chains, rules, their order and policies stay; a second Do changes nothing;
// Undo puts back what was there of ours, wrong as it was.
func TestFirewallApply(t *testing.T) {
	const ours = "*filter\n:VPNPUSH-IN - [0:0]\n:VPNPUSH-FWD - [0:0]\n" +
		"-A VPNPUSH-IN -p udp -m multiport --dports 500,4500 -j ACCEPT\n-A VPNPUSH-FWD -i ppp+ -j ACCEPT\n"
	all := func(h *rulesHost, f Facts) []Step { return mustCheck(h.t, Firewall{Chains: hubChains}, f).Do }
	for _, tc := range []struct {
		name  string
		load  string // more rules, before
		whole bool   // start from what is wanted
		tree  bool   // start from a tree
		want  []iptables.Chain
	}{
		{name: "first, a tree", want: treeChains},
		{name: "a tree grows", whole: true, want: treeChains},
		{name: "a tree is felled", tree: true, want: hubChains},
		{name: "a tree goes", tree: true},
		{name: "a tree by hand", tree: true, load: "*filter\n-D VPNPUSH-IN-1-ac100000-14 1\n-I INPUT 2 -j VPNPUSH-IN-1\nCOMMIT\n", want: treeChains},
		{name: "first", want: hubChains},
		{name: "no jump", load: ours + "COMMIT\n", want: hubChains},
		{name: "jump behind a deciding rule", load: ours + "-A INPUT -j VPNPUSH-IN\n-A FORWARD -j VPNPUSH-FWD\nCOMMIT\n", want: hubChains},
		{name: "jump twice", load: ours + "-I INPUT 1 -j VPNPUSH-IN\n-I INPUT 3 -j VPNPUSH-IN\n-I FORWARD 1 -j VPNPUSH-FWD\nCOMMIT\n", want: hubChains},
		{name: "jump with a condition", load: ours + "-I INPUT 1 -i eth0 -m comment --comment \"by hand\" -j VPNPUSH-IN\n-I FORWARD 2 -g VPNPUSH-FWD\nCOMMIT\n", want: hubChains},
		{name: "jump elsewhere", load: ours + "-I OUTPUT 1 -j VPNPUSH-IN\n-A f2b-sshd -j VPNPUSH-IN\nCOMMIT\n", want: hubChains},
		{name: "rules by hand", whole: true, load: "*filter\n-I VPNPUSH-IN 2 -s 198.51.100.1/32 -j DROP\n-D VPNPUSH-FWD 1\nCOMMIT\n", want: hubChains},
		{name: "a chain less", whole: true, want: hubChains[:4]},
		{name: "all but one go", whole: true, want: hubChains[2:3]},
		{name: "none left", whole: true},
		{name: "old chain that calls another", whole: true, load: "*filter\n:VPNPUSH-OLD - [0:0]\n-A VPNPUSH-OLD -j VPNPUSH-IN\n-I INPUT 2 -j VPNPUSH-OLD\nCOMMIT\n", want: hubChains},
	} {
		t.Run(tc.name, func(t *testing.T) {
			netns(t, func(t *testing.T, h *rulesHost) {
				h.must("iptables-restore", testdata(t, "docker-fail2ban.rules.v4"))
				if tc.whole {
					h.mustApply(all(h, h.facts()))
				}
				if tc.tree {
					h.mustApply(mustCheck(t, Firewall{Chains: treeChains}, h.facts()).Do)
				}
				if tc.load != "" {
					h.must("iptables-restore --noflush", tc.load)
				}
				task := Firewall{Chains: tc.want}
				before, foreign := h.rules(), h.foreign()
				c := mustCheck(t, task, h.facts())
				if c == nil {
					t.Fatal("nothing to do")
				}
				if bytes.Equal(c.Attrs[0].Old, c.Attrs[0].New) {
					t.Errorf("a change whose diff is empty:\n%s", c.Attrs[0].Old)
				}
				h.mustApply(c.Do)
				after := h.rules()
				if again := mustCheck(t, task, h.facts()); again != nil {
					t.Errorf("after apply:\n%s\nit still wants %s", after, again.Do[0].Stdin.Reveal())
				}
				if d := cmp.Diff(foreign, h.foreign()); d != "" {
					t.Errorf("Do touched foreign rules: %s", d)
				}
				h.mustApply(c.Do)
				if d := cmp.Diff(after, h.rules()); d != "" {
					t.Errorf("a second Do changed: %s", d)
				}
				for range 2 {
					h.mustApply(c.Undo)
					if d := cmp.Diff(before, h.rules()); d != "" {
						t.Errorf("Undo left: %s", d)
					}
				}
			})
		})
	}
}

// A host that has never seen a rule, where some tables do not even exist yet.
func TestFirewallFresh(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		second := iptables.Chain{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN2", Rules: []string{"-p ah -j ACCEPT"}}
		task := Firewall{Chains: append(hubChains[:len(hubChains):len(hubChains)], second)}
		c := mustCheck(t, task, h.facts())
		if c.Action != Create || c.Attrs[0].Old != nil {
			t.Errorf("action %s, old %q", c.Action, c.Attrs[0].Old)
		}
		h.mustApply(c.Do)
		if again := mustCheck(t, task, h.facts()); again != nil {
			t.Errorf("it still wants %s", again.Do[0].Stdin.Reveal())
		}
		if got := h.must("iptables -S INPUT | tail -n 2", ""); got != "-A INPUT -j VPNPUSH-IN\n-A INPUT -j VPNPUSH-IN2\n" {
			t.Errorf("jumps out of order: %s", got)
		}
		h.mustApply(c.Undo)
		if got := h.rules(); got != "" {
			t.Errorf("Undo left: %s", got)
		}
	})
}

// The foreign rules shrink between plan and undo (docker stops): Undo must not
// fail on a rule number that is gone.
func TestFirewallUndoOnChangedHost(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		h.must("iptables-restore", testdata(t, "docker-fail2ban.rules.v4"))
		h.must("iptables-restore --noflush", "*filter\n:VPNPUSH-IN - [0:0]\n-A INPUT -j VPNPUSH-IN\nCOMMIT\n")
		c := mustCheck(t, Firewall{Chains: hubChains[:1]}, h.facts())
		h.mustApply(c.Do)
		h.must("iptables -D INPUT 5; iptables -D INPUT 4; iptables -D INPUT 3", "")
		h.mustApply(c.Undo)
		if got := h.must("iptables -S INPUT | tail -n 1", ""); got != "-A INPUT -j VPNPUSH-IN\n" {
			t.Errorf("last rule of INPUT: %s", got)
		}
	})
}

// A restore that cannot be done must fail as a whole, and say so: the kernel's
// rules stay as they were.
func TestFirewallDoFails(t *testing.T) {
	netns(t, func(t *testing.T, h *rulesHost) {
		h.must("iptables-restore", testdata(t, "docker-fail2ban.rules.v4"))
		before := h.rules()
		bad := []iptables.Chain{{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p udp -j ACCEPT", "-p udp -m nonesuch -j ACCEPT"}}}
		c := mustCheck(t, Firewall{Chains: bad}, h.facts())
		if _, err := h.apply(c.Do); err == nil {
			t.Error("Do of an impossible rule: no error")
		}
		if d := cmp.Diff(before, h.rules()); d != "" {
			t.Errorf("it changed: %s", d)
		}
		c = mustCheck(t, Firewall{Chains: hubChains}, h.facts())
		if err := os.Remove(filepath.Join(h.dir, "iptables-save")); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(h.dir, "iptables-save"), []byte("#!/bin/sh\nexit 4\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := h.apply(c.Do); err == nil {
			t.Error("Do where iptables-save fails: no error")
		}
	})
}

// What may precede a jump: rules that let the packet go on. The rest cannot be
// left before it, since our rules might never be asked.
func TestFirewallJumpPlace(t *testing.T) {
	want := []iptables.Chain{{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p esp -j ACCEPT"}}}
	for before, settled := range map[string]bool{
		"":                       true,
		"-A INPUT -j f2b-sshd\n": true,
		"-A INPUT -p tcp -j LOG --log-prefix \"-j DROP \"\n": true,
		"-A INPUT -p tcp -m comment --comment -j -j LOG\n":   true,
		"-A INPUT -p tcp -m comment --comment -j -j DROP\n":  false,
		"-A INPUT -i lo\n":    true,
		"-A OUTPUT -j DROP\n": true,
		"-A INPUT -j f2b-sshd\n-A INPUT -i lo -j ACCEPT\n":        false,
		"-A INPUT -m comment --comment \"a \\\" -j x\" -j DROP\n": false,
		"-A INPUT -p tcp -j REJECT --reject-with tcp-reset\n":     false,
		"-A INPUT -s 10.0.0.0/8 -j RETURN\n":                      false,
		"-A INPUT -g f2b-sshd\n":                                  false,
		"-A INPUT -p udp -m udp --dport 53 -j NFQUEUE\n":          false,
		"-A INPUT -j VPNPUSH-IN\n":                                false,
		"-A INPUT -i eth0 -j VPNPUSH-IN\n":                        false,
		"-A VPNPUSH-IN -j DROP\n":                                 false,
		"-A VPNPUSH-IN -p esp -j ACCEPT\n-A INPUT -j VPNPUSH-X\n": false,
	} {
		rule := "-A VPNPUSH-IN -p esp -j ACCEPT\n"
		if strings.Contains(before, rule) {
			rule = ""
		}
		text := "*filter\n:INPUT ACCEPT [0:0]\n:VPNPUSH-IN - [0:0]\n:f2b-sshd - [0:0]\n" + before + "-A INPUT -j VPNPUSH-IN\n" + rule + "COMMIT\n"
		c := mustCheck(t, Firewall{Chains: want}, answered(map[string]CommandState{"iptables-save": says(text)}))
		if (c == nil) != settled {
			t.Errorf("before the jump:\n%schange: %v, want settled %t", before, c, settled)
		}
	}
}

// "No chains" is only what a command that ran has said.
func TestFirewallUnknown(t *testing.T) {
	for _, tc := range []struct {
		name    string
		answer  CommandState
		action  Action
		unknown bool
	}{
		{"not installed", CommandState{Code: 127, Stderr: []byte("sh: 1: iptables-save: not found")}, Create, false},
		{"no rules", says(""), Create, false},
		{"not allowed", CommandState{Code: 4, Stderr: []byte("iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)")}, "", true},
		{"cut", says("*filter\n:INPUT ACCEPT [0:0]\n"), "", true},
		{"no save", says("iptables: command disabled\n"), "", true},
		{"table that only nft can show", says("# Table `nat' is incompatible, use 'nft' tool.\n"), "", true},
		{"another table that only nft can show", says("# Table `raw' is incompatible, use 'nft' tool.\n"), Create, false},
		{"warning", says("# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"), Create, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Firewall{Chains: hubChains}.Check(answered(map[string]CommandState{"iptables-save": tc.answer}))
			if tc.unknown {
				if !errors.Is(err, ErrUnknown) || c != nil {
					t.Fatalf("change %v, error %v; want ErrUnknown", c, err)
				}
				return
			}
			if err != nil || c.Action != tc.action {
				t.Fatalf("change %v, error %v; want %s", c, err, tc.action)
			}
		})
	}
	if _, err := (Firewall{Chains: hubChains}).Check(Facts{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("nothing was read: got %v, want ErrUnknown", err)
	}
}

// What a plan shows.
func TestFirewallDiff(t *testing.T) {
	live := testdata(t, "docker-fail2ban-legacy.save")
	live = strings.Replace(live, "-A DOCKER -d", "-A INPUT -j VPNPUSH-IN\n-A VPNPUSH-IN -p esp -j ACCEPT\n-A DOCKER -d", 1)
	live = strings.Replace(live, ":f2b-sshd", ":VPNPUSH-IN - [0:0]\n:f2b-sshd", 1)
	c := mustCheck(t, Firewall{Chains: hubChains[:1]}, answered(map[string]CommandState{"iptables-save": says(live)}))
	wantOld := `*filter
:VPNPUSH-IN
-A INPUT -j VPNPUSH-IN   # rule 6, behind: -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A VPNPUSH-IN -p esp -j ACCEPT
`
	wantNew := `*filter
:VPNPUSH-IN
-A INPUT -j VPNPUSH-IN
-A VPNPUSH-IN -p udp -m multiport --dports 500,4500 -j ACCEPT
-A VPNPUSH-IN -p esp -j ACCEPT
-A VPNPUSH-IN -p udp -m udp --dport 1701 -m policy --dir in --pol ipsec -j ACCEPT
-A VPNPUSH-IN -p udp -m udp --dport 1701 -j DROP
`
	if d := cmp.Diff(wantOld, string(c.Attrs[0].Old)) + cmp.Diff(wantNew, string(c.Attrs[0].New)); d != "" || c.Action != Update {
		t.Errorf("%s: %s", c.Action, d)
	}
}
