package tasks

import "github.com/vpnpush/vpnpush/transport"

// Stopped wants a service of ours that nothing wants any more stopped, and not
// started at boot.
type Stopped struct {
	Name string
	// Enabled and Active leave that much of it as it is.
	Enabled, Active bool
}

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
	c := &Change{Task: t.ID(), Action: Delete}
	if t.Enabled || t.Active { // it is left as it was before us
		c.Action = Update
	}
	name := transport.Quote(t.Name)
	var undo []Step
	if u.Enabled && !t.Enabled {
		c.Attrs = append(c.Attrs, Attr{Name: "enabled", Old: []byte("yes"), New: []byte("no")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl --quiet disable " + name})
		undo = append(undo, Step{Phase: PhaseFiles, Shell: "enabled " + name})
	}
	if u.Active == "active" && !t.Active {
		c.Attrs = append(c.Attrs, Attr{Name: "active", Old: []byte("active"), New: []byte("inactive")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl stop " + name})
		undo = append(undo, Step{Phase: PhaseServices, Shell: "systemctl restart " + name})
	}
	if len(c.Do) == 0 {
		return nil, nil
	}
	c.Backups = []string{loadedPath(t.Name)}
	c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.Name))})
	c.Undo = undo
	return c, nil
}
