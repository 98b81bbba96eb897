package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// answered returns facts of commands that ran, by name, as a probe would.
func answered(commands map[string]tasks.CommandState, files ...tasks.FileState) tasks.Facts {
	k := tasks.Known{Commands: commands, Files: map[string]tasks.FileState{}}
	for _, s := range files {
		k.Files[s.Path] = s
	}
	return tasks.NewFacts(k)
}

func says(stdout string) tasks.CommandState { return tasks.CommandState{Stdout: []byte(stdout)} }

func mustCheck(t *testing.T, task tasks.Task, f tasks.Facts) *tasks.Change {
	t.Helper()
	c, err := task.Check(f)
	if err != nil {
		t.Fatalf("check %s: %v", task.ID(), err)
	}
	return c
}

// inScript runs shell with the functions that every apply script has and those of
// parts, its transaction folder in a scratch one.
func inScript(t *testing.T, argv []string, shell, stdin string, parts ...tasks.Part) (string, error) {
	t.Helper()
	txn := t.TempDir()
	script := "id=test by=me summary=s did=applied confirm_timeout=60 units=\n" + txnShell
	for _, p := range append(parts, tasks.PartFiles) {
		script += p.Text
	}
	script += "\ntxn='" + txn + "'\n"
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

func shells(t *testing.T) map[string][]string { return transporttest.Shells(t) }
