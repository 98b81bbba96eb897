package tasks

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Sysctl wants a live kernel parameter; the file for the next boot is a File.
type Sysctl struct{ Key, Value string }

// ID implements Task.
func (t Sysctl) ID() string { return "sysctl:" + t.Key }

// Reads implements Task.
func (t Sysctl) Reads() []Read {
	reads := []Read{{Kind: ReadSysctl, Arg: t.Key}}
	if t.Key == ipForward {
		reads = append(reads, Read{Kind: ReadSysctl, Arg: acceptRedirects})
	}
	return reads
}

// The kernel sets the second whenever the first changes: to 0 for a router, and
// to 1 for a host (inet_forward_change in net/ipv4/devinet.c).
const (
	ipForward       = "net.ipv4.ip_forward"
	acceptRedirects = "net.ipv4.conf.all.accept_redirects"
)

// Record implements Recorder.
func (t Sysctl) Record(*Entry, Facts) Entry {
	return Entry{Kind: kindSysctl, Key: t.Key, Value: t.Value}
}

// Digest implements Digester.
func (t Sysctl) Digest() string { return digest(t.Key, t.Value) }

// Check implements Task.
func (t Sysctl) Check(f Facts) (*Change, error) {
	s, err := f.Sysctl(t.Key)
	if err != nil {
		return nil, err
	}
	if !s.Exists {
		return nil, transport.WithHint(fmt.Errorf("sysctl %s: this kernel has no such parameter", t.Key), "boot one of Debian's kernels, or, in a container, let the machine around it have it")
	}
	if s.Value == t.Value {
		return nil, nil
	}
	if s.Value == "" {
		return t.unseen(), nil
	}
	c := &Change{
		Task: t.ID(), Action: Update,
		Attrs: []Attr{{Name: "value", Old: []byte(s.Value), New: []byte(t.Value)}},
		Do:    []Step{setSysctl(t.Key, t.Value)}, Undo: []Step{setSysctl(t.Key, s.Value)},
	}
	if t.Key == ipForward {
		along, err := f.Sysctl(acceptRedirects)
		if err != nil {
			return nil, err
		}
		if along.Exists {
			c.Undo = append(c.Undo, setSysctl(acceptRedirects, along.Value))
		}
	}
	return c, nil
}

// unseen returns the change of a parameter of which nobody has seen what it is: the host
// itself keeps that for the way back.
func (t Sysctl) unseen() *Change {
	c := &Change{
		Task: t.ID(), Action: Update, Parts: []Part{PartBare},
		Attrs: []Attr{{Name: "value", New: []byte(t.Value)}},
	}
	keep := ""
	for _, r := range t.Reads() {
		path := transport.Quote(SysctlPath(r.Arg))
		keep += " " + path
		c.Undo = append(c.Undo, Step{Phase: PhaseLive, Shell: "live_back " + path})
	}
	c.Do = []Step{{Phase: PhaseLive, Shell: "keep_live" + keep}, setSysctl(t.Key, t.Value)}
	return c
}

func setSysctl(key, value string) Step {
	return Step{Phase: PhaseLive, Shell: fmt.Sprintf("printf '%%s\n' %s >%s", transport.Quote(value), transport.Quote(SysctlPath(key)))}
}

// SysctlPath returns the file below /proc/sys of a kernel parameter.
func SysctlPath(key string) string {
	// sysctl.d(5): "." and "/" change places, so that an interface eth0.5 can be named
	return "/proc/sys/" + strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, key)
}

// ActualDigest implements Actual.
func (t Sysctl) ActualDigest(f Facts) (string, error) {
	s, err := f.Sysctl(t.Key)
	return Sysctl{Key: t.Key, Value: s.Value}.Digest(), err
}

// sysctlBack sets the live parameter to what was wanted then. What it was before
// anything was wanted nobody knows: it stays until the next boot.
func sysctlBack(e Entry, _, was *Entry, _ Rewind) ([]Task, error) {
	if was == nil || was.Value == "" {
		return nil, nil
	}
	return []Task{Sysctl{Key: e.Key, Value: was.Value}}, nil
}
