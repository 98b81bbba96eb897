package tasks

import (
	"archive/tar"
	"fmt"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// RulesV4 wants the same chains in iptables-persistent's file, and keeps
// everything else in it byte for byte.
type RulesV4 struct {
	Path   string // /etc/iptables/rules.v4
	Chains []iptables.Chain
	// Empty keeps the file when nothing is left in it: it was there, and empty, before
	// vpnpush came.
	Empty bool
}

// ID implements Task.
func (t RulesV4) ID() string { return "file:" + t.Path }

// Reads implements Task.
func (t RulesV4) Reads() []Read {
	return []Read{{Kind: ReadFile, Arg: t.Path}, readLiveRules}
}

// Record implements Recorder.
func (t RulesV4) Record(had *Entry, f Facts) Entry {
	if len(t.Chains) == 0 {
		return Entry{} // it wants something gone
	}
	e := Entry{Kind: kindRules, Path: t.Path}
	if had != nil {
		e.Was = had.Was
	} else if s, err := f.File(t.Path); err == nil && s.Exists {
		e.Was = &Before{Exists: true}
	}
	return e
}

// Digest implements Digester.
func (t RulesV4) Digest() string { return digestChains(t.Path, t.Chains) }

// Check implements Task.
func (t RulesV4) Check(f Facts) (*Change, error) {
	file, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	if file.Exists && file.Type != 0 && file.Type != tar.TypeReg {
		return nil, fmt.Errorf("file %s: %w: it is not a regular file", t.Path, ErrUnknown)
	}
	old, err := iptables.Parse(file.Content)
	if err != nil {
		return nil, transport.WithHint(fmt.Errorf("file %s: %w: %w", t.Path, ErrUnknown, err),
			"mend %s by hand, until iptables-restore --test %s is content", t.Path, t.Path)
	}
	if old.Settled(t.Chains) {
		return nil, nil
	}
	// Without iptables, or where it cannot answer, the policies that a new
	// table should carry on are not known.
	live, err := liveRules(f)
	if err != nil {
		return nil, err
	}
	content, err := iptables.WithChains(string(file.Content), live, t.Chains)
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", t.Path, err)
	}
	c := &Change{
		Task:    t.ID(),
		Action:  Update,
		Attrs:   []Attr{contentAttr(mask.Plain, absentIfEmpty(string(file.Content)), absentIfEmpty(content))},
		Pre:     []Precondition{{Path: t.Path, SHA256: file.SHA256()}},
		Backups: []string{t.Path},
	}
	if len(t.Chains) == 0 {
		c.Action = Delete // of our part
	}
	switch {
	case content == "" && t.Empty && len(file.Content) > 0:
		c.Do = []Step{{Phase: PhaseFiles, Shell: fmt.Sprintf("put %s %s %s </dev/null", transport.Quote(t.Path), mode(file.Mode.Perm()), transport.Quote(file.Owner))}}
		return c, nil
	case content == "":
		c.Do = []Step{{Phase: PhaseFiles, Shell: "rm -f -- " + transport.Quote(t.Path)}}
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
		{Phase: PhaseFiles, Shell: testRules(t.Path), Stdin: text},
		{Phase: PhaseFiles, Shell: fmt.Sprintf("put %s %s %s", transport.Quote(t.Path), mode(m), transport.Quote(owner)), Stdin: text},
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

// ActualDigest implements Actual.
func (t RulesV4) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	file, err := iptables.Parse(s.Content)
	if err != nil {
		return "", err
	}
	return digestChains(t.Path, file.Own(t.Chains)), nil
}

// rulesOut takes our chains out of the file.
func rulesOut(e Entry, _ Leaving) ([]Task, error) {
	return []Task{RulesV4{Path: e.Path, Empty: e.Was != nil && e.Was.Exists}}, nil
}

// rulesBack puts our chains of then back into the file.
func rulesBack(e Entry, _, _ *Entry, r Rewind) ([]Task, error) {
	if !r.changed(e.Path) {
		return nil, nil
	}
	chains, err := chainsThen(e.Path, r)
	return []Task{RulesV4{Path: e.Path, Chains: chains}}, err
}

// chainsThen returns our chains in a rules file as it was.
func chainsThen(path string, r Rewind) ([]iptables.Chain, error) {
	s, err := r.Then(path)
	if err != nil {
		return nil, err
	}
	save, err := iptables.Parse(s.Content)
	if err != nil {
		return nil, fmt.Errorf("the backup of %s: %w: %w", path, ErrUnknown, err)
	}
	return save.Linked(), nil
}
