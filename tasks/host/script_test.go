package host

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// The edit that the plan shows (in Go) and the one the host makes (in shell)
// are the same, byte for byte, in every shell; and a second edit changes
// nothing.
func TestSharedEditsAgree(t *testing.T) {
	block := tasks.Block{Owner: "me", Content: []byte("\"alice\" l2tpd \"pw\" *\n\"bob\" l2tpd \"p\\\\w\" 10.0.0.1\n")}
	gone := tasks.Block{Owner: "me"}
	line := tasks.Line{Line: "include /etc/ipsec.d/vpnpush/*.conf"}
	own := tasks.BlockBegin("me") + "\nold\nlines\n" + tasks.BlockEnd + "\n"
	files := map[string]string{
		"empty": "", "text": "a\nb\n", "no end": "a\nb", "blank lines": "\n\n", "crlf": "a\r\nb\r\n",
		"own alone": own, "own first": own + "after\n", "own last": "before\n" + own, "own amid": "a\n\n" + own + "\nb\n", "own, no end": "a\n" + strings.TrimSuffix(own, "\n"),
		"own amid, no end": own + "x", "has the line": "x\ninclude /etc/ipsec.d/vpnpush/*.conf\ny", "has it indented": "  include /etc/ipsec.d/vpnpush/*.conf\n",
		"backslashes": "pppoe * \"a\\\\b\" *\n%s & \\1\n",
	}
	type editor interface{ Edit([]byte) ([]byte, error) }
	kinds := map[string]editor{"line": line, "no line": tasks.NoLine{Line: line.Line}, "block": block, "no block": gone}
	for name, argv := range shells(t) {
		// one shell makes all the edits, each of them twice
		var script strings.Builder
		dir := t.TempDir()
		path := func(what, kind string) string { return filepath.Join(dir, what+", "+kind) }
		for what, old := range files {
			for kind, task := range kinds {
				p := path(what, kind)
				if err := os.WriteFile(p, []byte(old), 0o640); err != nil {
					t.Fatal(err)
				}
				for range 2 {
					switch e := task.(type) {
					case tasks.Line:
						fmt.Fprintf(&script, "line '%s' 0600 '%s'\n", p, e.Line)
					case tasks.NoLine:
						fmt.Fprintf(&script, "no_line '%s' '%s'\n", p, e.Line)
					case tasks.Block:
						fmt.Fprintf(&script, "block '%s' 0600 '%s' '%s' <<'X'\n%sX\n", p, tasks.BlockBegin(e.Owner), tasks.BlockEnd, e.Content)
					}
				}
			}
		}
		if out, err := inScript(t, argv, script.String(), ""); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		for what, old := range files {
			for kind, task := range kinds {
				p := path(what, kind)
				want, err := task.Edit([]byte(old))
				if err != nil {
					t.Fatal(err)
				}
				got, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s, %s, %s: the host makes %q, the plan shows %q", name, what, kind, got, want)
				}
				if again, err := task.Edit(want); err != nil || !bytes.Equal(again, want) {
					t.Errorf("%s, %s: a second edit: %q, %v", what, kind, again, err)
				}
				if fi, _ := os.Stat(p); fi.Mode().Perm() != 0o640 {
					t.Errorf("%s, %s, %s: the mode became %v", name, what, kind, fi.Mode())
				}
			}
		}
	}
}

// Taking our block out again gives the file back as it was.
func TestBlockRoundTrip(t *testing.T) {
	for _, old := range []string{"", "a\n", "a\n\nb\n", "* * \"pppoe\" *\n"} {
		with, err := tasks.Block{Owner: "me", Content: []byte("x\n")}.Edit([]byte(old))
		if err != nil {
			t.Fatal(err)
		}
		without, err := tasks.Block{Owner: "me"}.Edit(with)
		if err != nil || string(without) != old {
			t.Errorf("%q became %q, %v", old, without, err)
		}
	}
}

