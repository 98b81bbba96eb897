package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// Chain is one own chain. Rules are written as iptables-save prints them,
// without the "-A NAME " in front: a set of rules is compared as text. The
// forms in tasks/testdata/iptables/canonical.txt are known to be printed like that.
type Chain struct {
	Table string   // "filter", "nat", "mangle"
	From  string   // the built-in chain that jumps to it: "INPUT"; "" where only own chains do
	Name  string   // "VPNPUSH-IN"; begins so, and has at most 28 bytes
	Rules []string // "-p udp -m udp --dport 500 -j ACCEPT"
}

// Prefix is what the names of our chains begin with. Every chain of this
// name is ours: one that is not wanted is removed, with the jumps to it.
const Prefix = "VPNPUSH-"

// own is what one table holds of ours.
type own struct {
	chains []Chain // in the order of the text; From is not set
	jumps  []jump  // rules of other chains that go to one of ours
}

// jump is a rule that goes to an own chain.
type jump struct {
	chain, spec string // "INPUT", "-j VPNPUSH-IN"
	to          string // the own chain
	pos         int    // its number in chain, from 1
	behind      string // the first rule before it that decides; "" for none
}

// ownOf picks what is ours out of a table, which may be nil.
func ownOf(t *table) own {
	var o own
	if t == nil {
		return o
	}
	index := map[string]int{}
	chain := func(name string) int {
		i, ok := index[name]
		if !ok {
			i = len(o.chains)
			index[name] = i
			o.chains = append(o.chains, Chain{Table: t.name, Name: name})
		}
		return i
	}
	for _, c := range t.chains {
		if isOwn(c.name) {
			chain(c.name)
		}
	}
	pos, behind := map[string]int{}, map[string]string{}
	for _, r := range t.rules {
		if isOwn(r.chain) {
			c := &o.chains[chain(r.chain)]
			c.Rules = append(c.Rules, r.spec)
			continue
		}
		pos[r.chain]++
		if to, _ := r.target(); isOwn(to) {
			o.jumps = append(o.jumps, jump{r.chain, r.spec, to, pos[r.chain], behind[r.chain]})
		} else if behind[r.chain] == "" && r.decides() {
			behind[r.chain] = r.spec
		}
	}
	return o
}

func isOwn(name string) bool { return strings.HasPrefix(name, Prefix) }

// wanted is what a table holds of ours when all is well.
func wanted(want []Chain) own {
	o := own{chains: want}
	for _, c := range want {
		if c.From != "" {
			o.jumps = append(o.jumps, jump{chain: c.From, spec: c.jump(), to: c.Name})
		}
	}
	return o
}

// jump is the rule that leads to the chain.
func (c Chain) jump() string { return "-j " + c.Name }

// settled reports whether all is as wanted: the chains, their rules in order, and
// one jump to each that a built-in chain is to lead to, before any rule that decides.
func (o own) settled(want []Chain) bool {
	if len(o.chains) != len(want) || len(o.jumps) != len(wanted(want).jumps) {
		return false
	}
	have := map[string][]string{}
	for _, h := range o.chains {
		have[h.Name] = h.Rules
	}
	for _, w := range want {
		if rules, ok := have[w.Name]; !ok || !slices.Equal(rules, w.Rules) || !o.jumpedTo(w) {
			return false
		}
	}
	return true
}

// jumpedTo reports whether what leads to the chain w from outside of our chains is exactly
// one jump, and in its place, or nothing where nothing is to.
func (o own) jumpedTo(w Chain) bool {
	n, well := 0, false
	for _, j := range o.jumps {
		if j.to == w.Name {
			n++
			well = j.chain == w.From && j.spec == w.jump() && j.behind == ""
		}
	}
	return w.From == "" && n == 0 || n == 1 && well
}

