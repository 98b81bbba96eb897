package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// Whatever cuts a run short is unknown, never an answer: a plan that took it
// for one would rebuild files it has not read (k0sproject/rig#438).
func TestLostIsNotAnAnswer(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault transporttest.Fault
		lost  bool
	}{
		{"cut before the start", transporttest.Fault{Drop: true}, true},
		{"cut in the output", transporttest.Fault{DropAfter: 1000}, true},
		{"cut between status and output", transporttest.Fault{StatusThenDrop: true}, true},
		{"no exit status", transporttest.Fault{NoStatus: true}, true},
		{"refused", transporttest.Fault{Refuse: true}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := transporttest.NewServer(t, transporttest.Options{})
			s.OnExec(func(int, string) transporttest.Fault { return tt.fault })
			c := dial(t, dialer(t, serverTarget("tokyo", s)))
			res, err := c.Run(t.Context(), transport.Cmd{Script: "head -c 100000 /dev/zero"})
			var exit *transport.ExitError
			if err == nil || errors.As(err, &exit) {
				t.Fatalf("err = %v with %d bytes, want one that is no answer", err, len(res.Stdout))
			}
			if errors.Is(err, transport.ErrLost) != tt.lost {
				t.Errorf("err = %v; lost: want %t", err, tt.lost)
			}
			if strings.Contains(err.Error(), "/dev/zero") {
				t.Errorf("%v shows the script", err)
			}
			if len(res.Stdout)+len(res.Stderr) > 0 {
				t.Errorf("a result of half an output: %d bytes", len(res.Stdout))
			}
		})
	}
}

func TestExecNeverAnswered(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	s.OnExec(func(n int, _ string) transporttest.Fault {
		if n > 1 {
			return transporttest.Fault{}
		}
		cancel()
		return transporttest.Fault{Hang: true}
	})
	c := dial(t, dialer(t, serverTarget("tokyo", s)))
	if _, err := c.Run(ctx, transport.Cmd{Script: "true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if _, err := c.Run(t.Context(), transport.Cmd{Script: "true"}); err != nil {
		t.Errorf("the connection does not outlive it: %v", err)
	}
}

// The command line is what a host's log and ps show; it is pinned.
func TestCommandLine(t *testing.T) {
	root := become{user: "root"}
	got, err := root.command("echo it's")
	want := `exec /usr/bin/env LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/sh -c 'echo it'\''s'`
	if err != nil || got != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	admin := become{user: "admin"}
	if got, _ := admin.command("echo it's"); !strings.Contains(got, "exec sudo -n -- ") || !strings.HasSuffix(got, ` sh 'echo it'\''s'`) {
		t.Errorf("got %s", got)
	}
	if _, err := root.command(strings.Repeat("'", 90_000)); err == nil || !strings.Contains(err.Error(), "as one shell word") {
		t.Errorf("a script of quotes: err = %v", err)
	}
}

// The server of the tests must be one that OpenSSH takes for real, or what
// passes with it says nothing.
func TestServerServesOpenSSH(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh on this machine")
	}
	servers, targets := chain(t, 2)
	config := fmt.Sprintf(`Host *
 User root
 IdentityFile %s
 IdentitiesOnly yes
 UserKnownHostsFile %s
 StrictHostKeyChecking yes
 BatchMode yes
Host a
 HostName %s
 Port %d
Host b.lan
 ProxyJump a
`, targets[0].IdentityFile, targets[0].KnownHosts, servers[0].Host, servers[0].Port)
	file := writeFile(t, filepath.Join(t.TempDir(), "config"), config)
	for _, host := range []string{"a", "b.lan"} {
		cmd := exec.Command(ssh, "-F", file, host, "cat; echo err >&2; exit 3")
		cmd.Env = append(os.Environ(), "SSH_AUTH_SOCK=")
		cmd.Stdin = strings.NewReader("through stdin\n")
		var out, errs strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 3 || out.String() != "through stdin\n" || errs.String() != "err\n" {
			t.Errorf("ssh %s: %v, stdout %q, stderr %q", host, err, out.String(), errs.String())
		}
	}
}

