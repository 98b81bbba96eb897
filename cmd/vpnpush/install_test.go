package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// `make install` puts all in its place, readable by everybody whatever the umask, with the
// paths of that place in the units, and `make uninstall` leaves nothing.
func TestInstall(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("SKIPPED: there is no make here")
	}
	root := t.TempDir()
	run := func(command string) {
		t.Helper()
		cmd := exec.Command("sh", "-c", "umask 077; cd ../.. && "+command)
		cmd.Env = append(os.Environ(), "PROGRAM="+filepath.Join(root, "built"), "ROOT="+filepath.Join(root, "a root"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	files := func() map[string]fs.FileInfo {
		out := map[string]fs.FileInfo{}
		err := filepath.WalkDir(filepath.Join(root, "a root"), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			info, err := d.Info()
			out[strings.TrimPrefix(path, filepath.Join(root, "a root"))] = info
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	run(`go build -o "$PROGRAM" ./cmd/vpnpush && make install PROGRAM="$PROGRAM" DESTDIR="$ROOT" PREFIX=/opt/it`)
	got := files()
	for file, mode := range map[string]fs.FileMode{
		"bin/vpnpush": 0o755, "share/man/man1/vpnpush-plan.1": 0o644, "share/bash-completion/completions/vpnpush": 0o644,
		"share/zsh/site-functions/_vpnpush": 0o644, "share/fish/vendor_completions.d/vpnpush.fish": 0o644, "share/doc/vpnpush/README.md": 0o644,
		"share/doc/vpnpush/docs/cron.md": 0o644, "share/doc/vpnpush/examples/vpnpush.cron": 0o644, "lib/systemd/system/vpnpush-drift.service": 0o644,
	} {
		if info := got["/opt/it/"+file]; info == nil || info.Mode() != mode {
			t.Errorf("%s: %v", file, info)
		}
	}
	unit, err := os.ReadFile(filepath.Join(root, "a root/opt/it/lib/systemd/system/vpnpush-drift.service"))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/opt/it/bin/vpnpush ") || strings.Contains(string(unit), "/usr/") {
		t.Errorf("%v\n%s", err, unit)
	}
	run(`make uninstall DESTDIR="$ROOT" PREFIX=/opt/it`)
	if left := files(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
