package tasks

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Restore wants a whole file as a backup on the host has it. Its content is
// copied there: no secret of an old backup travels back to it.
type Restore struct {
	Path   string
	Backup string // path of the copy; "" wants no file
	Syntax mask.Syntax
}

// ID implements Task.
func (t Restore) ID() string { return "file:" + t.Path }

// Reads implements Task.
func (t Restore) Reads() []Read {
	r := []Read{{Kind: ReadFile, Arg: t.Path}}
	if t.Backup != "" {
		r = append(r, Read{Kind: ReadFile, Arg: t.Backup})
	}
	return r
}

// Check implements Task.
func (t Restore) Check(f Facts) (*Change, error) {
	now, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	c := &Change{
		Task: t.ID(), Action: Update, Backs: []string{t.Path},
		Pre: []Precondition{{Path: t.Path, SHA256: now.SHA256()}},
	}
	if t.Backup == "" {
		if !now.Exists {
			return nil, nil
		}
		c.Action = Delete
		c.Attrs = []Attr{contentAttr(t.Syntax, now.Content, nil)}
		c.Do = []Step{{Phase: PhaseFiles, Shell: "rm -f -- " + transport.Quote(t.Path)}}
		return t.block(c, now, now), nil
	}
	was, err := f.File(t.Backup)
	if err != nil {
		return nil, err
	}
	if !was.Exists {
		return nil, fmt.Errorf("file %s: the backup of %s is not there", t.Backup, t.Path)
	}
	same := now.Exists && now.Type == was.Type
	switch {
	case !now.Exists:
		c.Action = Create
		c.Attrs = []Attr{contentAttr(t.Syntax, nil, was.Content), {Name: "mode", New: mode(was.Mode)}}
	case !same || !bytes.Equal(now.Content, was.Content):
		c.Attrs = []Attr{contentAttr(t.Syntax, now.Content, was.Content)}
	}
	if now.Exists && now.Mode != was.Mode {
		c.Attrs = append(c.Attrs, Attr{Name: "mode", Old: mode(now.Mode), New: mode(was.Mode)})
	}
	if now.Exists && now.Owner != was.Owner {
		c.Attrs = append(c.Attrs, Attr{Name: "owner", Old: []byte(now.Owner), New: []byte(was.Owner)})
	}
	if len(c.Attrs) == 0 {
		return nil, nil
	}
	c.Pre = append(c.Pre, Precondition{Path: t.Backup, SHA256: was.SHA256()})
	c.Do = []Step{{Phase: PhaseFiles, Shell: fmt.Sprintf("put %s %s %s <%s", transport.Quote(t.Path), mode(was.Mode), transport.Quote(was.Owner), transport.Quote(t.Backup))}}
	return t.block(c, now, was), nil
}

// block keeps a rollback to regular files.
func (t Restore) block(c *Change, now, was FileState) *Change {
	switch {
	case now.Exists && now.Type != tar.TypeReg:
		c.Blocked, c.Mend = "it is not a regular file", "look at it on the host, and move it away"
	case was.Exists && was.Type != tar.TypeReg:
		c.Blocked, c.Mend = "what was there was not a regular file", "put it back by hand: it is in "+t.Backup
	}
	return c
}

// Layout is what a rollback must know of how things stand on a host, beyond
// what the manifest and the backups there tell.
type Layout struct {
	IPsecUnit string              // the unit that runs charon
	ConnDir   string              // where NAME.conf and NAME.secrets of our conns are, with "/"
	Restart   map[string][]string // unit: the files that it reads only when it starts
	BootOnly  []string            // units that are for the next boot (Unit.BootOnly)
	Initiates bool                // its conns dial: a site
}

// Rollback is what puts a host back to before one of its applies.
type Rollback struct {
	Before string   // the apply that is taken back
	After  []string // those that came after it, and are taken back with it

	layout Layout
	// copies maps each path that may have changed since to the backup of it; ""
	// is no file.
	copies    map[string]string
	installed []string // packages that came with what is taken back
	failed    []string // reverts that failed meanwhile
}

