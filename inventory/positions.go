package inventory

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/BurntSushi/toml"
	"github.com/pelletier/go-toml/v2/unstable"
)

// positions tells where everything of a TOML text stands. BurntSushi/toml
// decodes the inventory, but it has positions for syntax errors only; these
// come from the parser inside pelletier/go-toml, which reads the text a second
// time. Diagnostics take the lines from here. The ranges let an edit replace
// the bytes of one value and leave the comments, the order and the layout of
// the file as its owner wrote them.
type positions struct {
	root     place
	tables   []tableRange // in the order of the text
	comments []byteRange  // in the order of the text, without their line ends
	starts   []int        // the offset of each line
}

// byteRange is the range text[start:end] of a text.
type byteRange struct{ start, end int }

// place is where a key stands, or an element of a list.
type place struct {
	// names has every writing of the key, in order: that of a table stands in
	// each header and each dotted key that leads to it. The names of an element
	// of [[list]] are those that lead to this element; an element written
	// inside of brackets has none.
	names []byteRange
	// key is the dotted key as it is written before "=". It is empty for a list
	// element, and for a table that only headers and dotted keys make.
	key byteRange
	// value is what stands after "=", or the list element. It is empty for a
	// table or list that only headers and dotted keys make.
	value byteRange
	// in has what is inside a table by key, and what is inside a list by index.
	in       map[string]*place
	elements int // how many [[headers]] made elements of it
}

// tableRange is where one header and the keys below it stand. The first is of
// the keys before any header; its own header and path are empty. Comments and
// blank lines between two tables belong to neither: only an edit can say
// whether a comment goes with what is above it or with what is below.
type tableRange struct {
	path   toml.Key  // with the index of each [[list]] on the way
	header byteRange // with its brackets
	all    byteRange // from the header to the end of the line of its last key
}

// locate finds the positions of a text that BurntSushi/toml has accepted. It
// refuses the text all the same
//   - if the other parser does not take it. Such a text is not TOML by the
//     letter (six quotes after an escaped backslash), or no inventory ever has
//     it (lists 10,000 deep). Going on without positions would put faults on
//     wrong lines, and an edit would work on a file that is known only in part;
//   - if a key is both a list and a table. BurntSushi/toml 1.6 takes a.b = 1
//     together with a = [2], and loses the first of them without a word.
func locate(file string, text []byte) (*positions, Diagnostics) {
	l := &locator{file: file, text: text, offset: markLength(text), pos: &positions{starts: []int{0}}}
	l.parser.KeepComments = true
	l.parser.Reset(text[l.offset:])
	for i, c := range text {
		if c == '\n' {
			l.pos.starts = append(l.pos.starts, i+1)
		}
	}
	l.document()
	if err := l.parser.Error(); err != nil {
		at := 0
		var syntax *unstable.ParserError
		if errors.As(err, &syntax) {
			at = l.rangeOf(l.parser.Range(syntax.Highlight)).start
		}
		l.refuse(at, "write it in another way: of the two parsers that read an inventory only one takes this",
			"not plain TOML: %s", printable(withoutValues(err.Error())))
	}
	if l.refused != nil {
		return nil, l.refused.sorted()
	}
	return l.pos, nil
}

// markLength returns the length of the byte order mark of text. BurntSushi/toml
// passes over those of UTF-16 as well.
func markLength(text []byte) int {
	for _, mark := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(text, []byte(mark)) {
			return len(mark)
		}
	}
	return 0
}

// line returns the line of the key at path, or of its nearest parent that
// stands anywhere; 1 if none does.
func (pos *positions) line(path toml.Key) int {
	at := &pos.root
	for _, part := range path {
		next := at.in[part]
		if next == nil {
			break
		}
		at = next
	}
	if len(at.names) > 0 {
		return pos.lineAt(at.names[0].start)
	}
	return pos.lineAt(at.value.start)
}

// lineAt returns the line of the byte at offset, from 1.
func (pos *positions) lineAt(offset int) int {
	i, found := slices.BinarySearch(pos.starts, offset)
	if found {
		i++
	}
	return i
}

// locator collects positions while the parser goes through the text.
type locator struct {
	parser  unstable.Parser
	file    string
	text    []byte
	offset  int // of what the parser sees in text
	pos     *positions
	refused Diagnostics
}

// refuse reports a fault that makes the text unusable.
func (l *locator) refuse(offset int, mend, format string, a ...any) {
	l.refused = append(l.refused, Diagnostic{File: l.file, Line: l.pos.lineAt(offset), Summary: fmt.Sprintf(format, a...), Mend: mend})
}

// refuseAgain refuses a key at again that is something else at first.
func (l *locator) refuseAgain(again byteRange, path toml.Key, what string, first byteRange) {
	l.refuse(again.start, "write each key once", "not TOML: key %s is already a %s (line %d)", shownKey(path), what, l.pos.lineAt(first.start))
}

// rangeOf returns a range of the parser as one of the whole text.
func (l *locator) rangeOf(r unstable.Range) byteRange {
	start := l.offset + int(r.Offset)
	return byteRange{start, start + int(r.Length)}
}

