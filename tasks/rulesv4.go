package tasks

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// ownTable is the line before a table that vpnpush added to rules.v4, and that
// goes again with the last of our chains in it.
const ownTable = "# Added by vpnpush, and removed with the last VPNPUSH- chain in it\n"

// ID implements Task.
func (w RulesV4) ID() string { return "file:" + w.Path }

// Reads implements Task.
func (w RulesV4) Reads() []Read {
	return []Read{{Kind: ReadFile, Arg: w.Path}, readLiveRules}
}

// Digest implements Digester.
func (w RulesV4) Digest() string { return digestChains(w.Path, w.Chains) }

// Check implements Task. It looks at what the file means, not at where in it
// our lines stand: netfilter-persistent save writes them in another order.
func (w RulesV4) Check(f Facts) (*Change, error) {
	file, err := f.File(w.Path)
	if err != nil {
		return nil, err
	}
	if file.Exists && file.Type != 0 && file.Type != tar.TypeReg {
		return nil, fmt.Errorf("file %s: %w: it is not a regular file", w.Path, ErrUnknown)
	}
	old, err := parseSave(file.Content)
	if err != nil {
		return nil, transport.WithHint(fmt.Errorf("file %s: %w: %w", w.Path, ErrUnknown, err),
			"mend %s by hand, until iptables-restore --test %s is content", w.Path, w.Path)
	}
	settled := true
	for _, table := range chainTables(old, w.Chains) {
		settled = settled && ownOf(old.table(table)).settled(chainsOf(w.Chains, table))
	}
	if settled {
		return nil, nil
	}
	// Without iptables, or where it cannot answer, the policies that a new
	// table should carry on are not known.
	live, err := liveRules(f)
	if err != nil {
		return nil, err
	}
	content, err := withChains(string(file.Content), live, w.Chains)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", w.Path, err)
	}
	c := &Change{
		Task:   w.ID(),
		Action: Update,
		Attrs:  []Attr{contentAttr(mask.Plain, absentIfEmpty(string(file.Content)), absentIfEmpty(content))},
		Pre:    []Precondition{{Path: w.Path, SHA256: file.SHA256()}},
		Backs:  []string{w.Path},
	}
	if content == "" {
		c.Action = Delete
		c.Do = []Step{{Phase: PhaseFiles, Shell: "rm -f -- " + transport.Quote(w.Path)}}
		return c, nil
	}
	m, owner := file.Mode.Perm(), file.Owner
	if !file.Exists {
		c.Action = Create
		m = 0o640 // as iptables-persistent has it
	}
	if owner == "" {
		owner = "root:root"
	}
	text := secret.New(content)
	c.Do = []Step{
		{Phase: PhaseFiles, Shell: testRules(w.Path), Stdin: text},
		{Phase: PhaseFiles, Shell: fmt.Sprintf("put %s %s %s", transport.Quote(w.Path), mode(m), transport.Quote(owner)), Stdin: text},
	}
	return c, nil
}

// testRules tests its standard input as netfilter-persistent will at the next
// boot, which says "NOT loaded" of a bad file and still exits with 0. A kernel
// may lack a module that the rest of the file asks for; so where the file that
// stands there does not pass either, the test cannot blame ours.
func testRules(path string) string {
	p := transport.Quote(path)
	return fmt.Sprintf("{ iptables-restore -w 10 --test || { [ -e %[1]s ] && ! iptables-restore -w 10 --test <%[1]s; } || exit 1; }", p)
}

// withChains gives a rules file with our chains as wanted and the rest byte
// for byte. New tables begin with the live policies, so that a boot changes
// none. An empty text means that nothing is left.
func withChains(text string, live *save, chains []Chain) (string, error) {
	bare, err := withoutChains(text)
	if err != nil || len(chains) == 0 {
		return bare, err
	}
	if bare != "" && !strings.HasSuffix(bare, "\n") {
		bare += "\n"
	}
	s, err := parseSave([]byte(bare))
	if err != nil {
		return "", err
	}
	before := map[int]string{} // what goes in front of a line
	var added strings.Builder
	for _, table := range chainTables(&save{}, chains) {
		want := chainsOf(chains, table)
		var decls, jumps, rules strings.Builder
		for _, c := range want {
			fmt.Fprintf(&decls, ":%s - [0:0]\n", c.Name)
			fmt.Fprintf(&jumps, "-A %s %s\n", c.From, c.jump())
		}
		fill(&rules, want)
		t := s.table(table)
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
	s, err := parseSave([]byte(text))
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
