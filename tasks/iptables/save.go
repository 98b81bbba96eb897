// Package iptables reads what iptables-save(8) prints and iptables-restore(8) reads,
// and says what makes a set of chains of our own stand in it, with everything else
// left byte for byte.
package iptables

import (
	"bytes"
	"fmt"
	"strings"
)

// Save is what iptables-save(8) prints and iptables-restore(8) reads, kept
// line by line, so that a file can be changed without touching the rest.
type Save struct {
	lines  []string // each with its newline
	tables []table
	// hidden are tables that hold what only nft(8) can show. They are not in
	// tables, and nothing is known of them.
	hidden []string
}

// table is one "*name" to COMMIT.
type table struct {
	name   string
	start  int // the line of "*name"
	commit int // the line of COMMIT
	chains []decl
	rules  []rule
}

// decl is a declaration, ":NAME POLICY [packets:bytes]".
type decl struct {
	name   string
	policy string // "-" for a user's chain
	line   int
}

// rule is "-A CHAIN SPEC".
type rule struct {
	chain string
	spec  string
	line  int
}

// Parse reads the output of iptables-save, of either backend, and files of
// iptables-persistent. Comments and blank lines may stand anywhere. A table
// without COMMIT is an error: the text was cut. So is what iptables-restore
// would take but iptables-save never writes (-I, -P, -F): it could change
// what the rules around it mean.
func Parse(b []byte) (*Save, error) {
	s := &Save{}
	var t *table
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return nil, fmt.Errorf("line %d: a NUL byte", bytes.Count(b[:i], []byte("\n"))+1)
	}
	for line := range strings.Lines(string(b)) {
		n := len(s.lines)
		s.lines = append(s.lines, line)
		text := strings.TrimSuffix(line, "\n")
		bad := func(what string) error { return fmt.Errorf("line %d: %s: %.80q", n+1, what, text) }
		switch {
		case strings.HasPrefix(text, "# Table `") && strings.HasSuffix(text, "' is incompatible, use 'nft' tool."):
			name, _, _ := strings.Cut(strings.TrimPrefix(text, "# Table `"), "'")
			s.hidden = append(s.hidden, name)
		case text == "" || text[0] == '#':
		case text[0] == '*':
			name := text[1:]
			switch {
			case t != nil:
				return nil, bad("a table begins before COMMIT")
			case name == "" || strings.ContainsAny(name, " \t"):
				return nil, bad("no table name")
			case s.find(name) != nil:
				return nil, bad("the table comes twice")
			}
			t = &table{name: name, start: n}
		case t == nil:
			return nil, bad("outside of a table")
		case text == "COMMIT":
			t.commit = n
			s.tables = append(s.tables, *t)
			t = nil
		case text[0] == ':':
			f := strings.Fields(text[1:])
			if len(f) < 2 || len(f) > 3 {
				return nil, bad("no chain declaration")
			}
			t.chains = append(t.chains, decl{name: f[0], policy: f[1], line: n})
		default:
			if text[0] == '[' { // counters, of iptables-save -c
				_, text, _ = strings.Cut(text, "] ")
			}
			r, ok := strings.CutPrefix(text, "-A ")
			chain, spec, _ := strings.Cut(r, " ")
			if !ok || chain == "" {
				return nil, bad("not a line that iptables-save writes")
			}
			t.rules = append(t.rules, rule{chain: chain, spec: spec, line: n})
		}
	}
	if t != nil {
		return nil, fmt.Errorf("table %s: the text ends before COMMIT", t.name)
	}
	return s, nil
}

// find returns a table by name; nil when it is not there.
func (s *Save) find(name string) *table {
	for i := range s.tables {
		if s.tables[i].name == name {
			return &s.tables[i]
		}
	}
	return nil
}

// policy returns a built-in chain's policy. A table that nobody has used yet is
// in no save, and its chains accept.
func (s *Save) policy(table, chain string) string {
	if t := s.find(table); t != nil {
		for _, c := range t.chains {
			if c.name == chain && c.policy != "-" {
				return c.policy
			}
		}
	}
	return "ACCEPT"
}

// target returns where a rule sends a packet, and whether by goto.
func (r rule) target() (name string, goesTo bool) {
	words := ruleWords(r.spec)
	for i := 0; i+1 < len(words); i++ {
		switch words[i] {
		case "--comment": // its text can be anything, "-j" too
			i++
		case "-j", "--jump":
			return words[i+1], false
		case "-g", "--goto":
			return words[i+1], true
		}
	}
	return "", false
}

// decides reports whether a rule can end a packet's way through its chain, so
// that what stands behind it may never be asked. A jump into a user's chain
// does not: packets come back from it.
func (r rule) decides() bool {
	name, goesTo := r.target()
	switch name {
	case "ACCEPT", "DROP", "REJECT", "RETURN", "QUEUE", "NFQUEUE", "TARPIT", "STEAL",
		"DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP", "TPROXY", "SYNPROXY":
		return true // iptables-extensions(8)
	}
	return goesTo
}

// ruleWords splits a rule as iptables-restore does: at spaces, with double
// quotes, and backslashes inside of them.
func ruleWords(spec string) []string {
	var words []string
	var word strings.Builder
	in, quoted := false, false
	for i := 0; i < len(spec); i++ {
		c := spec[i]
		switch {
		case quoted && c == '\\' && i+1 < len(spec):
			i++
			word.WriteByte(spec[i])
		case c == '"':
			quoted, in = !quoted, true
		case c == ' ' && !quoted:
			if in {
				words = append(words, word.String())
			}
			word.Reset()
			in = false
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}