// describe writes what is ours for people, in the wanted order where there is
// one. A jump that stands in the wrong place says so: its text is the same.
func (o own) describe(b *strings.Builder, table string, want []Chain) {
	if len(o.chains) == 0 && len(o.jumps) == 0 {
		return
	}
	fmt.Fprintf(b, "*%s\n", table)
	place := places(want)
	chains := slices.Clone(o.chains)
	slices.SortStableFunc(chains, func(x, y Chain) int { return place(table, x.Name) - place(table, y.Name) })
	jumps := slices.Clone(o.jumps)
	slices.SortStableFunc(jumps, func(x, y jump) int { return place(table, x.to) - place(table, y.to) })
	for _, c := range chains {
		fmt.Fprintf(b, ":%s\n", c.Name)
	}
	for _, j := range jumps {
		fmt.Fprintf(b, "-A %s %s", j.chain, j.spec)
		if j.behind != "" {
			fmt.Fprintf(b, "   # rule %d, behind: %s", j.pos, j.behind)
		}
		b.WriteByte('\n')
	}
	for _, c := range chains {
		for _, r := range c.Rules {
			fmt.Fprintf(b, "-A %s %s\n", c.Name, r)
		}
	}
}

// places returns the place of a table's chain in an order; others come after all.
func places(order []Chain) func(table, name string) int {
	at := make(map[[2]string]int, len(order))
	for i, c := range order {
		at[[2]string{c.Table, c.Name}] = i
	}
	return func(table, name string) int {
		if i, ok := at[[2]string{table, name}]; ok {
			return i
		}
		return len(order)
	}
}

// chainTables lists the tables that hold, or are to hold, something of ours.
func chainTables(s *Save, want []Chain) []string {
	var names []string
	for _, c := range want {
		names = append(names, c.Table)
	}
	for i := range s.tables {
		if o := ownOf(&s.tables[i]); len(o.chains)+len(o.jumps) > 0 {
			names = append(names, s.tables[i].name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func chainsOf(chains []Chain, table string) []Chain {
	var out []Chain
	for _, c := range chains {
		if c.Table == table {
			out = append(out, c)
		}
	}
	return out
}

// Own returns the own chains that rules hold, in the order of like, so that
// their digest can be compared. From is set where the jump stands as it should.
func (s *Save) Own(like []Chain) []Chain {
	var out []Chain
	for _, table := range chainTables(s, nil) {
		o := ownOf(s.find(table))
		for _, c := range o.chains {
			for _, j := range o.jumps {
				jumped := Chain{Name: c.Name, From: j.chain}
				if j.to == c.Name && o.jumpedTo(jumped) {
					c.From = j.chain
				}
			}
			out = append(out, c)
		}
	}
	place := places(like)
	slices.SortStableFunc(out, func(a, b Chain) int { return place(a.Table, a.Name) - place(b.Table, b.Name) })
	return out
}

// Linked returns the own chains of s that a built-in chain jumps to, with the first
// such jump as their From, and those that they lead to: what to want so that s comes
// back.
func (s *Save) Linked() []Chain {
	var out []Chain
	for i := range s.tables {
		o := ownOf(&s.tables[i])
		from := map[string]string{}
		var asked []string
		for _, j := range slices.Backward(o.jumps) {
			from[j.to] = j.chain
			asked = append(asked, j.to)
		}
		rules := map[string][]string{}
		for _, c := range o.chains {
			rules[c.Name] = c.Rules
		}
		linked := map[string]bool{}
		for len(asked) > 0 {
			name := asked[len(asked)-1]
			asked = asked[:len(asked)-1]
			if linked[name] {
				continue
			}
			linked[name] = true
			for _, spec := range rules[name] {
				if to, _ := (rule{spec: spec}).target(); isOwn(to) {
					asked = append(asked, to)
				}
			}
		}
		for _, c := range o.chains {
			if linked[c.Name] {
				c.From = from[c.Name]
				out = append(out, c)
			}
		}
	}
	return out
}
