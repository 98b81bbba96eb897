package host

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

func probe(t *testing.T, argv []string, reads []tasks.Read) ([]byte, tasks.Facts) {
	t.Helper()
	script, err := Probe(reads, nil)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(argv[0], append(argv[1:], "-c", Lean(script))...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("probe: %v\n%s", err, stderr.Bytes())
	}
	out, _, err = Unpack(out, 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	f, err := ParseFacts(out, nil)
	if err != nil {
		t.Fatalf("%v\n%q", err, out)
	}
	return out, f
}

// The probe brings what is on this very machine, byte for byte, whatever shell
// runs it.
func TestProbeReadsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
		return p
	}
	binary := write("binary", "a\x00b\n\x01end\t0\n\xff no newline", 0o640)
	odd := write("it's a \"$name\"", "odd\n", 0o604)
	empty := write("empty", "", 0o600)
	write("glob-a.conf", "A\n", 0o644)
	write("glob-b.conf", "B\n", 0o644)
	absent := filepath.Join(dir, "absent")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	reads := []tasks.Read{
		{Kind: tasks.ReadFile, Arg: binary}, {Kind: tasks.ReadFile, Arg: odd}, {Kind: tasks.ReadFile, Arg: empty},
		{Kind: tasks.ReadFile, Arg: absent}, {Kind: tasks.ReadFile, Arg: link},
		{Kind: tasks.ReadGlob, Arg: dir + "/glob-*.conf"}, {Kind: tasks.ReadGlob, Arg: dir + "/none-*"},
		{Kind: tasks.ReadSysctl, Arg: "net.ipv4.ip_forward"}, {Kind: tasks.ReadSysctl, Arg: "net.ipv4.no_such_thing"},
		{Kind: tasks.ReadCommand, Arg: "both", Shell: `printf 'out\n\nx'; echo err >&2; exit 3`},
		{Kind: tasks.ReadCommand, Arg: "none", Shell: "no-such-command-here --now"},
	}
	for name, argv := range shells(t) {
		t.Run(name, func(t *testing.T) {
			_, f := probe(t, argv, reads)
			for path, want := range map[string]string{binary: "a\x00b\n\x01end\t0\n\xff no newline", odd: "odd\n", empty: ""} {
				s, err := f.File(path)
				if err != nil || !s.Exists || string(s.Content) != want {
					t.Errorf("%s: %q, %v", path, s.Content, err)
				}
			}
			if s, _ := f.File(odd); s.Mode != 0o604 {
				t.Errorf("mode %o", s.Mode)
			}
			if s, err := f.File(absent); err != nil || s.Exists {
				t.Errorf("absent: %v, %v", s, err)
			}
			if s, err := f.File(link); err != nil || !s.Exists || s.Type != tar.TypeSymlink {
				t.Errorf("link: %v, %v", s, err)
			}
			if g, err := f.Glob(dir + "/glob-*.conf"); err != nil || len(g) != 2 || string(g[1].Content) != "B\n" {
				t.Errorf("glob: %v, %v", g, err)
			}
			if g, err := f.Glob(dir + "/none-*"); err != nil || len(g) != 0 {
				t.Errorf("empty glob: %v, %v", g, err)
			}
			if s, err := f.Sysctl("net.ipv4.ip_forward"); err != nil || !s.Exists || (s.Value != "0" && s.Value != "1") {
				t.Errorf("sysctl: %v, %v", s, err)
			}
			if s, err := f.Sysctl("net.ipv4.no_such_thing"); err != nil || s.Exists {
				t.Errorf("absent sysctl: %v, %v", s, err)
			}
			c, err := f.Command("both")
			if err != nil || string(c.Stdout) != "out\n\nx" || string(c.Stderr) != "err" || c.Code != 3 {
				t.Errorf("command: %q, %q, %d, %v", c.Stdout, c.Stderr, c.Code, err)
			}
			if c, err := f.Command("none"); err != nil || c.Code != 127 {
				t.Errorf("no command: %d, %v", c.Code, err)
			}
			if _, err := f.Output("both"); !errors.Is(err, tasks.ErrUnknown) {
				t.Errorf("output of a command that went wrong: %v", err)
			}
			if f.Host.Kernel == "" || f.Host.UID != os.Getuid() || f.Host.Now.IsZero() || f.Host.BootID == "" || len(f.Host.FreeKiB) == 0 {
				t.Errorf("platform: %+v", f.Host)
			}
		})
	}
}

