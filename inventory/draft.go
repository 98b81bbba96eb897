package inventory

import (
	"bytes"
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Draft is an inventory whose text is being edited. Its methods say what is to
// change, each key once; Save checks what comes of it, and writes it. An edit is a
// few ranges of the text that get other bytes: every other byte stays as its owner
// wrote it.
type Draft struct {
	// Inventory is what the text says before the edit, but for a table that OpenDraft was
	// told goes, where that has faults. Its secrets that are kept elsewhere are unset.
	Inventory *Inventory
	// Seal returns a new secret as it is to stand in the text; nil: as it is. It
	// encrypts where there are recipients, or anything is encrypted already.
	Seal func(secret.Value) (string, error)

	file    *draftFile
	text    []byte
	pos     *positions
	newline string
	splices []splice
	meant   map[string]any // what the text is to say after the edit
	err     error          // the first that an edit met
}

// splice is bytes that come in the place of a range of the text.
type splice struct {
	byteRange
	with string
}

// Pair is a key of a table, dotted where it has several parts, and its value: a
// string, a list of strings, a number or a secret.
type Pair struct {
	Key   []string
	Value any
}

// newDraft returns a Draft of a text that has no faults.
func newDraft(name string, text []byte) (*Draft, Diagnostics) {
	inv, diags := Parse(name, text)
	if inv == nil {
		return nil, diags
	}
	pos, refused := locate(name, text)
	if refused != nil {
		return nil, refused
	}
	d := draftOf(inv, text, pos)
	if len(inv.Secrets.Recipients) > 0 || slices.ContainsFunc(inv.refs, func(ref *secretRef) bool { return ref.sealed != nil }) {
		d.Seal = func(v secret.Value) (string, error) { return inv.Secrets.Seal(v) }
	}
	return d, diags
}

// draftOf returns a Draft that says so of a text.
func draftOf(inv *Inventory, text []byte, pos *positions) *Draft {
	d := &Draft{Inventory: inv, text: text, pos: pos, newline: "\n", meant: decoded(text)}
	if i := bytes.IndexByte(text, '\n'); i > 0 && text[i-1] == '\r' {
		d.newline = "\r\n"
	}
	return d
}

// draftWithout returns a Draft of a text that has no faults once the table at gone is taken
// out, and whose Inventory is without that already; nil where there is no such table, or
// other faults are left.
func draftWithout(name string, text []byte, gone []string) *Draft {
	pos, refused := locate(name, text)
	if refused != nil {
		return nil
	}
	trial := draftOf(&Inventory{Path: name}, text, pos)
	if !trial.Has(gone...) {
		return nil
	}
	trial.Remove(gone)
	inv, err := trial.Edited()
	if err != nil {
		return nil
	}
	pos, _ = locate(name, text)
	return draftOf(inv, text, pos)
}

// Has reports whether anything stands at path.
func (d *Draft) Has(path ...string) bool { return d.pos.at(path) != nil }

// Add adds a table. It comes as [path] below the last of its kind, or into the
// braces of the inline table that it belongs to.
func (d *Draft) Add(path []string, pairs ...Pair) {
	var keys []string
	for _, p := range pairs {
		keys = append(keys, dotted(p.Key)+" = "+d.value(slices.Concat(path, p.Key), p.Value))
	}
	if at, depth := d.inline(path); at != nil {
		d.intoBraces(at, dotted(path[depth:])+" = { "+strings.Join(keys, ", ")+" }")
		return
	}
	at := d.below(path)
	text := ""
	if at > markLength(d.text) {
		if d.text[at-1] != '\n' {
			text = d.newline
		}
		if !blank(d.lineBefore(at)) {
			text += d.newline
		}
	}
	for _, line := range append([]string{"[" + dotted(path) + "]"}, keys...) {
		text += line + d.newline
	}
	if at < len(d.text) && !blank(d.line(at)) {
		text += d.newline
	}
	d.splice(at, at, text)
}

// Set gives a key a value: in the place of the one that it has, or as a new key of
// the table that it belongs to, which must be there.
func (d *Draft) Set(path []string, value any) {
	text := d.value(path, value)
	if at := d.pos.at(path); at != nil && at.value.end > 0 {
		d.splice(at.value.start, at.value.end, text)
		return
	}
	if at, depth := d.inline(path); at != nil {
		d.intoBraces(at, dotted(path[depth:])+" = "+text)
		return
	}
	table := d.pos.tables[0]
	for _, t := range d.pos.tables {
		if len(t.path) < len(path) && len(t.path) > len(table.path) && within(t.path, path) {
			table = t
		}
	}
	end := max(table.all.end, markLength(d.text))
	text = dotted(path[len(table.path):]) + " = " + text + d.newline
	if end > markLength(d.text) && d.text[end-1] != '\n' {
		text = d.newline + text
	}
	d.splice(end, end, text)
}

// Rename gives the table at path another name, in every place where that is written.
// Later edits of what is in it go by the new one.
func (d *Draft) Rename(path []string, name string) {
	at := d.pos.at(path)
	if at == nil {
		d.fail("there is no %s", toml.Key(path))
		return
	}
	to := slices.Concat(path[:len(path)-1], []string{name})
	put(d.meant, to, take(d.meant, path))
	for _, r := range at.names {
		with := dotted([]string{name})
		if quote := d.text[r.start]; (quote == '"' || quote == '\'') && with == name {
			with = string(quote) + name + string(quote)
		}
		d.splice(r.start, r.end, with)
	}
	parent := d.pos.at(path[:len(path)-1])
	delete(parent.in, path[len(path)-1])
	parent.in[name] = at
	for i, t := range d.pos.tables {
		if within(path, t.path) {
			d.pos.tables[i].path = slices.Concat(to, t.path[len(to):])
		}
	}
}

// value returns a new value as it is written, and notes that path is to have it.
func (d *Draft) value(path []string, value any) string {
	switch v := value.(type) {
	case secret.Value:
		text := v.Reveal()
		if d.Seal != nil {
			sealed, err := d.Seal(v)
			if err != nil && d.err == nil {
				d.err = err
			}
			text = sealed
		}
		return d.value(path, text)
	case string:
		put(d.meant, path, v)
		return quoted(v)
	case []string:
		var list []any
		var texts []string
		for _, s := range v {
			list, texts = append(list, s), append(texts, quoted(s))
		}
		put(d.meant, path, list)
		return "[" + strings.Join(texts, ", ") + "]"
	case int:
		put(d.meant, path, int64(v))
		return strconv.Itoa(v)
	}
	panic(fmt.Sprintf("inventory: a %T is no value of a key", value))
}

func (d *Draft) splice(start, end int, with string) {
	d.splices = append(d.splices, splice{byteRange{start, end}, with})
}

// fail notes that the edit cannot be made as it was meant, by a fault of vpnpush.
func (d *Draft) fail(format string, a ...any) {
	if d.err == nil {
		d.err = &fault{
			"edit " + d.Inventory.Path + ": " + fmt.Sprintf(format, a...) + "; nothing was written",
			"edit the file by hand, and please report this, with what `vpnpush version` prints",
		}
	}
}

// otherLine is where a fault names another line: that of a text that nobody sees.
var otherLine = regexp.MustCompile(` \(line [0-9]+\)`)

// Edited returns the inventory as it is after the edit, which Save has not written yet.
// It is an error where that has faults, or says anything but what was meant.
func (d *Draft) Edited() (*Inventory, error) {
	_, inv, err := d.result()
	return inv, err
}

// result returns the text after the edit, and what it says.
func (d *Draft) result() ([]byte, *Inventory, error) {
	slices.SortStableFunc(d.splices, func(a, b splice) int { return cmp.Compare(a.start, b.start) })
	var text []byte
	var edited []byteRange // in the new text
	from := 0
	for _, s := range d.splices {
		if s.start < from {
			d.fail("two edits of it touch")
			break
		}
		text = append(text, d.text[from:s.start]...)
		edited = append(edited, byteRange{len(text), len(text) + len(s.with)})
		text = append(text, s.with...)
		from = s.end
	}
	text = append(text, d.text[from:]...)
	if d.err != nil {
		return nil, nil, d.err
	}
	inv, diags := Parse(d.Inventory.Path, text)
	if inv == nil {
		g := about(diags.Errors(), text, edited)
		return nil, nil, &fault{otherLine.ReplaceAllString(g.Summary, ""), g.Mend}
	}
	if !reflect.DeepEqual(decoded(text), d.meant) {
		d.fail("the edit would change something else")
	}
	return text, inv, d.err
}

// about returns the first fault on a line that was edited, which says best what is wrong
// with the edit; the first of all where there is none.
func about(faults Diagnostics, text []byte, edited []byteRange) Diagnostic {
	for _, g := range faults {
		for _, r := range edited {
			first := 1 + bytes.Count(text[:r.start], []byte("\n"))
			if last := first + bytes.Count(text[r.start:r.end], []byte("\n")); first <= g.Line && g.Line <= last {
				return g
			}
		}
	}
	return faults[0]
}

// inline returns the inline table that a key at path belongs to, and how many parts
// of the path lead to it; nil if it belongs into none.
func (d *Draft) inline(path []string) (*place, int) {
	at := &d.pos.root
	for i, part := range path {
		if at = at.in[part]; at == nil || i == len(path)-1 {
			break
		}
		if at.value.end > 0 {
			return at, i + 1
		}
	}
	return nil, 0
}

// intoBraces adds a key and its value to an inline table, behind its last, and on a
// line of its own if that has one.
func (d *Draft) intoBraces(at *place, text string) {
	inside := d.statements(at)
	if len(inside) == 0 {
		after := at.value.start + 1
		if next := d.text[after]; next != ' ' && next != '\n' && next != '\r' {
			text += " "
		}
		d.splice(after, after, " "+text)
		return
	}
	last := inside[len(inside)-1]
	end, comma := last.end, d.mark(last.end)
	if d.text[comma] == ',' {
		end = comma + 1
	}
	lines := d.ownLines(at, byteRange{last.start, end})
	switch {
	case lines.end == 0:
		d.splice(last.end, last.end, ", "+text)
		return
	case end == last.end:
		d.splice(end, end, ",")
	default:
		text += ","
	}
	indent := string(d.text[lines.start:last.start])
	d.splice(lines.end, lines.end, indent+text+d.newline)
}

// ownLines returns the lines of a statement of an inline table that has them for itself,
// with a comment behind it; nothing where it has not.
func (d *Draft) ownLines(at *place, s byteRange) byteRange {
	first, next := d.lineStart(s.start), d.lineEnd(s.end)
	rest := d.text[s.end:next]
	if first > at.value.start && blank(d.text[first:s.start]) && (blank(rest) || remark(rest)) {
		return byteRange{first, next}
	}
	return byteRange{}
}

// below returns where a new table at path begins: behind the last table of its kind,
// or the last that its parents have. The first site comes behind the hub, anything
// else that has no parent to the end.
func (d *Draft) below(path []string) int {
	parents := []toml.Key{}
	for n := len(path) - 1; n > 0; n-- {
		parents = append(parents, path[:n])
	}
	if d.pos.at(path[:1]) == nil && path[0] == "sites" {
		parents = append(parents, toml.Key{"hub"})
	}
	for _, parent := range parents {
		for _, t := range slices.Backward(d.pos.tables[1:]) {
			if within(parent, t.path) {
				return d.tail(t.all.end)
			}
		}
	}
	if d.pos.at(path[:1]) != nil { // by keys before the first header
		return d.tail(d.pos.tables[0].all.end)
	}
	return len(d.text)
}

// at returns the place of what stands at path; nil if nothing does.
func (pos *positions) at(path []string) *place {
	at := &pos.root
	for _, part := range path {
		if at = at.in[part]; at == nil {
			break
		}
	}
	return at
}

// statements returns from the key to the value of everything that is written inside
// of a table, in the order of the text; what is inside of other braces is part of
// that statement.
func (d *Draft) statements(at *place) []byteRange {
	var out []byteRange
	for _, p := range at.in {
		if p.value.end > 0 && p.key.end > 0 {
			out = append(out, byteRange{p.key.start, p.value.end})
		} else {
			out = append(out, d.statements(p)...)
		}
	}
	slices.SortFunc(out, func(a, b byteRange) int { return cmp.Compare(a.start, b.start) })
	return out
}

// within reports whether path is at or below parent.
func within(parent, path []string) bool {
	return len(path) >= len(parent) && slices.Equal(parent, path[:len(parent)])
}

// lineStart returns where the line of the byte at offset begins.
func (d *Draft) lineStart(offset int) int {
	return max(bytes.LastIndexByte(d.text[:offset], '\n')+1, markLength(d.text))
}

// lineEnd returns where the next line after the one of the byte at offset begins.
func (d *Draft) lineEnd(offset int) int {
	if n := bytes.IndexByte(d.text[offset:], '\n'); n >= 0 {
		return offset + n + 1
	}
	return len(d.text)
}

// line returns the line that begins at offset, and lineBefore the one that ends there.
func (d *Draft) line(offset int) []byte { return d.text[offset:d.lineEnd(offset)] }

func (d *Draft) lineBefore(offset int) []byte {
	return d.text[d.lineStart(max(offset-1, 0)):offset]
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

func remark(line []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) }

// tail returns where what ends at end does so with the comments right below it. Those
// that stand right above something else belong to that.
func (d *Draft) tail(end int) int {
	for at := end; ; at = d.lineEnd(at) {
		switch line := d.line(at); {
		case blank(line):
			return at
		case !remark(line):
			return end
		}
	}
}

// head returns where the comments right above the line that begins at start do so;
// start itself where there are none.
func (d *Draft) head(start int) int {
	for start > markLength(d.text) {
		line := d.lineBefore(start)
		if !remark(line) {
			break
		}
		start -= len(line)
	}
	return start
}

// bare is a key that needs no quotes.
var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// dotted returns a key as it is written.
func dotted(path []string) string {
	var parts []string
	for _, p := range path {
		if !bare.MatchString(p) {
			p = quoted(p)
		}
		parts = append(parts, p)
	}
	return strings.Join(parts, ".")
}

// quoted returns s as a string of TOML.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b.WriteString(`\` + string(c))
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + `"`
}

