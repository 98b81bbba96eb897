package transporttest

import (
	"os/exec"
	"strings"
	"testing"
)

// Shells returns the commands of the POSIX shells that a host may have as /bin/sh, by
// name: those that this machine has.
func Shells(t testing.TB) map[string][]string {
	t.Helper()
	all := map[string][]string{"sh": {"sh"}, "dash": {"dash"}, "bash": {"bash", "--posix"}, "busybox": {"busybox", "sh"}}
	for name, argv := range all {
		if _, err := exec.LookPath(argv[0]); err != nil {
			t.Logf("no %s here: not tried", name)
			delete(all, name)
		}
	}
	return all
}

// CleanShell fails the test where a script is not clean POSIX shell, in the eyes of each
// shell that this machine has and of shellcheck.
func CleanShell(t testing.TB, script string) {
	t.Helper()
	for name, argv := range Shells(t) {
		cmd := exec.Command(argv[0], append(argv[1:], "-n")...)
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v\n%s", name, err, out)
		}
	}
	if _, err := exec.LookPath("shellcheck"); err != nil {
		t.Log("no shellcheck here: not tried")
		return
	}
	// SC2043: a loop over a list that happens to have one member here
	cmd := exec.Command("shellcheck", "-s", "sh", "-e", "SC2043", "-")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("shellcheck: %v\n%s", err, out)
	}
}
