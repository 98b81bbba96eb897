// Package diff compares two texts by lines and prints what differs as a unified
// diff, the form that diff -u writes and patch(1) reads. It knows nothing of
// secrets: mask before, never after.
//
// The comparison is sergi/go-diff's, on lines; hunks and text are made here,
// since go-diff has no unified output (its PatchToText is per character).
// Versions of go-diff before 1.4.0 give wrong line diffs; see go_mod_test.go.
package diff

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/sergi/go-diff/diffmatchpatch"
)

// Context is how many equal lines surround a change.
const Context = 3

// Kind tells what a line is in a diff. Its value is the sign in front of it.
type Kind byte

// The kinds of line.
const (
	Equal  Kind = ' '
	Delete Kind = '-'
	Insert Kind = '+'
)

// Line is one line of a hunk.
type Line struct {
	Kind  Kind
	Text  string // without its newline
	NoEOL bool   // it is the last of its file and has no newline
}

// Hunk is a run of changes and the lines around it. Starts count from 1; where
// a side has no lines, its start is the line before, as in diff -u.
type Hunk struct {
	OldStart, OldLines int
	NewStart, NewLines int
	Lines              []Line
}

// Header is the hunk's "@@ -1,2 +1,3 @@".
func (h Hunk) Header() string {
	return fmt.Sprintf("@@ -%s +%s @@", span(h.OldStart, h.OldLines), span(h.NewStart, h.NewLines))
}

// span leaves a count of 1 out, as GNU diff does.
func span(start, n int) string {
	if n == 1 {
		return fmt.Sprint(start)
	}
	return fmt.Sprintf("%d,%d", start, n)
}

// NoNewline is the line that follows a last line without a newline.
const NoNewline = `\ No newline at end of file`

// Hunks returns what differs between old and new, none when they are equal.
func Hunks(old, new []byte) []Hunk {
	if bytes.Equal(old, new) {
		return nil
	}
	return hunks(script(lines(old), lines(new)))
}

// lines splits after each newline: a last line without one stays different
// from the same line with one.
func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	l := strings.SplitAfter(string(b), "\n")
	if l[len(l)-1] == "" {
		l = l[:len(l)-1]
	}
	return l
}

// The most that is compared line by line: beyond, the differing middle is shown
// as replaced. go-diff takes time in the product of both sides when all
// differs, and encodes a line as a rune, of which there are about 1.1 million.
const (
	maxProduct = 400_000_000
	maxLines   = 1_000_000
)

// edit is a line of the edit script, newline included.
type edit struct {
	kind Kind
	text string
}

// script returns every line of both sides with what became of it. Within a run
// of changes the deleted lines come first.
func script(old, new []string) []edit {
	var head, tail int
	for head < len(old) && head < len(new) && old[head] == new[head] {
		head++
	}
	for tail < len(old)-head && tail < len(new)-head && old[len(old)-1-tail] == new[len(new)-1-tail] {
		tail++
	}
	a, b := old[head:len(old)-tail], new[head:len(new)-tail]

	out := add(make([]edit, 0, len(old)+len(b)), Equal, old[:head])
	if len(a)+len(b) > maxLines || len(a)*len(b) > maxProduct {
		out = add(add(out, Delete, a), Insert, b)
	} else {
		out = append(out, compare(a, b)...)
	}
	return add(out, Equal, old[len(old)-tail:])
}

func add(out []edit, kind Kind, text []string) []edit {
	for _, t := range text {
		out = append(out, edit{kind, t})
	}
	return out
}

func compare(a, b []string) []edit {
	dmp := diffmatchpatch.New()
	// The default of one second of wall clock gives other diffs under load.
	dmp.DiffTimeout = 0
	ca, cb, table := dmp.DiffLinesToChars(strings.Join(a, ""), strings.Join(b, ""))
	// No DiffCleanupSemantic after this: it splits lines again.
	diffs := dmp.DiffCharsToLines(dmp.DiffMain(ca, cb, false), table)

	var out []edit
	var gone, came []string
	flush := func() {
		out = add(add(out, Delete, gone), Insert, came)
		gone, came = nil, nil
	}
	for _, d := range diffs {
		l := lines([]byte(d.Text))
		switch d.Type {
		case diffmatchpatch.DiffDelete:
			gone = append(gone, l...)
		case diffmatchpatch.DiffInsert:
			came = append(came, l...)
		case diffmatchpatch.DiffEqual:
			flush()
			out = add(out, Equal, l)
		}
	}
	flush()
	return out
}

// hunks cuts an edit script where more than 2*Context lines are equal.
func hunks(es []edit) []Hunk {
	var out []Hunk
	oldLine, newLine := 0, 0 // lines before es[i]
	for i := 0; i < len(es); {
		if es[i].kind == Equal {
			i, oldLine, newLine = i+1, oldLine+1, newLine+1
			continue
		}
		// es[i] is the first change of a hunk; its last is before end.
		end := i + 1
		for j := i + 1; j < len(es) && j-end < 2*Context+1; j++ {
			if es[j].kind != Equal {
				end = j + 1
			}
		}
		from, to := max(0, i-Context), min(len(es), end+Context)
		h := Hunk{OldStart: oldLine - (i - from), NewStart: newLine - (i - from)}
		for _, e := range es[from:to] {
			text, eol := strings.CutSuffix(e.text, "\n")
			h.Lines = append(h.Lines, Line{e.kind, text, !eol})
			if e.kind != Insert {
				h.OldLines++
			}
			if e.kind != Delete {
				h.NewLines++
			}
		}
		oldLine, newLine = h.OldStart+h.OldLines, h.NewStart+h.NewLines
		if h.OldLines > 0 {
			h.OldStart++
		}
		if h.NewLines > 0 {
			h.NewStart++
		}
		out = append(out, h)
		i = to
	}
	return out
}
