package sshconn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/vpnpush/vpnpush/transport"
)

// local is a transport.Conn to this machine, without SSH.
type local struct {
	become become
	once   sync.Once
	gone   chan struct{}
}

func newLocal(t *Target) (transport.Conn, error) {
	b, err := newBecome(t)
	if err != nil {
		return nil, err
	}
	b.user = "root"
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			return nil, fmt.Errorf("connect to %s: %w", t.Name, err)
		}
		b.user = u.Username
	}
	return &local{become: b, gone: make(chan struct{})}, nil
}

// Close implements transport.Conn.
func (l *local) Close() error {
	l.once.Do(func() { close(l.gone) })
	return nil
}

// Run implements transport.Conn. The program has a session of its own, as it
// would have under sshd: the terminal's Ctrl-C is for us, not for it.
func (l *local) Run(ctx context.Context, cmd transport.Cmd) (transport.Result, error) {
	select {
	case <-l.gone:
		return transport.Result{}, errClosed
	default:
	}
	if err := checkScript(cmd.Script); err != nil {
		return transport.Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return transport.Result{}, context.Cause(ctx)
	}
	out := newOutput(l.become.name, cmd)
	argv := l.become.argv(cmd.Script)
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stderr, begins := l.become.listen(&out.stderr)
	c.Stdout, c.Stderr = &out.stdout, stderr
	c.WaitDelay = outputGrace
	// Not c.Stdin: Wait would wait for a reader that may never end.
	stdin, err := c.StdinPipe()
	if err != nil {
		return transport.Result{}, fmt.Errorf("run on %s: %w", l.become.name, err)
	}
	if err := c.Start(); err != nil {
		return transport.Result{}, fmt.Errorf("run on %s: %w", l.become.name, err)
	}
	done := make(chan error, 2)
	over := make(chan struct{})
	go func() {
		if err := feed(stdin, begins, over, cmd.Stdin); err != nil {
			// Its pipe stays open, so that the program does not take what it
			// got for the whole.
			done <- err
			return
		}
		stdin.Close()
	}()
	go func() {
		done <- l.wait(c)
		close(over)
	}()
	select {
	case err = <-done:
		var bad *inputError
		if errors.As(err, &bad) {
			c.Process.Kill()
		}
	case <-out.full:
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	case <-l.gone:
		err = errClosed
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return out.finish(&l.become, err)
}

// wait returns the program's end as the contract wants it.
func (l *local) wait(c *exec.Cmd) error {
	err := c.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // a process that it left behind holds its output
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	e := &transport.ExitError{Code: exit.ExitCode()}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Code, e.Signal = 0, signalName(unix.SignalName(ws.Signal()))
	}
	return e
}
