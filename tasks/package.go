package tasks

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t Package) ID() string { return "package:" + t.Name }

// Reads implements Task.
func (t Package) Reads() []Read { return []Read{{Kind: ReadPackage, Arg: t.Name}} }

// Digest implements Digester.
func (t Package) Digest() string { return digest(t.Name) }

// Check implements Task.
func (t Package) Check(f Facts) (*Change, error) {
	p, err := f.Package(t.Name)
	if err != nil || p.Installed {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Install}
	if p.Candidate != "" {
		c.Attrs = []Attr{{Name: "version", New: []byte(p.Candidate)}}
	}
	if len(t.Preseed) > 0 {
		c.Do = append(c.Do, Step{Phase: PhasePackages, Shell: fmt.Sprintf("printf '%%s\\n' %s | debconf-set-selections", quoteAlways(strings.Join(t.Preseed, "\n")))})
	}
	// all of a host's packages are installed by one apt-get, at the end of the phase
	c.Do = append(c.Do, Step{Phase: PhasePackages, Shell: "packages=\"$packages \"" + transport.Quote(t.Name)})
	return c, nil
}
