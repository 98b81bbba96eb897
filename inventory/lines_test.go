package inventory

import (
	"strconv"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestScanLines(t *testing.T) {
	const doc = `# comment [no.table]
top = 1
"quoted key" = "a # b"   # = not a key
a.b . "c.d" = 2
[sites."new york"] # comment
psk = """
[not.a.table]
key = "no \"""" quotes""""
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
`
	lines := scanLines([]byte(doc))
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
		{23, toml.Key{"list", "1", "x"}},
		// Not there: the nearest parent's line.
		{5, toml.Key{"sites", "new york", "missing"}},
		{11, toml.Key{"sites", "new york", "ssh", "missing"}},
		{1, toml.Key{"missing"}},
	} {
		if got := lines.of(tt.path); got != tt.line {
			t.Errorf("%s: line %d, want %d", tt.path, got, tt.line)
		}
	}
}

// The scanner ends on any text, and of a text that the library accepts it
// knows every key: else a fault would be reported on the wrong line.
func FuzzScanLines(f *testing.F) {
	f.Add("a = 1\n[b]\nc.\"d\\u0041\" = [1, {x = '''\n'''}]\r\n[[e]]\n[[e]]\nf = \"\"\"\\\"\"\"\"\"\"\n")
	f.Add("x = { a = 1, # comment\n b = [\n] , }\n")
	f.Add("\ufeffa = -inf # x\n'' = ''\n[''.\"\"]\n a . b = 1979-05-27 07:32:00\n")
	f.Add("[0]\n''=[0,{0=''}]")
	f.Add("[")
	f.Add("a = [[[{")
	f.Fuzz(func(t *testing.T, doc string) {
		lines := scanLines([]byte(doc))
		m := map[string]any{}
		if _, err := toml.Decode(doc, &m); err != nil {
			return
		}
		var walk func(path toml.Key, v any)
		walk = func(path toml.Key, v any) {
			if len(path) > 0 && lines[pathKey(path)] == 0 {
				t.Fatalf("no line for %q in %q; have %v", []string(path), doc, lines)
			}
			if len(path) > 0 && path[len(path)-1] == "" {
				return // BurntSushi/toml 1.6 drops the 0 of '' = [0, {}]
			}
			at := func(k string) toml.Key { return append(path[:len(path):len(path)], k) }
			switch v := v.(type) {
			case map[string]any:
				for k, e := range v {
					walk(at(k), e)
				}
			case []any:
				for i, e := range v {
					walk(at(strconv.Itoa(i)), e)
				}
			case []map[string]any:
				for i, e := range v {
					walk(at(strconv.Itoa(i)), e)
				}
			}
		}
		walk(nil, m)
	})
}
