package iptables

import (
	"fmt"
	"slices"
	"strings"
)

// Delta is what makes a host's live tables hold chains as they are wanted.
type Delta struct {
	Old, New string // what is ours there, and is to be, for people
	// Do converges, Undo puts back what Do found, both as input of Restore. They
	// are empty when nothing differs.
	Do, Undo string
}

// HiddenError says that a table holds rules that iptables cannot show, so that what
// is in it is not known.
type HiddenError struct{ Table string }

func (e *HiddenError) Error() string {
	return fmt.Sprintf("table %s holds rules that iptables cannot show", e.Table)
}

// Converge compares the live tables with the chains that are wanted. Policies, other
// chains and other rules are neither compared nor touched. The error is a
// *HiddenError.
func Converge(live *Save, chains []Chain) (Delta, error) {
	var do, undo, oldText, newText strings.Builder
	for _, table := range chainTables(live, chains) {
		if slices.Contains(live.hidden, table) {
			return Delta{}, &HiddenError{table}
		}
		want := chainsOf(chains, table)
		have := ownOf(live.find(table))
		have.describe(&oldText, table, want)
		wanted(want).describe(&newText, table, want)
		if have.settled(want) {
			continue
		}
		converge(&do, table, have, want)
		restore(&undo, table, have, want)
	}
	return Delta{Old: oldText.String(), New: newText.String(), Do: do.String(), Undo: undo.String()}, nil
}

// converge writes what makes a table hold what is wanted, for Restore.
func converge(b *strings.Builder, table string, have own, want []Chain) {
	fmt.Fprintf(b, "*%s\n", table)
	declare(b, have, want)
	fill(b, want)
	dropJumps(b, have, want)
	for _, c := range slices.Backward(want) { // so that the first ends up first
		if c.From != "" && !have.jumpedTo(c) {
			fmt.Fprintf(b, "-I %s 1 %s\n", c.From, c.jump())
		}
	}
	for _, c := range without(have.chains, want) {
		fmt.Fprintf(b, "-X %s\n", c.Name)
	}
	b.WriteString("COMMIT\n")
}

// restore writes what puts back, after converge, what the table held of ours.
func restore(b *strings.Builder, table string, have own, want []Chain) {
	fmt.Fprintf(b, "*%s\n", table)
	declare(b, have, want)
	fill(b, have.chains)
	dropJumps(b, have, want)
	for _, j := range have.jumps { // ascending, so that each number is right
		if !have.jumpsTo(want, j.to) {
			fmt.Fprintf(b, "-I %s %d %s\n", j.chain, j.pos, j.spec)
		}
	}
	for _, c := range without(want, have.chains) {
		fmt.Fprintf(b, "-X %s\n", c.Name)
	}
	b.WriteString("COMMIT\n")
}

// declare empties every chain that was or is to be ours, making it where it is
// not there: iptables-restore --noflush does that to a chain it is told of.
func declare(b *strings.Builder, have own, want []Chain) {
	for _, c := range want {
		fmt.Fprintf(b, ":%s - [0:0]\n", c.Name)
	}
	for _, c := range without(have.chains, want) {
		fmt.Fprintf(b, ":%s - [0:0]\n", c.Name)
	}
}

func fill(b *strings.Builder, chains []Chain) {
	for _, c := range chains {
		for _, r := range c.Rules {
			fmt.Fprintf(b, "-A %s %s\n", c.Name, r)
		}
	}
}

// dropJumps writes the removal of every jump that is not as it should be.
func dropJumps(b *strings.Builder, have own, want []Chain) {
	var lines []string
	for _, c := range want {
		if c.From != "" && !have.jumpedTo(c) {
			lines = append(lines, fmt.Sprintf("-D %s %s\n", c.From, c.jump()))
		}
	}
	for _, j := range have.jumps {
		if !have.jumpsTo(want, j.to) {
			lines = append(lines, fmt.Sprintf("-D %s %s\n", j.chain, j.spec))
		}
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(slices.Compact(lines), ""))
}

func (o own) jumpsTo(want []Chain, name string) bool {
	i := slices.IndexFunc(want, func(c Chain) bool { return c.Name == name })
	return i >= 0 && o.jumpedTo(want[i])
}

// without returns those chains that others has not.
func without(chains, others []Chain) []Chain {
	names := map[string]bool{}
	for _, c := range others {
		names[c.Name] = true
	}
	return slices.DeleteFunc(slices.Clone(chains), func(c Chain) bool { return names[c.Name] })
}

// Restore gives its standard input to iptables-restore --noflush, which
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
const Restore = `{ rules=$({ iptables-save && echo '=' && cat; } | awk '` +
	`!told && $0 == "=" { told = 1; next } ` +
	`/^[*]/ { t = $1 } ` +
	`!told { if ($1 == "-A") { n[t, $0]++; len[t, $2]++ } next } ` +
	`$1 == "-D" { r = "-A" substr($0, 3); for (; n[t, r] > 0; n[t, r]--) { print; len[t, $2]-- } next } ` +
	`$1 == "-I" && $3 > ++len[t, $2] { sub(/^-I [^ ]+ [0-9]+/, "-A " $2) } ` +
	`{ print } END { exit !told }') && printf '%s\n' "$rules" | iptables-restore -w 10 --noflush || exit 1; }`
