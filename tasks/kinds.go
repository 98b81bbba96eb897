package tasks

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// kind is what the tasks that a manifest records have in common: how they go off a
// host when nothing wants them any more, and how an earlier one comes back. Both are
// told by the manifest's entry alone, for the inventory of then is gone.
type kind struct {
	name string
	// out returns the tasks that take off a host what e stands for. nil: it stays, and
	// stays says why.
	out   func(e Entry, h Leaving) ([]Task, error)
	stays string
	// back returns the tasks that make of it what it was before: was is its entry of
	// then, and now what the host has; either may be nil, and e is the latest of them.
	back func(e Entry, now, was *Entry, r Rewind) ([]Task, error)
}

// kinds are all kinds there are, in the order in which they go and come back. Whoever
// adds one adds it here: what a manifest names and this table has not is refused,
// never guessed.
var kinds = []kind{
	{name: kindPackage, stays: "packages stay installed, since others may use them by now", back: packageBack},
	{name: kindSysctl, stays: "kernel parameters stay as they are until the next boot", back: sysctlBack},
	{name: kindFile, out: fileOut, back: fileBack},
	{name: kindLine, out: lineOut, back: lineBack},
	{name: kindBlock, out: blockOut, back: blockBack},
	{name: kindKeys, out: keysOut, back: keysBack},
	{name: kindLines, out: linesOut, back: linesBack},
	{name: kindRules, out: rulesOut, back: rulesBack},
	{name: kindFirewall, out: firewallOut, back: firewallBack},
	{name: kindUnit, out: unitOut, back: unitBack},
	{name: kindHelper, out: helperOut, back: helperBack},
	{name: kindSettings, out: settingsOut, back: settingsBack},
	{name: kindIPsec, out: ipsecOut, back: ipsecBack},
}

// The kinds, as a manifest names them: an entry's ID begins so, but for kindRules,
// which is a file.
const (
	kindPackage  = "package"
	kindSysctl   = "sysctl"
	kindFile     = "file"
	kindLine     = "line"
	kindBlock    = "block"
	kindKeys     = "keys"
	kindLines    = "lines"
	kindRules    = "rules"
	kindFirewall = "firewall"
	kindUnit     = "unit"
	kindHelper   = "helper"
	kindSettings = "settings"
	kindIPsec    = "ipsec"
)

// entryOf is an entry with its kind.
type entryOf struct {
	Entry
	kind kind
	rank int // of the kind in kinds
}

// inOrder returns entries with their kinds, in the order of the kinds; those of one kind
// keep theirs. A kind that is not in the table is refused.
func inOrder(es []Entry) ([]entryOf, error) {
	out := make([]entryOf, 0, len(es))
	for _, e := range es {
		i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == e.Kind })
		if i < 0 {
			return nil, transport.WithHint(
				fmt.Errorf("file %s: %w: the task %s is of the kind %q, which this vpnpush does not know", ManifestPath, ErrUnknown, e.ID, e.Kind),
				"a newer vpnpush has applied here: use that one")
		}
		out = append(out, entryOf{e, kinds[i], i})
	}
	slices.SortStableFunc(out, func(a, b entryOf) int { return cmp.Compare(a.rank, b.rank) })
	return out, nil
}

// Recorder is a task that is written down in the manifest once it is applied.
type Recorder interface {
	Task
	Digester
	// Record returns what the manifest is to hold of the task, but for its ID and
	// digest. had is its entry of before, nil for none, and f what the host was like
	// before the apply. An entry without a kind is not recorded: the task wants
	// something gone.
	Record(had *Entry, f Facts) Entry
}

// Standing is a task that nothing is written down of, and that says by itself whether it
// was wanted when m was: what differs then was changed on the host.
type Standing interface {
	Task
	Applied(m *Manifest) bool
}

// Leaving is what a way out may look at.
type Leaving struct {
	Facts   Facts
	Owner   string
	Daemons []Daemon // those that roles knows
}