// document reads headers and keys to the end, or to what the parser refuses.
func (l *locator) document() {
	l.pos.tables = []tableRange{{}}
	table := &l.pos.root
	for l.parser.NextExpression() {
		n := l.parser.Expression()
		end := 0
		switch n.Kind {
		case unstable.Comment:
			l.comment(n)
			continue
		case unstable.KeyValue:
			end = l.pair(table, n)
		case unstable.Table, unstable.ArrayTable:
			var header byteRange
			var path toml.Key
			table, path, header = l.header(n)
			l.pos.tables = append(l.pos.tables, tableRange{path, header, header})
			end = header.end
		}
		if c := n.Next(); c.Valid() { // a comment on the same line
			l.comment(c)
		}
		l.pos.tables[len(l.pos.tables)-1].all.end = l.lineEnd(end)
	}
}

// lineEnd returns where the line of the byte before offset ends, its line end
// included.
func (l *locator) lineEnd(offset int) int {
	if n := bytes.IndexByte(l.text[offset:], '\n'); n >= 0 {
		return offset + n + 1
	}
	return len(l.text)
}

// comment notes the comment at n. Comments that follow one another inside of a
// list or an inline table are children of the first.
func (l *locator) comment(n *unstable.Node) {
	l.pos.comments = append(l.pos.comments, l.rangeOf(n.Raw))
	for it := n.Children(); it.Next(); {
		l.pos.comments = append(l.pos.comments, l.rangeOf(it.Node().Raw))
	}
}

// header notes the [table] or [[list]] at n. The parser has the ranges of the
// key's parts only; nothing but blanks stands between those and the brackets.
func (l *locator) header(n *unstable.Node) (*place, toml.Key, byteRange) {
	brackets := 1
	if n.Kind == unstable.ArrayTable {
		brackets = 2
	}
	at, path, key := l.follow(&l.pos.root, n.Key(), brackets == 2)
	return at, path, byteRange{
		bytes.LastIndexByte(l.text[:key.start], '[') + 1 - brackets,
		key.end + bytes.IndexByte(l.text[key.end:], ']') + brackets,
	}
}

// pair notes the key and the value at n, and returns where the value ends.
func (l *locator) pair(table *place, n *unstable.Node) int {
	at, path, key := l.follow(table, n.Key(), false)
	if n.Value().Kind == unstable.Array && len(at.in) > 0 {
		l.refuseAgain(key, path, "table", at.names[0])
	}
	at.key = key
	return l.value(at, n.Value(), l.skip(key.end))
}

// value notes the value at n and what is inside it, and returns where it ends.
// The parser has no ranges of lists and inline tables, so their ends are found
// from what is inside them.
func (l *locator) value(at *place, n *unstable.Node, start int) int {
	end := start + 1
	switch n.Kind {
	case unstable.Array, unstable.InlineTable:
		for it := n.Children(); it.Next(); {
			switch c := it.Node(); c.Kind {
			case unstable.Comment:
				l.comment(c)
			case unstable.KeyValue:
				end = l.pair(at, c)
			default:
				end = l.value(at.enter(strconv.Itoa(len(at.in))), c, l.skip(end))
			}
		}
		end = l.skip(end) + 1
	default:
		end = l.rangeOf(n.Raw).end
	}
	at.value = byteRange{start, end}
	return end
}

// skip returns the offset of the next key, value or closing bracket.
func (l *locator) skip(offset int) int {
	for {
		switch l.text[offset] {
		case ' ', '\t', '\r', '\n', ',', '=':
			offset++
		case '#':
			offset = l.lineEnd(offset)
		default:
			return offset
		}
	}
}

// follow goes from a table to what a dotted key names there, and notes the
// writing of each part. On a list it goes on to the last element; element
// makes a new one first. It returns the path that it went, and the range of the
// key as a whole.
func (l *locator) follow(at *place, key unstable.Iterator, element bool) (*place, toml.Key, byteRange) {
	var path toml.Key
	var whole byteRange
	for key.Next() {
		name := l.rangeOf(key.Node().Raw)
		if len(path) == 0 {
			whole.start = name.start
		}
		whole.end = name.end
		part := string(key.Node().Data)
		at, path = at.enter(part, name), append(path, part)
		if at.value.end > 0 && l.text[at.value.start] == '[' {
			l.refuseAgain(name, path, "list", at.value)
		}
		if element && key.IsLast() {
			at.elements++
		}
		if at.elements > 0 {
			last := strconv.Itoa(at.elements - 1)
			at, path = at.enter(last, name), append(path, last)
		}
	}
	return at, path, whole
}

// enter returns the place of a key or element in p, and adds names to it.
func (p *place) enter(part string, names ...byteRange) *place {
	at := p.in[part]
	if at == nil {
		at = &place{}
		if p.in == nil {
			p.in = map[string]*place{}
		}
		p.in[part] = at
	}
	at.names = append(at.names, names...)
	return at
}