// Markers that do not pair up stop the plan; they are not repaired by guess.
func TestBlockBroken(t *testing.T) {
	for _, old := range []string{
		tasks.BlockBegin("me") + "\nx\n", "x\n" + tasks.BlockEnd + "\n", tasks.BlockBegin("other") + "\n" + tasks.BlockEnd + "\n",
		tasks.BlockBegin("me") + "\n" + tasks.BlockBegin("me") + "\n" + tasks.BlockEnd + "\n",
	} {
		b := tasks.Block{Path: "/x", Owner: "me", Content: []byte("y\n")}
		c, err := b.Check(answered(nil, tasks.FileState{Path: "/x", Exists: true, Type: '0', Content: []byte(old)}))
		if err != nil || c == nil || c.Blocked == "" {
			t.Errorf("%q: %+v, %v", old, c, err)
		}
	}
}

// A write that fails leaves the old file, and nothing beside it.
func TestPutLeavesNoHalfFile(t *testing.T) {
	for name, argv := range shells(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, []byte("old\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			// a cat that writes half and dies stands for a full disk
			out, err := inScript(t, argv, "cat() { printf ha; return 1; }\nput "+path+" 0600 root:root", "new\n")
			if err == nil {
				t.Fatalf("a failed write was taken for good: %s", out)
			}
			if got, _ := os.ReadFile(path); string(got) != "old\n" {
				t.Errorf("the file became %q", got)
			}
			if es, _ := os.ReadDir(dir); len(es) != 1 {
				t.Errorf("left beside it: %v", es)
			}
		})
	}
}

func exampleTxn() Txn {
	return Txn{
		ID: "20260102T030405-abcdef01", Host: "tokyo", By: "admin@desk", Summary: "it's a test", ConfirmTimeout: time.Minute,
		Manifest: []byte("{}\n"), Units: []string{"xl2tpd.service"},
		Changes: []tasks.Change{
			{Task: "package:xl2tpd", Parts: []tasks.Part{tasks.PartPackages}, Do: []tasks.Step{{Phase: tasks.PhasePackages, Shell: `packages="$packages "xl2tpd`}}},
			{Task: "file:/etc/x", Backups: []string{"/etc/x"}, Pre: []tasks.Precondition{{Path: "/etc/x"}, {Path: "/etc/y", SHA256: tasks.SHA256(nil)}},
				Do: []tasks.Step{{Phase: tasks.PhaseFiles, Shell: "put /etc/x 0600 root:root", Stdin: secret.New("a 'b' $c `d`\n")}}},
			{Task: "unit:xl2tpd.service", Parts: []tasks.Part{tasks.PartUnits}, Folders: []string{"/etc/z"}, Do: []tasks.Step{{Phase: tasks.PhaseServices, Shell: "restart_unit xl2tpd.service /etc/x"}, {Phase: tasks.PhaseVerify, Shell: "is_active xl2tpd.service"}},
				Undo: []tasks.Step{{Phase: tasks.PhaseServices, Shell: "systemctl restart xl2tpd.service"}}},
		},
	}
}

// Every script vpnpush makes is clean POSIX shell, in shellcheck's eyes and in
// each shell's own.
func TestScriptsAreCleanShell(t *testing.T) {
	x := exampleTxn()
	script, err := x.Script()
	if err != nil {
		t.Fatal(err)
	}
	probe, err := Probe([]tasks.Read{
		{Kind: tasks.ReadFile, Arg: "/etc/ipsec.conf"}, {Kind: tasks.ReadGlob, Arg: "/etc/ipsec.d/vpnpush/*"}, {Kind: tasks.ReadPackage, Arg: "xl2tpd"},
		{Kind: tasks.ReadUnit, Arg: "xl2tpd.service"}, {Kind: tasks.ReadSysctl, Arg: "net.ipv4.ip_forward"}, {Kind: tasks.ReadCommand, Arg: "iptables-save", Shell: "iptables-save"},
	}, Have{tasks.ManifestPath: nil})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"apply": script.Reveal(), "probe": "#!/bin/sh\n" + probe, "launch": "#!/bin/sh\n" + x.Launch(), "follow": "#!/bin/sh\n" + x.Follow(),
		"confirm": "#!/bin/sh\n" + x.Confirm(), "outcome": "#!/bin/sh\n" + x.Outcome(), "revert": "#!/bin/sh\n" + x.Revert("why"),
	}
	for what, text := range all {
		t.Run(what, func(t *testing.T) { transporttest.CleanShell(t, text) })
	}
}

