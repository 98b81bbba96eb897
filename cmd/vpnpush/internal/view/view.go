// Package view prints, for people or as JSON: no other package of vpnpush does.
// Results go to standard output, errors, questions and progress to standard
// error (docs/output.md).
//
// What a host sent is cleaned of control characters, and whatever is printed
// passes the redactor of known secrets last. That is the second net: tasks mask
// their attributes by the file's syntax before they get here.
package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/mask"
)

// ApplyQuestion is what apply asks before it changes anything.
const ApplyQuestion = "Apply these changes? Only 'yes' is accepted: "

// Options says where and how to print. The terminal's properties are passed in;
// view asks no file descriptor and no environment.
type Options struct {
	Out, Err io.Writer
	JSON     bool
	Color    string // "auto" (also ""), "always", "never"
	Verbose  bool   // plain progress lines; tunnels that are up; times
	// OutIsTerminal and ErrIsTerminal should be false for TERM=dumb.
	OutIsTerminal, ErrIsTerminal bool
	Width, Height                int  // of the terminal; 0: 80 and 24
	NoColorEnv                   bool // NO_COLOR is set and not empty (no-color.org)
	// Redact takes known secrets out of text; nil: there are none.
	Redact func([]byte) []byte
}

// View shows what a run finds and does, for people or as JSON. As an
// engine.Observer it shows progress, which ends and is wiped off the terminal
// when anything else is shown.
type View struct {
	o     Options
	shard *Shard // nil: the run is of no shard
	code  int
	*progress
}

// New returns a View.
func New(o Options) *View {
	if o.Redact == nil {
		o.Redact = func(b []byte) []byte { return b }
	}
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Height <= 0 {
		o.Height = 24
	}
	return &View{o: o, progress: newProgress(o)}
}

// color reports whether a stream that is a terminal, or not, gets colour.
func (v *View) color(terminal bool) bool {
	switch v.o.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return terminal && !v.o.NoColorEnv
}

// page returns an empty page for standard output.
func (v *View) page() *page { return &page{color: v.color(v.o.OutIsTerminal)} }

// print writes a page to standard output. The error is the writer's: a result
// that nobody could read is no success.
func (v *View) print(p *page) error {
	if p.err != nil {
		return p.err
	}
	return v.result(v.o.Redact(p.Bytes()))
}

// printSome writes what a page has so far, once that is much. It ends with a host: what is
// told of a thousand need not be held as text, too.
func (v *View) printSome(p *page) {
	if p.Len() < 256<<10 {
		return
	}
	p.err = v.print(p)
	p.Reset()
}

// result writes bytes that are redacted to standard output.
func (v *View) result(b []byte) error {
	v.halt()
	if _, err := v.o.Out.Write(b); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// complain writes to standard error. There is nobody to tell when that fails.
func (v *View) complain(text string) {
	v.halt()
	v.o.Err.Write(v.o.Redact([]byte(text)))
}

// Note shows a remark on standard error, a line in either form. Progress goes on
// below it.
func (v *View) Note(text string) { v.interject(oneLine(text)+"\n", false) }

// warn is Error's form for what does not end a run.
func (v *View) warn(kind, text string) { v.complain("vpnpush: " + kind + ": " + oneLine(text) + "\n") }

// Prompt shows what a terminal is asked for, and leaves the cursor behind it;
// the answer is read elsewhere. Progress waits for done, which ends the line: an
// answer that is not echoed brings no newline.
func (v *View) Prompt(text string) (done func()) {
	v.interject(clean(text), true)
	return func() { v.interject("\n", false) }
}

// Confirm asks, and reports whether the answer was "yes". The question goes to
// standard error: standard output may be a file. Only the answer's line is read
// from in.
func (v *View) Confirm(in io.Reader, question string) (bool, error) {
	v.complain(question)
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		line = append(line, b[:n]...)
		if err == io.EOF {
			v.complain("\n") // no newline was typed
			break
		}
		if err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
	}
	return strings.TrimSpace(string(line)) == "yes", nil
}

// clean returns s without the control characters of what may come from a host.
func clean(s string) string { return string(mask.Sanitize([]byte(s))) }

// oneLine returns s cleaned, for what must stay on its line.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }
