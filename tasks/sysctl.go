package tasks

import (
	"fmt"

	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t Sysctl) ID() string { return "sysctl:" + t.Key }

// Reads implements Task.
func (t Sysctl) Reads() []Read { return []Read{{Kind: ReadSysctl, Arg: t.Key}} }

// Digest implements Digester.
func (t Sysctl) Digest() string { return digest(t.Key, t.Value) }

// Check implements Task.
func (t Sysctl) Check(f Facts) (*Change, error) {
	s, err := f.Sysctl(t.Key)
	if err != nil {
		return nil, err
	}
	if !s.Exists {
		return nil, fmt.Errorf("sysctl %s: this kernel has no such parameter", t.Key)
	}
	if s.Value == t.Value {
		return nil, nil
	}
	set := func(v string) []Step {
		return []Step{{Phase: PhaseLive, Shell: fmt.Sprintf("printf '%%s\\n' %s >%s", transport.Quote(v), transport.Quote(sysctlPath(t.Key)))}}
	}
	return &Change{
		Task: t.ID(), Action: Update,
		Attrs: []Attr{{Name: "value", Old: []byte(s.Value), New: []byte(t.Value)}},
		Do:    set(t.Value), Undo: set(s.Value),
	}, nil
}
