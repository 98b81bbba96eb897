package roles

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// pppd's scripts, run as pppd runs them: who is on an interface is noted, and
// taken back only by the session that wrote it.
func TestSessionNotes(t *testing.T) {
	dir, bin := filepath.Join(t.TempDir(), "ppp"), t.TempDir()
	// what xl2tpd 1.3.18 logs, of three tunnels; an earlier one had the number, too
	log := `#!/bin/sh
cat <<'X'
Connection established to 198.51.100.1, 1701.  Local: 23980, Remote: 4 (ref=0/0).  LNS session is 'default'
Connection established to 198.51.100.9, 1701.  Local: 23980, Remote: 29199 (ref=0/0).  LNS session is 'default'
Call established with 198.51.100.9, PID: 4799, Local: 12770, Remote: 8593, Serial: 1
Connection established to 198.51.100.3, 1701.  Local: 2398, Remote: 23980 (ref=0/0).  LNS session is 'default'
X
`
	if err := os.WriteFile(filepath.Join(bin, "journalctl"), []byte(log), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(path string, env ...string) {
		t.Helper()
		script := strings.ReplaceAll(file(t, full(), "vps", path), tasks.SessionDir, dir)
		cmd := exec.Command("sh", "-euc", script)
		cmd.Env = append([]string{"PATH=" + bin + ":" + os.Getenv("PATH")}, env...)
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
	// xl2tpd tells pppd the tunnel, and with the kernel's L2TP not the address
	l2tp := exec.Command("sh", "-c", "read x", "pppd", "pppol2tp_lns_mode", "pppol2tp_tunnel_id", "23980", "pppol2tp_session_id", "12770")
	in, err := l2tp.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := l2tp.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); l2tp.Wait() }()
	run(pppUp, slices.DeleteFunc(session("carol", strconv.Itoa(l2tp.Process.Pid)), func(s string) bool { return strings.HasPrefix(s, "PPP_IPPARAM") })...)
	if !strings.HasSuffix(note(), "\ntunnel\t23980\n") || !strings.Contains(note(), "\nfrom\t198.51.100.9\n") {
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

// xl2tpd is told twice to close the tunnel of a session that is over, to say goodbye
// and to forget it; not one that another session is in, and not where it does not run.
func TestSessionOverTunnel(t *testing.T) {
	root := t.TempDir()
	dir, control := filepath.Join(root, "ppp"), filepath.Join(root, "l2tp-control")
	bin := filepath.Join(root, "bin")
	for _, d := range []string{dir, bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(bin, "sleep"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer(tasks.SessionDir, dir, "/run/xl2tpd/l2tp-control", control).Replace(file(t, full(), "vps", pppDown))
	over := func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "ppp0"), []byte("user\tbob\npid\t7\ntunnel\t23980\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sh", "-euc", script)
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "IFNAME=ppp0", "PPPD_PID=7"}
		if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	over()
	if err := syscall.Mkfifo(control, 0o600); err != nil {
		t.Fatal(err)
	}
	pipe, err := os.OpenFile(control, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if err := os.WriteFile(filepath.Join(dir, "ppp1"), []byte("user\tcarol\npid\t8\ntunnel\t23980\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	over()
	if err := os.WriteFile(filepath.Join(dir, "ppp1"), []byte("user\tcarol\npid\t8\ntunnel\t2398\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	over()
	// what the first two had written would be here, too
	pipe.SetReadDeadline(time.Now().Add(10 * time.Second))
	got := make([]byte, len("d 23980\nd 23980\n"))
	if _, err := io.ReadFull(pipe, got); err != nil || string(got) != "d 23980\nd 23980\n" {
		t.Errorf("xl2tpd was told %q, %v", got, err)
	}
	pipe.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, _ := pipe.Read(got); n > 0 {
		t.Errorf("xl2tpd was told more: %q", got[:n])
	}
}
