package tasks

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

var passwords = Block{Path: "/etc/pw", Owner: "me", Content: []byte("\"alice\" vps \"x\" *\n")}

func sessionFacts(users map[string]string) Facts {
	f := Bare(Sessions{Passwords: passwords}.Reads())
	links := ""
	for dev, user := range users {
		addr := "10.9.0." + dev[3:]
		if links != "" {
			links += ","
		}
		links += fmt.Sprintf(`{"ifname":%q,"addr_info":[{"family":"inet","local":"10.9.0.254","address":%q}],"stats64":{"rx":{"bytes":1},"tx":{"bytes":2}}}`, dev, addr)
		if user != "" {
			p := SessionDir + "/" + dev
			f.files[p] = FileState{Path: p, Exists: true, Content: []byte("user\t" + user + "\naddress\t" + addr + "\npid\t1\nsince\t1\n")}
		}
	}
	f.commands["ip-addr"] = CommandState{Stdout: []byte("[" + links + "]")}
	return f
}

// A session of a user that the inventory has no more is ended; others, and those
// of which nobody knows whose they are, are not.
func TestSessions(t *testing.T) {
	want := Sessions{Local: "10.9.0.254", Users: []string{"alice"}, Passwords: passwords}
	if c, err := want.Check(sessionFacts(map[string]string{"ppp1": "alice", "ppp2": ""})); err != nil || c != nil {
		t.Errorf("%+v, %v", c, err)
	}
	c, err := want.Check(sessionFacts(map[string]string{"ppp1": "alice", "ppp3": "mallory"}))
	if err != nil || c == nil || len(c.Do) != 1 || c.Do[0].Shell != "end_session /run/vpnpush/ppp/ppp3" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := want.Check(Facts{}); err == nil {
		t.Error("sessions that were not read are none")
	}
}

// A session of a user who is the admin's, with a line of his own beside our block, is
// none of ours to end; that of a user who was ours is.
func TestSessionsOfTheAdmin(t *testing.T) {
	want := Sessions{Local: "10.9.0.254", Users: []string{"alice"}, Passwords: passwords}
	const block = "# vpnpush begin owner=me\n\"alice\" vps \"x\" *\n\"bob\" vps \"y\" *\n# vpnpush end\n"
	for file, ends := range map[string]string{
		"":                               "bob, carol, dave",
		block:                            "bob, carol, dave",
		"carol * z *\n" + block:          "bob, dave",
		block + "'dave' vps z\n":         "bob, carol",
		"# carol * z *\n* * z\n" + block: "bob",
		"bob * z *\n" + block:            "carol, dave",
	} {
		f := sessionFacts(map[string]string{"ppp1": "alice", "ppp2": "bob", "ppp3": "carol", "ppp4": "dave"})
		f.files[passwords.Path] = FileState{Path: passwords.Path, Exists: file != "", Type: '0', Content: []byte(file)}
		var got []string
		if c := mustCheck(t, want, f); c != nil {
			for _, a := range c.Attrs {
				got = append(got, strings.TrimPrefix(a.Name, "session of "))
			}
		}
		if strings.Join(got, ", ") != ends {
			t.Errorf("%q: ended are %q, want %s", file, got, ends)
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
			if out, err := exec.Command(argv[0], append(argv[1:], "-c", "set -eu\n"+sessionsShell+"end_session "+note)...).CombinedOutput(); err != nil {
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