// NewRollback makes the rollback to before the apply txn, or before the last one
// when txn is "". What stood then is, for each path, in the oldest backup since.
func NewRollback(f Facts, txn string, l Layout) (*Rollback, error) {
	past, err := History(f)
	if err != nil {
		return nil, err
	}
	backups, err := Backups(f)
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
		return nil, fmt.Errorf("nothing was applied here that could be taken back")
	}
	if last < 0 {
		return nil, transport.WithHint(fmt.Errorf("there is no confirmed apply %s here", txn), "`vpnpush history` lists them")
	}
	r := &Rollback{Before: past[last].Txn, layout: l, copies: map[string]string{}}
	for _, p := range past[last:] {
		if p.Outcome == "revert-failed" {
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
			if pkg, ok := strings.CutPrefix(c, string(Install)+" package:"); ok {
				r.installed = append(r.installed, pkg)
			}
		}
	}
	slices.Sort(r.installed)
	r.installed = slices.Compact(r.installed)
	return r, nil
}

// Reads is what Plan and the Restores among its tasks need. Backups are read by
// the folder: the names of a thousand would not fit into one probe.
func (r *Rollback) Reads() []Read {
	reads := []Read{{Kind: ReadUnit, Arg: r.layout.IPsecUnit}}
	seen := map[Read]bool{}
	for _, p := range sortedKeys(r.copies) {
		reads = append(reads, Read{Kind: ReadFile, Arg: p})
		backup := r.copies[p]
		if backup == "" {
			continue
		}
		read := Read{Kind: ReadGlob, Arg: path.Dir(backup) + "/*"}
		if strings.HasPrefix(path.Base(backup), ".") || strings.ContainsAny(path.Dir(backup), "*?[") {
			read = Read{Kind: ReadFile, Arg: backup}
		}
		if !seen[read] {
			seen[read] = true
			reads = append(reads, read)
		}
	}
	for u := range r.layout.Restart {
		reads = append(reads, Read{Kind: ReadUnit, Arg: u})
	}
	return reads
}

// RollbackPlan is a rollback as tasks.
type RollbackPlan struct {
	Tasks []Task
	// Manifest is what is to be on the host; Generation, Applied and By are those
	// of then.
	Manifest *Manifest
	// On is the generation that the host has now.
	On       int
	Tunnels  []strongswan.Tunnel // that the host's conns are for, once it is back
	Warnings []string            // what is not put back
}

// Plan makes tasks of a rollback. What is ours is put back whole; in a file that
// is shared only our part is, and what its other owners have done since stays.
func (r *Rollback) Plan(f Facts) (*RollbackPlan, error) {
	now, err := ReadManifest(f)
	if err != nil {
		return nil, err
	}
	if now == nil {
		return nil, fmt.Errorf("file %s is not there: this host is not vpnpush's any more", ManifestPath)
	}
	was := &Manifest{FormatVersion: 1, Owner: now.Owner, Host: now.Host, Tasks: map[string]string{}}
	if p := r.copies[ManifestPath]; p != "" {
		s, err := f.File(p)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(s.Content, was); err != nil || was.FormatVersion != 1 {
			return nil, fmt.Errorf("file %s: %w: format_version %d, %v", p, ErrUnknown, was.FormatVersion, err)
		}
		if was.Owner != now.Owner {
			return nil, fmt.Errorf("the host belonged to the inventory %q then, now to %q", was.Owner, now.Owner)
		}
	}
	out := &RollbackPlan{Manifest: was, On: now.Generation}
	b := back{r: r, f: f, now: now, was: was, out: out}
	for _, p := range sortedKeys(r.copies) {
		if err := b.path(p); err != nil {
			return nil, err
		}
	}
	if err := b.services(); err != nil {
		return nil, err
	}
	if len(r.installed) > 0 {
		b.warn("these packages stay installed: %s", strings.Join(r.installed, ", "))
	}
	if len(r.failed) > 0 {
		b.warn("a revert failed since (apply %s): what it left is not in any backup", strings.Join(r.failed, ", "))
	}
	return out, nil
}

// back is a rollback while it is made into tasks.
type back struct {
	r        *Rollback
	f        Facts
	now, was *Manifest
	out      *RollbackPlan
}

func (b *back) add(ts ...Task) { b.out.Tasks = append(b.out.Tasks, ts...) }

func (b *back) warn(format string, a ...any) {
	b.out.Warnings = append(b.out.Warnings, fmt.Sprintf(format, a...))
}

// has tells whether a task was or is wanted here.
func (b *back) has(id string) bool {
	_, now := b.now.Tasks[id]
	_, was := b.was.Tasks[id]
	return now || was
}

