package inventory

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

// everyForm has each way of TOML to write a key and a value.
const everyForm = `# comment [no.table]
top = 1
"quoted key" = "a # b"   # = not a key
a.b . "c.d" = 2
[sites."new york"] # comment
psk = """
[not.a.table]
key = "no \""" quotes""""
after = '''
it's = 1''' # comment
ssh = { host = "x", port = 22,
  jump = 'hub' }
subnets = [ # first
  "10.0.0.0/8", # ]
  [ 1,
    2 ],
  { deep = true },
]
last.key = 1
[[list]]
x = 1
[[list]]
x = 2
[[ list . inner ]]
[[list.inner]]
y = []
[list.table]
z = {}

# end`

func mustLocate(t *testing.T, text string) *positions {
	t.Helper()
	pos, refused := locate("x.toml", []byte(text))
	if refused != nil {
		t.Fatal(refused)
	}
	return pos
}

// A fault stands on the line of its key; that of a key which is not there, on
// the line of the table that lacks it.
func TestLines(t *testing.T) {
	pos := mustLocate(t, everyForm)
	for _, tt := range []struct {
		line int
		path toml.Key
	}{
		{2, toml.Key{"top"}},
		{3, toml.Key{"quoted key"}},
		{4, toml.Key{"a", "b", "c.d"}},
		{4, toml.Key{"a"}},
		{5, toml.Key{"sites"}},
		{5, toml.Key{"sites", "new york"}},
		{6, toml.Key{"sites", "new york", "psk"}},
		{9, toml.Key{"sites", "new york", "after"}},
		{11, toml.Key{"sites", "new york", "ssh", "port"}},
		{12, toml.Key{"sites", "new york", "ssh", "jump"}},
		{13, toml.Key{"sites", "new york", "subnets"}},
		{14, toml.Key{"sites", "new york", "subnets", "0"}},
		{16, toml.Key{"sites", "new york", "subnets", "1", "1"}},
		{17, toml.Key{"sites", "new york", "subnets", "2", "deep"}},
		{19, toml.Key{"sites", "new york", "last", "key"}},
		{20, toml.Key{"list"}},
		{22, toml.Key{"list", "1"}},
		{23, toml.Key{"list", "1", "x"}},
		{24, toml.Key{"list", "1", "inner"}},
		{26, toml.Key{"list", "1", "inner", "1", "y"}},
		{27, toml.Key{"list", "1", "table"}},
		// Not there: the nearest parent's line.
		{5, toml.Key{"sites", "new york", "missing"}},
		{11, toml.Key{"sites", "new york", "ssh", "missing"}},
		{1, toml.Key{"missing"}},
		{1, nil},
	} {
		if got := pos.line(tt.path); got != tt.line {
			t.Errorf("%s: line %d, want %d", tt.path, got, tt.line)
		}
	}
}

