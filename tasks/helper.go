package tasks

import (
	"path"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Helper wants a service of ours to run beside another: systemd starts and stops it with
// that one, as its files say, so there is nothing to enable.
type Helper struct {
	Unit string
	With string // the service beside which it runs
	// Files are those that make it, with the digests they are to have: its unit, what
	// has With start it, what it runs.
	Files map[string]string
	// Gone wants it not to run, once its files are gone.
	Gone bool
}

// ID implements Task.
func (t Helper) ID() string { return "helper:" + t.Unit }

// Reads implements Task.
func (t Helper) Reads() []Read {
	r := []Read{{Kind: ReadUnit, Arg: t.Unit}, {Kind: ReadUnit, Arg: t.With}, {Kind: ReadFile, Arg: loadedPath(t.Unit)}}
	for _, p := range sortedKeys(t.Files) {
		r = append(r, Read{Kind: ReadFile, Arg: p})
	}
	return r
}

// Loads returns the files that systemd and the service must have read, with their digests.
func (t Helper) Loads() map[string]string { return t.Files }

// Record implements Recorder.
func (t Helper) Record(*Entry, Facts) Entry {
	if t.Gone {
		return Entry{}
	}
	return Entry{Kind: kindHelper, Unit: t.Unit, With: t.With, Config: sortedKeys(t.Files)}
}

// Digest implements Digester.
func (t Helper) Digest() string {
	parts := []string{t.Unit, t.With}
	for _, p := range sortedKeys(t.Files) {
		parts = append(parts, p, t.Files[p])
	}
	return digest(parts...)
}

// Check implements Task.
func (t Helper) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Unit)
	if err != nil {
		return nil, err
	}
	with, err := f.Unit(t.With)
	if err != nil {
		return nil, err
	}
	unit := transport.Quote(t.Unit)
	c := &Change{Task: t.ID(), Action: Update, Parts: []Part{PartUnits}, Backups: []string{loadedPath(t.Unit)}}
	// a revert has put its files back: systemd reads them, at a boot too
	c.Undo = []Step{{Phase: PhaseFiles, Shell: "systemctl daemon-reload"}, {Phase: PhaseServices, Shell: "systemctl stop " + unit + " 2>/dev/null || :"}}
	if u.Active == "active" {
		c.Undo[1].Shell = "systemctl restart " + unit
	}
	if t.Gone {
		if !u.Loaded {
			return nil, nil
		}
		c.Action = Delete
		c.Attrs = []Attr{{Name: "active", Old: orNone(u.Active), New: []byte("absent")}}
		for _, p := range sortedKeys(t.Files) { // of a folder that others use nothing else goes
			if strings.HasSuffix(path.Dir(p), ".d") {
				c.Folders = append(c.Folders, path.Dir(p))
			}
		}
		c.Do = []Step{
			{Phase: PhaseServices, Shell: "systemctl stop " + unit + "\nsystemctl daemon-reload"},
			{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.Unit))},
		}
		return c, nil
	}
	runs := u.Active == "active"
	if !u.Loaded {
		c.Action = Create
	}
	stale, err := staleFiles(f, loadedPath(t.Unit), u.Started, t.Files)
	if err != nil {
		return nil, err
	}
	for _, p := range stale {
		s, err := f.File(p)
		if err != nil {
			return nil, err
		}
		// one that does not run reads them when it starts
		if runs || s.SHA256() != t.Files[p] {
			c.Attrs = append(c.Attrs, Attr{Name: path.Base(p), Old: []byte("not loaded"), New: []byte("loaded")})
		}
	}
	if !runs && (with.Active == "active" || !u.Loaded) {
		c.Attrs = append(c.Attrs, Attr{Name: "active", Old: orNone(u.Active), New: []byte("active")})
	}
	if len(c.Attrs) == 0 {
		return nil, nil
	}
	args := unit + " " + transport.Quote(t.With)
	c.Do = []Step{
		{Phase: PhaseServices, Shell: "run_helper " + args + quoteList(sortedKeys(t.Files))},
		{Phase: PhaseVerify, Shell: "helper_runs " + args},
	}
	return c, nil
}

// helperOut stops a service of ours whose files go.
func helperOut(e Entry, _ Leaving) ([]Task, error) {
	return []Task{goneHelper(e)}, nil
}

func goneHelper(e Entry) Helper {
	t := Helper{Unit: e.Unit, With: e.With, Files: map[string]string{}, Gone: true}
	for _, p := range e.Config {
		t.Files[p] = ""
	}
	return t
}

// helperBack runs it with the files of then.
func helperBack(e Entry, _, was *Entry, r Rewind) ([]Task, error) {
	if was == nil {
		return []Task{goneHelper(e)}, nil
	}
	t := Helper{Unit: was.Unit, With: was.With, Files: map[string]string{}}
	for _, p := range was.Config {
		var err error
		if t.Files[p], err = r.digestThen(p); err != nil {
			return nil, err
		}
	}
	return []Task{t}, nil
}
