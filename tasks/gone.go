package tasks

import (
	"bytes"
	"fmt"

	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t Stopped) ID() string { return "unit:" + t.Name }

// Reads implements Task.
func (t Stopped) Reads() []Read { return []Read{{Kind: ReadUnit, Arg: t.Name}} }

// Check implements Task.
func (t Stopped) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Name)
	if err != nil || !u.Loaded {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Update}
	name := transport.Quote(t.Name)
	var undo []Step
	if u.Enabled {
		c.Attrs = append(c.Attrs, Attr{Name: "enabled", Old: []byte("yes"), New: []byte("no")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl --quiet disable " + name})
		undo = append(undo, Step{Phase: PhaseFiles, Shell: "enabled " + name})
	}
	if u.Active == "active" {
		c.Attrs = append(c.Attrs, Attr{Name: "active", Old: []byte("active"), New: []byte("inactive")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl stop " + name})
		undo = append(undo, Step{Phase: PhaseServices, Shell: "systemctl restart " + name})
	}
	if len(c.Do) == 0 {
		return nil, nil
	}
	c.Backs = []string{loadedPath(t.Name)}
	c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.Name))})
	c.Undo = undo
	return c, nil
}

// ID implements Task.
func (t NoLine) ID() string { return "line:" + t.Path }

// Reads implements Task.
func (t NoLine) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Check implements Task.
func (t NoLine) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil || !s.Exists {
		return nil, err
	}
	want, _ := t.Edit(s.Content)
	if bytes.Equal(want, s.Content) {
		return nil, nil
	}
	shell := fmt.Sprintf("no_line %s %s", transport.Quote(t.Path), transport.Quote(t.Line))
	return sharedChange(t.ID(), t.Path, s.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell}), nil
}

// Edit is what the file is to be, given what it is.
func (t NoLine) Edit(old []byte) ([]byte, error) {
	var out []byte
	for l := range bytes.Lines(old) {
		if string(bytes.TrimSuffix(l, []byte("\n"))) != t.Line {
			out = append(out, l...)
		}
	}
	return out, nil
}
