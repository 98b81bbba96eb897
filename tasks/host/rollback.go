package host

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Rollback is what puts a host back to before one of its applies.
type Rollback struct {
	Before string   // the apply that is taken back
	After  []string // those that came after it, and are taken back with it

	daemons []tasks.Daemon
	units   []string // services that may have to run, or not
	// copies maps each path that may have changed since to the backup of it; ""
	// is no file.
	copies map[string]string
	// manifests are the backups of the manifest since, the newest first.
	manifests []string
	installed []string // packages that came with what is taken back
	failed    []string // reverts that failed meanwhile
}

// NewRollback returns the rollback to before the apply txn, or before the last one
// when txn is "". What stood then is, for each path, in the oldest backup since.
func NewRollback(f tasks.Facts, txn string, daemons []tasks.Daemon) (*Rollback, error) {
	past, err := History(f)
	if err != nil {
		return nil, err
	}
	backups, err := Backups(f)
	if err != nil {
		return nil, err
	}
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	last := -1
	for i, p := range past {
		if p.Stands() && (txn == "" || p.Txn == txn) {
			last = i
		}
	}
	if last < 0 && txn == "" {
		return nil, transport.WithHint(errors.New("nothing was applied here that could be taken back"), "there is nothing to mend; `vpnpush history` shows what was done on a host")
	}
	if last < 0 {
		return nil, transport.WithHint(fmt.Errorf("there is no confirmed apply %s here", txn), "`vpnpush history` lists them")
	}
	if first := past[last].Ends; first != "" {
		// the steps of one apply go back as one: between them no inventory was so
		if i := slices.IndexFunc(past, func(p Past) bool { return p.Txn == first && p.Stands() }); i >= 0 {
			last = i
		}
	}
	r := &Rollback{Before: past[last].Txn, daemons: daemons, units: m.Units(), copies: map[string]string{}}
	for _, p := range past[last:] {
		if p.Outcome == OutcomeRevertFailed {
			r.failed = append(r.failed, p.Txn)
		}
		if !p.Stands() {
			continue
		}
		b, kept := backups[p.Txn]
		if !kept {
			return nil, transport.WithHint(fmt.Errorf("the backup of apply %s is not kept any more", p.Txn), "`vpnpush history` tells which are")
		}
		if p.Txn != r.Before {
			r.After = append(r.After, p.Txn)
		}
		if b.Files[tasks.ManifestPath] {
			r.manifests = append([]string{BackupPath(p.Txn, tasks.ManifestPath)}, r.manifests...)
		}
		for path, existed := range b.Files {
			if _, older := r.copies[path]; older {
				continue
			}
			r.copies[path] = ""
			if existed {
				r.copies[path] = BackupPath(p.Txn, path)
			}
		}
		for _, c := range p.Changes {
			if pkg, ok := strings.CutPrefix(c, string(tasks.Install)+" package:"); ok {
				r.installed = append(r.installed, pkg)
			}
		}
	}
	slices.Sort(r.installed)
	r.installed = slices.Compact(r.installed)
	for _, d := range daemons {
		if !slices.Contains(r.units, d.Unit) {
			r.units = append(r.units, d.Unit)
		}
	}
	return r, nil
}

// Reads returns what Plan and the tasks of its plan need. Backups are read by the
// folder: the names of a thousand would not fit into one probe.
func (r *Rollback) Reads() []tasks.Read {
	seen := map[tasks.Read]bool{}
	var reads []tasks.Read
	add := func(read tasks.Read) {
		if !seen[read] {
			seen[read] = true
			reads = append(reads, read)
		}
	}
	for _, u := range r.units {
		add(tasks.Read{Kind: tasks.ReadUnit, Arg: u})
	}
	for _, p := range r.manifests {
		add(tasks.Read{Kind: tasks.ReadFile, Arg: p})
	}
	for _, p := range slices.Sorted(maps.Keys(r.copies)) {
		add(tasks.Read{Kind: tasks.ReadFile, Arg: p})
		backup := r.copies[p]
		switch {
		case backup == "":
		case strings.HasPrefix(path.Base(backup), ".") || strings.ContainsAny(path.Dir(backup), "*?["):
			add(tasks.Read{Kind: tasks.ReadFile, Arg: backup})
		default:
			add(tasks.Read{Kind: tasks.ReadGlob, Arg: path.Dir(backup) + "/*"})
		}
	}
	return reads
}

// RollbackPlan is a rollback as tasks.
type RollbackPlan struct {
	Tasks []tasks.Task
	// Manifest is what is to be on the host; Generation, Applied and By are those
	// of then.
	Manifest *tasks.Manifest
	// On is the generation that the host has now.
	On       int
	Tunnels  []strongswan.Tunnel // that the host's conns are for, once it is back
	Warnings []string            // what is not put back
}

// Plan returns a rollback as tasks. What is ours is put back whole; in a file that is
// shared only our part is, and what its other owners have done since stays. How, each
// kind of task knows (tasks.PutBack).
func (r *Rollback) Plan(f tasks.Facts) (*RollbackPlan, error) {
	now, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	if now == nil {
		return nil, transport.WithHint(fmt.Errorf("file %s is not there: this host is not vpnpush's any more", tasks.ManifestPath), "what stood here before it left is not known any more: `vpnpush apply` begins anew")
	}
	was := &tasks.Manifest{FormatVersion: now.FormatVersion, Owner: now.Owner, Host: now.Host}
	since := []*tasks.Manifest{now}
	for _, p := range r.manifests {
		s, err := f.File(p)
		if err != nil {
			return nil, err
		}
		m, err := tasks.ParseManifest(s, r.filesOf(f, path.Dir(path.Dir(p))))
		if err != nil {
			return nil, err
		}
		if m.Owner != now.Owner {
			return nil, transport.WithHint(fmt.Errorf("the host belonged to the inventory %q then, now to %q", m.Owner, now.Owner), "go back to an apply of this inventory: `vpnpush history` lists them")
		}
		since = append(since, m)
		if p == r.copies[tasks.ManifestPath] {
			was = m
		}
	}
	out := &RollbackPlan{Manifest: was, On: now.Generation, Tunnels: was.Tunnels()}
	rewind := tasks.Rewind{
		Facts: f, Owner: now.Owner, Daemons: r.daemons, Now: now, Was: was, Installed: r.installed,
		Copy: func(path string) (string, bool) {
			backup, changed := r.copies[path]
			return backup, changed
		},
	}
	if out.Tasks, err = tasks.PutBack(rewind, since, r.changed()); err != nil {
		return nil, err
	}
	out.Warnings = rewind.StaysBack()
	if len(r.failed) > 0 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("a revert failed since (apply %s): what it left is not in any backup", strings.Join(r.failed, ", ")))
	}
	return out, nil
}

// changed returns the paths that may have changed since, but for our own notes, which
// follow from what is done.
func (r *Rollback) changed() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(r.copies)), func(p string) bool {
		return strings.HasPrefix(p, tasks.StateDir+"/") || strings.HasPrefix(p, tasks.LoadedDir+"/")
	})
}

// filesOf returns files as a backup has them, those that it has not as they are.
func (r *Rollback) filesOf(f tasks.Facts, stateDir string) func(string) (tasks.FileState, error) {
	backup := strings.TrimSuffix(stateDir, path.Dir(tasks.StateDir))
	return func(p string) (tasks.FileState, error) {
		if s, err := f.File(backup + p); err == nil && s.Exists {
			return s, nil
		}
		return f.File(p)
	}
}
