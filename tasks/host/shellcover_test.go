//go:build shellcover

package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// Each function of an apply script notes its name, and what lands on a host is the same.
func TestShellCoverNotesEachFunction(t *testing.T) {
	const file = "#!/bin/sh\nlock() { :; }\nfind() {\n:\n}\n"
	x := exampleTxn()
	x.Changes[1].Do[0].Stdin = secret.New(file)
	script, err := x.Script()
	if err != nil {
		t.Fatal(err)
	}
	text := script.Reveal()
	transporttest.CleanShell(t, text)
	for _, want := range []string{
		"\nput /etc/x 0600 root:root <<'" + heredocEnd + "'\n" + file + heredocEnd + "\n",
		"\nsame_boot() { { echo same_boot >>" + coverFile, "\nlock() { { echo lock >>" + coverFile, "\nmain_run() { { echo main_run >>" + coverFile,
		"\nundo_live() { { echo undo_live >>" + coverFile, "\nrestart_unit() { { echo restart_unit >>" + coverFile,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the script", want)
		}
	}
	if strings.Contains(text, "echo find >>") || strings.Count(text, "echo lock >>") != 1 {
		t.Error("a function in a here-document notes its name")
	}
}

// A function does what it does without the note: under set -e, where its status is
// tested, and in a command substitution; and also where the note cannot be written.
func TestShellCoverChangesNothing(t *testing.T) {
	const script = `set -eu
good() { echo "$1"; }
bad() { # it fails
    false
    echo "not reached"
}
status() { return "$1"; }
quiet() { [ "$1" = x ]; }
lines() { cat; }
if quiet y; then echo "y is x"; fi
status 3 || echo "status $?"
echo "$(good in) $(good "$(good inner)")"
lines <<'X'
lost() { :; }
X
( bad )
echo "set -e does not end it"
`
	const want = "status 3\nin inner\nlost() { :; }\n"
	const names = "quiet\nstatus\ngood\ngood\ngood\nlines\nbad\n"
	for name, argv := range shells(t) {
		dir := t.TempDir()
		notes := filepath.Join(dir, "notes")
		for _, path := range []string{notes, filepath.Join(dir, "none", "notes")} {
			text := strings.ReplaceAll(noteFunctions(script), coverFile, path)
			out, err := exec.Command(argv[0], append(argv[1:], "-c", text)...).CombinedOutput()
			if err == nil || string(out) != want {
				t.Errorf("%s, notes in %s: %v\n%s", name, path, err, out)
			}
		}
		if got, err := os.ReadFile(notes); err != nil || string(got) != names {
			t.Errorf("%s: noted %q, %v, want %q", name, got, err, names)
		}
	}
}
