package transporttest

import (
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// SSHD is a real sshd on 127.0.0.1, run by the user of the test, who is the
// only one it lets in.
type SSHD struct {
	Host     string
	Port     int
	User     string
	Identity *Identity
	HostKey  ssh.PublicKey
	Log      string // a file
}

// NewSSHD starts a real sshd with further lines of sshd_config. It skips the
// test where there is none.
func NewSSHD(t testing.TB, id *Identity, config ...string) *SSHD {
	t.Helper()
	bin, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("no real sshd on this machine: install openssh-server")
	}
	if os.Geteuid() == 0 {
		// sshd wants it for its privilege separation.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Skipf("no real sshd: %v", err)
		}
	}
	if id == nil {
		id = NewIdentity(t)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := exec.Command("getent", "passwd", me.Username).Output(); err == nil {
		f := strings.Split(strings.TrimSpace(string(entry)), ":")
		if shell := f[len(f)-1]; exec.Command(shell, "-c", "true").Run() != nil {
			t.Skipf("no real sshd: %s has %s for a login shell", me.Username, shell)
		}
	}
	dir := t.TempDir()
	key, block := newKey(t)
	write(t, filepath.Join(dir, "host_key"), pem.EncodeToMemory(block), 0o600)
	write(t, filepath.Join(dir, "authorized_keys"), ssh.MarshalAuthorizedKey(id.Signer.PublicKey()), 0o600)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHD{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: me.Username, Identity: id, HostKey: key.PublicKey(), Log: filepath.Join(dir, "log")}
	l.Close()
	lines := append([]string{
		fmt.Sprintf("ListenAddress 127.0.0.1:%d", s.Port),
		"HostKey " + filepath.Join(dir, "host_key"),
		"AuthorizedKeysFile " + filepath.Join(dir, "authorized_keys"),
		"PidFile none",
		"StrictModes no", // the directory for tests is under a /tmp that all can write
		"UsePAM no",
		"PermitRootLogin prohibit-password",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"MaxStartups 100",
		"MaxSessions 20",
	}, config...)
	write(t, filepath.Join(dir, "config"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)

	cmd := exec.Command(bin, "-D", "-f", filepath.Join(dir, "config"), "-E", s.Log)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { cmd.Process.Kill() })
	addr := net.JoinHostPort(s.Host, fmt.Sprint(s.Port))
	for {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			break
		}
		select {
		case <-ended:
			log, _ := os.ReadFile(s.Log)
			t.Skipf("no real sshd: it does not start here: %s", log)
		case <-time.After(20 * time.Millisecond):
		}
	}
	id.Trust(t, addr, key.PublicKey())
	return s
}
