package tasks

import (
	"path"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Settings wants the running charon to have read a file of its settings
// (strongswan.conf(5)): it reads them when it starts, and when it is told to, which drops
// no tunnel. What it has read cannot be asked of it, so that is noted on the host.
type Settings struct {
	Daemon Daemon
	Path   string
	SHA256 string // of the file as it is wanted
	// Gone wants the file of that digest not to be in force any more. It goes by a task
	// of its own.
	Gone bool
}

// settingsNote holds what charon has read of Path. It is gone after a reboot, and charon
// has read the file by then.
const settingsNote = LoadedDir + "/charon-settings"

// ID implements Task.
func (t Settings) ID() string { return "settings:charon" }

// Reads implements Task.
func (t Settings) Reads() []Read {
	return []Read{{Kind: ReadUnit, Arg: t.Daemon.Unit}, {Kind: ReadFile, Arg: t.Path}, {Kind: ReadFile, Arg: settingsNote}}
}

// Loads returns the file that charon must have read, with its digest.
func (t Settings) Loads() map[string]string {
	if t.Gone {
		return nil
	}
	return map[string]string{t.Path: t.SHA256}
}

// Record implements Recorder.
func (t Settings) Record(*Entry, Facts) Entry {
	if t.Gone {
		return Entry{}
	}
	return Entry{Kind: kindSettings, Path: t.Path, SHA256: t.SHA256, Unit: t.Daemon.Unit, Daemon: t.Daemon.Name}
}

// Digest implements Digester.
func (t Settings) Digest() string { return digest(t.Path, t.SHA256) }

// Check implements Task.
func (t Settings) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Daemon.Unit)
	if err != nil {
		return nil, err
	}
	file, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	note, err := f.File(settingsNote)
	if err != nil {
		return nil, err
	}
	unit, name := transport.Quote(u.Name), path.Base(t.Path)
	c := &Change{Task: t.ID(), Action: Reload, Parts: []Part{PartUnits, t.Daemon.Part}, Backups: []string{settingsNote}}
	load := t.Daemon.Name + "_settings " + unit
	// charon reads what a revert has put back
	c.Undo = []Step{{Phase: PhaseServices, Shell: load}}
	if t.Gone {
		if !note.Exists && file.SHA256() != t.SHA256 {
			return nil, nil
		}
		c.Action = Delete
		c.Attrs = []Attr{{Name: name, Old: []byte("loaded"), New: []byte("not loaded")}}
		c.Do = []Step{{Phase: PhaseServices, Shell: load}, {Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(settingsNote)}}
		return c, nil
	}
	stale, err := staleFiles(f, settingsNote, u.Started, t.Loads())
	if err != nil || len(stale) == 0 {
		return nil, err
	}
	if u.Active != "active" && file.SHA256() == t.SHA256 {
		return nil, nil // it reads the file when it starts
	}
	c.Attrs = []Attr{{Name: name, Old: []byte("not loaded"), New: []byte("loaded")}}
	c.Do = []Step{{Phase: PhaseServices, Shell: strings.Join([]string{load, transport.Quote(settingsNote), transport.Quote(t.Path)}, " ")}}
	return c, nil
}

// settingsOut lets charon read its settings without ours.
func settingsOut(e Entry, h Leaving) ([]Task, error) {
	d, err := daemonOf(e, h.Daemons)
	return []Task{Settings{Daemon: d, Path: e.Path, SHA256: e.SHA256, Gone: true}}, err
}

// settingsBack lets charon read its settings as they were.
func settingsBack(e Entry, _, was *Entry, r Rewind) ([]Task, error) {
	if was != nil {
		e = *was
	}
	d, err := daemonOf(e, r.Daemons)
	if err != nil {
		return nil, err
	}
	t := Settings{Daemon: d, Path: e.Path, SHA256: e.SHA256, Gone: was == nil}
	switch {
	case was == nil && r.newUnit(d.Unit):
		return nil, nil // it is stopped
	case was != nil:
		if t.SHA256, err = r.digestThen(e.Path); err != nil {
			return nil, err
		}
	}
	return []Task{t}, nil
}
