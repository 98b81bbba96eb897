package tasks

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// IPsec wants strongSwan to run with what the files say: it reloads conns and secrets
// that changed since they were loaded, takes down SAs of conns that changed or went,
// and reads the state back.
type IPsec struct {
	Daemon Daemon
	Conns  []Conn
}

// Conn is one conn of ours and the files that hold it.
type Conn struct {
	Name    string
	Conf    string // path
	Secrets string // path
	// ConfSHA and SecretsSHA are the digests that are wanted.
	ConfSHA, SecretsSHA string
	// Listed is how strongSwan lists it once it is loaded, as far as that is known, in
	// the words of Daemon's NAME_try. IKE are its proposals for IKE.
	Listed, IKE []string
	// Initiates tells a site's conn, which dials, from a hub's, which waits.
	Initiates bool
	// Gone says that the host at the other end is no more: what is up to it ends when a
	// conn that waits changes. One that dials is dialled anew in any case.
	Gone bool
	// Tunnel is what the conn is for; nil: it is for no site. Also is what it takes
	// besides, since the other end may have that (PeerEither).
	Tunnel, Also *strongswan.Tunnel
}

// ID implements Task.
func (t IPsec) ID() string { return "ipsec:loaded" }

// Reads implements Task.
func (t IPsec) Reads() []Read {
	r := []Read{{Kind: ReadUnit, Arg: t.Daemon.Unit}, {Kind: ReadFile, Arg: loadedPath(t.Daemon.Unit)}}
	for _, p := range sortedKeys(t.Loads()) {
		r = append(r, Read{Kind: ReadFile, Arg: p})
	}
	return append(r, SAReads()...)
}

// Record implements Recorder.
func (t IPsec) Record(*Entry, Facts) Entry {
	if len(t.Conns) == 0 {
		return Entry{} // it wants something gone
	}
	e := Entry{Kind: kindIPsec, Unit: t.Daemon.Unit, Daemon: t.Daemon.Name}
	for _, c := range t.Conns {
		e.Conns = append(e.Conns, ConnWas{Name: c.Name, Conf: c.Conf, Secrets: c.Secrets, Initiates: c.Initiates, Tunnel: c.Tunnel, Also: c.Also})
	}
	return e
}

// Digest implements Digester.
func (t IPsec) Digest() string {
	parts := []string{t.Daemon.Unit}
	files := t.Loads()
	for _, p := range sortedKeys(files) {
		parts = append(parts, p, files[p])
	}
	return digest(parts...)
}

// Loads returns the files that strongSwan must have read, with their digests.
func (t IPsec) Loads() map[string]string {
	m := map[string]string{}
	for _, c := range t.Conns {
		m[c.Conf], m[c.Secrets] = c.ConfSHA, c.SecretsSHA
	}
	return m
}

// Note returns the note of what is loaded, as note_loaded writes it.
func (t IPsec) Note() (path string, content []byte) {
	files := t.Loads()
	for _, p := range sortedKeys(files) {
		content = append(content, files[p]+"  "+p+"\n"...)
	}
	return loadedPath(t.Daemon.Unit), content
}

// Makes returns the IDs of the tasks that each conn stands on, by its name: that of the
// service, and those of its files.
func (t IPsec) Makes() (service string, files map[string][]string) {
	files = make(map[string][]string, len(t.Conns))
	for _, c := range t.Conns {
		files[c.Name] = []string{File{Path: c.Conf}.ID(), File{Path: c.Secrets}.ID()}
	}
	return Unit{Name: t.Daemon.Unit}.ID(), files
}

