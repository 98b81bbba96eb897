package tasks

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// on is a session on a host: its pppd began so many ticks after the boot.
type on struct {
	user  string
	began int
}

// sessionFacts are of a host on which these are on, by interface, and which has these
// files.
func sessionFacts(sessions map[string]on, files map[string]string) Facts {
	want := wantedSessions()
	f := Bare(want.Reads())
	f.Host.BootID = "this-boot"
	var links []string
	for _, dev := range sortedKeys(sessions) {
		s, addr := sessions[dev], "10.9.0."+dev[3:]
		links = append(links, fmt.Sprintf(`{"ifname":%q,"addr_info":[{"family":"inet","local":"10.9.0.254","address":%q}],"stats64":{"rx":{"bytes":1},"tx":{"bytes":2}}}`, dev, addr))
		if s.user != "" {
			p := SessionDir + "/" + dev
			f.files[p] = FileState{Path: p, Exists: true, Content: fmt.Appendf(nil, "user\t%s\naddress\t%s\npid\t1\nsince\t1\nbegan\t%d\n", s.user, addr, s.began)}
		}
	}
	f.commands["ip-addr"] = CommandState{Stdout: []byte("[" + strings.Join(links, ",") + "]")}
	for p, content := range files {
		f.files[p] = FileState{Path: p, Exists: true, Content: []byte(content)}
	}
	return f
}

const (
	testChap = "/etc/ppp/chap-secrets"
	testKeys = "/etc/ipsec.d/vpnpush/l2tp.secrets"
)

// wantedSessions are those of alice and bob, with the passwords of chapBlock and the key
// of l2tpKey.
func wantedSessions() Sessions {
	return Sessions{
		Local: "10.9.0.254",
		Users: []SessionUser{
			{Name: "alice", Entry: secret.New(`"alice" vps "alice-now"`)},
			{Name: "bob", Entry: secret.New(`"bob" vps "bob-now"`)},
		},
		Passwords: Block{Path: testChap, Owner: "lab"},
		Keys:      File{Path: testKeys, Content: []byte(l2tpKey("key-now"))},
		Daemon:    Daemon{Name: "starter", Part: Part{Name: "starter"}},
		Conn:      "l2tp",
	}
}

func chapBlock(lines ...string) string {
	return "\"carol\" * \"hers\" *\n" + BlockBegin("lab") + "\n" + strings.Join(lines, "\n") + "\n" + BlockEnd + "\n"
}

func l2tpKey(key string) string { return "# whose it is\n203.0.113.10 : PSK \"" + key + "\"\n" }

const alicesLine, bobsLine = `"alice" vps "alice-now" *`, `"bob" vps "bob-now" 10.9.0.2`

