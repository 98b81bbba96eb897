package view

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// Error shows what ended the run, and its hint.
func (v *View) Error(err error) {
	p := page{color: v.color(v.o.ErrIsTerminal)}
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
	v.complain(p.String())
}

// trouble adds a host's error once, with the remote stderr and the hint.
func (p *page) trouble(err error) {
	if err == nil {
		return
	}
	all := flatten(err)
	for i, one := range all {
		e := explain(one)
		for _, l := range e.text {
			p.line("  ", red, l)
		}
		for _, l := range e.stderr {
			p.line("    ", plain, l)
		}
		// one hint for several in a row that have the same mend
		if e.hint != "" && (i == len(all)-1 || explain(all[i+1]).hint != e.hint) {
			p.line("  ", plain, "hint: "+e.hint)
		}
	}
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
	// Its text ends in the whole stderr. A long one reads better below.
	if s := stderrOf(err); strings.Contains(s, "\n") && strings.Contains(msg, s) {
		msg = strings.Replace(strings.Replace(msg, ": "+s, "", 1), s, "", 1)
		e.stderr = strings.Split(clean(s), "\n")
	}
	e.text = strings.Split(strings.TrimSpace(clean(msg)), "\n")
	var h transport.Hinter
	if errors.As(err, &h) {
		e.hint = oneLine(h.Hint())
	} else {
		e.hint = generalMend(err)
	}
	return e
}

// stderrOf returns what a remote program said that failed, "" where none did.
func stderrOf(err error) string {
	var exit *transport.ExitError
	var saved savedError
	switch {
	case errors.As(err, &exit):
		return strings.TrimSpace(string(exit.Stderr))
	case errors.As(err, &saved):
		return saved.Stderr
	}
	return ""
}

// generalMend returns the mend of an error that has none of its own, by what kind it is;
// "" for one whose text says what is to be done, or that there is nothing to do.
func generalMend(err error) string {
	var exit *transport.ExitError
	var path *fs.PathError
	switch {
	case errors.Is(err, transport.ErrLost):
		return "the line was cut, or the host hangs: run it again; the next plan says how the host stands"
	case errors.Is(err, transport.ErrEndless):
		return "a host that is well prints far less: docs/ssh.md, \"What a host may take\", says what it may be"
	case errors.Is(err, transport.ErrHostKey):
		return "docs/ssh.md, \"Host keys\", says what is accepted; `ssh -v` to the same host shows what it sends"
	case errors.As(err, &exit):
		return "that is what the host's own program said: mend it there, and run this again"
	case errors.Is(err, tasks.ErrUnknown):
		return "nothing is guessed from what could not be read or understood: look at it on the host; if it is well there, please report it, with what `vpnpush version` prints"
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file or folder on this machine: make it, or name another"
	case errors.Is(err, fs.ErrPermission):
		return "you may not do that with this file here: name another, or change whose it is"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk of this machine is full: free some room, or name a file elsewhere"
	case errors.As(err, &path):
		return "that is what this machine said of the file: name another, or mend that"
	}
	return ""
}

// flatten returns the errors of errors.Join and go-multierror. An error that
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
