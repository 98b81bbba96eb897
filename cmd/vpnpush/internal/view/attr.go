package view

import (
	"bytes"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/diff"
)

// byLines reports whether an attribute is shown as a unified diff.
func byLines(a tasks.Attr) bool {
	return a.Name == "content" || bytes.ContainsRune(a.Old, '\n') || bytes.ContainsRune(a.New, '\n')
}

// unseen follows a diff in which characters were left out: lines that look the
// same may differ in them.
const unseen = `\ Control characters are not shown`

// hunks returns an attribute's diff, made of the text as it is and cleaned after:
// a line that differs only in control characters differs still.
func hunks(a tasks.Attr) (hs []diff.Hunk, stripped bool) {
	hs = diff.Hunks(a.Old, a.New)
	for _, h := range hs {
		for i, l := range h.Lines {
			h.Lines[i].Text = clean(l.Text)
			stripped = stripped || h.Lines[i].Text != l.Text
		}
	}
	return hs, stripped
}

// change returns an attribute as "name: old -> new", or "name: new" where nothing was
// before.
func change(a tasks.Attr) string {
	value := func(b []byte) string {
		switch {
		case b == nil:
			return "(absent)"
		case len(b) == 0:
			return "(empty)"
		}
		return oneLine(string(b))
	}
	if a.Old == nil {
		return a.Name + ": " + value(a.New)
	}
	return a.Name + ": " + value(a.Old) + " -> " + value(a.New)
}

// attrText returns all attributes of a change as text: what JSON calls its diff.
func attrText(c tasks.Change) string {
	var b strings.Builder
	_, object, _ := strings.Cut(c.Task, ":")
	for _, a := range c.Attrs {
		if !byLines(a) {
			b.WriteString(change(a) + "\n")
			continue
		}
		name := func(side []byte) string {
			if side == nil {
				return "/dev/null"
			}
			return oneLine(object)
		}
		hs, stripped := hunks(a)
		if len(hs) == 0 {
			continue
		}
		b.WriteString("--- " + name(a.Old) + "\n+++ " + name(a.New) + "\n")
		for _, h := range hs {
			b.WriteString(h.Header() + "\n")
			for _, l := range h.Lines {
				b.WriteString(string(rune(l.Kind)) + l.Text + "\n")
				if l.NoEOL {
					b.WriteString(diff.NoNewline + "\n")
				}
			}
		}
		if stripped {
			b.WriteString(unseen + "\n")
		}
	}
	return b.String()
}

// attrTexts returns the attributes of each change as text.
func attrTexts(cs []tasks.Change) []string {
	out := make([]string, len(cs))
	for i, c := range cs {
		out[i] = attrText(c)
	}
	return out
}

// toldOnce returns the diffs of a host's changes with a remark in the place of rules that
// one before has told.
func toldOnce(cs []tasks.Change, diffs []string) []string {
	out := slices.Clone(diffs)
	for i := range cs {
		if sameRules(cs, i, func(j int) string { return diffs[j] }) {
			out[i] = asTheyRun + "\n"
		}
	}
	return out
}

// diff adds what attrText has made, as it is shown below a change: the change has named
// the file already.
func (p *page) diff(text string) {
	if text == "" {
		return
	}
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		l := clean(lines[i])
		// The lines of a hunk that one with another header follows are those around a
		// change, so that these two are no lines of a file.
		if i+2 < len(lines) && strings.HasPrefix(l, "--- ") && strings.HasPrefix(lines[i+1], "+++ ") && strings.HasPrefix(lines[i+2], "@@ ") {
			i++
			continue
		}
		s := plain
		switch {
		case strings.HasPrefix(l, "@@ "):
			s = cyan
		case strings.HasPrefix(l, "+"):
			s = green
		case strings.HasPrefix(l, "-"):
			s = red
		}
		p.line(detail, s, l)
	}
}
