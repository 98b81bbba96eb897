package inventory

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/BurntSushi/toml"
)

// Remove takes out what stands at path: its headers with all keys below them, and
// its keys elsewhere, each with the comments right above it and at the end of its
// lines. A blank line between a comment and a table says that it is not the table's.
func (d *Draft) Remove(path []string) {
	at := d.pos.at(path)
	if at == nil {
		d.fail("there is no %s", toml.Key(path))
		return
	}
	take(d.meant, path)
	d.prune(path)
	if braces, _ := d.inline(path); braces != nil {
		d.outOfBraces(braces, d.written(at))
		return
	}
	var out []byteRange
	for _, t := range d.pos.tables[1:] {
		if within(path, t.path) {
			out = append(out, byteRange{d.head(d.lineStart(t.header.start)), d.tail(t.all.end)})
		}
	}
	for _, s := range d.written(at) {
		if !slices.ContainsFunc(out, func(r byteRange) bool { return r.start <= s.start && s.end <= r.end }) {
			out = append(out, byteRange{d.head(d.lineStart(s.start)), d.lineEnd(s.end)})
		}
	}
	for _, r := range d.joined(out) {
		r = d.withBlanks(r)
		d.splice(r.start, r.end, "")
	}
}

// written returns the statements of what stands at a place: its own, or those inside.
func (d *Draft) written(at *place) []byteRange {
	if at.value.end > 0 && at.key.end > 0 {
		return []byteRange{{at.key.start, at.value.end}}
	}
	return d.statements(at)
}

// prune takes the empty parents of path out of what is meant, but for those that the
// text goes on to have by a header or by braces of their own.
func (d *Draft) prune(path []string) {
	for n := len(path) - 1; n > 0; n-- {
		parent := path[:n]
		stays := d.pos.at(parent).value.end > 0 ||
			slices.ContainsFunc(d.pos.tables, func(t tableRange) bool { return slices.Equal(t.path, parent) })
		m := take(d.meant, parent)
		if all, ok := m.(map[string]any); stays || !ok || len(all) > 0 {
			put(d.meant, parent, m)
			return
		}
	}
}

// joined returns ranges in order, those with nothing but blanks between them as one.
func (d *Draft) joined(ranges []byteRange) []byteRange {
	slices.SortFunc(ranges, func(a, b byteRange) int { return cmp.Compare(a.start, b.start) })
	var out []byteRange
	for _, r := range ranges {
		if n := len(out); n > 0 && (out[n-1].end >= r.start || blank(d.text[out[n-1].end:r.start])) {
			out[n-1].end = max(out[n-1].end, r.end)
			continue
		}
		out = append(out, r)
	}
	return out
}

// withBlanks returns a range of lines with the blank lines before it where others
// follow it, so that no gap grows.
func (d *Draft) withBlanks(r byteRange) byteRange {
	top := markLength(d.text)
	if r.end < len(d.text) && !blank(d.line(r.end)) {
		return r
	}
	if r.start == top {
		for r.end < len(d.text) && blank(d.line(r.end)) {
			r.end = d.lineEnd(r.end)
		}
		return r
	}
	for r.start > top && blank(d.lineBefore(r.start)) {
		r.start -= len(d.lineBefore(r.start))
	}
	return r
}

// outOfBraces takes statements out of an inline table, each with its comma. One that
// has lines of its own takes those along, and the comments right above.
func (d *Draft) outOfBraces(braces *place, gone []byteRange) {
	all := d.statements(braces)
	goes := func(s byteRange) bool { return slices.Contains(gone, s) }
	// What stays last needs a comma no more if what it parts from goes without one.
	last := len(all) - 1
	for last >= 0 && goes(all[last]) {
		last--
	}
	if end := all[len(all)-1]; last >= 0 && last < len(all)-1 && d.text[d.mark(end.end)] != ',' {
		comma := d.mark(all[last].end)
		d.splice(comma, comma+1, "")
	}
	for i, s := range all {
		if !goes(s) {
			continue
		}
		start, end := s.start, s.end
		if comma := d.mark(end); d.text[comma] == ',' {
			end = comma + 1
		}
		if lines := d.ownLines(braces, byteRange{start, end}); lines.end > 0 {
			d.splice(d.head(lines.start), lines.end, "")
			continue
		}
		if i > last { // with the blanks before it, else with those behind it
			start -= len(d.text[:start]) - len(bytes.TrimRight(d.text[:start], " \t"))
		} else {
			end += len(d.text[end:]) - len(bytes.TrimLeft(d.text[end:], " \t"))
		}
		d.splice(start, end, "")
	}
}

// mark returns where the comma or brace behind a value of an inline table stands.
func (d *Draft) mark(offset int) int {
	for {
		switch d.text[offset] {
		case ' ', '\t', '\r', '\n':
			offset++
		case '#':
			offset = d.lineEnd(offset)
		default:
			return offset
		}
	}
}
