package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A command that is counted just as disarm takes all away goes on: it once counted for
// ever, and the run on the host stood still.
func TestInterceptWhenDisarmed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"true":     strings.ReplaceAll(intercept, "/run/chaos", dir),
		"when":     "run 1 \n",
		"action":   "echo acted; exit 1\n",
		"apply.sh": "sh " + dir + "/true; echo $?\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run := func() string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", dir+"/apply.sh", "run")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if err := os.Mkdir(dir+"/calls", 0o755); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != "acted\n1\n" {
		t.Errorf("armed: %q", got)
	}
	if err := os.RemoveAll(dir + "/calls"); err != nil {
		t.Fatal(err)
	}
	if got := run(); got != "0\n" {
		t.Errorf("half disarmed: %q", got)
	}
}