// without plays a host that prints without end. It gives up by itself in the end, so that
// a test which fails leaves some memory.
func without(end io.Writer) {
	chunk := bytes.Repeat([]byte("x"), 32<<10)
	for range 64 << 20 / len(chunk) {
		if _, err := end.Write(chunk); err != nil {
			return
		}
	}
}

// A host that prints without end ends its own run, over SSH and on this machine, and not
// the memory of all.
func TestEndlessOutput(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	const most = 1 << 20
	for _, tt := range []struct {
		name, what string
		play       func(transporttest.Player)
		script     string // that does so on this machine
		cmd        transport.Cmd
	}{
		{name: "output", what: "more than 1024 KiB of output", play: func(p transporttest.Player) { without(p.Stdout) },
			script: "exec cat /dev/zero", cmd: transport.Cmd{MaxStdout: most}},
		{name: "output that is streamed", what: "more than 1024 KiB of output", play: func(p transporttest.Player) { without(p.Stdout) },
			script: "exec cat /dev/zero", cmd: transport.Cmd{MaxStdout: most, Stdout: io.Discard}},
		{name: "output where nobody set a limit", what: "more than 16384 KiB of output", play: func(p transporttest.Player) { without(p.Stdout) },
			script: "exec cat /dev/zero"},
		{name: "messages", what: "more than 256 KiB of messages", play: func(p transporttest.Player) { without(p.Stderr) },
			script: "exec cat /dev/zero >&2", cmd: transport.Cmd{MaxStdout: most}},
	} {
		check := func(t *testing.T, c transport.Conn) {
			res, err := c.Run(t.Context(), tt.cmd)
			if !errors.Is(err, transport.ErrEndless) || !strings.Contains(err.Error(), tt.what) || errors.Is(err, transport.ErrLost) {
				t.Errorf("err = %v, want %v: %s", err, transport.ErrEndless, tt.what)
			}
			if len(res.Stdout)+len(res.Stderr) > 0 {
				t.Errorf("a result of half an output: %d bytes", len(res.Stdout))
			}
		}
		t.Run(tt.name+", over SSH", func(t *testing.T) {
			s.OnExec(func(int, string) transporttest.Fault { return transporttest.Fault{Play: tt.play} })
			c := dial(t, dialer(t, serverTarget("tokyo", s)))
			tt.cmd.Script = "true"
			check(t, c)
			if _, err := c.Run(t.Context(), transport.Cmd{Script: "true"}); !errors.Is(err, transport.ErrEndless) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
		t.Run(tt.name+", on this machine", func(t *testing.T) {
			c := dial(t, dialer(t, Target{Name: "here", Local: true, Become: "never"}))
			tt.cmd.Script = tt.script
			check(t, c)
		})
	}
}

// Output that drips on after the exit status does not hold the run for ever.
func TestOutputDrips(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	s.OnExec(func(int, string) transporttest.Fault {
		return transporttest.Fault{Play: func(p transporttest.Player) {
			io.WriteString(p.Stdout, "all of it\n")
			p.Exit(3)
			for t.Context().Err() == nil {
				time.Sleep(time.Millisecond)
				if _, err := io.WriteString(p.Stdout, "."); err != nil {
					return
				}
			}
		}}
	})
	c := dial(t, dialer(t, serverTarget("tokyo", s))).(*conn)
	c.drain = 50 * time.Millisecond
	res, err := c.Run(t.Context(), transport.Cmd{Script: "true"})
	var exit *transport.ExitError
	if !errors.As(err, &exit) || exit.Code != 3 || !strings.HasPrefix(string(res.Stdout), "all of it\n") {
		t.Errorf("%.40q, %v", res.Stdout, err)
	}
}

// What is just as long as may be is an answer.
func TestLongestOutput(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	c := dial(t, dialer(t, serverTarget("tokyo", s)))
	res, err := c.Run(t.Context(), transport.Cmd{Script: "head -c 100000 /dev/zero", MaxStdout: 100_000})
	if err != nil || len(res.Stdout) != 100_000 {
		t.Errorf("%d bytes, %v", len(res.Stdout), err)
	}
}
