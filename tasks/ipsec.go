package tasks

import (
	"path"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// ID implements Task.
func (t IPsec) ID() string { return "ipsec:loaded" }

// Reads implements Task.
func (t IPsec) Reads() []Read {
	r := []Read{{Kind: ReadUnit, Arg: t.Unit}, {Kind: ReadFile, Arg: loadedPath(t.Unit)}}
	for _, p := range sortedKeys(t.files()) {
		r = append(r, Read{Kind: ReadFile, Arg: p})
	}
	return append(r, SAReads()...)
}

// Digest implements Digester.
func (t IPsec) Digest() string {
	parts := []string{t.Unit}
	files := t.files()
	for _, p := range sortedKeys(files) {
		parts = append(parts, p, files[p])
	}
	return digest(parts...)
}

func (t IPsec) files() map[string]string {
	m := map[string]string{}
	for _, c := range t.Conns {
		m[c.Conf], m[c.Secrets] = c.ConfSHA, c.SecretsSHA
	}
	return m
}

// Check implements Task. What charon runs with cannot be read back in full, so
// what was loaded is noted on the host when it is; that a conn is known to
// charon at all, and that no other of ours is, is read from charon itself.
func (t IPsec) Check(f Facts) (*Change, error) {
	u, err := f.Unit(t.Unit)
	if err != nil {
		return nil, err
	}
	stale, err := notLoaded(f, u, t.files())
	if err != nil {
		return nil, err
	}
	known, err := LoadedConns(f)
	if err != nil {
		return nil, err
	}
	note, err := f.File(loadedPath(t.Unit))
	if err != nil {
		return nil, err
	}
	noted := map[string]bool{} // conns that were loaded by us
	for l := range strings.Lines(string(note.Content)) {
		if _, p, ok := strings.Cut(strings.TrimSpace(l), "  "); ok && path.Ext(p) == ".conf" {
			noted[strings.TrimSuffix(path.Base(p), ".conf")] = true
		}
	}

	c := &Change{Task: t.ID(), Action: Reload}
	var names, created, changed, gone []string
	for _, n := range t.Conns {
		names = append(names, n.Name)
		delete(noted, n.Name)
		switch had := slices.Contains(known, n.Name); {
		case !had:
			created = append(created, n.Name)
		case slices.Contains(stale, n.Conf) && n.Initiates:
			changed = append(changed, n.Name)
		}
	}
	gone = append(gone, sortedKeys(noted)...)
	if len(stale) == 0 && len(gone) == 0 && (len(created) == 0 || u.Active != "active") {
		return nil, nil
	}
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
	}
	unit := transport.Quote(t.Unit)
	c.Backs = []string{loadedPath(t.Unit)}
	c.Do = []Step{
		{Phase: PhaseServices, Shell: "old_sas=$(ike_sas" + quoteList(changed) + ")\nipsec_load " + unit + quoteList(sortedKeys(t.files()))},
		{Phase: PhaseVerify, Shell: "is_active " + unit + "\nconns_loaded" + quoteList(names)},
	}
	if len(changed) > 0 {
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "reopen_sas \"$old_sas\""})
	}
	if len(gone) > 0 {
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "take_down" + quoteList(gone)})
	}
	if len(t.Conns) == 0 { // ipsec_load notes files, and there are none
		c.Do = append(c.Do, Step{Phase: PhaseAfter, Shell: "rm -f -- " + transport.Quote(loadedPath(t.Unit))})
	}
	undo := "old_sas=$(ike_sas" + quoteList(changed) + ")\nipsec_load " + unit
	if len(created) > 0 {
		undo += "\ntake_down" + quoteList(created)
	}
	if len(changed) > 0 {
		undo += "\nreopen_sas \"$old_sas\" || :"
	}
	if u.Active != "active" {
		// one that did not run before, and does not start, leaves nothing to undo
		undo = "if systemctl --quiet is-active " + unit + "; then\n" + undo + "\nfi"
	}
	c.Undo = []Step{{Phase: PhaseServices, Shell: undo}}
	return c, nil
}
