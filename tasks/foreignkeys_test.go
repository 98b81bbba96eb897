package tasks

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

var keysDaemon = Daemon{Name: "ike", Unit: "ike.service", Keys: []KeySource{
	{Read: Read{Kind: ReadCommand, Arg: "keys"}, Syntax: mask.IPsecSecrets},
	{Read: Read{Kind: ReadGlob, Arg: "/etc/x/*.conf"}, Syntax: mask.Swanctl},
}}

func hubDoors() []Door {
	return []Door{
		{Door: strongswan.Door{Local: "@vps", Peer: "@tokyo"}, Host: "tokyo"},
		{Door: strongswan.Door{Local: "@vps", Peer: "@osaka"}, Host: "osaka"},
		{Door: strongswan.Door{Local: "203.0.113.10", Peer: "%any", One: true}},
	}
}

// keyFacts are those of a host whose command lists these keys, and which has this file.
func keyFacts(list, conf string) Facts {
	f := Bare(ForeignKeys{Daemon: keysDaemon}.Reads())
	f.commands["keys"] = says(list)
	if conf != "" {
		f.files["/etc/x/a.conf"] = FileState{Path: "/etc/x/a.conf", Exists: true, Type: '0', Content: []byte(conf)}
	}
	return f
}

// A key that opens a conn of ours stops an apply, by file and line, and says whom it
// lets in; one that opens only the admin's own is left alone, and so are ours.
func TestForeignKeys(t *testing.T) {
	ours := []string{"/etc/ours/tokyo.secrets"}
	for name, tt := range map[string]struct {
		list, conf string
		says       string // "" for no change
	}{
		"nothing":          {},
		"for anybody":      {list: "file\t/etc/s\tabc\nkey\t3\t: PSK \n", says: "/etc/s:3 has a key for any identity: who knows it can pose as osaka, tokyo, and pass for an L2TP client up to its password"},
		"for the hub":      {list: "file\t/etc/s\tabc\nkey\t3\t@vps @x : PSK \n", says: "/etc/s:3 has a key for @vps @x: who knows it can pose as osaka, tokyo"},
		"for one":          {list: "file\t/etc/s\tabc\nkey\t3\t@tokyo : PSK \n", says: "/etc/s:3 has a key for @tokyo: who knows it can pose as tokyo"},
		"the hub's number": {list: "file\t/etc/s\tabc\nkey\t3\t203.0.113.10 : PSK \n", says: "can pass for an L2TP client"},
		"of somebody else": {list: "file\t/etc/s\tabc\nkey\t3\t@branch @head : PSK \n"},
		"ours":             {list: "file\t/etc/ours/tokyo.secrets\tabc\nkey\t2\t@tokyo : PSK \n"},
		"taken out":        {list: "file\t/etc/s\tabc\nout\t3\n"},
		"a section":        {conf: "secrets {\n  ike-x {\n    secret = hush\n  }\n}\n", says: "/etc/x/a.conf:2 has a key for any identity: who knows it can pose as osaka, tokyo, and"},
		"a section whose identity stands in another": {conf: "secrets {\n  ike-x { secret = hush }\n  ike-x { id = @branch }\n}\n"},
	} {
		c, err := ForeignKeys{Daemon: keysDaemon, Doors: hubDoors(), Ours: ours}.Check(keyFacts(tt.list, tt.conf))
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.says == "" && c != nil:
			t.Errorf("%s: %+v", name, c)
		case tt.says != "" && (c == nil || !strings.Contains(c.Blocked, tt.says) || c.Mend == ""):
			t.Errorf("%s: %+v, want %q", name, c, tt.says)
		}
	}
}

// With --adopt exactly those lines become comments, after a backup of their files, and
// the daemon reads its keys anew; the manifest has the files and nothing of the keys. What
// shares a line with something else is not touched.
func TestForeignKeysTakenOut(t *testing.T) {
	f := keyFacts("file\t/etc/s\tabc\nkey\t3\t: PSK \nkey\t5\t@vps : PSK \nkey\t7\t@branch : PSK \n", "secrets {\n  ike-x {\n    secret = hush\n  }\n}\n")
	ts := []Task{ForeignKeys{Daemon: keysDaemon, Doors: hubDoors()}}
	Adopt(ts)
	task := ts[0].(ForeignKeys)
	c := mustCheck(t, task, f)
	if c.Blocked != "" || !strings.Contains(c.Note, "pose as osaka, tokyo") {
		t.Errorf("%+v", c)
	}
	var did []string
	for _, s := range c.Do {
		did = append(did, s.Shell)
		if !s.Stdin.IsZero() {
			t.Errorf("%q is given something", s.Shell)
		}
	}
	want := []string{"keys_out /etc/s 3,3 5,5", "keys_out /etc/x/a.conf 2,4", "ike_reread ike.service /etc/s /etc/x/a.conf"}
	if d := cmp.Diff(want, did); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if d := cmp.Diff([]string{"/etc/s", "/etc/x/a.conf"}, c.Backups); d != "" || len(c.Pre) != 2 || c.Pre[0].SHA256 != "abc" {
		t.Errorf("backups (-want +got)\n%s%+v", d, c.Pre)
	}
	m := NextManifest(nil, "me", "vps", "admin@desk", time.Unix(1, 0), ts, f)
	if d := cmp.Diff(Entry{ID: "keys:foreign", Kind: kindKeys, Daemon: "ike", Files: []string{"/etc/s", "/etc/x/a.conf"}, Digest: task.Digest()}, m.Tasks[0]); d != "" {
		t.Errorf("entry (-want +got)\n%s", d)
	}
	// a later apply without a foreign key keeps them
	m = NextManifest(m, "me", "vps", "admin@desk", time.Unix(2, 0), []Task{ForeignKeys{Daemon: keysDaemon}}, keyFacts("", ""))
	if len(m.Tasks[0].Files) != 2 {
		t.Errorf("%+v", m.Tasks[0])
	}

	f = keyFacts("", "secrets { ike-x { secret = hush } }\n")
	if c := mustCheck(t, task, f); !strings.Contains(c.Mend, "/etc/x/a.conf:1 on the host") || c.Blocked == "" {
		t.Errorf("a section that shares its line: %+v", c)
	}
}