// Who is out is out: a session ends with the password or the key that it began with, and
// with its user; the plan says whose and why. Nobody else's does.
func TestSessions(t *testing.T) {
	both := map[string]on{"ppp1": {"alice", 100}, "ppp2": {"bob", 100}}
	same := map[string]string{testChap: chapBlock(alicesLine, bobsLine), testKeys: l2tpKey("key-now")}
	with := func(p, content string) map[string]string {
		m := maps.Clone(same)
		m[p] = content
		return m
	}
	for _, tc := range []struct {
		name     string
		sessions map[string]on
		files    map[string]string
		attrs    []string // "NAME: OLD -> NEW"
		note     string
		do       []string
	}{
		{"all as it is wanted", both, same, nil, "", nil},
		{"nothing applied yet", map[string]on{}, nil, nil, "", nil},
		{"whose it is cannot be known", map[string]on{"ppp3": {}}, same, nil, "", nil},
		{"a user who is no more, and was forgotten", map[string]on{"ppp1": {"alice", 100}, "ppp3": {"mallory", 100}}, same,
			[]string{"session of mallory: 10.9.0.3 on ppp3 -> ended"}, "removed: mallory", []string{"end_sessions mallory"}},
		{"a user who goes", map[string]on{"ppp1": {"alice", 100}, "ppp3": {"mallory", 100}}, with(testChap, chapBlock(alicesLine, bobsLine, `"mallory" vps "x" *`)),
			[]string{"session of mallory: 10.9.0.3 on ppp3 -> ended"}, "removed: mallory", []string{"end_sessions mallory"}},
		{"a new password", both, with(testChap, chapBlock(alicesLine, `"bob" vps "bob-then" 10.9.0.2`)),
			[]string{"session of bob: 10.9.0.2 on ppp2 -> ended"}, "new password: bob", []string{"renewed bob", "end_sessions bob"}},
		{"a new password begins as the old one", both, with(testChap, chapBlock(alicesLine, `"bob" vps "bob-now2" 10.9.0.2`)),
			[]string{"session of bob: 10.9.0.2 on ppp2 -> ended"}, "new password: bob", []string{"renewed bob", "end_sessions bob"}},
		// a saved plan may be applied much later
		{"a new password, and nobody is on", map[string]on{"ppp1": {"alice", 100}}, with(testChap, chapBlock(alicesLine, `"bob" vps "bob-then" 10.9.0.2`)),
			nil, "new password: bob; nobody is on with it now", []string{"renewed bob", "end_sessions bob"}},
		{"another address only", both, with(testChap, chapBlock(alicesLine, `"bob" vps "bob-now" *`)), nil, "", nil},
		{"a new user", both, with(testChap, chapBlock(alicesLine)), nil, "", nil},
		{"one who slipped in with the old password", both, with(renewedPath, "bob\t101 this-boot\nalice\t100 this-boot\n"),
			[]string{"session of bob: 10.9.0.2 on ppp2 -> ended"}, "new password: bob", []string{"end_sessions bob"}},
		{"a note of another boot", both, with(renewedPath, "bob\t101 that-boot\n"), nil, "", nil},
		{"a new key", map[string]on{"ppp1": {"alice", 100}, "ppp2": {"bob", 100}, "ppp3": {}}, with(testKeys, l2tpKey("key-then")),
			[]string{"session: 10.9.0.3 on ppp3 -> cut off", "session of alice: 10.9.0.1 on ppp1 -> ended", "session of bob: 10.9.0.2 on ppp2 -> ended"},
			"new L2TP PSK", []string{"end_sessions alice bob", "starter_down l2tp"}},
		{"another comment above the key", both, with(testKeys, "# another\n"+l2tpKey("key-now")), nil, "", nil},
		{"all at once", map[string]on{"ppp2": {"bob", 100}}, map[string]string{testChap: chapBlock(`"alice" vps "then" *`, bobsLine, `"mallory" vps "x" *`), testKeys: l2tpKey("key-then")},
			[]string{"session of bob: 10.9.0.2 on ppp2 -> ended"}, "removed: mallory; new password: alice; new L2TP PSK",
			[]string{"renewed alice", "end_sessions alice bob mallory", "starter_down l2tp"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := wantedSessions().Check(sessionFacts(tc.sessions, tc.files))
			if err != nil {
				t.Fatal(err)
			}
			if c == nil {
				c = &Change{}
			}
			var attrs, do []string
			for _, a := range c.Attrs {
				attrs = append(attrs, fmt.Sprintf("%s: %s -> %s", a.Name, a.Old, a.New))
			}
			for _, s := range c.Do {
				do = append(do, s.Shell)
			}
			if d := cmp.Diff(tc.attrs, attrs); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tc.do, do); d != "" {
				t.Error(d)
			}
			if len(c.Ends) != len(tc.attrs) { // each once more at the end of a plan
				t.Errorf("it ends %q", c.Ends)
			}
			if c.Note != tc.note {
				t.Errorf("the note is %q, want %q", c.Note, tc.note)
			}
			if s := fmt.Sprintf("%+v", c); strings.Contains(s, "-now") || strings.Contains(s, "-then") {
				t.Errorf("a secret is in it: %s", s)
			}
		})
	}
	if _, err := wantedSessions().Check(Facts{}); err == nil {
		t.Error("sessions that were not read are none")
	}
	if _, err := wantedSessions().Check(sessionFacts(nil, map[string]string{renewedPath: "bob\tsoon\n"})); err == nil {
		t.Error("a note that cannot be read is none")
	}
}

