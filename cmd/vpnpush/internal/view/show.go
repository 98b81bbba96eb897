package view

import (
	"errors"
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

// Teller returns what tells a plan that is to be saved, in the words in which v shows it.
func (v *View) Teller() engine.Teller { return teller{v} }

type teller struct{ v *View }

func (t teller) Text(s string) string { return t.v.text(s) }

func (t teller) Diffs(cs []tasks.Change) []string { return t.v.texts(attrTexts(cs)) }

func (t teller) Errors(err error) (out []engine.SavedError) {
	for _, one := range flatten(err) {
		e := explain(one)
		out = append(out, engine.SavedError{
			Text: t.v.text(one.Error()), Stderr: t.v.text(strings.Join(e.stderr, "\n")), Hint: t.v.text(e.hint),
		})
	}
	return out
}

// savedError is an error that was saved with what is told of it.
type savedError struct{ engine.SavedError }

func (e savedError) Error() string { return e.Text }

func (e savedError) Hint() string { return e.SavedError.Hint }

// SavedPlan is a plan in a file.
type SavedPlan struct {
	File string
	*engine.Saved
	Expired bool
}

// Show writes a saved plan as it was shown when it was made. It is not checked: that is
// for an apply of it.
func (v *View) Show(s SavedPlan) error {
	plan, diffs := s.plan()
	if v.o.JSON {
		return v.encode(v.showDocument(s, plan, diffs))
	}
	p := v.page()
	p.line("", bold, fmt.Sprintf("vpnpush plan of %s, %s, by %s", oneLine(s.Owner), minute(s.Made), oneLine(s.By)))
	color := plain
	if s.Expired {
		color = red
	}
	p.line("", color, s.until())
	if !s.Expired {
		p.line("", plain, "To apply exactly this: vpnpush apply "+transport.Quote(oneLine(s.File)))
	}
	if s.FormatVersion == 1 {
		p.line("", plain, "An older vpnpush saved it: without diffs, warnings and reasons.")
	}
	p.WriteString("\n")
	v.planPage(p, plan, diffs)
	return v.print(p)
}

// until says how long a saved plan is good for.
func (s SavedPlan) until() string {
	if s.Expired {
		return "Expired " + minute(s.Expires) + ": an apply refuses it. Plan again."
	}
	return "Good until " + minute(s.Expires) + "."
}

// plan returns what was saved as the plan that it was, and the diffs of each host's
// changes.
func (s SavedPlan) plan() (p *engine.Plan, diffs [][]string) {
	p = &engine.Plan{}
	for _, h := range s.Hosts {
		hp := engine.HostPlan{Name: h.Name, Role: h.Role, Result: h.Result, Warnings: h.Warnings}
		var errs []error
		for _, e := range h.Errors {
			errs = append(errs, savedError{e})
		}
		hp.Err = errors.Join(errs...)
		of := []string{}
		for _, c := range append(h.Changes[:len(h.Changes):len(h.Changes)], h.Dials...) {
			hp.Changes = append(hp.Changes, tasks.Change{Task: c.Task, Action: c.Action, Note: c.Note, Blocked: c.Blocked, Mend: c.Mend, Ends: c.Ends, Blinks: c.Blinks})
			of = append(of, c.Diff)
		}
		p.Hosts, diffs = append(p.Hosts, hp), append(diffs, of)
	}
	return p, diffs
}

// showDocument is the document of a plan, and when it was made of what.
type showDocument struct {
	head
	File      string `json:"file"`
	Inventory string `json:"inventory"`
	By        string `json:"by"`
	Made      string `json:"made"`
	Expires   string `json:"expires"`
	Expired   bool   `json:"expired"`
	hostsAndSummary
}

func (v *View) showDocument(s SavedPlan, plan *engine.Plan, diffs [][]string) showDocument {
	hosts := v.planDocument(plan).hostsAndSummary
	for i, h := range hosts.Hosts {
		for j := range h.Changes {
			h.Changes[j].Diff = v.text(diffs[i][j])
		}
	}
	return showDocument{
		head: heading("show"), File: v.text(s.File), Inventory: v.text(s.Owner), By: v.text(s.By),
		Made: stamp(s.Made), Expires: stamp(s.Expires), Expired: s.Expired, hostsAndSummary: hosts,
	}
}
