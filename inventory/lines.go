package inventory

import (
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// lineMap says on which line a key of a TOML document stands. The TOML library
// gives positions for syntax errors only, so the text is scanned a second
// time. Elements of a list have their index as the last part of their path.
type lineMap map[string]int

// of gives the line of the key at path, or of its nearest parent that has one.
func (m lineMap) of(path toml.Key) int {
	for n := len(path); n > 0; n-- {
		if line, ok := m[pathKey(path[:n])]; ok {
			return line
		}
	}
	return 1
}

func pathKey(path toml.Key) string { return strings.Join(path, "\x00") }

// scanLines finds the keys of a document that the TOML library has accepted.
// Of any other text it makes what it can; it always ends.
func scanLines(data []byte) lineMap {
	s := &lineScanner{in: strings.TrimPrefix(string(data), "\ufeff"), line: 1, lines: lineMap{}}
	s.document()
	return s.lines
}

type lineScanner struct {
	in    string // what is left
	line  int
	lines lineMap
}

// document reads headers and key/value lines to the end.
func (s *lineScanner) document() {
	var table toml.Key
	arrays := map[string]int{} // how often [[path]] was seen
	for {
		s.skip(" \t\r\n", true)
		if s.in == "" {
			return
		}
		if s.in[0] != '[' {
			s.pair(table)
			s.restOfLine()
			continue
		}
		s.advance(1)
		array := strings.HasPrefix(s.in, "[")
		if array {
			s.advance(1)
		}
		line := s.line
		table = s.key()
		s.record(nil, table, line)
		if array {
			k := pathKey(table)
			table = append(table, strconv.Itoa(arrays[k]))
			arrays[k]++
			s.record(nil, table, line)
		}
		s.restOfLine()
	}
}

// record notes the line of every part of key below table. The first place
// wins: [sites.tokyo] is where sites begins, too.
func (s *lineScanner) record(table, key toml.Key, line int) toml.Key {
	path := append(table[:len(table):len(table)], key...)
	for n := len(table) + 1; n <= len(path); n++ {
		if k := pathKey(path[:n]); s.lines[k] == 0 {
			s.lines[k] = line
		}
	}
	return path
}

// pair reads `key = value`.
func (s *lineScanner) pair(table toml.Key) {
	line := s.line
	key := s.key()
	path := s.record(table, key, line)
	s.skip(" \t", false)
	if strings.HasPrefix(s.in, "=") {
		s.advance(1)
		s.skip(" \t", false)
		s.value(path)
	}
}

// key reads a dotted key: bare and quoted parts.
func (s *lineScanner) key() toml.Key {
	var key toml.Key
	for {
		s.skip(" \t", false)
		switch {
		case s.in == "":
			return key
		case s.in[0] == '"' || s.in[0] == '\'':
			key = append(key, unquoteKey(s.quoted(s.in[:1])))
		default:
			n := strings.IndexAny(s.in, " \t\r\n.=]#\"'")
			if n < 0 {
				n = len(s.in)
			}
			key = append(key, s.in[:n])
			s.advance(n)
		}
		s.skip(" \t", false)
		if !strings.HasPrefix(s.in, ".") {
			return key
		}
		s.advance(1)
	}
}

// value reads a value and notes what is inside it.
func (s *lineScanner) value(path toml.Key) {
	switch {
	case strings.HasPrefix(s.in, `"""`), strings.HasPrefix(s.in, `'''`):
		s.quoted(s.in[:3])
	case strings.HasPrefix(s.in, `"`), strings.HasPrefix(s.in, `'`):
		s.quoted(s.in[:1])
	case strings.HasPrefix(s.in, "["):
		s.advance(1)
		for i := 0; ; i++ {
			s.skip(" \t\r\n,", true)
			if s.in == "" || s.in[0] == ']' {
				s.advance(min(1, len(s.in)))
				return
			}
			before := len(s.in)
			s.value(s.record(path, toml.Key{strconv.Itoa(i)}, s.line))
			if len(s.in) == before {
				s.advance(1)
			}
		}
	case strings.HasPrefix(s.in, "{"):
		s.advance(1)
		for {
			s.skip(" \t\r\n,", true)
			if s.in == "" || s.in[0] == '}' {
				s.advance(min(1, len(s.in)))
				return
			}
			before := len(s.in)
			s.pair(path)
			if len(s.in) == before {
				s.advance(1)
			}
		}
	default: // number, date, bool
		n := strings.IndexAny(s.in, ",]}#\r\n")
		if n < 0 {
			n = len(s.in)
		}
		s.advance(n)
	}
}

// quoted reads a string that begins and ends with delim and gives it with its
// delimiters.
func (s *lineScanner) quoted(delim string) string {
	escapes, multi := delim[0] == '"', len(delim) == 3
	i := len(delim)
	for i < len(s.in) {
		switch {
		case escapes && s.in[i] == '\\':
			i++ // and the character after it
		case !multi && s.in[i] == '\n':
			return s.advance(i) // not closed
		case strings.HasPrefix(s.in[i:], delim):
			i += len(delim)
			// """a""""" holds two quotes before the closing three.
			for n := 0; multi && n < 2 && i < len(s.in) && s.in[i] == delim[0]; n++ {
				i++
			}
			return s.advance(i)
		}
		i++
	}
	return s.advance(min(i, len(s.in)))
}

// unquoteKey gives the text of a quoted key; the library knows the escapes.
func unquoteKey(q string) string {
	var v struct{ K string }
	if _, err := toml.Decode("K = "+q, &v); err != nil {
		return q
	}
	return v.K
}

// skip passes over the characters of set, and over comments if asked to.
func (s *lineScanner) skip(set string, comments bool) {
	for s.in != "" {
		switch {
		case strings.IndexByte(set, s.in[0]) >= 0:
			s.advance(1)
		case comments && s.in[0] == '#':
			s.restOfLine()
		default:
			return
		}
	}
}

func (s *lineScanner) restOfLine() {
	n := strings.IndexByte(s.in, '\n')
	if n < 0 {
		n = len(s.in) - 1
	}
	s.advance(n + 1)
}

// advance passes n bytes and gives them.
func (s *lineScanner) advance(n int) string {
	passed := s.in[:n]
	s.line += strings.Count(passed, "\n")
	s.in = s.in[n:]
	return passed
}
