package tasks

import (
	"errors"
	"fmt"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Firewall wants own chains, live: the rules of each, and one jump to each from
// the built-in chain, before any rule there that decides.
type Firewall struct{ Chains []iptables.Chain }

// readLiveRules brings the rules of the IPv4 tables as they run.
var readLiveRules = Read{Kind: ReadCommand, Arg: "iptables-save", Shell: "iptables-save"}

// liveRules returns the rules as they run. A host without iptables has none.
func liveRules(f Facts) (*iptables.Save, error) {
	c, err := f.Command(readLiveRules.Arg)
	if err != nil {
		return nil, err
	}
	if c.Code == 127 { // no such command; it comes with a package that is wanted too
		return &iptables.Save{}, nil
	}
	out, err := f.Output(readLiveRules.Arg)
	if err != nil {
		return nil, err
	}
	s, err := iptables.Parse(out)
	if err != nil {
		return nil, fmt.Errorf("live firewall: %w: %w", ErrUnknown, err)
	}
	return s, nil
}

// DropsBefore returns what drops packets on the host before our chains are asked.
func (t Firewall) DropsBefore(f Facts) ([]iptables.Drop, error) {
	live, err := liveRules(f)
	if err != nil {
		return nil, err
	}
	return live.DropsBefore(t.Chains), nil
}

// ID implements Task.
func (t Firewall) ID() string { return "firewall:live" }

// Reads implements Task.
func (t Firewall) Reads() []Read { return []Read{readLiveRules} }

// Check implements Task. Policies, other chains and other rules are neither
// compared nor touched.
func (t Firewall) Check(f Facts) (*Change, error) {
	live, err := liveRules(f)
	if err != nil {
		return nil, err
	}
	d, err := iptables.Converge(live, t.Chains)
	var hidden *iptables.HiddenError
	if errors.As(err, &hidden) {
		return nil, transport.WithHint(fmt.Errorf("live firewall: %w: %w", ErrUnknown, err),
			"move the rules that nft added to table ip %s into a table of another name", hidden.Table)
	}
	if err != nil || d.Do == "" {
		return nil, err
	}
	c := &Change{
		Task:   t.ID(),
		Action: chainAction(d.Old != "", d.New != ""),
		Attrs:  []Attr{contentAttr(mask.Plain, absentIfEmpty(d.Old), absentIfEmpty(d.New))},
		Do:     []Step{{Phase: PhaseLive, Shell: iptables.Restore, Stdin: secret.New(d.Do)}},
		Undo:   []Step{{Phase: PhaseLive, Shell: iptables.Restore, Stdin: secret.New(d.Undo)}},
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

// Record implements Recorder.
func (t Firewall) Record(*Entry, Facts) Entry {
	if len(t.Chains) == 0 {
		return Entry{} // it wants something gone
	}
	return Entry{Kind: kindFirewall}
}

// Digest implements Digester.
func (t Firewall) Digest() string { return digestChains("", t.Chains) }

func digestChains(path string, chains []iptables.Chain) string {
	parts := []string{path}
	for _, c := range chains {
		parts = append(parts, fmt.Sprintf("%q", append([]string{c.Table, c.From, c.Name}, c.Rules...)))
	}
	return digest(parts...)
}

// ActualDigest implements Actual.
func (t Firewall) ActualDigest(f Facts) (string, error) {
	live, err := liveRules(f)
	if err != nil {
		return "", err
	}
	return digestChains("", live.Own(t.Chains)), nil
}

// firewallOut takes our live chains away.
func firewallOut(Entry, Leaving) ([]Task, error) { return []Task{Firewall{}}, nil }

// firewallBack puts the live chains back that the rules file of then has: an apply
// writes both alike.
func firewallBack(_ Entry, _, was *Entry, r Rewind) ([]Task, error) {
	if was == nil {
		return []Task{Firewall{}}, nil
	}
	for _, e := range r.Was.entries() {
		if e.Kind == kindRules {
			if !r.changed(e.Path) {
				return nil, nil
			}
			chains, err := chainsThen(e.Path, r)
			return []Task{Firewall{Chains: chains}}, err
		}
	}
	return nil, fmt.Errorf("%w: the manifest of then has live chains and no file of them", ErrUnknown)
}
