package tasks

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Package wants a Debian package installed.
type Package struct {
	Name string
	// Preseed are debconf selections set before, "PKG QUESTION TYPE VALUE".
	Preseed []string
	// Swap, if set, installs the package where its old daemon stands.
	Swap *Swap
}

// ID implements Task.
func (t Package) ID() string { return "package:" + t.Name }

// Reads implements Task.
func (t Package) Reads() []Read {
	r := []Read{{Kind: ReadPackage, Arg: t.Name}}
	if t.Swap != nil {
		r = append(r, t.Swap.Reads()...)
	}
	return r
}

// Record implements Recorder.
func (t Package) Record(*Entry, Facts) Entry { return Entry{Kind: kindPackage} }

// Digest implements Digester.
func (t Package) Digest() string { return digest(t.Name) }

// Check implements Task.
func (t Package) Check(f Facts) (*Change, error) {
	p, err := f.Package(t.Name)
	if err != nil || p.Installed {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Install, Parts: []Part{PartPackages}}
	if p.Candidate != "" {
		c.Attrs = []Attr{{Name: "version", New: []byte(p.Candidate)}}
	}
	if t.Swap != nil {
		if stands, err := t.Swap.Stands(f); err != nil || stands {
			return c, err
		}
	}
	if len(t.Preseed) > 0 {
		c.Do = append(c.Do, Step{Phase: PhasePackages, Shell: fmt.Sprintf("printf '%%s\\n' %s | debconf-set-selections", transport.Quote(strings.Join(t.Preseed, "\n")))})
	}
	// all of a host's packages are installed by one apt-get, at the end of the phase
	c.Do = append(c.Do, Step{Phase: PhasePackages, Shell: "packages=\"$packages \"" + transport.Quote(t.Name)})
	return c, nil
}

// packageBack takes nothing away: a package stays.
func packageBack(Entry, *Entry, *Entry, Rewind) ([]Task, error) { return nil, nil }
