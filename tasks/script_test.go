package tasks

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// inPrelude runs shell with the functions of the apply script, its transaction
// folder in a scratch one.
func inPrelude(t *testing.T, argv []string, shell, stdin string) (string, error) {
	t.Helper()
	txn := t.TempDir()
	script := "id=test by=me summary=s did=applied confirm_timeout=60\n" + applyPrelude + "\ntxn='" + txn + "'\n"
	if os.Getuid() != 0 {
		script += "chown() { :; }\n" // only root may; who owns a file is for the lab
	}
	cmd := exec.Command(argv[0], append(argv[1:], "-c", script+"set -eu\n"+shell)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if left, _ := filepath.Glob(txn + "/*"); err == nil && len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return string(out), err
}

// The edit that the plan shows (in Go) and the one the host makes (in shell)
// are the same, byte for byte, in every shell; and a second edit changes
// nothing.
func TestSharedEditsAgree(t *testing.T) {
	block := Block{Owner: "me", Content: []byte("\"alice\" l2tpd \"pw\" *\n\"bob\" l2tpd \"p\\\\w\" 10.0.0.1\n")}
	gone := Block{Owner: "me"}
	line := Line{Line: "include /etc/ipsec.d/vpnpush/*.conf"}
	own := BlockBegin("me") + "\nold\nlines\n" + BlockEnd + "\n"
	files := map[string]string{
		"empty": "", "text": "a\nb\n", "no end": "a\nb", "blank lines": "\n\n", "crlf": "a\r\nb\r\n",
		"own alone": own, "own first": own + "after\n", "own last": "before\n" + own, "own amid": "a\n\n" + own + "\nb\n", "own, no end": "a\n" + strings.TrimSuffix(own, "\n"),
		"own amid, no end": own + "x", "has the line": "x\ninclude /etc/ipsec.d/vpnpush/*.conf\ny", "has it indented": "  include /etc/ipsec.d/vpnpush/*.conf\n",
		"backslashes": "pppoe * \"a\\\\b\" *\n%s & \\1\n",
	}
	type editor interface{ Edit([]byte) ([]byte, error) }
	kinds := map[string]editor{"line": line, "no line": NoLine{Line: line.Line}, "block": block, "no block": gone}
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
					case Line:
						fmt.Fprintf(&script, "line '%s' 0600 '%s'\n", p, e.Line)
					case NoLine:
						fmt.Fprintf(&script, "no_line '%s' '%s'\n", p, e.Line)
					case Block:
						fmt.Fprintf(&script, "block '%s' 0600 '%s' '%s' <<'X'\n%sX\n", p, BlockBegin(e.Owner), BlockEnd, e.Content)
					}
				}
			}
		}
		if out, err := inPrelude(t, argv, script.String(), ""); err != nil {
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
		with, err := Block{Owner: "me", Content: []byte("x\n")}.Edit([]byte(old))
		if err != nil {
			t.Fatal(err)
		}
		without, err := Block{Owner: "me"}.Edit(with)
		if err != nil || string(without) != old {
			t.Errorf("%q became %q, %v", old, without, err)
		}
	}
}

// Markers that do not pair up stop the plan; they are not repaired by guess.
func TestBlockBroken(t *testing.T) {
	for _, old := range []string{
		BlockBegin("me") + "\nx\n", "x\n" + BlockEnd + "\n", BlockBegin("other") + "\n" + BlockEnd + "\n",
		BlockBegin("me") + "\n" + BlockBegin("me") + "\n" + BlockEnd + "\n",
	} {
		b := Block{Path: "/x", Owner: "me", Content: []byte("y\n")}
		c, err := b.Check(Facts{files: map[string]FileState{"/x": {Path: "/x", Exists: true, Type: '0', Content: []byte(old)}}})
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
			out, err := inPrelude(t, argv, "cat() { printf ha; return 1; }\nput "+path+" 0600 root:root", "new\n")
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
		Manifest: []byte("{}\n"),
		Changes: []Change{
			{Task: "package:xl2tpd", Do: []Step{{Phase: PhasePackages, Shell: `packages="$packages "xl2tpd`}}},
			{Task: "file:/etc/x", Backs: []string{"/etc/x"}, Pre: []Precondition{{Path: "/etc/x"}, {Path: "/etc/y", SHA256: SHA256(nil)}},
				Do: []Step{{Phase: PhaseFiles, Shell: "put /etc/x 0600 root:root", Stdin: secret.New("a 'b' $c `d`\n")}}},
			{Task: "unit:xl2tpd.service", Do: []Step{{Phase: PhaseServices, Shell: "restart_unit xl2tpd.service /etc/x"}, {Phase: PhaseVerify, Shell: "is_active xl2tpd.service"}},
				Undo: []Step{{Phase: PhaseServices, Shell: "systemctl restart xl2tpd.service"}}},
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
	probe, err := Probe([]Read{
		{Kind: ReadFile, Arg: "/etc/ipsec.conf"}, {Kind: ReadGlob, Arg: "/etc/ipsec.d/vpnpush/*"}, {Kind: ReadPackage, Arg: "xl2tpd"},
		{Kind: ReadUnit, Arg: "xl2tpd.service"}, {Kind: ReadSysctl, Arg: "net.ipv4.ip_forward"}, {Kind: ReadCommand, Arg: "iptables-save", Shell: "iptables-save"},
	})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		"apply": script.Reveal(), "probe": "#!/bin/sh\n" + probe, "launch": "#!/bin/sh\n" + x.Launch(), "follow": "#!/bin/sh\n" + x.Follow(),
		"confirm": "#!/bin/sh\n" + x.Confirm(), "outcome": "#!/bin/sh\n" + x.Outcome(), "revert": "#!/bin/sh\n" + x.Revert("why"), "extend": "#!/bin/sh\n" + x.Extend(time.Minute),
	}
	for what, text := range all {
		for name, argv := range shells(t) {
			cmd := exec.Command(argv[0], append(argv[1:], "-n")...)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s -n, %s: %v\n%s", name, what, err, out)
			}
		}
		if _, err := exec.LookPath("shellcheck"); err != nil {
			t.Log("no shellcheck here: not tried")
			continue
		}
		// SC2043: a loop over a list that happens to have one member here
		cmd := exec.Command("shellcheck", "-s", "sh", "-e", "SC2043", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("shellcheck, %s: %v\n%s", what, err, out)
		}
	}
}

// A script begins only on the manifest that its plan was made against, and a
// rollback to a time without one takes it away.
func TestScriptFencesManifest(t *testing.T) {
	for sha, want := range map[string]string{"": "pre " + ManifestPath + " \n", SHA256(nil): "pre " + ManifestPath + " " + SHA256(nil) + "\n"} {
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
	if err != nil || !strings.Contains(s.Reveal(), "at manifest\nrm -f -- "+ManifestPath+"\n") {
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
		{path, SHA256([]byte("x\n")), true}, {path, SHA256([]byte("y\n")), false}, {path, "", false},
		{path + "2", "", true}, {path + "2", SHA256(nil), false},
	} {
		for name, argv := range shells(t) {
			out, err := inPrelude(t, argv, "refuse() { echo \"$1\"; exit 1; }\npre "+tt.path+" "+tt.sha, "")
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