// An answer comes packed, after what a login script printed as well; cut anywhere it is
// unknown, and however well it was packed it has no more bytes than an answer may have.
func TestUnpack(t *testing.T) {
	script, err := Probe([]tasks.Read{{Kind: tasks.ReadFile, Arg: "/etc/passwd"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := exec.Command("sh", "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	plain, _, err := Unpack(append([]byte("Welcome!\n"), packed...), 1<<20)
	if err != nil || bytes.Equal(plain, packed) {
		t.Fatalf("%v; packed at all: %v", err, !bytes.Equal(plain, packed))
	}
	if f, err := ParseFacts(plain, nil); err != nil {
		t.Error(err)
	} else if s, err := f.File("/etc/passwd"); err != nil || !s.Exists {
		t.Errorf("/etc/passwd: %v", err)
	}
	if again, _, err := Unpack(plain, 1); err != nil || !bytes.Equal(again, plain) {
		t.Errorf("an answer that did not come packed: %v", err)
	}
	for n := range packed {
		out, _, err := Unpack(packed[:n], 1<<20)
		if err == nil {
			_, err = ParseFacts(out, nil)
		}
		if !errors.Is(err, tasks.ErrUnknown) {
			t.Fatalf("cut after %d of %d bytes: %v", n, len(packed), err)
		}
	}
	bad := bytes.Clone(packed)
	bad[len(bad)-8] ^= 1 // of its checksum: some bits before say the same in two ways
	if _, _, err := Unpack(bad, 1<<20); !errors.Is(err, tasks.ErrUnknown) {
		t.Errorf("a wrong checksum: %v", err)
	}
	if _, _, err := Unpack(packed, len(plain)-1); !errors.Is(err, transport.ErrEndless) {
		t.Errorf("more than it may have: %v", err)
	}
}

// A file with a line break in its name cannot be told from two: the host is unknown then.
func TestProbeNameOfTwoLines(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a\nb"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := Probe([]tasks.Read{{Kind: tasks.ReadGlob, Arg: dir + "/*"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", script).Output()
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err = Unpack(out, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseFacts(out, nil); !errors.Is(err, tasks.ErrUnknown) || !strings.Contains(err.Error(), fmt.Sprintf("a file with a line break in its name, which begins %q", dir+"/a")) {
		t.Errorf("%v", err)
	}
}

// What was not asked for, and an answer that is cut anywhere, is unknown: never
// absent.
func TestFactsNeverGuess(t *testing.T) {
	out, f := probe(t, []string{"sh"}, []tasks.Read{{Kind: tasks.ReadFile, Arg: "/etc/passwd"}})
	for what, err := range map[string]error{
		"file": second(f.File("/etc/other")), "package": second(f.Package("x")), "unit": second(f.Unit("x.service")),
		"sysctl": second(f.Sysctl("a.b")), "command": second(f.Command("x")), "glob": second(f.Glob("/etc/*")),
	} {
		if !errors.Is(err, tasks.ErrUnknown) {
			t.Errorf("%s that was not read: %v", what, err)
		}
	}
	for n := range out {
		if _, err := ParseFacts(out[:n], nil); err == nil {
			t.Fatalf("an answer cut after %d of %d bytes was taken", n, len(out))
		}
	}
}

func second[T any](_ T, err error) error { return err }

// An answer in which tar was not let in to a file tells that nobody is root there, and in
// no case shows the bytes of an archive.
func TestFactsOfNoRoot(t *testing.T) {
	answer := func(uid, status string) string {
		return "vpnpush-facts 1\n\x01host\tuid\n" + uid + "\n\x01files\n" + strings.Repeat("\x00", 1024) + "\n\x01end\t" + status + "\n"
	}
	_, err := ParseFacts([]byte(answer("1000", "2")), nil)
	var h transport.Hinter
	if err == nil || !strings.Contains(err.Error(), "not root on the host, but uid 1000") || !errors.As(err, &h) || !strings.Contains(h.Hint(), "ssh.become") {
		t.Errorf("as uid 1000: %v", err)
	}
	_, err = ParseFacts([]byte(answer("0", "1")), nil)
	if !errors.Is(err, tasks.ErrUnknown) || !strings.Contains(err.Error(), "tar: exit status 1") || !errors.As(err, &h) {
		t.Errorf("a file that changed while it was read: %v", err)
	}
	for _, cut := range []string{"", "2", "x\n"} {
		_, err = ParseFacts([]byte(strings.TrimSuffix(answer("0", ""), "\n")+cut), nil)
		if !errors.Is(err, tasks.ErrUnknown) || strings.Contains(err.Error(), `\x00`) {
			t.Errorf("cut after %q: %v", cut, err)
		}
	}
}

// A greeting printed by a login script does not spoil an answer.
func TestFactsAfterNoise(t *testing.T) {
	out, _ := probe(t, []string{"sh"}, nil)
	if _, err := ParseFacts([]byte("Welcome!\n"+string(out)), nil); err != nil {
		t.Error(err)
	}
}

func FuzzParseFacts(f *testing.F) {
	script, err := Probe([]tasks.Read{{Kind: tasks.ReadFile, Arg: "/etc/hostname"}, {Kind: tasks.ReadPackage, Arg: "dpkg"}, {Kind: tasks.ReadUnit, Arg: "ssh.service"}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", script).Output()
	if err != nil {
		f.Fatal(err)
	}
	if out, _, err = Unpack(out, 1<<20); err != nil {
		f.Fatal(err)
	}
	f.Add(out)
	f.Add([]byte("vpnpush-facts 1\n\x01host\tuid\n0\n\x01packages\ndpkg\tinstalled\t1\n\n\x01packages-status\t0\n\x01files\n\n\x01end\t0\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		facts, err := ParseFacts(b, nil)
		if err != nil {
			return
		}
		if _, err := facts.File("/etc/nobody-asked"); !errors.Is(err, tasks.ErrUnknown) {
			t.Errorf("a file that was not asked for: %v", err)
		}
	})
}

// A file of ours that nothing wants any more is read too: only the manifest on
// the host knows of it.
func TestProbeReadsTheManifestsFiles(t *testing.T) {
	dir := t.TempDir()
	orphan := filepath.Join(dir, "orphan.conf")
	if err := os.WriteFile(orphan, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := &tasks.Manifest{FormatVersion: 2, Owner: "me", Tasks: []tasks.Entry{{ID: "file:" + orphan, Kind: "file", Path: orphan}, {ID: "x", Kind: "file", Path: "/etc/gone-long-ago"}}}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	manifest := filepath.Join(dir, "manifest.json")
	if err := os.WriteFile(manifest, b, 0o600); err != nil {
		t.Fatal(err)
	}
	script, err := Probe(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, argv := range shells(t) {
		out, err := exec.Command(argv[0], append(argv[1:], "-c", strings.ReplaceAll(script, tasks.ManifestPath, manifest))...).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if out, _, err = Unpack(out, 1<<20); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := ParseFacts(out, nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s, err := f.File(orphan); err != nil || string(s.Content) != "x\n" {
			t.Errorf("%s: %v, %v", name, s, err)
		}
		if s, err := f.File("/etc/gone-long-ago"); err != nil || s.Exists {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
}

// A look after an apply brings what it did not expect, and of a file that is as expected
// no content: mode and owner are the host's in any case, and a link is never taken for
// the file that it leads to.
func TestProbeHave(t *testing.T) {
	for name, argv := range shells(t) {
		dir := t.TempDir()
		path := func(n string) string { return filepath.Join(dir, n) }
		for n, content := range map[string]string{"as": "as expected\n", "other": "edited\n", "other two": "with a space\n"} {
			if err := os.WriteFile(path(n), []byte(content), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(path("as"), path("link")); err != nil {
			t.Fatal(err)
		}
		have := Have{}
		reads := []tasks.Read{{Kind: tasks.ReadGlob, Arg: dir + "/*"}, {Kind: tasks.ReadFile, Arg: path("gone")}}
		for _, n := range []string{"as", "other", "link", "gone"} {
			have[path(n)] = []byte("as expected\n")
		}
		have[path("other two")] = []byte("with a space\n")
		script, err := Probe(reads, have)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).Output()
		if err != nil {
			t.Fatal(err)
		}
		if out, _, err = Unpack(out, 1<<20); err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(out, []byte("as expected\n")) || bytes.Contains(out, []byte("with a space\n")) || !bytes.Contains(out, []byte("edited\n")) {
			t.Errorf("%s: it answered %q", name, out)
		}
		f, err := ParseFacts(out, have)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, plain := probe(t, argv, reads)
		for _, n := range []string{"as", "other", "other two", "link", "gone"} {
			got, err1 := f.File(path(n))
			want, err2 := plain.File(path(n))
			if err1 != nil || err2 != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %s: %+v, %v; want %+v, %v", name, n, got, err1, want, err2)
			}
		}
		if brief, err := Probe(append(reads, OnlyThese), nil); err != nil || strings.Contains(brief, tasks.ManifestPath) {
			t.Errorf("with only these reads it asks for the manifest: %v\n%s", err, brief)
		}
		if _, err := ParseFacts(out, nil); !errors.Is(err, tasks.ErrUnknown) {
			t.Errorf("%s: with nothing expected: %v", name, err)
		}
	}
}

// A script that is sent packed comes out whole, and one that was cut on the way fails: the
// program that unpacks it says so to Launch.
func TestSentPacked(t *testing.T) {
	script := secret.New(strings.Repeat("echo a line of a long script\n", 1000))
	for _, packed := range []bool{false, true} {
		sent, err := io.ReadAll(Txn{Packed: packed}.Sent(script))
		if err != nil || packed != (len(sent) < 1000) {
			t.Fatalf("packed %t: %d bytes, %v", packed, len(sent), err)
		}
		if !packed {
			continue
		}
		for n, whole := range map[int]bool{len(sent): true, len(sent) - 1: false, len(sent) / 2: false, 0: false} {
			cmd := exec.Command("gzip", "-dc")
			cmd.Stdin = bytes.NewReader(sent[:n])
			out, err := cmd.Output()
			if whole != (err == nil) || whole && string(out) != script.Reveal() {
				t.Errorf("%d of %d bytes: %d came out, %v", n, len(sent), len(out), err)
			}
		}
	}
}

// What is read out of dpkg's database is what dpkg-query tells of it; a database with a
// journal, one that is not as dpkg writes it, and none are left to dpkg-query.
func TestProbeReadsDpkgsDatabase(t *testing.T) {
	const status = `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21.22

Package: one
Status: install ok installed
Conffiles:
 /etc/one.conf 0123
 /etc/other.conf 4567
Architecture: amd64
Version: 1:5.9.8-5
Description: a package
 Version: 3
 .
 Package: two

Package: onetwo
Status: install ok installed
Version: 9

Package: two
Status: deinstall ok config-files
Version: 2
Conffiles:
 /etc/two.conf 89ab obsolete
`
	reads := []tasks.Read{
		{Kind: tasks.ReadPackage, Arg: "one"}, {Kind: tasks.ReadPackage, Arg: "two", Unless: "one"}, {Kind: tasks.ReadPackage, Arg: "none", Unless: tasks.NotAsked},
		{Kind: tasks.ReadPackage, Arg: "three", Unless: "two"}, {Kind: tasks.ReadPackage, Arg: "four", Unless: "one"}, {Kind: tasks.ReadPackage, Arg: "four"},
		{Kind: tasks.ReadConffile, Arg: "/etc/one.conf"}, {Kind: tasks.ReadConffile, Arg: "/etc/two.conf"},
	}
	script, err := Probe(reads, nil)
	if err != nil {
		t.Fatal(err)
	}
	const tools = `query() { printf 'one\tinstalled\tasked\n\n'; return 1; }
dpkg() { echo asked; }
policy() { shift; for p; do printf '%s:\n  Candidate: 7\n' "$p"; done; }
`
	one := tasks.PackageState{Name: "one", Installed: true, Version: "1:5.9.8-5", Conffiles: map[string]string{"/etc/one.conf": "0123"}}
	two := tasks.PackageState{Name: "two", Conffiles: map[string]string{"/etc/two.conf": "89ab"}}
	asked := tasks.PackageState{Name: "one", Installed: true, Version: "asked"}
	for name, argv := range shells(t) {
		for _, tt := range []struct {
			what, file, text string
			arch             string
			one, two         tasks.PackageState
		}{
			{"as it is", "status", status, "amd64", one, two},
			{"with a journal", "updates/0001", status, "asked", asked, tasks.PackageState{Name: "two"}},
			{"cut short", "status", strings.Replace(status, "Package: onetwo\n", "", 1), "asked", asked, tasks.PackageState{Name: "two"}},
			{"of another", "status", "Package: one\nStatus: install ok installed\nVersion: 1\n", "asked", asked, tasks.PackageState{Name: "two"}},
			{"empty", "status", "", "asked", asked, tasks.PackageState{Name: "two"}},
			{"none", "other", status, "asked", asked, tasks.PackageState{Name: "two"}},
		} {
			dir := t.TempDir()
			if err := os.MkdirAll(filepath.Join(dir, "updates"), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, f := range []struct{ name, text string }{{"status", status}, {tt.file, tt.text}} {
				if tt.file == "other" && f.name == "status" {
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, f.name), []byte(f.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			out, err := exec.Command(argv[0], append(argv[1:], "-c", strings.NewReplacer("/var/lib/dpkg", dir, "dpkg-query -W", "query -W", "apt-cache policy", "policy policy").Replace(tools+script))...).Output()
			if err != nil {
				t.Fatalf("%s, %s: %v", name, tt.what, err)
			}
			if out, _, err = Unpack(out, 1<<20); err != nil {
				t.Fatal(err)
			}
			f, err := ParseFacts(out, nil)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, tt.what, err)
			}
			for _, want := range []tasks.PackageState{tt.one, tt.two, {Name: "none"}, {Name: "three", Candidate: "7"}, {Name: "four", Candidate: "7"}} {
				if got, err := f.Package(want.Name); err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %s: %+v, %v; want %+v", name, tt.what, got, err, want)
				}
			}
			if f.Host.Arch != tt.arch {
				t.Errorf("%s, %s: architecture %q, want %q", name, tt.what, f.Host.Arch, tt.arch)
			}
		}
	}
}

// Systemd is asked of a unit that has a file anywhere, a link to nowhere too, or that was
// started; of another nothing is to be known but that it is not there. Where systemd does
// not tell what it started, it is asked of all.
func TestProbeAsksSystemd(t *testing.T) {
	var reads []tasks.Read
	for _, u := range []string{"file", "link", "runtime", "shipped", "runs", "none", "script"} {
		reads = append(reads, tasks.Read{Kind: tasks.ReadUnit, Arg: u + ".service"})
	}
	script, err := Probe(reads, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, argv := range shells(t) {
		for _, tells := range []bool{true, false} {
			dir := t.TempDir()
			for _, f := range []string{"/etc/systemd/system/file.service", "/run/systemd/transient/runtime.service", "/usr/lib/systemd/system/shipped.service", "/etc/rc2.d/S01script", "/run/systemd/units/x", "/run/systemd/system/x"} {
				if err := errors.Join(os.MkdirAll(filepath.Dir(dir+f), 0o755), os.WriteFile(dir+f, nil, 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			if err := errors.Join(os.Symlink("/nowhere", dir+"/etc/systemd/system/link.service"), os.Symlink("0123", dir+"/run/systemd/units/invocation:runs.service")); err != nil {
				t.Fatal(err)
			}
			known := map[string]bool{"file": true, "link": true, "runtime": true, "shipped": true, "runs": true, "none": !tells, "script": !tells}
			if !tells {
				if err := os.RemoveAll(dir + "/run/systemd/units"); err != nil {
					t.Fatal(err)
				}
			}
			s := script
			for _, d := range []string{"/etc/systemd/", "/run/systemd/", "/usr/lib/systemd/", "/usr/local/lib/systemd/", "/etc/rc"} {
				s = strings.ReplaceAll(s, " "+d, " "+dir+d)
			}
			s = strings.ReplaceAll(s, " /lib/systemd/", " "+dir+"/lib/systemd/")
			out, err := exec.Command(argv[0], append(argv[1:], "-c", `systemctl() { shift 4; sep=; for u; do printf '%sId=%s\nLoadState=loaded\nActiveState=failed\n' "$sep" "$u"; sep=$n; done; }
`+s)...).Output()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if out, _, err = Unpack(out, 1<<20); err != nil {
				t.Fatal(err)
			}
			f, err := ParseFacts(out, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for u, asked := range known {
				want := tasks.UnitState{Name: u + ".service", Active: "inactive", Enabled: u == "script"}
				if asked {
					want.Loaded, want.Active = true, "failed"
				}
				if got, err := f.Unit(want.Name); err != nil || got != want {
					t.Errorf("%s, told %t: %+v, %v; want %+v", name, tells, got, err, want)
				}
			}
		}
	}
}
