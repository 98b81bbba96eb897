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
	{name: kindRules, out: rulesOut, back: rulesBack},
	{name: kindFirewall, out: firewallOut, back: firewallBack},
	{name: kindUnit, out: unitOut, back: unitBack},
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
	kindRules    = "rules"
	kindFirewall = "firewall"
	kindUnit     = "unit"
	kindIPsec    = "ipsec"
)

func kindOf(e Entry) (kind, int, error) {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == e.Kind })
	if i < 0 {
		return kind{}, 0, transport.WithHint(
			fmt.Errorf("file %s: %w: the task %s is of the kind %q, which this vpnpush does not know", ManifestPath, ErrUnknown, e.ID, e.Kind),
			"a newer vpnpush has applied here: use that one")
	}
	return kinds[i], i, nil
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

// Leaving is what a way out may look at.
type Leaving struct {
	Facts   Facts
	Owner   string
	Daemons []Daemon // those that roles knows
}

// Orphans returns the tasks that take off a host what its manifest has and none of ts
// wants any more, whatever kind it is of.
func Orphans(m *Manifest, ts []Task, h Leaving) ([]Task, error) {
	if m == nil {
		return nil, nil
	}
	wanted := map[string]bool{}
	for _, t := range ts {
		wanted[t.ID()] = true
	}
	type orphan struct {
		kind
		rank int
		Entry
	}
	var gone []orphan
	for _, e := range m.Tasks {
		if wanted[e.ID] {
			continue
		}
		k, rank, err := kindOf(e)
		if err != nil {
			return nil, err
		}
		gone = append(gone, orphan{k, rank, e})
	}
	slices.SortStableFunc(gone, func(a, b orphan) int { return cmp.Compare(a.rank, b.rank) })
	var out []Task
	for _, o := range gone {
		if o.out == nil {
			continue
		}
		ts, err := o.out(o.Entry, h)
		if err != nil {
			return nil, err
		}
		out = append(out, ts...)
	}
	return out, nil
}

// Stays returns what of a manifest stays on a host although ts do not want it any
// more, in a sentence for each kind.
func Stays(m *Manifest, ts []Task) []string {
	wanted := map[string]bool{}
	for _, t := range ts {
		wanted[t.ID()] = true
	}
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
		}
	}
	for _, p := range changed {
		if !answered[p] {
			return nil, transport.WithHint(fmt.Errorf("%s was changed by an apply, and no task that this host's manifests have answers for it", p),
				"look at the backup in %s/txn, and put it back by hand", StateDir)
		}
	}
	var out []Task
	for _, k := range kinds {
		for _, id := range sortedKeys(latest) {
			e := latest[id]
			known, _, err := kindOf(e)
			if err != nil {
				return nil, err
			}
			if known.name != k.name {
				continue
			}
			ts, err := k.back(e, r.Now.find(id), r.Was.find(id), r)
			if err != nil {
				return nil, err
			}
			out = append(out, ts...)
		}
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
