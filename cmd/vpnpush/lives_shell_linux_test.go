package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Scripts of a life are run by the real shell, in a root of their host's own. To start a
// program costs a hundred times more than what it does there; so most of the programs that
// the scripts call are functions of the shell, which ask this process to do it, on the same
// files, and with the standard streams of who asks.

// realTools are programs that run as they are.
var realTools = []string{"sh", "awk", "sed", "grep", "sort", "head", "tail", "cut", "sha256sum", "xargs", "cat"}

// newSkeleton makes what the root of each host begins with: links to it cost nothing.
func newSkeleton(t testing.TB) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NO LIVES: they run scripts in roots of their own, which takes root")
	}
	dir := t.TempDir()
	put := func(from, to string) {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(dir, to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	libs := regexp.MustCompile(`(?m)(/\S+) \(0x`)
	for _, tool := range realTools {
		path, err := exec.LookPath(tool)
		if err != nil {
			t.Skipf("NO LIVES: %v", err)
		}
		put(path, "bin/"+tool)
		out, err := exec.Command("ldd", path).Output()
		if err != nil {
			t.Skipf("NO LIVES: ldd %s: %v", path, err)
		}
		for _, lib := range libs.FindAllStringSubmatch(string(out), -1) {
			put(lib[1], lib[1])
		}
	}
	return dir
}

// copySkeleton links what is in the skeleton into a root.
func copySkeleton(skeleton, root string) error {
	return filepath.WalkDir(skeleton, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := root + strings.TrimPrefix(path, skeleton)
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		return os.Link(path, to)
	})
}

// shellHead makes functions and aliases of what this process does for the scripts: a
// function's name cannot have a hyphen. One thing is done at a time, so what waits for
// another's output, such as cat in a pipe, is not asked of it.
var shellHead = sync.OnceValue(func() string {
	var b strings.Builder
	b.WriteString("rq() { printf '%s\\0' $# \"$@\" >&7; read -r rq_ <&7 || exit 99; return \"$rq_\"; } 5<&0 6>&1\n")
	for name := range played {
		if strings.Contains(name, "-") {
			fmt.Fprintf(&b, "alias %[1]s='rq %[1]s'\n", name)
		} else {
			fmt.Fprintf(&b, "%[1]s() { rq %[1]s \"$@\"; }\n", name)
		}
	}
	b.WriteString(`timeout() { shift; "$@"; }
sh() { rq true; }
head() { case $* in *urandom) rq reserve ;; *) command head "$@" ;; esac; }
tail() { case $* in *" /"*) rq tail "$@" ;; *) command tail "$@" ;; esac; }
sha256sum() { [ $# -gt 0 ] && command sha256sum "$@" || rq sha256sum; }
cat() { [ $# -gt 0 ] && { rq cat "$@"; return; }; command cat; }
run_sh() { run_sh_=$1; shift; . "$run_sh_"; exit; }
`)
	return b.String()
})

// stdio are the standard streams of who asks for something.
type stdio struct {
	pid   int
	pidfd int
	files [3]*os.File
}

func (s *stdio) file(n int) *os.File {
	if s.files[n] == nil {
		if s.pidfd < 0 {
			s.pidfd, _ = unix.PidfdOpen(s.pid, 0)
		}
		// while the shell asks, 0 and 1 lead to this process
		fd, err := unix.PidfdGetfd(s.pidfd, [3]int{5, 6, 2}[n], 0)
		if err != nil { // it is closed there, or the asker is gone
			s.files[n], _ = os.OpenFile(os.DevNull, os.O_RDWR, 0)
			return s.files[n]
		}
		s.files[n] = os.NewFile(uintptr(fd), strconv.Itoa(n))
	}
	return s.files[n]
}

func (s *stdio) Write(b []byte) (int, error) { return s.file(1).Write(b) }
func (s *stdio) Read(b []byte) (int, error)  { return s.file(0).Read(b) }

// say prints on the standard error.
func (s *stdio) say(format string, args ...any) int {
	fmt.Fprintf(s.file(2), format+"\n", args...)
	return 1
}