// What was taken out comes back when vpnpush leaves, and with a rollback to before it
// was taken out.
func TestKeysBack(t *testing.T) {
	h := Leaving{Daemons: []Daemon{keysDaemon}}
	e := Entry{ID: "keys:foreign", Kind: kindKeys, Daemon: "ike", Files: []string{"/etc/gone", "/etc/s"}}
	ts, err := keysOut(e, h)
	if err != nil || len(ts) != 1 {
		t.Fatalf("%v, %v", ts, err)
	}
	c := mustCheck(t, ts[0], keyFacts("file\t/etc/s\tabc\nout\t3\nfile\t/etc/others\tdef\nout\t1\n", ""))
	if len(c.Do) != 2 || c.Do[0].Shell != "keys_back /etc/s" || c.Do[1].Shell != "ike_reread ike.service /etc/s" {
		t.Errorf("%+v", c)
	}
	if c := mustCheck(t, ts[0], keyFacts("file\t/etc/s\tabc\n", "")); c != nil {
		t.Errorf("it is back already: %+v", c)
	}
	r := Rewind{Daemons: h.Daemons}
	was := Entry{Files: []string{"/etc/gone"}}
	if ts, err := keysBack(e, &e, &was, r); err != nil || cmp.Diff([]Task{KeysBack{Daemon: keysDaemon, Files: []string{"/etc/s"}}}, ts) != "" {
		t.Errorf("rolled back: %v, %v", ts, err)
	}
	if ts, err := keysBack(e, &e, &e, r); err != nil || ts != nil {
		t.Errorf("it was out then, too: %v, %v", ts, err)
	}
	m := &Manifest{Tasks: []Entry{e}}
	if _, err := PutBack(Rewind{Daemons: h.Daemons, Now: m}, []*Manifest{m}, []string{"/etc/s"}); err != nil {
		t.Errorf("its files: %v", err)
	}
}

// A list of keys that is not whole, or not understood, is unknown: it is not taken for
// one without keys.
func TestKeyListIsUnknown(t *testing.T) {
	for _, list := range []string{"key\t1\t: PSK \n", "file\t/etc/s\n", "file\t/etc/s\tx\nkey\tone\t: PSK \n", "cut\n", "unread\t/etc/s\n", "what\n"} {
		if c, err := (ForeignKeys{Daemon: keysDaemon, Doors: hubDoors()}).Check(keyFacts(list, "")); err == nil {
			t.Errorf("%q: %+v", list, c)
		}
	}
}

// The lines become comments in the file as it stands, and the way back gives it back byte
// for byte, also where its last line does not end.
func TestKeysShell(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, text := range []string{"# x\n: PSK \"a\"\r\n@b : PSK b\n", ": PSK x\n: PSK 'y z'", "@b : PSK b\n: PSK & \\1\n\n"} {
			dir := t.TempDir()
			path := filepath.Join(dir, "s")
			if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
				t.Fatal(err)
			}
			run := func(shell string) string {
				t.Helper()
				script := PartFiles.Text + PartKeys.Text + "set -eu\ntxn=" + dir + "\n" + shell
				if out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", name, err, out)
				}
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			lines := strings.Split(text, "\n")
			lines[1] = takenOut + lines[1]
			if got := run("keys_out " + path + " 2,2"); got != strings.Join(lines, "\n") {
				t.Errorf("%s: out: %q of %q", name, got, text)
			}
			if got := run("keys_back " + path); got != text {
				t.Errorf("%s: back: %q, want %q", name, got, text)
			}
			if s, err := os.Stat(path); err != nil || s.Mode().Perm() != 0o640 {
				t.Errorf("%s: %v, %v", name, s.Mode(), err)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "[^s]*")); left != nil {
				t.Errorf("%s: left %q", name, left)
			}
		}
	}
}