// A script begins only on the manifest that its plan was made against, and a
// rollback to a time without one takes it away.
func TestScriptFencesManifest(t *testing.T) {
	for sha, want := range map[string]string{"": "pre " + tasks.ManifestPath + " \n", tasks.SHA256(nil): "pre " + tasks.ManifestPath + " " + tasks.SHA256(nil) + "\n"} {
		x := exampleTxn()
		x.ManifestSHA = sha
		s, err := x.Script()
		if err != nil {
			t.Fatal(err)
		}
		_, conditions, _ := strings.Cut(s.Reveal(), "\npreconditions() {\n")
		if conditions, _, _ = strings.Cut(conditions, "}"); !strings.Contains(conditions, want) {
			t.Errorf("no %q in\n%s", want, conditions)
		}
	}
	x := exampleTxn()
	x.Manifest = nil
	s, err := x.Script()
	if err != nil || !strings.Contains(s.Reveal(), "at manifest\nrm -f -- "+tasks.ManifestPath+"\n") {
		t.Errorf("the manifest stays: %v", err)
	}
}

// pre refuses a file that changed, came or went since the plan.
func TestPreconditions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, sha string
		holds     bool
	}{
		{path, tasks.SHA256([]byte("x\n")), true}, {path, tasks.SHA256([]byte("y\n")), false}, {path, "", false},
		{path + "2", "", true}, {path + "2", tasks.SHA256(nil), false},
	} {
		for name, argv := range shells(t) {
			out, err := inScript(t, argv, "refuse() { echo \"$1\"; exit 1; }\npre "+tt.path+" "+tt.sha, "")
			if (err == nil) != tt.holds || !tt.holds && out != "stale\n" {
				t.Errorf("%s: pre %s %q: %v, %q", name, tt.path, tt.sha, err, out)
			}
		}
	}
}

// Text that a here-document cannot carry is refused, not mangled.
func TestScriptRefusesText(t *testing.T) {
	for what, text := range map[string]string{
		"zero byte": "a\x00b\n", "no newline": "a", "the end mark": "a\n" + heredocEnd + "\nb\n",
	} {
		x := exampleTxn()
		x.Changes[1].Do[0].Stdin = secret.New(text)
		if s, err := x.Script(); err == nil {
			t.Errorf("%s was taken: %d bytes", what, len(s.Reveal()))
		}
	}
}

// What stood where ours goes comes back byte for byte, with its mode, from every shell.
func TestKeepAndPutFirst(t *testing.T) {
	for name, argv := range shells(t) {
		dir := t.TempDir()
		path, first := filepath.Join(dir, "it's x"), filepath.Join(dir, "first", "x")
		if err := os.WriteFile(path, []byte("theirs"), 0o640); err != nil {
			t.Fatal(err)
		}
		q, k := transport.Quote(path), transport.Quote(first)
		out, err := inScript(t, argv, "keep_first "+q+" "+k+"\nput "+q+" 0600 root:root\n[ \"$(cat "+q+")\" = ours ]\nput_first "+q+" "+k, "ours\n")
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		got, err := os.ReadFile(path)
		fi, _ := os.Stat(path)
		if err != nil || string(got) != "theirs" || fi.Mode().Perm() != 0o640 {
			t.Errorf("%s: %q, %v, %v", name, got, fi.Mode(), err)
		}
		if _, err := os.Stat(first); err == nil {
			t.Errorf("%s: the copy is still there", name)
		}
	}
}