// A session of a user who is the admin's, with a line of his own beside our block, is
// none of ours to end; that of a user who was ours is. A new key cuts both off.
func TestSessionsOfTheAdmin(t *testing.T) {
	want := wantedSessions()
	want.Users = want.Users[:1]
	const block = "# vpnpush begin owner=lab\n" + alicesLine + "\n\"bob\" vps \"y\" *\n# vpnpush end\n"
	on := map[string]on{"ppp1": {"alice", 1}, "ppp2": {"bob", 1}, "ppp3": {"carol", 1}, "ppp4": {"dave", 1}}
	for file, ends := range map[string]string{
		"":                               "bob, carol, dave",
		block:                            "bob, carol, dave",
		"carol * z *\n" + block:          "bob, dave",
		block + "'dave' vps z\n":         "bob, carol",
		"# carol * z *\n* * z\n" + block: "bob",
		"bob * z *\n" + block:            "carol, dave",
	} {
		told := func(key, as string) string {
			files := map[string]string{testChap: file, testKeys: l2tpKey(key)}
			if file == "" {
				delete(files, testChap)
			}
			var got []string
			if c := mustCheck(t, want, sessionFacts(on, files)); c != nil {
				for _, a := range c.Attrs {
					if string(a.New) == as {
						got = append(got, strings.TrimPrefix(a.Name, "session of "))
					}
				}
			}
			return strings.Join(got, ", ")
		}
		if got := told("key-now", "ended"); got != ends {
			t.Errorf("%q: ended are %q, want %s", file, got, ends)
		}
		all := strings.Split("alice, "+ends, ", ")
		rest := slices.DeleteFunc([]string{"alice", "bob", "carol", "dave"}, func(u string) bool { return slices.Contains(all, u) })
		if got := told("key-then", "cut off"); got != strings.Join(rest, ", ") {
			t.Errorf("%q: a new key cuts off %q, want %q", file, got, rest)
		}
	}
}

// All sessions of a user end, and no one else's; that the user got a new password is
// noted once, beside the others.
func TestEndSessionsOfUsers(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "ppp"), 0o700); err != nil {
			t.Fatal(err)
		}
		for dev, user := range map[string]string{"ppp0": "bob", "ppp1": "alice", "ppp2": "bob", "ppp3": "bobby"} {
			if err := os.WriteFile(filepath.Join(dir, "ppp", dev), fmt.Appendf(nil, "user\t%s\npid\t0\n", user), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		script := strings.ReplaceAll("set -eu\n"+filesShell+sessionsShell, "/run/vpnpush", dir) + `
txn=` + t.TempDir() + `
chown() { :; }
boot_id() { echo this-boot; }
sleep() { :; }
renewed bob alice
renewed bob bo.
end_sessions bob nobody`
		if out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		var left []string
		fs, err := os.ReadDir(filepath.Join(dir, "ppp"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fs {
			left = append(left, f.Name())
		}
		if d := cmp.Diff([]string{"ppp1", "ppp3"}, left); d != "" {
			t.Errorf("%s: sessions: %s", name, d)
		}
		b, err := os.ReadFile(filepath.Join(dir, "renewed"))
		if err != nil || !regexp.MustCompile(`^alice\t[0-9]+ this-boot\nbob\t[0-9]+ this-boot\nbo\.\t[0-9]+ this-boot\n$`).Match(b) {
			t.Errorf("%s: noted is %q, %v", name, b, err)
		}
	}
}

// Only a pppd is ended, and its note goes with it: a process that has its number
// by now is left alone.
func TestEndSession(t *testing.T) {
	dir := t.TempDir()
	pppd := filepath.Join(dir, "pppd")
	sleep, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(sleep)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(pppd, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, argv := range transporttest.Shells(t) {
		for _, prog := range []string{pppd, sleep} {
			cmd := exec.Command(prog, "60")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			note := filepath.Join(dir, "ppp0")
			if err := os.WriteFile(note, fmt.Appendf(nil, "user\tx\npid\t%d\n", cmd.Process.Pid), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(argv[0], append(argv[1:], "-c", "set -eu\ntunnels=\n"+sessionsShell+"end_session "+note)...).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
			if _, err := os.Stat(note); err == nil {
				t.Errorf("%s: the note is still there", name)
			}
			if prog == pppd {
				select {
				case <-ended:
				case <-time.After(5 * time.Second):
					t.Errorf("%s: pppd lives", name)
				}
				continue
			}
			select {
			case <-ended:
				t.Errorf("%s: another process was ended", name)
			default:
			}
			cmd.Process.Kill()
			<-ended
		}
	}
}
