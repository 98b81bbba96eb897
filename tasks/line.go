package tasks

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Line wants one line in a file that is shared with others, and keeps the rest
// byte for byte. It is appended when no line equals it.
type Line struct {
	Path   string
	Line   string
	Mode   fs.FileMode // for a file that is not there yet
	Syntax mask.Syntax
}

// ID implements Task.
func (t Line) ID() string { return "line:" + t.Path }

// Reads implements Task.
func (t Line) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Record implements Recorder.
func (t Line) Record(*Entry, Facts) Entry {
	return Entry{Kind: kindLine, Path: t.Path, Line: t.Line, Syntax: t.Syntax}
}

// Digest implements Digester.
func (t Line) Digest() string { return digest(t.Path, t.Line) }

// Check implements Task.
func (t Line) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	want := appendLine(s.Content, t.Line)
	if s.Exists && bytes.Equal(want, s.Content) {
		return nil, nil
	}
	shell := fmt.Sprintf("line %s %s %s", transport.Quote(t.Path), mode(t.Mode), transport.Quote(t.Line))
	return sharedChange(t.ID(), t.Path, t.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell}), nil
}

// Edit is what the file is to be, given what it is.
func (t Line) Edit(old []byte) ([]byte, error) { return appendLine(old, t.Line), nil }

func appendLine(old []byte, line string) []byte {
	for l := range strings.Lines(string(old)) {
		if strings.TrimRight(l, "\n") == line {
			return old
		}
	}
	return append(endLine(old), line+"\n"...)
}

// endLine copies b, ending its last line.
func endLine(b []byte) []byte {
	out := bytes.Clone(b)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out
}

// NoLine wants a Line gone again.
type NoLine struct {
	Path, Line string
	Syntax     mask.Syntax
}

// ID implements Task.
func (t NoLine) ID() string { return "line:" + t.Path }

// Reads implements Task.
func (t NoLine) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Check implements Task.
func (t NoLine) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil || !s.Exists {
		return nil, err
	}
	want, _ := t.Edit(s.Content)
	if bytes.Equal(want, s.Content) {
		return nil, nil
	}
	shell := fmt.Sprintf("no_line %s %s", transport.Quote(t.Path), transport.Quote(t.Line))
	c := sharedChange(t.ID(), t.Path, s.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell})
	c.Action = Delete // of the line
	return c, nil
}

// Edit is what the file is to be, given what it is.
func (t NoLine) Edit(old []byte) ([]byte, error) {
	var out []byte
	for l := range bytes.Lines(old) {
		if string(bytes.TrimSuffix(l, []byte("\n"))) != t.Line {
			out = append(out, l...)
		}
	}
	return out, nil
}

// lineOut takes our line out of a file. An entry without one is of format 1, and its
// line is not in the file any more.
func lineOut(e Entry, _ Leaving) ([]Task, error) {
	if e.Line == "" {
		return nil, nil
	}
	return []Task{NoLine{Path: e.Path, Line: e.Line, Syntax: e.Syntax}}, nil
}

// lineBack puts our line of then back, or takes today's out. The rest of the file stays
// as its other owners have made it since.
func lineBack(e Entry, now, was *Entry, r Rewind) ([]Task, error) {
	var out []Task
	var err error
	if now != nil && (was == nil || was.Line != now.Line) {
		if out, err = lineOut(*now, Leaving{}); err != nil {
			return nil, err
		}
	}
	if was == nil || was.Line == "" || !r.changed(e.Path) {
		return out, nil
	}
	s, err := r.Then(e.Path)
	if err != nil || !bytes.Equal(appendLine(s.Content, was.Line), s.Content) {
		return out, err // it was not there then, whatever the manifest says
	}
	return append(out, Line{Path: e.Path, Line: was.Line, Mode: s.Mode, Syntax: e.Syntax}), nil
}
