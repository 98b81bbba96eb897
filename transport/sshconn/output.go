package sshconn

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vpnpush/vpnpush/transport"
)

// output takes what a program prints until its Run returns.
type output struct {
	stdout, stderr sink
	out, errs      kept

	name    string
	once    sync.Once
	full    chan struct{} // closed when more has come than may
	endless error         // set before full is closed
}

func newOutput(name string, cmd transport.Cmd) *output {
	o := &output{name: name, full: make(chan struct{})}
	most := cmp.Or(cmd.MaxStdout, transport.MaxStdout)
	o.stdout = sink{w: &o.out, left: most, overflow: o.overflow("output", most)}
	o.stderr = sink{w: &o.errs, left: transport.MaxStderr, overflow: o.overflow("messages", transport.MaxStderr)}
	if cmd.Stdout != nil {
		o.stdout.w = cmd.Stdout
	}
	return o
}

// overflow returns what ends the Run when more than most bytes of what have come.
func (o *output) overflow(what string, most int) func() {
	return func() {
		o.once.Do(func() {
			o.endless = transport.WithHint(fmt.Errorf("%w: more than %d KiB of %s", transport.ErrEndless, most>>10, what),
				"log in to %s and look for what prints so much: a login script, or a file or a packet filter that has grown", o.name)
			close(o.full)
		})
	}
}

// finish closes both sinks and makes Run's answer of a program that ended
// with err.
func (o *output) finish(b *become, err error) (transport.Result, error) {
	writeErr := o.stdout.close()
	o.stderr.close()
	select {
	case <-o.full:
		return transport.Result{}, o.endless
	default:
	}
	stderr, err := b.outcome(o.errs.bytes(), err)
	var exit *transport.ExitError
	switch {
	case errors.As(err, &exit):
		exit.Stderr = stderr
	case err != nil:
		return transport.Result{}, err
	}
	if writeErr != nil {
		return transport.Result{}, fmt.Errorf("pass on the output of %s: %w", b.name, writeErr)
	}
	return transport.Result{Stdout: o.out.bytes(), Stderr: stderr}, err
}

// kept is what has come, in pieces: one that grew by doubling would take three times
// as much of ten hosts that flood at once.
type kept struct{ pieces [][]byte }

const pieceSize = 32 << 10

// Write implements io.Writer.
func (k *kept) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		if n := len(k.pieces); n == 0 || len(k.pieces[n-1]) == pieceSize {
			k.pieces = append(k.pieces, make([]byte, 0, pieceSize))
		}
		last := &k.pieces[len(k.pieces)-1]
		n := min(len(rest), pieceSize-len(*last))
		*last, rest = append(*last, rest[:n]...), rest[n:]
	}
	return len(p), nil
}

func (k *kept) bytes() []byte { return bytes.Join(k.pieces, nil) }

// sink passes writes on until it is closed, one fails, or too much has come. It
// drops the rest: a reader that stops would block the program.
type sink struct {
	mu       sync.Mutex
	w        io.Writer
	left     int // bytes that may still come
	overflow func()
	err      error
	closed   bool
}

func (s *sink) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.err != nil:
	case len(p) > s.left:
		s.closed = true
		s.overflow()
	default:
		s.left -= len(p)
		_, s.err = s.w.Write(p)
	}
	return len(p), nil
}

// close ends the writing and gives the error of a write that failed.
func (s *sink) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.err
}
