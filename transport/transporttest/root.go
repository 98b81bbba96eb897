package transporttest

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Root is a scratch file system with its own process, mount and network
// namespaces, in which programs run as uid 0 and do no harm: /usr is this
// machine's and cannot be written, and so is /proc/sys except for net; all else
// (/etc, /var, /run, ...) is the test's own. It lives as long as the test, and
// so do live sysctls, firewall rules and background processes in it.
type Root struct {
	Dir string // where the test sees it

	t      testing.TB
	pid    int // of the process that holds the namespaces
	userNS bool
}

// hold builds the root $1 and stays. /proc/self is read before /proc is
// replaced: only the old one has the pid that others can use. It is told only
// after chroot: who enters before that is on the machine itself.
const hold = `set -e
r=$1
read -r pid rest </proc/self/stat
mount --bind "$r" "$r"
mount --bind /usr "$r/usr"
mount -o remount,bind,ro "$r/usr"
mount --bind "$r/.local" "$r/usr/local"
mount --bind /etc/alternatives "$r/etc/alternatives"
mount -o remount,bind,ro "$r/etc/alternatives"
for d in null zero full random urandom; do mount --bind "/dev/$d" "$r/dev/$d"; done
mount -t proc proc "$r/proc" 2>/dev/null || mount --rbind /proc "$r/proc"
mount --bind "$r/proc/sys/net" "$r/.net"
mount --bind "$r/proc/sys" "$r/proc/sys"
mount -o remount,bind,ro "$r/proc/sys"
mount --bind "$r/.net" "$r/proc/sys/net"
ip link set lo up 2>/dev/null || true
cd "$r"
exec chroot . /bin/sh -c 'trap : TERM INT HUP CHLD; echo "$1"; exec >/dev/null 2>&1; while :; do sleep 1000 & wait $!; done' init "$pid"
`

