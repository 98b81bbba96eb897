// Package transport is the contract between vpnpush and a way to run a program
// on a host. It is a leaf: sshconn implements it over SSH, transporttest
// checks every implementation with one suite.
//
// One rule matters more than the others: only an *ExitError says that the
// program ran on the host and what it answered. Every other error means that
// nothing is known about the host, and no caller may read it as "absent".
package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Conn runs programs on one host, as root.
type Conn interface {
	// Run runs c and returns when the program has ended, although c.Stdin may
	// still be open. It returns *ExitError when the program ran and did not
	// exit with 0 (Result is filled in then too), and another error when
	// that is not known. When ctx ends, Run returns ctx's error at once; the
	// program may run on.
	Run(ctx context.Context, c Cmd) (Result, error)
	Close() error
}

// Cmd is a program for a host: a POSIX shell script.
type Cmd struct {
	// Script is run by /bin/sh as root. It travels as an argument, where other
	// users of the host can see it: it must not hold a secret, must be shorter
	// than MaxScript, and as a shell word shorter than MAX_ARG_STRLEN.
	Script string
	// Stdin is what the script reads; the place for secrets. nil: empty. An
	// error of it other than io.EOF ends Run: the script does not see an end.
	// It may still be read from after Run has returned.
	Stdin io.Reader
	// Stdout, if set, gets the output as it comes; Result.Stdout stays empty.
	// It is not written to after Run has returned.
	Stdout io.Writer
	// MaxStdout is how many bytes the script may print there; 0: MaxStdout.
	MaxStdout int
}

// What a program may print, in bytes, where Cmd says nothing else. Past that Run ends
// with ErrEndless, and the connection with it: a host that prints without end must not
// take the memory of the run.
const (
	MaxStdout = 16 << 20
	MaxStderr = 256 << 10
)

// MaxScript is the longest Script in bytes. Linux takes arguments of 128 KiB
// (MAX_ARG_STRLEN, execve(2)); the rest is room for quoting and sudo.
const MaxScript = 100 << 10

// Result is what a program printed.
type Result struct {
	Stdout []byte
	Stderr []byte
}

// ExitError says that the program ran on the host and exited with Code, or was
// ended by Signal.
type ExitError struct {
	Code   int
	Signal string
	Stderr []byte // whole
}

// maxTold is how much of Stderr an error's text shows: its end, where programs say why.
const maxTold = 4 << 10

func (e *ExitError) Error() string {
	what := fmt.Sprintf("exit status %d", e.Code)
	if e.Signal != "" {
		what = "killed by SIG" + e.Signal
	}
	if s := strings.TrimSpace(string(e.Stderr)); s != "" {
		if len(s) > maxTold {
			s = "(...)" + strings.ToValidUTF8(s[len(s)-maxTold:], "")
		}
		what += ": " + s
	}
	return what
}

// What kept us from a host. Errors wrap one of these where it applies;
// callers branch with errors.Is.
var (
	ErrHostKey = errors.New("host key not trusted")
	ErrAuth    = errors.New("not let in")
	ErrBecome  = errors.New("cannot become root")
	ErrLost    = errors.New("connection lost")
	ErrEndless = errors.New("the host answers without end")
)

// Hinter is an error that knows what would mend it.
type Hinter interface{ Hint() string }

// HintError adds a mend to an error. Its text is the error's own.
type HintError struct {
	Err  error
	Mend string
}

func (e *HintError) Error() string { return e.Err.Error() }
func (e *HintError) Unwrap() error { return e.Err }

// Hint is the mend, a sentence for the user.
func (e *HintError) Hint() string { return e.Mend }

// WithHint wraps err with a mend.
func WithHint(err error, format string, a ...any) error {
	return &HintError{Err: err, Mend: fmt.Sprintf(format, a...)}
}

// Hinted returns err with a mend where it has none of its own.
func Hinted(err error, format string, a ...any) error {
	var h Hinter
	if errors.As(err, &h) {
		return err
	}
	return WithHint(err, format, a...)
}

// Bug returns an error that only a fault of vpnpush's own can cause.
func Bug(err error) error {
	return Hinted(err, "this is a fault of vpnpush's own, and nothing on the host or in the inventory is wrong: please report it, with what `vpnpush version` prints")
}

// Quote makes s one word of a POSIX shell command.
func Quote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