// Orphans returns the tasks that take off a host what its manifest has and none of ts
// wants any more, whatever kind it is of.
func Orphans(m *Manifest, ts []Task, h Leaving) ([]Task, error) {
	wanted := ids(ts)
	var gone []Entry
	for _, e := range m.entries() {
		if !wanted[e.ID] {
			gone = append(gone, e)
		}
	}
	es, err := inOrder(gone)
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, e := range es {
		if e.kind.out == nil {
			continue
		}
		ts, err := e.kind.out(e.Entry, h)
		if err != nil {
			return nil, err
		}
		out = append(out, ts...)
	}
	return out, nil
}

func ids(ts []Task) map[string]bool {
	out := map[string]bool{}
	for _, t := range ts {
		out[t.ID()] = true
	}
	return out
}

// Stays returns what of a manifest stays on a host although ts do not want it any
// more, in a sentence for each kind.
func Stays(m *Manifest, ts []Task) []string {
	wanted := ids(ts)
	return stays(m, func(id string) bool { return wanted[id] })
}

func stays(m *Manifest, wanted func(id string) bool) []string {
	var out []string
	for _, k := range kinds {
		var left []string
		for _, e := range m.entries() {
			if e.Kind == k.name && k.stays != "" && !wanted(e.ID) {
				left = append(left, strings.TrimPrefix(e.ID, k.name+":"))
			}
		}
		if len(left) > 0 {
			slices.Sort(left)
			out = append(out, k.stays+": "+strings.Join(left, ", "))
		}
	}
	return out
}

// Rewind is what a way back may look at: a host between what it is and what it was.
type Rewind struct {
	Facts    Facts
	Owner    string
	Daemons  []Daemon
	Now, Was *Manifest
	// Installed are packages that came with what is taken back.
	Installed []string
	// Copy returns where the host keeps what a path held then, "" for no file, and
	// whether the path may have changed since.
	Copy func(path string) (backup string, changed bool)
}

// Then returns a file as it will be when the host is back.
func (r Rewind) Then(path string) (FileState, error) {
	backup, changed := r.Copy(path)
	switch {
	case !changed: // the probe brings whatever the manifest has
		return r.Facts.File(path)
	case backup == "":
		return FileState{Path: path}, nil
	}
	return r.Facts.File(backup)
}

// digestThen returns the digest that a file will have, "" for no file.
func (r Rewind) digestThen(path string) (string, error) {
	s, err := r.Then(path)
	return s.SHA256(), err
}

// changed reports whether a path may have changed since.
func (r Rewind) changed(path string) bool {
	_, changed := r.Copy(path)
	return changed
}

// StaysBack returns what a rollback leaves on a host, in a sentence for each kind.
func (r Rewind) StaysBack() []string {
	return stays(r.Now, func(id string) bool { return r.Was.find(id) != nil })
}

// PutBack returns the tasks that put a host back to what it was: for each task that a
// manifest among since has, the newest first, its kind's. A path among changed that no
// kind answers for is refused: the default must not be to overwrite a file that others
// use.
func PutBack(r Rewind, since []*Manifest, changed []string) ([]Task, error) {
	latest := map[string]Entry{}
	answered := map[string]bool{}
	for _, m := range since {
		for _, e := range m.entries() {
			if _, newer := latest[e.ID]; !newer {
				latest[e.ID] = e
			}
			if e.Path != "" {
				answered[e.Path] = true
			}
			for _, p := range e.Files {
				answered[p] = true
			}
		}
	}
	for _, p := range changed {
		if !answered[p] {
			return nil, transport.WithHint(fmt.Errorf("%s was changed by an apply, and no task that this host's manifests have answers for it", p),
				"look at the backup in %s/txn, and put it back by hand", StateDir)
		}
	}
	var all []Entry
	for _, id := range sortedKeys(latest) {
		all = append(all, latest[id])
	}
	es, err := inOrder(all)
	if err != nil {
		return nil, err
	}
	var out []Task
	for _, e := range es {
		ts, err := e.kind.back(e.Entry, r.Now.find(e.ID), r.Was.find(e.ID), r)
		if err != nil {
			return nil, err
		}
		out = append(out, ts...)
	}
	return out, nil
}

// Kinds returns the names of all kinds that a manifest may have.
func Kinds() []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.name)
	}
	return out
}
