package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// ownTable is the line before a table that vpnpush added to rules.v4, and that
// goes again with the last of our chains in it.
const ownTable = "# Added by vpnpush, and removed with the last VPNPUSH- chain in it\n"

// Settled reports whether s, a file's text, holds the chains as they are wanted and no
// other chain of ours. It looks at what the text means, not at where in it our lines
// stand: netfilter-persistent save writes them in another order.
func (s *Save) Settled(chains []Chain) bool {
	for _, table := range chainTables(s, chains) {
		if !ownOf(s.find(table)).settled(chainsOf(chains, table)) {
			return false
		}
	}
	return true
}

// WithChains returns a rules file with our chains as wanted and the rest byte
// for byte. New tables begin with the live policies, so that a boot changes
// none. An empty text means that nothing is left.
func WithChains(text string, live *Save, chains []Chain) (string, error) {
	bare, err := withoutChains(text)
	if err != nil || len(chains) == 0 {
		return bare, err
	}
	if bare != "" && !strings.HasSuffix(bare, "\n") {
		bare += "\n"
	}
	s, err := Parse([]byte(bare))
	if err != nil {
		return "", err
	}
	before := map[int]string{} // what goes in front of a line
	var added strings.Builder
	for _, table := range chainTables(&Save{}, chains) {
		want := chainsOf(chains, table)
		var decls, jumps, rules strings.Builder
		for _, c := range want {
			fmt.Fprintf(&decls, ":%s - [0:0]\n", c.Name)
			if c.From != "" {
				fmt.Fprintf(&jumps, "-A %s %s\n", c.From, c.jump())
			}
		}
		fill(&rules, want)
		t := s.find(table)
		if t == nil {
			fmt.Fprintf(&added, "%s*%s\n", ownTable, table)
			for _, c := range builtIn[table] {
				fmt.Fprintf(&added, ":%s %s [0:0]\n", c, live.policy(table, c))
			}
			added.WriteString(decls.String() + jumps.String() + rules.String() + "COMMIT\n")
			continue
		}
		first, decl := t.commit, t.start+1
		if len(t.rules) > 0 {
			first = t.rules[0].line
		}
		if n := len(t.chains); n > 0 {
			decl = t.chains[n-1].line + 1
		}
		before[min(decl, first)] += decls.String()
		before[first] += jumps.String()
		before[t.commit] += rules.String()
	}
	var out strings.Builder
	for i, line := range s.lines {
		out.WriteString(before[i])
		out.WriteString(line)
	}
	return out.String() + added.String(), nil
}

// builtIn are the chains that the kernel has in each table, as iptables-save
// orders them.
var builtIn = map[string][]string{
	"filter":   {"INPUT", "FORWARD", "OUTPUT"},
	"nat":      {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"mangle":   {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"raw":      {"PREROUTING", "OUTPUT"},
	"security": {"INPUT", "FORWARD", "OUTPUT"},
}

// withoutChains takes our chains, their rules and the jumps to them out of a
// rules file, and with them the tables that we added, if they hold nothing
// else by now.
func withoutChains(text string) (string, error) {
	s, err := Parse([]byte(text))
	if err != nil {
		return "", err
	}
	gone := map[int]bool{}
	for _, t := range s.tables {
		others := false
		for _, c := range t.chains {
			if isOwn(c.name) {
				gone[c.line] = true
			} else if !slices.Contains(builtIn[t.name], c.name) {
				others = true
			}
		}
		for _, r := range t.rules {
			if to, _ := r.target(); isOwn(r.chain) || isOwn(to) {
				gone[r.line] = true
			} else {
				others = true
			}
		}
		if t.start == 0 || s.lines[t.start-1] != ownTable {
			continue
		}
		// kept, it is the user's table now
		gone[t.start-1] = true
		for i := t.start; i <= t.commit && !others; i++ {
			gone[i] = true
		}
	}
	var out strings.Builder
	for i, line := range s.lines {
		if !gone[i] {
			out.WriteString(line)
		}
	}
	return out.String(), nil
}
