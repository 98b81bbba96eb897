package secret

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Source names the place of a secret that is not in the inventory itself.
// Exactly one field is set.
type Source struct {
	Env     string   // a variable of our environment
	File    string   // a file; its last newline is not part of the secret
	Command []string // a program and its arguments; its standard output, less the last newline
}

// Key returns a text that only one and the same place has.
func (s Source) Key() string { return fmt.Sprintf("%q %q %q", s.Env, s.File, s.Command) }

// Error is why a secret could not be fetched. It names neither the variable nor
// the file: where somebody has mistaken the form, that is the secret itself.
type Error struct {
	err  error
	mend string
	kind error // what errors.Is takes it for, too
}

// hinted returns an error with what mends it.
func hinted(err error, mend string) *Error { return &Error{err: err, mend: mend} }

func (e *Error) Error() string { return e.err.Error() }
func (e *Error) Unwrap() error { return e.err }

// Is reports whether target is the kind of e.
func (e *Error) Is(target error) bool { return e.kind != nil && e.kind == target }

// Hint is what mends it, a sentence for the user.
func (e *Error) Hint() string { return e.mend }

// commandTime is how long a command may take: a person may have to unlock a
// password manager, and to find the password for that.
const commandTime = 2 * time.Minute

// Read fetches the secret. Relative paths, and the command, start from dir.
// The error of a command shows what it wrote to standard error, never what it
// wrote to standard output, as that may be the secret.
//
// A file that gives no answer, such as one on a server that is gone, and a
// command that does not end are left when ctx ends or the time for them is up.
func (s Source) Read(ctx context.Context, dir string) (Value, error) {
	switch {
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return Value{}, hinted(errors.New("the environment variable that env names is not set"), "export it, or check its name")
		}
		return New(v), nil
	case s.File != "":
		path := s.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		b, _, err := ReadFile(ctx, path, maxText)
		if err != nil {
			return Value{}, fileError(err)
		}
		return New(trimNewline(b)), nil
	case len(s.Command) > 0:
		return runCommand(ctx, commandTime, dir, s.Command)
	}
	return Value{}, errors.New("secret without a source")
}

func fileError(err error) error {
	e := hinted(fmt.Errorf("read the file that it names: %w", err), "see that you can read it, and that it holds the secret alone")
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.mend = "write the secret into that file, or name another; a relative path starts from the inventory's folder"
	case errors.Is(err, ErrSlow):
		e.mend = "see that something writes to it, or that the server it is on answers"
	}
	return e
}

func runCommand(ctx context.Context, limit time.Duration, dir string, argv []string) (Value, error) {
	// Killed, a command has a second until its pipes are closed. One that cannot be
	// killed, such as sudo, is left.
	return within(ctx, limit, 2*time.Second, func(ctx context.Context) (Value, error) {
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		stdout, stderr := &bounded{most: maxText}, &bounded{most: maxText}
		cmd.Dir = dir
		cmd.Stdout, cmd.Stderr = stdout, stderr
		// A child that outlives a killed command would keep the pipes open.
		cmd.WaitDelay = time.Second
		if !onTerminal() {
			// What it has started ends with it. On a terminal it could not ask, as a
			// group of its own is in the background there; but that has a Ctrl-C for all.
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		}
		err := cmd.Run()
		switch {
		case stdout.over || stderr.over:
			return Value{}, commandError(argv, fmt.Errorf("it prints more than %d KiB", maxText>>10), "")
		case err == nil:
			return New(trimNewline(stdout.text)), nil
		case ctx.Err() != nil:
			err = context.Cause(ctx)
		case errors.Is(err, exec.ErrWaitDelay):
			err = errors.New("it has ended, but something that it started holds on to its output")
		}
		return Value{}, commandError(argv, err, strings.TrimSpace(string(stderr.text)))
	})
}

// commandError returns the error of a command. Its arguments stay out of the
// message: some tools take a token there. So does a name that is no program's.
func commandError(argv []string, err error, stderr string) error {
	e := &Error{mend: "run it by hand: it must print the secret, and nothing else, and end with 0"}
	switch {
	case errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist):
		e.err = fmt.Errorf("there is no such program as its command begins with: %w", unnamed(err))
		e.mend = "install it, or write its whole path"
	case stderr != "":
		e.err = fmt.Errorf("run %s: %w: %s", argv[0], err, stderr)
	default:
		e.err = fmt.Errorf("run %s: %w", argv[0], err)
	}
	if errors.Is(err, ErrSlow) {
		e.mend = "run it by hand to see what it waits for"
	}
	return e
}

// unnamed returns what is inside of an error that names a file or a program.
func unnamed(err error) error {
	var path *os.PathError
	var program *exec.Error
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &program):
		return program.Err
	}
	return err
}

// onTerminal reports whether somebody sits before this program.
func onTerminal() bool {
	tty, err := os.Open("/dev/tty")
	if err == nil {
		tty.Close()
	}
	return err == nil
}

// bounded keeps what is written to it up to a size; past that it takes no more,
// and who writes is told so by SIGPIPE. It has no ReadFrom, which would not ask.
type bounded struct {
	text []byte
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(b.text)+len(p) > b.most {
		b.over = true
		return 0, errors.New("too much")
	}
	b.text = append(b.text, p...)
	return len(p), nil
}

// trimNewline returns b without one line end, which editors and echo add.
func trimNewline(b []byte) string {
	s, _ := strings.CutSuffix(string(b), "\n")
	s, _ = strings.CutSuffix(s, "\r")
	return s
}
