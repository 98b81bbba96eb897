package tasks

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// ownChain is what the names of our chains begin with. Every chain of this
// name is ours: one that is not wanted is removed, with the jumps to it.
const ownChain = "VPNPUSH-"

// readLiveRules brings the rules of the IPv4 tables as they run.
var readLiveRules = Read{Kind: ReadCommand, Arg: "iptables-save", Shell: "iptables-save"}

// liveRules gives the rules as they run. A host without iptables has none.
func liveRules(f Facts) (*save, error) {
	c, err := f.Command(readLiveRules.Arg)
	if err != nil {
		return nil, err
	}
	if c.Code == 127 { // no such command; it comes with a package that is wanted too
		return &save{}, nil
	}
	out, err := f.Output(readLiveRules.Arg)
	if err != nil {
		return nil, err
	}
	s, err := parseSave(out)
	if err != nil {
		return nil, fmt.Errorf("live firewall: %w: %w", ErrUnknown, err)
	}
	return s, nil
}

// ID implements Task.
func (w Firewall) ID() string { return "firewall:live" }

// Reads implements Task.
func (w Firewall) Reads() []Read { return []Read{readLiveRules} }

// Check implements Task. Policies, other chains and other rules are neither
// compared nor touched.
func (w Firewall) Check(f Facts) (*Change, error) {
	live, err := liveRules(f)
	if err != nil {
		return nil, err
	}
	var do, undo strings.Builder
	var oldText, newText strings.Builder
	for _, table := range chainTables(live, w.Chains) {
		if slices.Contains(live.hidden, table) {
			return nil, transport.WithHint(fmt.Errorf("live firewall: %w: table %s holds rules that iptables cannot show", ErrUnknown, table),
				"move the rules that nft added to table ip %s into a table of another name", table)
		}
		want := chainsOf(w.Chains, table)
		have := ownOf(live.table(table))
		have.describe(&oldText, table, want)
		wanted(want).describe(&newText, table, want)
		if have.settled(want) {
			continue
		}
		converge(&do, table, have, want)
		restore(&undo, table, have, want)
	}
	if do.Len() == 0 {
		return nil, nil
	}
	c := &Change{
		Task:   w.ID(),
		Action: chainAction(oldText.Len() > 0, newText.Len() > 0),
		Attrs:  []Attr{contentAttr(mask.Plain, absentIfEmpty(oldText.String()), absentIfEmpty(newText.String()))},
		Do:     []Step{{Phase: PhaseLive, Shell: restoreOwn, Stdin: secret.New(do.String())}},
		Undo:   []Step{{Phase: PhaseLive, Shell: restoreOwn, Stdin: secret.New(undo.String())}},
	}
	return c, nil
}

func chainAction(had, wants bool) Action {
	switch {
	case !had:
		return Create
	case !wants:
		return Delete
	}
	return Update
}

