package inventory

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is whether a Diagnostic stops the run.
type Severity int

const (
	Error Severity = iota
	Warning
)

// Diagnostic is one fault of an inventory, or one thing its owner should know.
type Diagnostic struct {
	File     string
	Line     int // from 1; 0: about the file as a whole
	Severity Severity
	Summary  string // what is wrong
	Mend     string // what to write instead; may be empty
}

// String returns `file:line: summary; mend`. Editors and CI systems know this
// form and lead to the line.
func (d Diagnostic) String() string {
	s := d.File
	if d.Line > 0 {
		s = fmt.Sprintf("%s:%d", d.File, d.Line)
	}
	s += ": "
	if d.Severity == Warning {
		s += "warning: "
	}
	s += d.Summary
	if d.Mend != "" {
		s += "; " + d.Mend
	}
	return s
}

// Diagnostics is everything that was found, in the order of the lines.
type Diagnostics []Diagnostic

// Errors returns those that make the inventory unusable.
func (ds Diagnostics) Errors() Diagnostics { return ds.only(Error) }

// Warnings returns the others.
func (ds Diagnostics) Warnings() Diagnostics { return ds.only(Warning) }

func (ds Diagnostics) only(s Severity) Diagnostics {
	var out Diagnostics
	for _, d := range ds {
		if d.Severity == s {
			out = append(out, d)
		}
	}
	return out
}

func (ds Diagnostics) sorted() Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Summary, b.Summary))
	})
	return slices.Compact(ds)
}
