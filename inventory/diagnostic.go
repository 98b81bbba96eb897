package inventory

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// Severity says whether a Diagnostic stops the run.
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

// String gives `file:line: summary; mend`, the form that editors and CI jump
// to (DESIGN section 3).
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

// Error makes a Diagnostic an error, see Diagnostics.Err.
func (d Diagnostic) Error() string { return d.String() }

// Diagnostics is all that was found, in the order of the lines.
type Diagnostics []Diagnostic

// Errors gives those that make the inventory unusable.
func (ds Diagnostics) Errors() Diagnostics { return ds.only(Error) }

// Warnings gives the others.
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

// Err joins the errors into one, a line each; nil if there are none.
func (ds Diagnostics) Err() error {
	var errs []error
	for _, d := range ds.Errors() {
		errs = append(errs, d)
	}
	return errors.Join(errs...)
}

func (ds Diagnostics) sorted() Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Summary, b.Summary))
	})
	return slices.Compact(ds)
}