// decoded returns what a text says that Parse has accepted.
func decoded(text []byte) map[string]any {
	m := map[string]any{}
	toml.Decode(string(text), &m) // it was accepted
	return m
}

// put gives a key of a decoded text a value, and makes the tables on the way.
func put(m map[string]any, path []string, value any) {
	for _, part := range path[:len(path)-1] {
		next := asTable(m[part])
		if next == nil {
			next = map[string]any{}
			m[part] = next
		}
		m = next
	}
	m[path[len(path)-1]] = value
}

// asTable returns a decoded table, and the tables of a list by their indexes; nil for
// anything else.
func asTable(v any) map[string]any {
	switch v := v.(type) {
	case map[string]any:
		return v
	case []map[string]any: // [[headers]]
		m := map[string]any{}
		for i, e := range v {
			m[strconv.Itoa(i)] = e
		}
		return m
	case []any: // [{ braces }]
		m := map[string]any{}
		for i, e := range v {
			m[strconv.Itoa(i)] = e
		}
		return m
	}
	return nil
}

// take takes a key out of a decoded text, and returns what it had.
func take(m map[string]any, path []string) any {
	for _, part := range path[:len(path)-1] {
		m, _ = m[part].(map[string]any)
	}
	last := path[len(path)-1]
	v := m[last]
	delete(m, last)
	return v
}
