package sshconn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpnpush/vpnpush/transport"
)

// outputGrace is how long output may pause after the program has ended: a
// process that it left behind may hold its output open for ever.
const outputGrace = 2 * time.Second

// drainWait is how long output may go on after the program has ended. What was on its way
// then is 2 MiB at most, the window of a channel, and 35 KB/s bring that; what comes later
// is of a process that was left behind, or of a host that lies.
const drainWait = time.Minute

// conn is a transport.Conn over SSH.
type conn struct {
	client *client
	become become
	drain  time.Duration // for tests; 0: drainWait
}

// Close implements transport.Conn.
func (c *conn) Close() error {
	c.client.close(errClosed)
	return nil
}

// Run implements transport.Conn: one channel, one exec.
func (c *conn) Run(ctx context.Context, cmd transport.Cmd) (transport.Result, error) {
	line, err := c.become.command(cmd.Script)
	if err != nil {
		return transport.Result{}, err
	}
	select {
	case <-c.client.gone:
		return transport.Result{}, c.client.why
	default:
	}
	if ctx.Err() != nil {
		return transport.Result{}, context.Cause(ctx)
	}
	out := newOutput(c.become.name, cmd)
	done := make(chan error, 1)
	p := &process{}
	go func() { done <- p.run(c, line, cmd.Stdin, out) }()
	select {
	case err = <-done:
		if err != nil {
			select {
			case <-c.client.gone:
				var exit *transport.ExitError
				if !errors.As(err, &exit) {
					err = c.client.why
				}
			default:
			}
		}
	case <-c.client.gone:
		// The answer may have come with the end.
		select {
		case err = <-done:
		case <-time.After(outputGrace):
			err = c.client.why
		}
		var exit *transport.ExitError
		if err != nil && !errors.As(err, &exit) {
			err = c.client.why
		}
	case <-out.full:
		c.client.close(out.endless) // or it would print on
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	go p.close() // may block when the connection hangs
	return out.finish(&c.become, err)
}

// process is one exec on a channel of its own.
type process struct {
	mu sync.Mutex
	ch ssh.Channel

	closed bool
}

func (p *process) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.ch != nil {
		p.ch.Close()
	}
}

// exitStatus is what the host said of the end of the program.
type exitStatus struct {
	code   int
	signal string
}

func (p *process) run(c *conn, line string, stdin io.Reader, out *output) error {
	ch, reqs, err := c.client.OpenChannel("session", nil)
	if err != nil {
		var refused *ssh.OpenChannelError
		if errors.As(err, &refused) {
			return transport.WithHint(fmt.Errorf("open session on %s: %s", c.become.name, refused.Message), "see MaxSessions in the host's sshd_config")
		}
		return fmt.Errorf("%w: %v", transport.ErrLost, err)
	}
	p.mu.Lock()
	p.ch = ch
	abandoned := p.closed
	p.mu.Unlock()
	if abandoned {
		ch.Close()
	}

	exited := make(chan exitStatus, 1)
	told := func(s exitStatus) {
		select {
		case exited <- s:
		default: // a second one says nothing
		}
	}
	over := make(chan struct{}) // no more requests: the channel has ended
	go func() {
		defer close(over)
		for r := range reqs {
			switch r.Type {
			case "exit-status":
				var m struct{ Status uint32 }
				if ssh.Unmarshal(r.Payload, &m) == nil {
					told(exitStatus{code: int(m.Status)})
				}
			case "exit-signal":
				var m struct {
					Signal string
					Core   bool
					Text   string
					Lang   string
				}
				if ssh.Unmarshal(r.Payload, &m) == nil {
					told(exitStatus{signal: m.Signal})
				}
			}
			if r.WantReply {
				r.Reply(false, nil)
			}
		}
	}()

	ok, err := ch.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{line}))
	if err != nil {
		return fmt.Errorf("%w: %v", transport.ErrLost, err)
	}
	if !ok {
		return transport.WithHint(fmt.Errorf("run on %s: the host refuses to run commands", c.become.name), "see ForceCommand and the login shell of %s there", c.become.user)
	}

	var copies sync.WaitGroup
	var moved atomic.Int64
	copies.Go(func() { io.Copy(counted{&out.stdout, &moved}, ch) })
	stderr, begins := c.become.listen(&out.stderr)
	copies.Go(func() { io.Copy(counted{stderr, &moved}, ch.Stderr()) })
	badInput := make(chan error, 1)
	go func() {
		// Not waited for: stdin may stay open after the program has ended.
		if err := feed(ch, begins, over, stdin); err != nil {
			badInput <- err
			return
		}
		ch.CloseWrite()
	}()

	var status exitStatus
	select {
	case status = <-exited:
	case err := <-badInput:
		ch.Close()
		return err
	case <-over:
		select {
		case status = <-exited:
		default:
			copies.Wait()
			return fmt.Errorf("%w: %s closed the session without an exit status", transport.ErrLost, c.become.name)
		}
	}
	drained := make(chan struct{})
	go func() { copies.Wait(); close(drained) }()
	end := time.NewTimer(cmp.Or(c.drain, drainWait))
	defer end.Stop()
	for before := moved.Load(); ; {
		select {
		case <-drained:
		case <-end.C:
		case <-time.After(outputGrace):
			if now := moved.Load(); now != before {
				before = now
				continue
			}
		}
		break
	}
	if c.client.wire.ended.Load() {
		// What it printed may not all have come.
		return fmt.Errorf("%w: the connection ended before the output of %s did", transport.ErrLost, c.become.name)
	}
	if status.code != 0 || status.signal != "" {
		return &transport.ExitError{Code: status.code, Signal: status.signal}
	}
	return nil
}

// inputError says that our own stdin could not be read, so the program must
// not take what it got for the whole.
type inputError struct{ err error }

func (e *inputError) Error() string { return "read what goes to stdin: " + e.err.Error() }
func (e *inputError) Unwrap() error { return e.err }

// feed writes to w what stdin begins with, once that is known, and then stdin,
// unless the program is over first. That w ends is no error: the program need not
// read.
func feed(w io.Writer, begins <-chan string, over <-chan struct{}, stdin io.Reader) error {
	select {
	case s := <-begins:
		if s == "" {
			break
		}
		if _, err := io.WriteString(w, s); err != nil {
			return nil
		}
	case <-over:
		return nil
	}
	if stdin == nil {
		return nil
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &inputError{err}
		}
	}
}

// counted counts what passes, to see whether something still does.
type counted struct {
	io.Writer
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.Writer.Write(p)
}

// signalName is a signal's name in the way of SSH: without SIG.
func signalName(s string) string { return strings.TrimPrefix(s, "SIG") }