// NewRoot builds a root. It skips the test where this machine allows neither
// root nor unprivileged user namespaces to do so.
func NewRoot(t testing.TB) *Root {
	t.Helper()
	for _, tool := range []string{"unshare", "nsenter", "mount", "chroot"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no scratch root: %v", err)
		}
	}
	r := &Root{Dir: t.TempDir(), t: t, userNS: os.Geteuid() != 0}
	// t.TempDir's parents are 0700, which other users in the root would meet.
	if err := os.Chmod(r.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{
		".local/bin", ".local/sbin", ".net", "usr", "proc", "sys", "dev", "root", "home", "mnt", "opt", "srv", "boot",
		"etc/alternatives", "etc/default", "etc/sysctl.d", "run/lock", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/log", "var/cache", "var/spool", "var/tmp", "tmp",
	} {
		if err := os.MkdirAll(filepath.Join(r.Dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(r.Dir, d), 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"null", "zero", "full", "random", "urandom"} {
		r.Write("/dev/"+d, "", 0o666)
	}
	for link, to := range map[string]string{"dev/fd": "/proc/self/fd", "dev/stdin": "fd/0", "dev/stdout": "fd/1", "dev/stderr": "fd/2", "var/run": "/run"} {
		if err := os.Symlink(to, filepath.Join(r.Dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32"} {
		if to, err := os.Readlink("/" + d); err == nil {
			if err := os.Symlink(to, filepath.Join(r.Dir, d)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(r.Dir, "bin")); err != nil {
		t.Skip("no scratch root: /bin is not in /usr on this machine")
	}
	for _, f := range []string{"/etc/os-release", "/etc/ld.so.cache"} {
		if data, err := os.ReadFile(f); err == nil {
			r.Write(f, string(data), 0o644)
		}
	}
	r.Write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n", 0o644)
	r.Write("/etc/group", "root:x:0:\nnogroup:x:65534:\n", 0o644)
	r.Write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\n", 0o644)
	r.Write("/etc/hosts", "127.0.0.1 localhost\n", 0o644)
	r.Write("/var/lib/dpkg/status", "", 0o644)

	args := []string{"--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private"}
	if r.userNS {
		args = append(args, "--user", "--map-root-user")
	}
	cmd := exec.Command("unshare", append(args, "/bin/sh", "-c", hold, "hold", r.Dir)...)
	var said strings.Builder
	cmd.Stderr = &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(out).ReadString('\n')
	if r.pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		cmd.Wait()
		t.Skipf("no scratch root: this machine allows no namespaces here: %s", strings.TrimSpace(said.String()))
	}
	t.Cleanup(func() {
		// --kill-child: process 1 of the namespace goes with it, and with that
		// all the others.
		cmd.Process.Kill()
		cmd.Wait()
	})
	return r
}

// Command gives command as user's login shell would run it in the root. Users
// other than root need an entry in the root's /etc/passwd, and a test that
// itself runs as root.
func (r *Root) Command(user, command string) (*exec.Cmd, error) {
	entry, err := r.passwd(user)
	if err != nil {
		return nil, err
	}
	args := []string{"--target", strconv.Itoa(r.pid), "--mount", "--net", "--pid", "--ipc", "--uts", "--root", "--wd"}
	if r.userNS {
		args = append(args, "--user", "--preserve-credentials")
	}
	if entry[2] != "0" {
		if r.userNS {
			return nil, fmt.Errorf("run as %s: only root can", user)
		}
		args = append(args, "--setuid", entry[2], "--setgid", entry[3])
	}
	args = append(args, "--", "/usr/bin/env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "HOME="+entry[5], "USER="+user, "LOGNAME="+user, "SHELL="+entry[6],
		entry[6], "-c", command)
	return exec.Command("nsenter", args...), nil
}

func (r *Root) passwd(user string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(r.Dir, "etc/passwd"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) == 7 && f[0] == user {
			return f, nil
		}
	}
	return nil, fmt.Errorf("no user %s in the root", user)
}

// Run runs a script as root, outside of any transport, and gives its output. A
// script that fails fails the test.
func (r *Root) Run(script string) string {
	r.t.Helper()
	cmd, err := r.Command("root", "PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH; export PATH\n"+script)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("in the root: %v\n%s", err, out)
	}
	return string(out)
}

// Write writes a file of the root, given by its path there.
func (r *Root) Write(path, content string, mode os.FileMode) {
	r.t.Helper()
	p := filepath.Join(r.Dir, path)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		r.t.Fatal(err)
	}
	write(r.t, p, []byte(content), mode)
}

// Read reads a file of the root.
func (r *Root) Read(path string) string {
	r.t.Helper()
	data, err := os.ReadFile(filepath.Join(r.Dir, path))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(data)
}

// Exists reports whether path is there. Symbolic links are not followed: they
// would lead out of the root.
func (r *Root) Exists(path string) bool {
	_, err := os.Lstat(filepath.Join(r.Dir, path))
	return err == nil
}

// Bin installs an executable that is found before the machine's own.
func (r *Root) Bin(name, script string) {
	r.t.Helper()
	r.Write("/.local/sbin/"+name, script, 0o755)
}

// Case is what a fake program does for arguments that match Args, a pattern of
// sh's case, joined by single spaces.
type Case struct{ Args, Do string }

// Fake installs a program that knows only cases. For anything else it exits
// with 64 and says so: a fake must not agree to what it does not know.
func (r *Root) Fake(name string, cases ...Case) {
	r.t.Helper()
	var b strings.Builder
	b.WriteString("#!/bin/sh\ncase \"$*\" in\n")
	for _, c := range cases {
		fmt.Fprintf(&b, "%s)\n%s\n;;\n", strings.ReplaceAll(c.Args, " ", `\ `), c.Do)
	}
	fmt.Fprintf(&b, "*) echo \"fake %s: unknown arguments: $*\" >&2; exit 64 ;;\nesac\n", name)
	r.Bin(name, b.String())
}
