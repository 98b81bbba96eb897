package roles

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
)

// pppd's scripts, run as pppd runs them: who is on an interface is noted, and
// taken back only by the session that wrote it.
func TestSessionNotes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ppp")
	run := func(path string, env ...string) {
		t.Helper()
		script := strings.ReplaceAll(file(t, full(), "vps", path), tasks.SessionDir, dir)
		cmd := exec.Command("sh", "-euc", script)
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%s: %v\n%s", path, err, out)
		}
	}
	session := func(user, pid string) []string {
		return []string{"IFNAME=ppp0", "PEERNAME=" + user, "IPREMOTE=192.168.200.10", "PPP_IPPARAM=198.51.100.7", "PPPD_PID=" + pid}
	}
	note := func() string {
		b, err := os.ReadFile(filepath.Join(dir, "ppp0"))
		if err != nil {
			return ""
		}
		return string(b)
	}

	run(pppUp, "IFNAME=ppp0", "PPPD_PID=6") // an uplink: its peer did not say who it is
	if got := note(); got != "" {
		t.Errorf("noted an uplink: %q", got)
	}
	run(pppUp, session("alice", "7")...)
	if want := regexp.MustCompile(`^user\talice\naddress\t192\.168\.200\.10\nfrom\t198\.51\.100\.7\npid\t7\nsince\t[0-9]{10}\n$`); !want.MatchString(note()) {
		t.Errorf("alice is noted as %q", note())
	}
	run(pppUp, session("bob", "77")...)
	run(pppDown, session("alice", "7")...) // late
	if !strings.HasPrefix(note(), "user\tbob\n") {
		t.Errorf("alice's end took bob's note: %q", note())
	}
	run(pppDown, session("bob", "77")...)
	run(pppDown, session("bob", "77")...)
	if fs, _ := os.ReadDir(dir); len(fs) > 0 {
		t.Errorf("left behind: %v", fs)
	}
}
