package roles

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// A group of networks is a tree of chains, each for a prefix. A packet is compared with
// at most fanOut prefixes on each level, so its cost grows with the logarithm of the
// number of networks. A set of ipset(8) would need its package, its kernel modules, and
// to be there at a boot before rules.v4, which otherwise does not load at all.

// fanOut is how many rules a chain of the tree has at most. In all, a packet meets the
// fewest with 4; with 8 there are half as many chains, and it costs the same.
const fanOut = 8

// tree is the chains of a group.
type tree struct {
	table, name string
	leaf        func(netip.Prefix) string // the rule for a network
	side        func(netip.Prefix) rule   // what matches its packets
	root        []string                  // the rules that lead into the tree
	chains      []iptables.Chain
}

// grouped reports whether a rule is for a group of networks.
func (r rule) grouped() bool { return len(r.fromEach) > 0 || len(r.toEach) > 0 }

// sameGroup reports whether both rules are for the same group, and the same side of it.
func (r rule) sameGroup(o rule) bool {
	return slices.Equal(r.fromEach, o.fromEach) && slices.Equal(r.toEach, o.toEach) && r.elsewhere == o.elsewhere
}

// of returns the rule for one network of its group.
func (r rule) of(n netip.Prefix) rule {
	if len(r.toEach) > 0 {
		r.to = n
	} else {
		r.from = n
	}
	r.fromEach, r.toEach = nil, nil
	return r
}

// groupChains returns the tree of rules that are for one group. One rule stands in the
// leaves; of more each leaf leads to the chain that has them.
func groupChains(table, name string, rules []rule) tree {
	first := rules[0]
	nets := slices.Clone(first.toEach)
	if len(nets) == 0 {
		nets = slices.Clone(first.fromEach)
	}
	for i, n := range nets {
		nets[i] = n.Masked()
	}
	slices.SortFunc(nets, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	nets = slices.Compact(nets)
	match := rule{fromEach: first.fromEach, toEach: first.toEach}
	t := tree{table: table, name: name, side: match.of}
	if len(rules) == 1 {
		t.leaf = func(n netip.Prefix) string { return ruleText(first.of(n)) }
	} else {
		match.elsewhere = first.elsewhere
		t.leaf = func(n netip.Prefix) string { return jumpText(match.of(n), name) }
		c := iptables.Chain{Table: table, Name: name}
		for _, r := range rules {
			r.fromEach, r.toEach, r.elsewhere = nil, nil, false
			c.Rules = append(c.Rules, ruleText(r))
		}
		t.chains = append(t.chains, c)
	}
	// While an office gets another network, one may lie in another. A packet must meet
	// both, so that one stays outside of the tree.
	var apart, inside []netip.Prefix
	for _, n := range nets {
		if last := len(inside) - 1; last >= 0 && inside[last].Contains(n.Addr()) {
			apart = append(apart, n)
		} else {
			inside = append(inside, n)
		}
	}
	t.root = t.grow(inside)
	for _, n := range apart {
		t.root = append(t.root, t.leaf(n))
	}
	return t
}

// grow returns the rules of a chain that leads to networks, which are in order, and makes
// the chains below it.
func (t *tree) grow(nets []netip.Prefix) []string {
	pieces := [][]netip.Prefix{nets}
	for len(pieces) < fanOut {
		largest := 0
		for i := range pieces {
			if len(pieces[i]) > len(pieces[largest]) {
				largest = i
			}
		}
		p := pieces[largest]
		if len(p) == 1 || len(p) <= fanOut && len(nets) > fanOut {
			break
		}
		bits := commonPrefix(p).Bits()
		cut := slices.IndexFunc(p, func(n netip.Prefix) bool { return bit(n.Addr(), bits) })
		pieces = slices.Replace(pieces, largest, largest+1, p[:cut], p[cut:])
	}
	var out []string
	for _, p := range pieces {
		if len(p) == 1 {
			out = append(out, t.leaf(p[0]))
			continue
		}
		over := commonPrefix(p)
		c := iptables.Chain{Table: t.table, Name: fmt.Sprintf("%s-%x-%d", t.name, over.Addr().AsSlice(), over.Bits())}
		at := len(t.chains)
		t.chains = append(t.chains, c)
		rules := t.grow(p)
		t.chains[at].Rules = rules
		out = append(out, jumpText(t.side(over), c.Name))
	}
	return out
}

// commonPrefix returns the longest prefix that holds all networks, which are in order.
func commonPrefix(nets []netip.Prefix) netip.Prefix {
	first, last := nets[0], nets[len(nets)-1]
	bits := min(first.Bits(), last.Bits())
	for ; bits > 0; bits-- {
		if p := netip.PrefixFrom(first.Addr(), bits); p.Contains(last.Addr()) {
			break
		}
	}
	return netip.PrefixFrom(first.Addr(), bits).Masked()
}

// bit returns a bit of an address, the first one being 0.
func bit(a netip.Addr, i int) bool { return a.AsSlice()[i/8]&(0x80>>(i%8)) != 0 }
