package roles

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// What runs on a host for years and is seen by nobody is clean in the eyes of shellcheck
// and of each shell.
func TestScriptFilesAreCleanShell(t *testing.T) {
	inv, n := full(), 0
	for _, h := range hosts(inv) {
		for _, task := range wanted(t, inv, h) {
			f, ok := task.(tasks.File)
			if !ok || !strings.HasPrefix(string(f.Content), "#!/bin/sh\n") || h != "vps" && h != "tokyo" {
				continue
			}
			n++
			t.Run(h+f.Path, func(t *testing.T) { transporttest.CleanShell(t, string(f.Content)) })
		}
	}
	if n != 4 {
		t.Errorf("%d scripts, want pppd's three and the one that dials", n)
	}
}

// watched runs the script that watches tokyo's tunnel over states, one for each look, and
// returns what it did and said, with the number of the look.
func watched(t *testing.T, argv []string, states, more string) []string {
	t.Helper()
	functions, _, ok := strings.Cut(file(t, minimal(), "tokyo", redialScript), "\nwatch() {")
	if !ok {
		t.Fatal("the script is another")
	}
	test := functions + `
at_work() { false; }
starter_redial() { echo "redial $1"; }
` + more + `
tries=0 bare=0 rest=0 n=0
# once in a subshell, for what it says; once for what it remembers
for s in ` + states + `; do n=$((n + 1)); look tokyo "$s" | sed "s/^/$n /"; look tokyo "$s" >/dev/null; done`
	out, err := exec.Command(argv[0], append(argv[1:], "-euc", test)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var did []string
	for l := range strings.Lines(string(out)) {
		did = append(did, strings.TrimSpace(l))
	}
	return did
}

// A tunnel that is down is dialled at once, one whose IKE SA is bare after the second
// look, none that charon is at, and none while an apply is at work; what is in vain is
// tried at every third look only, and said once.
func TestRedialLooks(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ states, more, want string }{
			{"up up other other up", "", ""},
			{"up none up up", "", "2 tokyo: no IKE SA; dialled|2 redial tokyo|3 tokyo: up again"},
			{"bare other bare up", "", ""},
			{"bare bare other up", "", "2 tokyo: an IKE SA without a child SA; ended, and dialled|2 redial tokyo|4 tokyo: up again"},
			{"none none none none none none none", "", "1 tokyo: no IKE SA; dialled|1 redial tokyo|2 redial tokyo|3 redial tokyo|6 redial tokyo"},
			{"none bare bare", "at_work() { true; }", ""},
		} {
			got := strings.Join(watched(t, argv, tt.states, tt.more), "|")
			if got != tt.want {
				t.Errorf("%s: %s: %s, want %s", name, tt.states, got, tt.want)
			}
		}
	}
}

// How a conn stands is told by what charon lists of it, and of no other: not by one whose
// name begins alike, and not by a child SA that goes.
func TestStarterState(t *testing.T) {
	const head = "Security Associations (1 up, 0 connecting):\n"
	const ike = "       tokyo[1]: ESTABLISHED 5 seconds ago, 192.168.1.10[tokyo]...203.0.113.10[vps]\n"
	const child = "       tokyo{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: c7_i b7_o\n       tokyo{1}:   192.168.1.0/24 === 10.10.0.0/24\n"
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ out, want string }{
			{head + ike + child, "up"},
			{head + ike, "bare"},
			{head + ike + strings.Replace(child, "INSTALLED", "REKEYING", 1), "up"},
			{head + ike + strings.Replace(child, "INSTALLED", "DELETING", 1), "bare"},
			{head + ike + strings.Replace(child, "INSTALLED", "INSTALLING", 1), "other"},
			{head + ike + strings.ReplaceAll(child, "tokyo{", "tokyo2{"), "bare"},
			{head + strings.ReplaceAll(ike+child, "tokyo[", "tokyo2["), "up"}, // two conns with one IKE SA
			{head + strings.Replace(ike, "ESTABLISHED 5 seconds ago", "CONNECTING", 1), "other"},
			{head + ike + strings.Replace(strings.Replace(ike, "ESTABLISHED 5 seconds ago", "CONNECTING", 1), "[1]", "[2]", 1), "other"},
			{head + strings.Replace(ike, "ESTABLISHED 5 seconds ago", "DELETING", 1), "none"},
			{head + "  none\n", "none"},
			{"connecting to 'unix:///var/run/charon.ctl' failed: Connection refused\n", "other"},
			{"", "other"},
		} {
			out, err := exec.Command(argv[0], append(argv[1:], "-euc", starterDial+`timeout() { shift; "$@"; }
ipsec() { printf '%s' "$OUT"; }
OUT='`+strings.ReplaceAll(tt.out, "'", `'\''`)+`'
starter_state tokyo`)...).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("%s: %q, want %s (%v)\n%s", name, got, tt.want, err, tt.out)
			}
		}
	}
}