func (b *back) copy(p string) (FileState, error) {
	backup := b.r.copies[p]
	if backup == "" {
		return FileState{Path: p}, nil
	}
	return b.f.File(backup)
}

// path puts one path back.
func (b *back) path(p string) error {
	if strings.HasPrefix(p, StateDir+"/") || strings.HasPrefix(p, loadedDir+"/") {
		return nil // our own notes follow from what is done
	}
	_, ours := b.now.File(p)
	_, wasOurs := b.was.File(p)
	switch {
	case ours || wasOurs:
		b.add(Restore{Path: p, Backup: b.r.copies[p], Syntax: syntaxOf(p)})
	case b.has("line:" + p):
		return b.line(p)
	case b.has("block:" + p):
		return b.block(p)
	case b.has("file:" + p): // a file task that owns no file
		return b.rules(p)
	default:
		b.add(Restore{Path: p, Backup: b.r.copies[p], Syntax: syntaxOf(p)})
	}
	if ok, _ := path.Match("/etc/sysctl.d/*.conf", p); ok {
		return b.sysctl(p)
	}
	return nil
}

// line puts our line of a shared file back, or takes it out. Which line is ours
// the manifest's digest of it tells.
func (b *back) line(p string) error {
	now, err := b.f.File(p)
	if err != nil {
		return err
	}
	was, err := b.copy(p)
	if err != nil {
		return err
	}
	id := Line{Path: p}.ID()
	ours := func(content []byte) (string, bool) {
		for l := range strings.Lines(string(content)) {
			l = strings.TrimRight(l, "\n")
			if d := (Line{Path: p, Line: l}).Digest(); d == b.now.Tasks[id] || d == b.was.Tasks[id] {
				return l, true
			}
		}
		return "", false
	}
	has, is := ours(now.Content)
	had, then := ours(was.Content)
	switch {
	case then && (!is || had != has):
		if is {
			b.add(NoLine{Path: p, Line: has, Syntax: syntaxOf(p)})
		}
		b.add(Line{Path: p, Line: had, Mode: was.Mode, Syntax: syntaxOf(p)})
	case is && !then:
		b.add(NoLine{Path: p, Line: has, Syntax: syntaxOf(p)})
	}
	return nil
}

// block puts our block of a shared file back.
func (b *back) block(p string) error {
	was, err := b.copy(p)
	if err != nil {
		return err
	}
	content, m := blockOf(was.Content, b.now.Owner), was.Mode
	if !was.Exists {
		m = 0o600
	}
	b.add(Block{Path: p, Content: content, Mode: m, Syntax: syntaxOf(p), Owner: b.now.Owner})
	return nil
}

// blockOf gives what stands between an owner's markers.
func blockOf(text []byte, owner string) []byte {
	_, rest, ok := bytes.Cut(append([]byte("\n"), text...), []byte("\n"+BlockBegin(owner)+"\n"))
	if !ok {
		return nil
	}
	if bytes.HasPrefix(rest, []byte(BlockEnd+"\n")) {
		return nil
	}
	content, _, ok := bytes.Cut(rest, []byte("\n"+BlockEnd))
	if !ok {
		return nil
	}
	return append(content, '\n')
}

// rules puts our chains back, in the file and live.
func (b *back) rules(p string) error {
	was, err := b.copy(p)
	if err != nil {
		return err
	}
	s, err := iptables.Parse(was.Content)
	if err != nil {
		return fmt.Errorf("file %s: %w: %w", b.r.copies[p], ErrUnknown, err)
	}
	chains := s.Linked()
	b.add(RulesV4{Path: p, Chains: chains})
	if b.has(Firewall{}.ID()) {
		b.add(Firewall{Chains: chains})
	}
	return nil
}

// sysctl sets the live parameters to what the file says that comes back.
func (b *back) sysctl(p string) error {
	was, err := b.copy(p)
	if err != nil {
		return err
	}
	if !was.Exists {
		b.warn("the kernel parameters of %s stay as they are until the next boot", p)
		return nil
	}
	for l := range strings.Lines(string(was.Content)) {
		k, v, ok := strings.Cut(l, "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if id := (Sysctl{Key: k}).ID(); ok && b.has(id) {
			b.add(Sysctl{Key: k, Value: v})
		}
	}
	return nil
}