func (s *stdio) close() {
	for _, f := range s.files {
		if f != nil {
			f.Close()
		}
	}
	if s.pidfd >= 0 {
		unix.Close(s.pidfd)
	}
}

// umask returns that of who asks.
func (s *stdio) umask() os.FileMode {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	_, b, _ = bytes.Cut(b, []byte("Umask:\t"))
	n, _ := strconv.ParseUint(string(b[:min(4, len(b))]), 8, 32)
	return os.FileMode(n)
}

// shell is a script that runs on a host.
type shell struct {
	h    *livesHost
	what string // "run", "undo" or "confirm" of an apply script; else ""
	cmd  *exec.Cmd
	n    int // commands so far
	once sync.Once
}

// errKilled is how a shell ends that was killed.
var errKilled = errors.New("killed")

func (s *shell) kill() {
	s.once.Do(func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
}

// shell runs a script on the host with arguments, and returns its exit status.
func (h *livesHost) shell(what, script string, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if err := unix.SetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
		return 0, err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "ours"), os.NewFile(uintptr(pair[1]), "theirs")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return 0, err
	}
	s := &shell{h: h, what: what}
	s.cmd = exec.Command("/bin/sh", append([]string{"-c", shellHead() + script, "sh"}, args...)...)
	s.cmd.Err = nil
	s.cmd.Path = "/bin/sh"
	s.cmd.Dir, s.cmd.Env = "/", []string{"PATH=/bin"}
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = stdin, stdout, stderr
	s.cmd.ExtraFiles = []*os.File{nil, nil, nil, nil, theirs}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: h.root, Setpgid: true}
	if err := s.cmd.Start(); err != nil {
		theirs.Close()
		c.Close()
		return 0, err
	}
	theirs.Close()
	h.mu.Lock()
	h.shells[s] = true
	h.mu.Unlock()
	served := make(chan struct{})
	go func() { defer close(served); s.serve(c.(*net.UnixConn)) }()
	err = s.cmd.Wait()
	s.kill() // what it has left in the background
	<-served
	h.mu.Lock()
	delete(h.shells, s)
	h.mu.Unlock()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return exit.ExitCode(), nil
	case errors.As(err, &exit):
		return 0, errKilled
	}
	return 0, err
}

// serve does what the shell asks for until it has ended.
func (s *shell) serve(c *net.UnixConn) {
	defer c.Close()
	var pid int
	oob := make([]byte, 256)
	r := bufio.NewReader(readFunc(func(b []byte) (int, error) {
		n, oobn, _, _, err := c.ReadMsgUnix(b, oob)
		if msgs, e := unix.ParseSocketControlMessage(oob[:oobn]); e == nil {
			for _, m := range msgs {
				if cred, e := unix.ParseUnixCredentials(&m); e == nil {
					pid = int(cred.Pid)
				}
			}
		}
		if n <= 0 && err == nil { // of a stream that is a message, too
			err = io.EOF
		}
		return max(n, 0), err
	}))
	for {
		words := make([]string, 1)
		for i := 0; i < len(words); i++ {
			w, err := r.ReadString(0)
			if err != nil {
				return
			}
			words[i] = strings.TrimSuffix(w, "\x00")
			if i == 0 {
				n, _ := strconv.Atoi(words[0])
				words = append(words, make([]string, n)...)
			}
		}
		s.n++
		argv := words[1:]
		if len(argv) == 0 || played[argv[0]] == nil {
			s.h.w.fault("%s: a script asks for %q", s.h.name, words)
			s.kill()
			return
		}
		status, ok := s.h.fault(s, argv)
		if !ok {
			s.kill()
			return
		}
		if status == 0 {
			io := &stdio{pid: pid, pidfd: -1}
			status = played[argv[0]](s.h, io, argv[1:])
			io.close()
		}
		if _, err := fmt.Fprintln(c, status); err != nil {
			return
		}
	}
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(b []byte) (int, error) { return f(b) }
