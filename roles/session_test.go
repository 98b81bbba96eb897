package roles

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
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
	// two that run: when they began is read of them
	alicePID, bobPID := strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid())
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
	run(pppUp, session("alice", alicePID)...)
	if want := regexp.MustCompile(`^user\talice\naddress\t192\.168\.200\.10\nfrom\t198\.51\.100\.7\npid\t` + alicePID + `\nsince\t[0-9]{10}\nbegan\t[0-9]+\ntunnel\t\n$`); !want.MatchString(note()) {
		t.Errorf("alice is noted as %q", note())
	}
	// the kernel's clock, in hundredths of a second since it booted
	var began, up float64
	fmt.Sscan(regexp.MustCompile(`began\t(.*)`).FindStringSubmatch(note())[1], &began)
	if b, err := os.ReadFile("/proc/uptime"); err != nil {
		t.Fatal(err)
	} else if fmt.Sscan(string(b), &up); began/100 > up || began/100 < up-600 {
		t.Errorf("this process is noted to have begun %.0f hundredths after the boot, which was %.2f s ago", began, up)
	}
	// xl2tpd tells pppd the tunnel
	l2tp := exec.Command("sh", "-c", "read x", "pppd", "pppol2tp_lns_mode", "pppol2tp_tunnel_id", "23980", "pppol2tp_session_id", "12770")
	in, err := l2tp.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l2tp.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); l2tp.Wait() }()
	run(pppUp, session("carol", strconv.Itoa(l2tp.Process.Pid))...)
	if !strings.HasSuffix(note(), "\ntunnel\t23980\n") {
		t.Errorf("carol is noted as %q", note())
	}
	run(pppUp, session("bob", bobPID)...)
	run(pppDown, session("alice", alicePID)...) // late
	if !strings.HasPrefix(note(), "user\tbob\n") {
		t.Errorf("alice's end took bob's note: %q", note())
	}
	run(pppDown, session("bob", bobPID)...)
	run(pppDown, session("bob", bobPID)...)
	if fs, _ := os.ReadDir(dir); len(fs) > 0 {
		t.Errorf("left behind: %v", fs)
	}
}