// services runs them with what comes back. One whose package came with what is
// taken back did not run before.
func (b *back) services() error {
	stopped := map[string]bool{}
	for _, pkg := range b.r.installed {
		id := "unit:" + pkg + ".service"
		_, now := b.now.Tasks[id]
		if _, was := b.was.Tasks[id]; now && !was {
			stopped[pkg+".service"] = true
			b.add(Stopped{Name: pkg + ".service"})
		}
	}
	started := map[string]bool{}
	for _, id := range sortedKeys(b.was.Tasks) {
		u, ok := strings.CutPrefix(id, "unit:")
		if _, now := b.now.Tasks[id]; !ok || now {
			continue
		}
		// an earlier rollback has stopped it
		config, err := b.config(u)
		if err != nil {
			return err
		}
		started[u] = true
		b.add(Unit{Name: u, Config: config, BootOnly: slices.Contains(b.r.layout.BootOnly, u)})
	}
	for _, u := range sortedKeys(b.r.layout.Restart) {
		config, err := b.config(u)
		if err != nil {
			return err
		}
		s, err := b.f.Unit(u)
		if err != nil {
			return err
		}
		if len(config) > 0 && s.Active == "active" && !stopped[u] && !started[u] {
			b.add(Unit{Name: u, Config: config})
		}
	}
	if b.has(IPsec{}.ID()) {
		return b.ipsec(stopped[b.r.layout.IPsecUnit])
	}
	return nil
}

// config gives the files of a unit that come back, with the digest they will have.
func (b *back) config(unit string) (map[string]string, error) {
	var out map[string]string
	for _, p := range b.r.layout.Restart[unit] {
		if _, changed := b.r.copies[p]; !changed {
			continue
		}
		sum, err := b.sum(p)
		if err != nil {
			return nil, err
		}
		if sum != "" {
			if out == nil {
				out = map[string]string{}
			}
			out[p] = sum
		}
	}
	return out, nil
}

// ipsec loads the conns that were ours then.
func (b *back) ipsec(stopped bool) error {
	var conns []Conn
	for _, f := range b.was.Files {
		name, ok := strings.CutSuffix(strings.TrimPrefix(f.Path, b.r.layout.ConnDir), ".conf")
		if !ok || !strings.HasPrefix(f.Path, b.r.layout.ConnDir) || strings.Contains(name, "/") {
			continue
		}
		c := Conn{Name: name, Conf: f.Path, Secrets: b.r.layout.ConnDir + name + ".secrets", Initiates: b.r.layout.Initiates}
		var err error
		if c.ConfSHA, err = b.sum(c.Conf); err != nil {
			return err
		}
		if c.SecretsSHA, err = b.sum(c.Secrets); err != nil {
			return err
		}
		conns = append(conns, c)
		content, err := b.then(c.Conf)
		if err != nil {
			return err
		}
		if t, ok := tunnelOf(name, content); ok {
			b.out.Tunnels = append(b.out.Tunnels, t)
		}
	}
	if !stopped {
		b.add(IPsec{Unit: b.r.layout.IPsecUnit, Conns: conns})
	}
	return nil
}

// then is what a file will hold when the host is back.
func (b *back) then(p string) ([]byte, error) {
	var s FileState
	var err error
	if _, changed := b.r.copies[p]; changed {
		s, err = b.copy(p)
	} else {
		s, err = b.f.File(p) // the probe brings whatever the manifest has
	}
	return s.Content, err
}

func (b *back) sum(p string) (string, error) {
	content, err := b.then(p)
	if err != nil || content == nil {
		return "", err
	}
	return SHA256(content), nil
}

// tunnelOf reads the selectors of a conn of ours (ipsec.conf(5)); one without,
// such as that of the L2TP clients, is no tunnel.
func tunnelOf(name string, conf []byte) (strongswan.Tunnel, bool) {
	v := map[string]string{}
	for l := range strings.Lines(string(conf)) {
		if k, val, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			v[k] = val
		}
	}
	nets := func(k string) []string {
		ns := strings.Split(v[k], ",")
		slices.Sort(ns)
		return ns
	}
	t := strongswan.Tunnel{
		Conn: name, LocalID: strings.TrimPrefix(v["leftid"], "@"), PeerID: strings.TrimPrefix(v["rightid"], "@"),
		Local: nets("leftsubnet"), Remote: nets("rightsubnet"),
	}
	t.Peer = t.PeerID
	return t, v["leftsubnet"] != "" && v["rightsubnet"] != ""
}