// The ranges are those of what is written, no more and no less: an edit puts
// other bytes in their place.
func TestRanges(t *testing.T) {
	pos := mustLocate(t, everyForm)
	text := func(r byteRange) string { return everyForm[r.start:r.end] }
	for _, tt := range []struct {
		path  toml.Key
		names string
		key   string
		value string
	}{
		{toml.Key{"quoted key"}, `"quoted key"`, `"quoted key"`, `"a # b"`},
		{toml.Key{"a", "b"}, `b`, ``, ``},
		{toml.Key{"a", "b", "c.d"}, `"c.d"`, `a.b . "c.d"`, `2`},
		{toml.Key{"sites", "new york"}, `"new york"`, ``, ``},
		{toml.Key{"sites", "new york", "psk"}, `psk`, `psk`, "\"\"\"\n[not.a.table]\nkey = \"no \\\"\"\" quotes\"\"\"\""},
		{toml.Key{"sites", "new york", "ssh"}, `ssh`, `ssh`, "{ host = \"x\", port = 22,\n  jump = 'hub' }"},
		{toml.Key{"sites", "new york", "ssh", "jump"}, `jump`, `jump`, `'hub'`},
		{toml.Key{"sites", "new york", "subnets", "0"}, ``, ``, `"10.0.0.0/8"`},
		{toml.Key{"sites", "new york", "subnets", "1"}, ``, ``, "[ 1,\n    2 ]"},
		{toml.Key{"sites", "new york", "subnets", "2"}, ``, ``, `{ deep = true }`},
		{toml.Key{"sites", "new york", "last", "key"}, `key`, `last.key`, `1`},
		{toml.Key{"list"}, `list list list list list`, ``, ``},
		{toml.Key{"list", "0"}, `list`, ``, ``},
		{toml.Key{"list", "1", "inner", "1", "y"}, `y`, `y`, `[]`},
		{toml.Key{"list", "1", "table", "z"}, `z`, `z`, `{}`},
	} {
		at := &pos.root
		for _, part := range tt.path {
			if at = at.in[part]; at == nil {
				t.Fatalf("%s has no place", tt.path)
			}
		}
		var names []string
		for _, n := range at.names {
			names = append(names, text(n))
		}
		if got := strings.Join(names, " "); got != tt.names || text(at.key) != tt.key || text(at.value) != tt.value {
			t.Errorf("%s: names %q, key %q, value %q", tt.path, got, text(at.key), text(at.value))
		}
	}

	var got []string
	for _, table := range pos.tables {
		all := strings.Split(text(table.all), "\n")
		got = append(got, fmt.Sprintf("%s | %s | %s ... %s", table.path, text(table.header), all[0], all[max(0, len(all)-2)]))
	}
	want := []string{
		` |  | # comment [no.table] ... a.b . "c.d" = 2`,
		`sites."new york" | [sites."new york"] | [sites."new york"] # comment ... last.key = 1`,
		`list.0 | [[list]] | [[list]] ... x = 1`,
		`list.1 | [[list]] | [[list]] ... x = 2`,
		`list.1.inner.0 | [[ list . inner ]] | [[ list . inner ]] ... [[ list . inner ]]`,
		`list.1.inner.1 | [[list.inner]] | [[list.inner]] ... y = []`,
		`list.1.table | [list.table] | [list.table] ... z = {}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tables (-want +got):\n%s", diff)
	}

	got = nil
	for _, c := range pos.comments {
		got = append(got, text(c))
	}
	want = []string{"# comment [no.table]", "# = not a key", "# comment", "# comment", "# first", "# ]", "# end"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("comments (-want +got):\n%s", diff)
	}
}

// awkward are texts that the two parsers, or their versions, may well read
// differently.
var awkward = []string{
	everyForm,
	strings.ReplaceAll(everyForm, "\n", "\r\n"),
	"\ufeff" + everyForm,
	"\ufeff# c\r\n[a] # d\r\nb = [ # e\r\n # f\r\n # g\r\n 1 # h\r\n, # i\r\n # j\r\n]",
	"\xfe\xffa = 1\n",
	"\xff\xfea = 1\n", // the mark of UTF-16 before UTF-8: some tools write it
	"",
	"\ufeff",
	"# only a comment",
	"\n\n \t\n",
	// TOML 1.1: inline tables of many lines with comments and a last comma, \e
	// and \x, times without seconds.
	"x = { a = 1, # comment\n b = [\n] , # another\n # and another\n # and the last\n }\n",
	"x = {\r\n\ta = { b = 1, },\r\n}\r\ny = 1",
	"x = \"\\e[0m \\x41\"\n\"\\e\\x41\" = 2\n",
	"a = 1979-05-27T07:32Z\nb = 1979-05-27 07:32\nc = 07:32 # c\nd = [1979-05-27 , 1979-05-27]\n",
	// Keys
	"\"ʎǝʞ\" = 1\n'κλειδί'.\"\\u03ba\" = 2\n[\"日本\" . '\"']\nx.\"\\\"]\" = 3\n",
	"a = -inf # x\n'' = ''\n[x.\"\"]\n a . b = 1979-05-27 07:32:00\n",
	"\"a\\u0000b\" = 1\na.b = 2\n", // no separator that a key cannot hold
	"[a]\n0 = 1\n[[b]]\n0 = 1\n[b.0-1]\n1 = 2\n1e5 = true\ntrue = nan\n",
	// Strings that end in quotes, and such as look like comments and headers
	"a = \"\"\"\\\"\"\"\"\"\"\nb = ''''# '''''\nc = '#' # '\nd = \"\\\\\" # \"\n",
	"a = \"\"\"\\\n   \r\n  b # c\\  \n\"\"\"\n",
	// Tables in parts, and such as BurntSushi/toml lets be extended
	"[a.b]\n[a]\n[a.c]\n[b.a]\nx = 1\n[b]\ny = 1\n",
	"a = {b = 1}\n[a.c]\nd = 1\n[a.c.e]\n",
	"a.b = 1\n[a]\nc = 2\n[a.d]\n",
	"[[a.b]]\n[a]\nb.c = 1\n[[a.b]]\n[[a.b.d]]\n[a.b.d.e]\nf = 1\n",
	"a = [[[[]], {}, [{b = [{}, {c = [1, [2, '3']]}]}]]]\n",
	"[0]\n''=[0,{0=''}]",
}

// One reading for both parsers: whatever is decoded has its place, and what
// stands there is what was decoded.
func TestPositionsAgree(t *testing.T) {
	texts := slices.Clone(awkward)
	files, err := filepath.Glob(filepath.Join(fixtures, "*.toml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no inventories: %v", err)
	}
	for _, file := range files {
		texts = append(texts, string(readFixture(t, filepath.Base(file))))
	}
	start, err := Starter()
	if err != nil {
		t.Fatal(err)
	}
	texts = append(texts, string(start))
	decoded := 0
	for _, text := range texts {
		ok, refused := checkPositions(t, text)
		if ok {
			decoded++
		}
		if ok && refused != nil {
			t.Errorf("%q is refused: %v", text, refused)
		}
	}
	if decoded != len(texts)-1 { // bad-syntax.toml is not TOML
		t.Errorf("%d of %d texts were decoded", decoded, len(texts))
	}
}

// What BurntSushi/toml takes alone, or takes and loses, is refused on its line;
// nothing of the text, which may be a secret, is shown.
func TestLocateRefuses(t *testing.T) {
	deep := strings.Repeat("[", 10001) + strings.Repeat("]", 10001)
	for _, tt := range []struct{ name, text, want string }{
		{
			"quotes", "\ufeff[sites.a]\r\n# c\r\npsk = \"\"\"hunter2\\\\\"\"\"\"\"\"\r\n",
			"x.toml:3: not plain TOML: too many quotes at the end of a multiline basic string; write it in another way: of the two parsers that read an inventory only one takes this",
		},
		{
			"depth", "\nx = " + deep,
			"x.toml:2: not plain TOML: arrays and inline tables are nested more than the maximum of 10000 levels deep; write it in another way: of the two parsers that read an inventory only one takes this",
		},
		{
			"table after list", "a.b = [1]\nc = 2\na.b.d = 'hunter2'\n",
			"x.toml:3: not TOML: key a.b is already a list (line 1); write each key once",
		},
		{
			"list after table", "a.b.c = 'hunter2'\n\na.b = [1]\n",
			"x.toml:3: not TOML: key a.b is already a table (line 1); write each key once",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := toml.Decode(tt.text, &map[string]any{}); err != nil {
				t.Fatalf("BurntSushi/toml does not take it: %v", err)
			}
			inv, diags := Parse("x.toml", []byte(tt.text))
			if inv != nil || len(diags) != 1 || diags[0].String() != tt.want {
				t.Errorf("%v", diags)
			}
		})
	}
}

// FuzzPositions holds both parsers to one reading of any text.
func FuzzPositions(f *testing.F) {
	for _, text := range awkward {
		f.Add(text)
	}
	for _, text := range []string{"[", "a = [[[{", "a = 1\n[a.b]\n", "a = [1]\na.0.b = 2\n", "[[a]]\n[a]\n", "a = \"\"\"\\\\\"\"\"\"\"\"\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if ok, refused := checkPositions(t, text); ok && refused != nil && !known(refused[0]) {
			t.Errorf("%q is refused: %v", text, refused)
		}
	})
}

// checkPositions compares the positions of text with what BurntSushi/toml
// makes of it. It reports whether that took the text, and why locate refused it.
func checkPositions(t *testing.T, text string) (ok bool, refused Diagnostics) {
	t.Helper()
	pos, refused := locate("x.toml", []byte(text)) // no panic, whatever the text
	last := strings.Count(text, "\n") + 1
	if (pos == nil) == (refused == nil) || refused != nil && (refused[0].Line < 1 || refused[0].Line > last) {
		t.Fatalf("%q: %v, %v", text, pos, refused)
	}
	decoded := map[string]any{}
	if _, err := toml.Decode(text, &decoded); err != nil {
		return false, refused
	}
	if refused != nil || listUnderEmptyKey(&pos.root, text) {
		return true, refused
	}
	c := &positionChecker{t: t, text: text, left: []byte(text), pos: pos}
	c.place(nil, nil, decoded, &pos.root)
	c.layout(decoded)
	return true, nil
}

// known reports whether a refusal is one that locate is documented to make.
func known(d Diagnostic) bool {
	return strings.Contains(d.Summary, "too many quotes") || strings.Contains(d.Summary, "nested more than") ||
		strings.Contains(d.Summary, "is already a list") || strings.Contains(d.Summary, "is already a table")
}

// listUnderEmptyKey reports whether there is an empty key with a list, of which
// BurntSushi/toml 1.6 loses elements. No inventory has an empty key.
func listUnderEmptyKey(at *place, text string) bool {
	for part, in := range at.in {
		if part == "" && text[in.value.start:in.value.end] != "" && text[in.value.start] == '[' || listUnderEmptyKey(in, text) {
			return true
		}
	}
	return false
}

type positionChecker struct {
	t    *testing.T
	text string
	left []byte // text without what has been taken
	pos  *positions
	// pairs are the ranges from a key to the end of its value, with its path.
	pairs []pairRange
}

type pairRange struct {
	byteRange
	path toml.Key
}

func (c *positionChecker) errorf(format string, a ...any) {
	c.t.Helper()
	c.t.Errorf("%s in %q", fmt.Sprintf(format, a...), c.text)
}

func (c *positionChecker) slice(r byteRange) string { return c.text[r.start:r.end] }

// take blanks a range: two that overlap would show as bytes taken twice.
func (c *positionChecker) take(what string, r byteRange) {
	for i := r.start; i < r.end; i++ {
		if c.left[i] == 0 {
			c.errorf("%s %q overlaps another range", what, c.slice(r))
			return
		}
		c.left[i] = 0 // no text that was decoded holds it
	}
}

// place compares a decoded value with its place, and what is inside it. keys
// is path without the indexes of lists.
func (c *positionChecker) place(path, keys toml.Key, v any, at *place) {
	if at == nil {
		c.errorf("%q has no place", []string(path))
		return
	}
	if len(path) > 0 {
		c.written(path, keys, v, at)
	}
	in := map[string]any{}
	element := false
	switch v := v.(type) {
	case map[string]any:
		in = v
	case []any:
		element = true
		for i, e := range v {
			in[strconv.Itoa(i)] = e
		}
	case []map[string]any:
		element = true
		for i, e := range v {
			in[strconv.Itoa(i)] = e
		}
	}
	for part, e := range in {
		inner := append(slices.Clone(path), part)
		if element {
			c.place(inner, keys, e, at.in[part])
		} else {
			c.place(inner, append(slices.Clone(keys), part), e, at.in[part])
		}
	}
	for part := range at.in {
		if _, ok := in[part]; !ok {
			c.errorf("%q has a place, but there is none", append(slices.Clone(path), part))
		}
	}
}

// written reads again what stands at a place.
func (c *positionChecker) written(path, keys toml.Key, v any, at *place) {
	hasValue, hasKey := at.value != byteRange{}, at.key != byteRange{}
	if len(at.names) == 0 && !hasValue || hasKey && !hasValue {
		c.errorf("%q stands nowhere", []string(path))
		return
	}
	first := at.value.start
	for i, n := range at.names {
		if got := c.keyParts(n); len(got) != 1 || got[0] != keys[len(keys)-1] {
			c.errorf("%q is written %q", []string(path), c.slice(n))
		}
		if i > 0 && n.start <= at.names[i-1].start {
			c.errorf("names of %q are not in order", []string(path))
		}
		first = min(at.names[0].start, n.start)
	}
	if got, want := c.pos.line(path), 1+strings.Count(c.text[:first], "\n"); got != want {
		c.errorf("%q is on line %d, not %d", []string(path), want, got)
	}
	if !hasValue {
		return
	}
	pair := at.value
	if hasKey {
		pair.start = at.key.start
		if got := c.keyParts(at.key); len(got) > len(keys) || !slices.Equal(got, keys[len(keys)-len(got):]) {
			c.errorf("the key of %q is written %q", []string(path), c.slice(at.key))
		}
		c.take("key", at.key)
		if between := strings.Trim(c.text[at.key.end:at.value.start], " \t"); between != "=" {
			c.errorf("%q stands between %q and its value", between, []string(path))
		}
	}
	c.pairs = append(c.pairs, pairRange{pair, path})

	var again struct{ X any }
	if _, err := toml.Decode("x = "+c.slice(at.value), &again); err != nil {
		c.errorf("value %q of %q: %v", c.slice(at.value), []string(path), err)
	} else if !extended(at) && !cmp.Equal(v, again.X, sameValues) {
		c.errorf("value %q of %q: (-want +got)\n%s", c.slice(at.value), []string(path), cmp.Diff(v, again.X, sameValues))
	}
	switch c.text[at.value.start] {
	case '[', '{':
		c.take("bracket", byteRange{at.value.start, at.value.start + 1})
		c.take("bracket", byteRange{at.value.end - 1, at.value.end})
	default:
		c.take("value", at.value)
	}
}

// extended reports whether something of at stands outside of its value:
// BurntSushi/toml lets headers and dotted keys add to an inline table.
func extended(at *place) bool {
	for _, in := range at.in {
		for _, n := range in.names {
			if n.start < at.value.start || n.end > at.value.end {
				return true
			}
		}
		if extended(in) {
			return true
		}
	}
	return false
}

// sameValues takes NaN for NaN, and -0 not for 0.
var sameValues = cmp.Comparer(func(a, b float64) bool {
	return a == b && math.Signbit(a) == math.Signbit(b) || math.IsNaN(a) && math.IsNaN(b)
})

// keyParts reads a dotted key.
func (c *positionChecker) keyParts(r byteRange) (parts toml.Key) {
	m := map[string]any{}
	if _, err := toml.Decode(c.slice(r)+" = 0", &m); err != nil {
		c.errorf("key %q: %v", c.slice(r), err)
	}
	for len(m) == 1 {
		for part, v := range m {
			parts = append(parts, part)
			m, _ = v.(map[string]any)
		}
	}
	return parts
}

// layout checks headers, tables and comments, and that nothing is left.
func (c *positionChecker) layout(decoded map[string]any) {
	without := []byte(c.text)
	for i, r := range c.pos.comments {
		comment := c.slice(r)
		rest := c.text[r.end:]
		if comment == "" || comment[0] != '#' || strings.Contains(comment, "\n") || rest != "" && rest[0] != '\n' && !strings.HasPrefix(rest, "\r\n") {
			c.errorf("comment %q", comment)
		}
		if i > 0 && r.start < c.pos.comments[i-1].end {
			c.errorf("comment %q is not in order", comment)
		}
		c.take("comment", r)
		copy(without[r.start:], bytes.Repeat([]byte(" "), len(comment)))
	}
	m := map[string]any{}
	if _, err := toml.Decode(string(without), &m); err != nil || !cmp.Equal(decoded, m, sameValues) {
		c.errorf("without its comments the text is another: %v", err)
	}

	outside := slices.Clone(c.left)
	end := 0
	for i, table := range c.pos.tables {
		if i > 0 {
			header := c.slice(table.header)
			m, element := map[string]any{}, strings.HasPrefix(header, "[[")
			if _, err := toml.Decode(header, &m); err != nil || element != strings.HasSuffix(header, "]]") {
				c.errorf("header %q: %v", header, err)
			}
			c.take("header", table.header)
			if table.all.start != table.header.start {
				c.errorf("table %q begins at %q", header, c.slice(table.all))
			}
		}
		if table.all.start < end || table.all.end < table.header.end {
			c.errorf("table %q is not in order", table.path)
		}
		end = table.all.end
		if end > 0 && end < len(c.text) && c.text[end-1] != '\n' {
			c.errorf("table %q ends within a line", table.path)
		}
		for i := table.all.start; i < end; i++ {
			outside[i] = 0
		}
	}
	for _, p := range c.pairs {
		c.inTable(p)
	}
	mark := 0 // a byte order mark at the start
	for _, m := range []string{"\ufeff", "\xff\xfe", "\xfe\xff"} {
		if strings.HasPrefix(c.text, m) {
			mark = len(m)
		}
	}
	const blank = " \t\r\n\x00"
	if rest := strings.Trim(string(outside[max(mark, c.pos.tables[0].all.end):]), blank); rest != "" {
		c.errorf("%q is outside of all tables", rest)
	}
	if rest := strings.Trim(string(c.left[mark:]), blank+",="); rest != "" {
		c.errorf("%q has no place", rest)
	}
}

// inTable checks that a key stands in a table that it is a key of.
func (c *positionChecker) inTable(p pairRange) {
	for _, table := range c.pos.tables {
		if p.start >= table.all.start && p.end <= table.all.end {
			if len(p.path) <= len(table.path) || !slices.Equal(p.path[:len(table.path)], table.path) {
				c.errorf("%q stands in table %q", []string(p.path), []string(table.path))
			}
			return
		}
	}
	c.errorf("%q is in no table", []string(p.path))
}
