package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Source names the place of a secret that is not in the inventory itself.
// Exactly one field is set.
type Source struct {
	Env     string   // a variable of our environment
	File    string   // a file; its last newline is not part of the secret
	Command []string // a program and its arguments; its standard output, less the last newline
}

// Read fetches the secret. Relative paths, and the command, start from dir.
// The error of a command shows what it wrote to standard error, never what it
// wrote to standard output, as that may be the secret.
func (s Source) Read(ctx context.Context, dir string) (Value, error) {
	switch {
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			return Value{}, fmt.Errorf("environment variable %s is not set", s.Env)
		}
		return New(v), nil
	case s.File != "":
		path := s.File
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return Value{}, err
		}
		return New(trimNewline(b)), nil
	case len(s.Command) > 0:
		return runCommand(ctx, dir, s.Command)
	}
	return Value{}, errors.New("secret without a source")
}

func runCommand(ctx context.Context, dir string, argv []string) (Value, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// A child that outlives a killed command would keep the pipes open.
	cmd.WaitDelay = time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		// The arguments stay out of the message: some tools take a token there.
		if text := strings.TrimSpace(stderr.String()); text != "" {
			return Value{}, fmt.Errorf("run %s: %w: %s", argv[0], err, text)
		}
		return Value{}, fmt.Errorf("run %s: %w", argv[0], err)
	}
	return New(trimNewline(stdout.Bytes())), nil
}

// trimNewline returns b without one line end, which editors and echo add.
func trimNewline(b []byte) string {
	s, _ := strings.CutSuffix(string(b), "\n")
	s, _ = strings.CutSuffix(s, "\r")
	return s
}
