package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// A host that was supposed to be bare may have what a package brings, as it brings it, and
// nothing else: every difference is told at once, before anything is touched.
func TestBareHost(t *testing.T) {
	dir := t.TempDir()
	brought, edited, absent := filepath.Join(dir, "brought"), filepath.Join(dir, "edited"), filepath.Join(dir, "absent")
	for path, text := range map[string]string{
		brought: "as it came\n", edited: "by hand\n",
		// a Debian that has a package with both files
		filepath.Join(dir, "dpkg-query"): "#!/bin/sh\necho; printf ' %s %s\\n' '" + brought + "' \"$(printf 'as it came\\n' | md5sum | cut -d ' ' -f 1)\" '" + edited + "' 0123\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ shell, want string }{
		{"bare " + brought + " " + absent, ""},
		{"bare " + edited, edited + " is there"},
		{"suppose 'mend it' ':'", ""},
		{"bare " + edited + "\nsuppose 'mend it' 'echo a is wrong; echo b is'", edited + " is there; a is wrong; b is (mend it)"},
		{"suppose 'mend it' 'exit 3'", "a check of this box failed (mend it)"},
	} {
		for name, argv := range shells(t) {
			out, err := inScript(t, argv, "PATH="+dir+":$PATH\nrefuse() { echo \"$1: $2\"; }\n"+tt.shell+"\nas_supposed", "", tasks.PartBare)
			want := ""
			if tt.want != "" {
				want = "stale: " + tt.want + "\n"
			}
			if err != nil || out != want {
				t.Errorf("%s: %s: %v, %q, want %q", name, tt.shell, err, out, want)
			}
		}
	}
}

// Of a kernel parameter that nobody had read, what it was comes back: what it was before
// the first change, also where that change set another with it.
func TestKeepLive(t *testing.T) {
	for name, argv := range shells(t) {
		dir := t.TempDir()
		forward, redirects := filepath.Join(dir, "ip forward"), filepath.Join(dir, "accept_redirects")
		f, r := transport.Quote(forward), transport.Quote(redirects)
		out, err := inScript(t, argv, "echo 0 >"+f+"\necho 1 >"+r+"\n"+
			"keep_live "+f+" "+r+"\necho 1 >"+f+"\necho 0 >"+r+"\n"+ // the kernel does
			"keep_live "+r+"\necho 0 >"+r+"\n"+
			"live_back "+r+"\nlive_back "+f+"\nlive_back "+r+"\nlive_back "+transport.Quote(filepath.Join(dir, "other"))+"\n"+
			"cat "+f+" "+r+"; rm \"$txn/live\" \"$txn/was\"; ls "+transport.Quote(dir), "", tasks.PartBare)
		if err != nil || out != "0\n1\naccept_redirects\nip forward\n" {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// An apply of a host that nobody has looked at looks for all of it itself.
func TestUnseenPreconditions(t *testing.T) {
	x := exampleTxn()
	x.Unseen, x.Supposed = true, []tasks.Supposed{{Shell: "echo it's so", Mend: "mend it"}}
	s, err := x.Script()
	if err != nil {
		t.Fatal(err)
	}
	_, conditions, _ := strings.Cut(s.Reveal(), "\npreconditions() {\n")
	conditions, _, _ = strings.Cut(conditions, "\n}\n")
	for _, want := range []string{"bare " + tasks.ManifestPath + "\n", `suppose 'mend it' 'echo it'\''s so'` + "\n", "\nas_supposed"} {
		if !strings.Contains(conditions, want) {
			t.Errorf("no %q in\n%s", want, conditions)
		}
	}
	if strings.Contains(conditions, "\npre ") {
		t.Errorf("what nobody has read is compared:\n%s", conditions)
	}
}
