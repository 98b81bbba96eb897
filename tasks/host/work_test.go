package host

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// What drift says of a host that is being worked on.
func TestRunFrom(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	for out, want := range map[string]Work{
		"":                               {},
		"working\n":                      {Working: true},
		"pending\t1700000000\t2026-ab\n": {Pending: "2026-ab", Since: at},
		"pending\t\t\n":                  {},
		"working\nholder\t1700000000\troot@x, apply 2026-ab\n": {Working: true, Holder: "root@x, apply 2026-ab", Since: at},
	} {
		got, err := WorkFrom(answered(map[string]tasks.CommandState{WorkRead.Arg: says(out)}))
		if err != nil || got != want {
			t.Errorf("%q: %+v, want %+v (%v)", out, got, want, err)
		}
	}
	for _, bad := range []tasks.CommandState{says("nonsense\n"), says("a\tb\n"), {Code: 2}} {
		if r, err := WorkFrom(answered(map[string]tasks.CommandState{WorkRead.Arg: bad})); err == nil {
			t.Errorf("%q: %+v", bad.Stdout, r)
		}
	}
}

// The lock is seen while somebody holds it and not after, and looking does not
// take it.
func TestRunRead(t *testing.T) {
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("no flock here: ", err)
	}
	dir := t.TempDir()
	lock, holder := filepath.Join(dir, "lock"), filepath.Join(dir, "holder")
	if err := os.WriteFile(holder, []byte("me, apply 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := WorkRead
	read.Shell = strings.NewReplacer("/run/vpnpush", dir, "/var/lib/vpnpush", dir).Replace(read.Shell)
	look := func() Work {
		t.Helper()
		_, f := probe(t, []string{"sh"}, []tasks.Read{read})
		r, err := WorkFrom(f)
		if err != nil {
			t.Fatal(err)
		}
		r.Since = time.Time{}
		return r
	}
	if r := look(); r.Busy() {
		t.Errorf("nobody is there: %+v", r)
	}
	// the process that called flock has ended, as in apply.sh
	cmd := exec.Command("sh", "-c", `exec 9>"$0"; flock -n 9; echo; cat >/dev/null`, lock)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if r := look(); r != (Work{Working: true, Holder: "me, apply 7"}) {
		t.Errorf("held: %+v", r)
	}
	in.Close()
	cmd.Wait()
	if r := look(); r.Busy() {
		t.Errorf("let go: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "pending"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := look(); r != (Work{Pending: "7", Holder: "me, apply 7"}) {
		t.Errorf("waiting: %+v", r)
	}
	if b, _ := os.ReadFile(holder); !bytes.Equal(b, []byte("me, apply 7\n")) {
		t.Errorf("looking changed the holder: %q", b)
	}
}
