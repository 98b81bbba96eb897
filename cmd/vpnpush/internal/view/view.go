// Package view prints, for people or as JSON: no other package of vpnpush does.
// Results go to standard output, errors, questions and progress to standard
// error (DESIGN section 8, docs/output.md).
//
// What a host sent is cleaned of control characters, and whatever is printed
// passes the redactor of known secrets last. That is the second net: tasks mask
// their attributes by the file's syntax before they get here.
package view

import (
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// View shows what a run found and did. Its Observer part shows progress, which
// ends and is wiped off the terminal when anything else is shown.
type View interface {
	engine.Observer
	// Hosts tells how many hosts the run has, for the progress counter.
	Hosts(n int)
	// Plan and Report write a result. The error is the writer's: a result that
	// nobody could read is no success.
	Plan(*engine.Plan) error
	Report(*engine.Report) error
	Doctor(*Diagnoses) error
	// Drift writes what is not as it should be, and nothing when all is well; as
	// JSON always. Status writes what runs.
	Drift(*engine.Drift, DriftOptions) error
	Status(*engine.Status, StatusOptions) error
	// History writes what was done on a host.
	History(*engine.History) error
	// Diagnostics shows an inventory's faults, a line each.
	Diagnostics([]fmt.Stringer)
	// Error shows what ended the run, and its hint.
	Error(error)
	// Confirm asks, and reports whether the answer was "yes".
	Confirm(in io.Reader, question string) (bool, error)
}

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

// New makes a View.
func New(o Options) View {
	if o.Redact == nil {
		o.Redact = func(b []byte) []byte { return b }
	}
	if o.Width <= 0 {
		o.Width = 80
	}
	if o.Height <= 0 {
		o.Height = 24
	}
	s := &screen{Options: o, progress: newProgress(o)}
	if o.JSON {
		return &jsonView{s}
	}
	return &humanView{s}
}

// screen is what both views share: everything on standard error.
type screen struct {
	Options
	*progress
}

// color reports whether a stream that is a terminal, or not, gets colour.
func (s *screen) color(terminal bool) bool {
	switch s.Color {
	case "always":
		return true
	case "never":
		return false
	}
	return terminal && !s.NoColorEnv
}

// result writes a finished result to standard output.
func (s *screen) result(b []byte) error {
	s.halt()
	if _, err := s.Out.Write(b); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// complain writes to standard error. There is nobody to tell when that fails.
func (s *screen) complain(text string) {
	s.halt()
	s.Err.Write(s.Redact([]byte(text)))
}

// Diagnostics implements View.
func (s *screen) Diagnostics(ds []fmt.Stringer) {
	var b strings.Builder
	for _, d := range ds {
		b.WriteString(clean(d.String()) + "\n")
	}
	s.complain(b.String())
}

// Error implements View.
func (s *screen) Error(err error) {
	p := page{color: s.color(s.ErrIsTerminal)}
	for _, e := range flatten(err) {
		w := explain(e)
		p.line("", red, "vpnpush: "+w.text[0])
		for _, l := range append(w.text[1:], w.stderr...) {
			p.line("  ", plain, l)
		}
		if w.hint != "" {
			p.line("", plain, "vpnpush: hint: "+w.hint)
		}
	}
	s.complain(p.String())
}

// warn is Error's form for what does not end a run.
func (s *screen) warn(kind, text string) {
	s.complain("vpnpush: " + kind + ": " + oneLine(text) + "\n")
}

// Confirm implements View. The question goes to standard error: standard output
// may be a file. Only the answer's line is read from in.
func (s *screen) Confirm(in io.Reader, question string) (bool, error) {
	s.complain(question)
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		if n == 1 && b[0] == '\n' {
			break
		}
		line = append(line, b[:n]...)
		if err == io.EOF {
			s.complain("\n") // no newline was typed
			break
		}
		if err != nil {
			return false, fmt.Errorf("read the answer: %w", err)
		}
	}
	return strings.TrimSpace(string(line)) == "yes", nil
}

// explained is an error taken apart for people, cleaned.
type explained struct {
	text   []string // at least one line
	stderr []string // the remote program's, when it has several lines
	hint   string
}

func explain(err error) explained {
	msg := err.Error()
	var e explained
	var exit *transport.ExitError
	if errors.As(err, &exit) {
		// Its text ends in the whole stderr. A long one reads better below.
		if s := strings.TrimSpace(string(exit.Stderr)); strings.Contains(s, "\n") && strings.Contains(msg, s) {
			msg = strings.Replace(strings.Replace(msg, ": "+s, "", 1), s, "", 1)
			e.stderr = strings.Split(clean(s), "\n")
		}
	}
	e.text = strings.Split(strings.TrimSpace(clean(msg)), "\n")
	var h transport.Hinter
	if errors.As(err, &h) {
		e.hint = oneLine(h.Hint())
	}
	return e
}

// flatten gives the errors of errors.Join and go-multierror. An error that
// wraps several in a sentence of its own stays one.
func flatten(err error) []error {
	var parts []error
	switch e := err.(type) {
	case interface{ WrappedErrors() []error }:
		parts = e.WrappedErrors()
	case interface{ Unwrap() []error }:
		var texts []string
		for _, p := range e.Unwrap() {
			texts = append(texts, p.Error())
		}
		if err.Error() != strings.Join(texts, "\n") {
			return []error{err}
		}
		parts = e.Unwrap()
	}
	if len(parts) == 0 {
		return []error{err}
	}
	var out []error
	for _, p := range parts {
		out = append(out, flatten(p)...)
	}
	return out
}

// clean takes control characters out of what may come from a host.
func clean(s string) string { return string(mask.Sanitize([]byte(s))) }

// oneLine is clean for what must stay on its line.
func oneLine(s string) string { return strings.Join(strings.Fields(clean(s)), " ") }

// sorted copies hosts, the hub first, then by name.
func sorted[H any](hosts []H, key func(H) (role, name string)) []H {
	out := append([]H(nil), hosts...)
	sort.SliceStable(out, func(i, j int) bool {
		ri, ni := key(out[i])
		rj, nj := key(out[j])
		if (ri == "hub") != (rj == "hub") {
			return ri == "hub"
		}
		return ni < nj
	})
	return out
}

func planKey(h engine.HostPlan) (string, string)     { return h.Role, h.Name }
func reportKey(h engine.HostReport) (string, string) { return h.Role, h.Name }

// plural is "1 host", "2 hosts".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