// Check implements Task. What charon runs with cannot be read back in full, so
// what was loaded is noted on the host when it is; that a conn is known to
// charon at all, and that no other of ours is, is read from charon itself.
func (t IPsec) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Daemon.Unit)
	if err != nil {
		return nil, err
	}
	stale, err := notLoaded(f, u, t.Loads())
	if err != nil {
		return nil, err
	}
	isStale := asSet(stale)
	loaded, err := LoadedConns(f)
	if err != nil {
		return nil, err
	}
	known := asSet(loaded)
	// What is not known is left alone; that it is not is told with the tunnels. A hub's
	// listing is long, and seldom asked for.
	outgrown := sync.OnceValue(func() map[string]bool { sas, _ := SAsFrom(f); return t.outgrown(sas) })
	note, err := f.File(loadedPath(t.Daemon.Unit))
	if err != nil {
		return nil, err
	}
	noted := map[string]bool{}             // conns of ours that are loaded
	if m, _ := ReadManifest(f); m != nil { // what was read at a boot is not in the note
		for _, name := range loaded {
			if m.Conn(name) != nil {
				noted[name] = true
			}
		}
	}
	for l := range strings.Lines(string(note.Content)) {
		if _, p, ok := strings.Cut(strings.TrimSpace(l), "  "); ok && t.Daemon.connOf(p) != "" {
			noted[t.Daemon.connOf(p)] = true
		}
	}

	c := &Change{Task: t.ID(), Action: Reload, Parts: []Part{PartUnits, t.Daemon.Part}}
	var names, created, changed, ended, gone []string
	for _, n := range t.Conns {
		names = append(names, n.Name)
		delete(noted, n.Name)
		// another daemon may run, with conns of these names
		switch had := u.Active == "active" && known[n.Name]; {
		case !had:
			created = append(created, n.Name)
		case n.Gone && !n.Initiates && (isStale[n.Conf] || isStale[n.Secrets]):
			ended = append(ended, n.Name)
		case isStale[n.Conf] && (n.Initiates || outgrown()[n.Name]):
			changed = append(changed, n.Name)
		}
	}
	gone = append(gone, sortedKeys(noted)...)
	takes := t.takes(f)
	if len(stale) == 0 && len(gone) == 0 && len(takes) == 0 && (len(created) == 0 || u.Active != "active") {
		return nil, nil
	}
	c.Attrs = takes
	for _, p := range stale {
		c.Attrs = append(c.Attrs, Attr{Name: path.Base(p), Old: []byte("not loaded"), New: []byte("loaded")})
	}
	for _, n := range created {
		if len(stale) == 0 {
			c.Attrs = append(c.Attrs, Attr{Name: "conn " + n, Old: []byte("not loaded"), New: []byte("loaded")})
		}
	}
	for _, n := range gone {
		c.Attrs = append(c.Attrs, Attr{Name: "conn " + n, Old: []byte("loaded"), New: []byte("taken down")})
		c.Ends = append(c.Ends, connWords(f, n))
	}
	for _, n := range ended {
		c.Ends = append(c.Ends, connWords(f, n)+" to a box that is gone")
	}
	c.Blinks = changed
	unit, d := transport.Quote(t.Daemon.Unit), t.Daemon.Name
	c.Backups = []string{loadedPath(t.Daemon.Unit)}
	noteSAs := "" // those that are to be made anew
	if len(changed) > 0 {
		noteSAs = "old_sas=$(" + d + "_sas" + quoteList(changed) + ")\n"
	}
	c.Do = []Step{
		{Phase: PhaseServices, Shell: noteSAs + d + "_load " + unit + quoteList(sortedKeys(t.Loads()))},
		{Phase: PhaseVerify, Shell: "is_active " + unit + "\n" + d + "_loaded " + unit + quoteList(names)},
	}
	if len(changed) > 0 {
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: d + "_reopen \"$old_sas\""})
	}
	if end := append(gone, ended...); len(end) > 0 {
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: d + "_down" + quoteList(end)})
	}
	if len(t.Conns) > 0 {
		c.Parts = append(c.Parts, PartTrial)
		c.Do = append([]Step{t.trial()}, c.Do...)
	} else { // files are noted when they are loaded, and there are none
		c.Action = Delete
		if dir := t.Daemon.folder(); dir != "" {
			c.Folders = []string{dir}
		}
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.Daemon.Unit))})
	}
	undo := noteSAs + d + "_load " + unit
	if len(created) > 0 {
		undo += "\n" + d + "_down" + quoteList(created)
	}
	if len(changed) > 0 {
		undo += "\n" + d + "_reopen \"$old_sas\" || :"
	}
	if u.Active != "active" {
		// one that did not run before, and does not start, leaves nothing to undo
		undo = "if systemctl --quiet is-active " + unit + "; then\n" + undo + "\nfi"
	}
	c.Undo = []Step{{Phase: PhaseServices, Shell: undo}}
	return c, nil
}

