package mask

import "strings"

// Setting is a line of swanctl.conf(5) below "connections".
type Setting struct {
	Path  []string // of sections, that of the connection first, and the key
	Value string
	Line  int // from 1
}

// Connections returns what a file of swanctl's says of connections, in its order, with an
// entry without a value where a section begins. What a section takes over from others
// (": NAME") is not followed.
func Connections(text []byte) []Setting {
	l := swanctlLexer{text: string(text), line: 1}
	var out []Setting
	var open []string
	name, line, inherits := "", 0, false
	for {
		switch t := l.next(); t.kind {
		case tokenEnd:
			return out
		case tokenName:
			if name == "" || !inherits {
				name, line = t.text, t.line
			}
		case tokenRefers:
			inherits = true
		case tokenOpen:
			open = append(open, name)
			if len(open) > 1 && open[0] == "connections" {
				out = append(out, Setting{Path: append([]string(nil), open[1:]...), Line: line})
			}
			name, inherits = "", false
		case tokenValue:
			if len(open) > 1 && open[0] == "connections" {
				out = append(out, Setting{Path: append(append([]string(nil), open[1:]...), name), Value: strings.TrimSpace(t.text), Line: line})
			}
			name, inherits = "", false
		case tokenClose:
			name, inherits = "", false
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
	}
}
