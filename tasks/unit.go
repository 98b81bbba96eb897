package tasks

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t Unit) ID() string { return "unit:" + t.Name }

// Reads implements Task.
func (t Unit) Reads() []Read {
	r := []Read{{Kind: ReadUnit, Arg: t.Name}, {Kind: ReadFile, Arg: loadedPath(t.Name)}}
	for _, p := range sortedKeys(t.Config) {
		r = append(r, Read{Kind: ReadFile, Arg: p})
	}
	return r
}

// Digest implements Digester.
func (t Unit) Digest() string {
	parts := []string{t.Name}
	for _, p := range sortedKeys(t.Config) {
		parts = append(parts, p, t.Config[p])
	}
	return digest(parts...)
}

// Check implements Task.
func (t Unit) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Name)
	if err != nil {
		return nil, err
	}
	stale, err := notLoaded(f, u, t.Config)
	if err != nil {
		return nil, err
	}
	c := &Change{Task: t.ID(), Action: Update}
	if u.State == "masked" || u.State == "masked-runtime" {
		c.Attrs = []Attr{{Name: "enabled", Old: []byte("masked"), New: []byte("yes")}}
		c.Blocked, c.Mend = "somebody has masked it on the host", "systemctl unmask "+t.Name
		return c, nil
	}
	name := transport.Quote(t.Name)
	if !u.Enabled {
		c.Attrs = append(c.Attrs, Attr{Name: "enabled", Old: []byte("no"), New: []byte("yes")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl --quiet enable " + name})
	}
	if u.Active != "active" && !t.BootOnly {
		c.Attrs = append(c.Attrs, Attr{Name: "active", Old: orNone(u.Active), New: []byte("active")})
	}
	switch {
	case len(stale) > 0 && (u.Active == "active" || len(t.Config) > 0):
		// A package that is installed in the same run starts its service with
		// the package's own configuration, so this cannot be a mere start.
		if u.Active == "active" {
			c.Action = Restart
			c.Note = "to read " + strings.Join(stale, ", ")
		}
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "restart_unit " + name + quoteList(sortedKeys(t.Config))})
	case u.Active != "active" && !t.BootOnly:
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "start_unit " + name + quoteList(sortedKeys(t.Config))})
	}
	if len(c.Do) == 0 {
		return nil, nil
	}
	if !t.BootOnly {
		c.Do = append(c.Do, Step{Phase: PhaseVerify, Shell: "is_active " + name})
	}
	c.Undo = t.undo(u, len(stale) > 0)
	return c, nil
}

// undo puts back what a unit was: enabled or not, running or not, and with
// the files that a revert has put back.
func (t Unit) undo(u UnitState, restart bool) []Step {
	name := transport.Quote(u.Name)
	var undo []Step
	if u.Loaded && !u.Enabled {
		undo = append(undo, Step{Phase: PhaseFiles, Shell: "disabled " + name})
	}
	switch {
	case t.BootOnly:
	case u.Loaded && u.Active != "active":
		undo = append(undo, Step{Phase: PhaseServices, Shell: "systemctl stop " + name})
	case restart:
		undo = append(undo, Step{Phase: PhaseServices, Shell: "systemctl restart " + name})
	}
	return undo
}

// notLoaded gives the files that the running service has not read in the
// wanted form. What it has read is noted when we load it, and known without a
// note when the service started after the file was last changed.
func notLoaded(f Facts, u UnitState, want map[string]string) ([]string, error) {
	if len(want) == 0 {
		return nil, nil
	}
	note, err := f.File(loadedPath(u.Name))
	if err != nil {
		return nil, err
	}
	noted := map[string]string{}
	for l := range bytes.Lines(note.Content) {
		// sha256sum(1): digest, two spaces, path
		if sum, p, ok := strings.Cut(strings.TrimRight(string(l), "\n"), "  "); ok {
			noted[p] = sum
		}
	}
	var stale []string
	for _, p := range sortedKeys(want) {
		s, err := f.File(p)
		if err != nil {
			return nil, err
		}
		// tar carries whole seconds
		if s.SHA256() == want[p] && (noted[p] == want[p] || u.Started.After(s.ModTime.Add(time.Second))) {
			continue
		}
		stale = append(stale, p)
	}
	return stale, nil
}

func loadedPath(unit string) string { return loadedDir + "/" + unit }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func quoteList(ss []string) string {
	var b strings.Builder
	for _, s := range ss {
		fmt.Fprintf(&b, " %s", transport.Quote(s))
	}
	return b.String()
}

func orNone(s string) []byte {
	if s == "" {
		return []byte("absent")
	}
	return []byte(s)
}