// connWords names a conn that was applied, for people.
func connWords(f Facts, conn string) string {
	if m, err := ReadManifest(f); err == nil {
		if was := m.Conn(conn); was != nil && was.Tunnel != nil {
			return "tunnel " + conn
		}
	}
	return "conn " + conn
}

// outgrown returns the conns that wait of which an SA carries something else than is
// wanted, though the other end has that already: what the two agreed on before stays up,
// and no rekeying widens it. While the hub takes both, the site ends it and dials.
func (t IPsec) outgrown(sas []strongswan.SA) map[string]bool {
	var want []strongswan.Tunnel
	for _, c := range t.Conns {
		if c.Tunnel != nil && c.Also == nil {
			want = append(want, *c.Tunnel)
		}
	}
	out := map[string]bool{}
	for _, st := range strongswan.CheckTunnels(sas, want) {
		out[st.Tunnel.Conn] = st.SAs > 0 && !st.Up
	}
	return out
}

// takes returns the conns that are to fit more, or less, of what the other end may have
// than they were applied with. Their files can be the same, where the one covers the
// other; the manifest is not.
func (t IPsec) takes(f Facts) []Attr {
	m, err := ReadManifest(f)
	if err != nil || m == nil {
		return nil // nothing was applied yet
	}
	both := func(also *strongswan.Tunnel) []byte {
		if also == nil {
			return []byte("one end")
		}
		return []byte("the new end and the old one")
	}
	var out []Attr
	for _, c := range t.Conns {
		if was := m.Conn(c.Name); was != nil && !reflect.DeepEqual(was.Also, c.Also) {
			out = append(out, Attr{Name: "conn " + c.Name + " fits", Old: both(was.Also), New: both(c.Also)})
		}
	}
	return out
}

// ipsecOut takes down what is up of ours, and lets charon forget it.
func ipsecOut(e Entry, h Leaving) ([]Task, error) {
	d, err := daemonOf(e, h.Daemons)
	return []Task{IPsec{Daemon: d}}, err
}

func daemonOf(e Entry, ds []Daemon) (Daemon, error) {
	i := slices.IndexFunc(ds, func(d Daemon) bool { return d.Name == e.Daemon })
	if i < 0 {
		return Daemon{}, transport.WithHint(fmt.Errorf("%w: strongSwan was run by %q here", ErrUnknown, e.Daemon), "a newer vpnpush has applied here: use that one")
	}
	return ds[i], nil
}

// ipsecBack loads the conns of then.
func ipsecBack(e Entry, now, was *Entry, r Rewind) ([]Task, error) {
	if was != nil {
		e = *was // another may have run it since
	}
	d, err := daemonOf(e, r.Daemons)
	if err != nil {
		return nil, err
	}
	t := IPsec{Daemon: d}
	if was == nil && r.newUnit(t.Daemon.Unit) {
		return nil, nil // it is stopped
	}
	if was != nil {
		for _, w := range was.Conns {
			c := Conn{Name: w.Name, Conf: w.Conf, Secrets: w.Secrets, Initiates: w.Initiates, Tunnel: w.Tunnel, Also: w.Also}
			if c.ConfSHA, err = r.digestThen(w.Conf); err != nil {
				return nil, err
			}
			if c.SecretsSHA, err = r.digestThen(w.Secrets); err != nil {
				return nil, err
			}
			t.Conns = append(t.Conns, c)
		}
	}
	return []Task{t}, nil
}