// absentIfEmpty is an attribute's old or new text.
func absentIfEmpty(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// Digest implements Digester.
func (w Firewall) Digest() string { return digestChains("", w.Chains) }

func digestChains(path string, chains []Chain) string {
	parts := []string{path}
	for _, c := range chains {
		parts = append(parts, fmt.Sprintf("%q", append([]string{c.Table, c.From, c.Name}, c.Rules...)))
	}
	return digest(parts...)
}

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
func ownOf(t *saveTable) own {
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

func isOwn(name string) bool { return strings.HasPrefix(name, ownChain) }

// wanted is what a table holds of ours when all is well.
func wanted(want []Chain) own {
	o := own{chains: want}
	for _, c := range want {
		o.jumps = append(o.jumps, jump{chain: c.From, spec: c.jump(), to: c.Name})
	}
	return o
}

// jump is the rule that leads to the chain.
func (c Chain) jump() string { return "-j " + c.Name }

// settled tells whether all is as wanted: the chains, their rules in order, and
// one jump to each, before any rule that decides.
func (o own) settled(want []Chain) bool {
	if len(o.chains) != len(want) || len(o.jumps) != len(want) {
		return false
	}
	for _, w := range want {
		if !slices.ContainsFunc(o.chains, func(h Chain) bool { return h.Name == w.Name && slices.Equal(h.Rules, w.Rules) }) || !o.led(w) {
			return false
		}
	}
	return true
}

// led tells whether there is one jump to a chain, and in its place.
func (o own) led(w Chain) bool {
	n, well := 0, false
	for _, j := range o.jumps {
		if j.to == w.Name {
			n++
			well = j.chain == w.From && j.spec == w.jump() && j.behind == ""
		}
	}
	return n == 1 && well
}

// describe writes what is ours for people, in the wanted order where there is
// one. A jump that stands in the wrong place says so: its text is the same.
func (o own) describe(b *strings.Builder, table string, want []Chain) {
	if len(o.chains) == 0 && len(o.jumps) == 0 {
		return
	}
	fmt.Fprintf(b, "*%s\n", table)
	chains := slices.Clone(o.chains)
	slices.SortStableFunc(chains, func(x, y Chain) int { return rank(want, x.Name) - rank(want, y.Name) })
	jumps := slices.Clone(o.jumps)
	slices.SortStableFunc(jumps, func(x, y jump) int { return rank(want, x.to) - rank(want, y.to) })
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

func rank(want []Chain, name string) int {
	if i := slices.IndexFunc(want, func(c Chain) bool { return c.Name == name }); i >= 0 {
		return i
	}
	return len(want)
}

// chainTables lists the tables that hold, or are to hold, something of ours.
func chainTables(s *save, want []Chain) []string {
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

// converge writes what makes a table hold what is wanted, for restoreOwn.
func converge(b *strings.Builder, table string, have own, want []Chain) {
	fmt.Fprintf(b, "*%s\n", table)
	declare(b, have, want)
	fill(b, want)
	unlead(b, have, want)
	for _, c := range slices.Backward(want) { // so that the first ends up first
		if !have.led(c) {
			fmt.Fprintf(b, "-I %s 1 %s\n", c.From, c.jump())
		}
	}
	for _, c := range have.chains {
		if !holds(want, c.Name) {
			fmt.Fprintf(b, "-X %s\n", c.Name)
		}
	}
	b.WriteString("COMMIT\n")
}

// restore writes what puts back, after converge, what the table held of ours.
func restore(b *strings.Builder, table string, have own, want []Chain) {
	fmt.Fprintf(b, "*%s\n", table)
	declare(b, have, want)
	fill(b, have.chains)
	unlead(b, have, want)
	for _, j := range have.jumps { // ascending, so that each number is right
		if !have.ledByName(want, j.to) {
			fmt.Fprintf(b, "-I %s %d %s\n", j.chain, j.pos, j.spec)
		}
	}
	for _, c := range want {
		if !holds(have.chains, c.Name) {
			fmt.Fprintf(b, "-X %s\n", c.Name)
		}
	}
	b.WriteString("COMMIT\n")
}

// declare empties every chain that was or is to be ours, making it where it is
// not there: iptables-restore --noflush does that to a chain it is told of.
func declare(b *strings.Builder, have own, want []Chain) {
	for _, c := range want {
		fmt.Fprintf(b, ":%s - [0:0]\n", c.Name)
	}
	for _, c := range have.chains {
		if !holds(want, c.Name) {
			fmt.Fprintf(b, ":%s - [0:0]\n", c.Name)
		}
	}
}

func fill(b *strings.Builder, chains []Chain) {
	for _, c := range chains {
		for _, r := range c.Rules {
			fmt.Fprintf(b, "-A %s %s\n", c.Name, r)
		}
	}
}

// unlead takes every jump away but those that are well.
func unlead(b *strings.Builder, have own, want []Chain) {
	var lines []string
	for _, c := range want {
		if !have.led(c) {
			lines = append(lines, fmt.Sprintf("-D %s %s\n", c.From, c.jump()))
		}
	}
	for _, j := range have.jumps {
		if !have.ledByName(want, j.to) {
			lines = append(lines, fmt.Sprintf("-D %s %s\n", j.chain, j.spec))
		}
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(slices.Compact(lines), ""))
}

func (o own) ledByName(want []Chain, name string) bool {
	i := slices.IndexFunc(want, func(c Chain) bool { return c.Name == name })
	return i >= 0 && o.led(want[i])
}

func holds(chains []Chain, name string) bool {
	return slices.ContainsFunc(chains, func(c Chain) bool { return c.Name == name })
}

// restoreOwn gives its standard input to iptables-restore --noflush, which
// commits a table at once, leaves every chain alone that it is not told of,
// and sets no policy that it is not told of. Two lines mean more there than
// iptables-restore would make of them, so that a second run, or a host that
// has changed since it was read, is no error:
//
//	-D CHAIN RULE     takes away all rules of this text, which may be none
//	-I CHAIN N RULE   appends where the chain is shorter than N
//
// It is one line, since the text follows as a here-document. The restore only
// begins when all of its input is made. The exit is explicit, since `set -e`
// does not see a failure inside of an AND-OR list.
const restoreOwn = `{ rules=$({ iptables-save && echo = && cat; } | awk '` +
	`!told && $0 == "=" { told = 1; next } ` +
	`/^[*]/ { t = $1 } ` +
	`!told { if ($1 == "-A") { n[t, $0]++; len[t, $2]++ } next } ` +
	`$1 == "-D" { r = "-A" substr($0, 3); for (; n[t, r] > 0; n[t, r]--) { print; len[t, $2]-- } next } ` +
	`$1 == "-I" && $3 > ++len[t, $2] { sub(/^-I [^ ]+ [0-9]+/, "-A " $2) } ` +
	`{ print } END { exit !told }') && printf '%s\n' "$rules" | iptables-restore -w 10 --noflush || exit 1; }`
