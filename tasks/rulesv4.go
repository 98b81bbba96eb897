package tasks

import (
	"archive/tar"
	"fmt"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t RulesV4) ID() string { return "file:" + t.Path }

// Reads implements Task.
func (t RulesV4) Reads() []Read {
	return []Read{{Kind: ReadFile, Arg: t.Path}, readLiveRules}
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
		Task:   t.ID(),
		Action: Update,
		Attrs:  []Attr{contentAttr(mask.Plain, absentIfEmpty(string(file.Content)), absentIfEmpty(content))},
		Pre:    []Precondition{{Path: t.Path, SHA256: file.SHA256()}},
		Backs:  []string{t.Path},
	}
	if content == "" {
		c.Action = Delete
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
