package iptables

import (
	"slices"
	"strconv"
	"strings"
)

// Drop is what drops a packet before a chain of ours is asked.
type Drop struct {
	Chain Chain  // ours
	Rule  string // "-p udp -j DROP"; "" for the policy, where no rule leads to the chain
	Num   int    // the rule's number in Chain.From, from 1
}

// DropsBefore returns the rules that drop or reject before the jump to one of chains, and
// the policies that drop what meets no such jump.
func (s *Save) DropsBefore(chains []Chain) []Drop {
	var out []Drop
	for _, c := range chains {
		t := s.find(c.Table)
		if t == nil || c.From == "" {
			continue
		}
		num, asked := 0, false
		for _, r := range t.rules {
			if r.chain != c.From || asked {
				continue
			}
			num++
			switch to, _ := r.target(); to {
			case c.Name:
				asked = true
			case "DROP", "REJECT", "TARPIT", "STEAL":
				out = append(out, Drop{Chain: c, Rule: r.spec, Num: num})
			}
		}
		if !asked && s.policy(c.Table, c.From) == "DROP" {
			out = append(out, Drop{Chain: c})
		}
	}
	return out
}

// Takes reports whether a packet of a protocol to one of ports may be dropped. A source that
// is named is not looked at: see Narrow.
func (d Drop) Takes(proto string, ports ...int) bool {
	words := ruleWords(d.Rule)
	for i := 0; i+1 < len(words); i++ {
		if i > 0 && words[i-1] == "!" {
			continue // what it excepts says little
		}
		switch words[i] {
		case "--comment":
			i++
		case "-p", "--protocol":
			if words[i+1] != proto && words[i+1] != "all" {
				return false
			}
		case "--dport", "--dports", "--ports":
			if !slices.ContainsFunc(ports, func(p int) bool { return holdsPort(words[i+1], p) }) {
				return false
			}
		}
	}
	return true
}

// holdsPort reports whether "53,400:600" has a port. What is no number may be any.
func holdsPort(list string, port int) bool {
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, ":")
		if !isRange {
			to = from
		}
		a, err := strconv.Atoi(from)
		b, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || a <= port && port <= b {
			return true
		}
	}
	return false
}

// Narrow reports whether the rule is for packets of some sources only.
func (d Drop) Narrow() bool {
	return slices.ContainsFunc(ruleWords(d.Rule), func(w string) bool {
		return w == "-s" || w == "--sport" || w == "--sports" || w == "--src-range" || w == "--match-set"
	})
}
