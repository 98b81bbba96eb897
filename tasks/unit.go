package tasks

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/transport"
)

// Unit wants a service enabled and running.
type Unit struct {
	Name string // "xl2tpd.service"
	// Config are files that the service reads only when it starts, with the
	// digest they are to have. A service started before the last of them was
	// loaded is restarted.
	Config map[string]string
	// BootOnly wants it enabled for the next boot and never starts it now:
	// netfilter-persistent flushes the live tables when it starts.
	BootOnly bool
	// Shared says that others may use the service by now: it goes on running when
	// nothing here wants it any more, as it would have without vpnpush.
	Shared bool
	// AsBefore is set when nothing here wants it any more: it stands as it did before
	// vpnpush came, and is not recorded.
	AsBefore *Before
	// Start is the function of Part that starts it; "" is start_unit.
	Start string
	Part  Part
}

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

// Loads returns the files that the service must have read, with their digests.
func (t Unit) Loads() map[string]string { return t.Config }

// Record implements Recorder.
func (t Unit) Record(had *Entry, f Facts) Entry {
	if t.AsBefore != nil {
		return Entry{}
	}
	e := Entry{Kind: kindUnit, Unit: t.Name, Config: sortedKeys(t.Config), BootOnly: t.BootOnly, Shared: t.Shared}
	if had != nil {
		e.Was = had.Was
	} else if u, err := f.Unit(t.Name); err == nil {
		e.Was = &Before{Exists: u.Loaded, Enabled: u.Enabled, Active: u.Active == "active"}
	}
	return e
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
	c := &Change{Task: t.ID(), Action: Update, Parts: t.parts()}
	if u.State == "masked" || u.State == "masked-runtime" {
		c.Attrs = []Attr{{Name: "enabled", Old: []byte("masked"), New: []byte("yes")}}
		c.Blocked, c.Mend = "somebody has masked it on the host", "systemctl unmask "+t.Name
		return c, nil
	}
	name := transport.Quote(t.Name)
	switch enabled := t.AsBefore == nil || t.AsBefore.Enabled; {
	case enabled && !u.Enabled:
		c.Attrs = append(c.Attrs, Attr{Name: "enabled", Old: []byte("no"), New: []byte("yes")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl --quiet enable " + name})
	case !enabled && u.Enabled:
		c.Attrs = append(c.Attrs, Attr{Name: "enabled", Old: []byte("yes"), New: []byte("no")})
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: "systemctl --quiet disable " + name})
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
		c.Do = append(c.Do, Step{Phase: PhaseServices, Shell: cmp.Or(t.Start, "start_unit") + " " + name + quoteList(sortedKeys(t.Config))})
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

func (t Unit) parts() []Part {
	if t.Start == "" {
		return []Part{PartUnits}
	}
	return []Part{PartUnits, t.Part}
}

// undo puts back what a unit was: enabled or not, running or not, and with
// the files that a revert has put back.
func (t Unit) undo(u UnitState, restart bool) []Step {
	name := transport.Quote(u.Name)
	var undo []Step
	switch {
	case u.Loaded && !u.Enabled:
		undo = append(undo, Step{Phase: PhaseFiles, Shell: "disabled " + name})
	case t.AsBefore != nil && !t.AsBefore.Enabled:
		undo = append(undo, Step{Phase: PhaseFiles, Shell: "enabled " + name})
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

// notLoaded returns the files that the running service has not read in the
// wanted form. What it has read is noted when we load it, and known without a
// note when the service started after the file was last changed.
func notLoaded(f Facts, u UnitState, want map[string]string) ([]string, error) {
	return staleFiles(f, loadedPath(u.Name), u.Started, want)
}

// staleFiles returns the files that a service which was started then, and of which it is
// noted in a file what it has read, has not read in the wanted form.
func staleFiles(f Facts, notes string, started time.Time, want map[string]string) ([]string, error) {
	if len(want) == 0 {
		return nil, nil
	}
	note, err := f.File(notes)
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
		if s.SHA256() == want[p] && (noted[p] == want[p] || started.After(s.ModTime.Add(time.Second))) {
			continue
		}
		stale = append(stale, p)
	}
	return stale, nil
}

func loadedPath(unit string) string { return LoadedDir + "/" + unit }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func asSet(ss []string) map[string]bool {
	out := make(map[string]bool, len(ss))
	for _, s := range ss {
		out[s] = true
	}
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

// unitOut lets a service stand as it did before vpnpush came. One that came since is
// stopped, unless others may use it by now.
func unitOut(e Entry, h Leaving) ([]Task, error) {
	was := e.Was
	switch {
	case was == nil || !was.Exists:
		if e.Shared {
			return nil, nil
		}
		return []Task{Stopped{Name: e.Unit}}, nil
	case e.Shared && was.Enabled && (was.Active || e.BootOnly):
		return nil, nil
	case e.Shared || !was.Active:
		return []Task{Stopped{Name: e.Unit, Enabled: was.Enabled, Active: was.Active || e.BootOnly}}, nil
	}
	// It ran, and reads again what stood there before. Where nothing did, it would go on
	// with what it has read of ours.
	config := map[string]string{}
	for _, p := range e.Config {
		s, err := h.Facts.File(firstDir + p)
		if err != nil || !s.Exists {
			return []Task{Stopped{Name: e.Unit, Enabled: was.Enabled}}, nil
		}
		config[p] = s.SHA256()
	}
	return []Task{Unit{Name: e.Unit, Config: config, AsBefore: was}}, nil
}

// unitBack runs a service with what comes back. One whose package came with what is
// taken back did not run before.
func unitBack(e Entry, now, was *Entry, r Rewind) ([]Task, error) {
	then, ran := r.Was.daemon(r.Daemons), r.Now.daemon(r.Daemons)
	swapped := then != nil && ran != nil && then.Unit != ran.Unit
	if was == nil {
		if swapped && e.Unit == ran.Unit {
			return nil, nil // the one that ran then takes its place
		}
		if now != nil && r.newUnit(e.Unit) {
			return []Task{Stopped{Name: e.Unit}}, nil
		}
		return nil, nil
	}
	var config map[string]string
	for _, p := range e.Config {
		if !r.changed(p) {
			continue
		}
		sum, err := r.digestThen(p)
		if err != nil {
			return nil, err
		}
		if sum != "" {
			if config == nil {
				config = map[string]string{}
			}
			config[p] = sum
		}
	}
	if now == nil { // it was stopped since
		u := Unit{Name: e.Unit, Config: config, BootOnly: e.BootOnly, Shared: e.Shared}
		for _, d := range r.Daemons {
			if d.Unit == e.Unit {
				u.Start, u.Part = d.Name+"_start", d.Part
			}
		}
		if swapped && e.Unit == then.Unit {
			return []Task{Swap{From: *ran, To: *then}, u}, nil
		}
		return []Task{u}, nil
	}
	if len(config) == 0 {
		return nil, nil
	}
	u, err := r.Facts.Unit(e.Unit)
	if err != nil || u.Active != "active" {
		return nil, err
	}
	return []Task{Unit{Name: e.Unit, Config: config, Shared: e.Shared}}, nil
}

// newUnit reports whether a service came with what is taken back: its package did, and
// nothing wanted it before.
func (r Rewind) newUnit(unit string) bool {
	pkg := strings.TrimSuffix(unit, ".service")
	for _, d := range r.Daemons {
		if d.Unit == unit && !slices.Contains(d.Packages, pkg) {
			pkg = d.Package
		}
	}
	return r.Was.find(Unit{Name: unit}.ID()) == nil && slices.Contains(r.Installed, pkg)
}
