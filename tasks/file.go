package tasks

import (
	"archive/tar"
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io/fs"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// File wants a whole file that vpnpush owns.
type File struct {
	Path    string
	Content []byte // text, ends in a newline; its first line is the marker (see Marker)
	Mode    fs.FileMode
	Syntax  mask.Syntax // how to mask it when it is shown
	Owner   string      // the inventory's ID, as in the marker
	Adopt   bool        // replace a foreign file
	// Package is the package that ships the file as a conffile, if one does: a
	// copy nobody has touched since the installation is not a conflict.
	Package string
}

// ID implements Task.
func (t File) ID() string { return "file:" + t.Path }

// Reads implements Task.
func (t File) Reads() []Read {
	r := []Read{{Kind: ReadFile, Arg: t.Path}, {Kind: ReadFile, Arg: ManifestPath}}
	if t.Package != "" {
		r = append(r, Read{Kind: ReadPackage, Arg: t.Package}, Read{Kind: ReadConffile, Arg: t.Path})
	}
	return r
}

// ActualDigest implements Actual.
func (t File) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	if !s.Exists || s.Owner != "root:root" {
		return digest(t.Path, "not as any apply leaves it"), nil
	}
	return File{Path: t.Path, Mode: s.Mode, Content: s.Content}.Digest(), nil
}

// Record implements Recorder.
func (t File) Record(had *Entry, f Facts) Entry {
	e := Entry{Kind: kindFile, Path: t.Path, SHA256: SHA256(t.Content), Mode: t.Mode, Syntax: t.Syntax}
	if had != nil {
		e.First = had.First
	} else if s, err := f.File(t.Path); err == nil && s.Exists && markedBy(s.Content) == "" {
		e.First = firstDir + t.Path
	}
	return e
}

// Digest implements Digester.
func (t File) Digest() string { return digest(t.Path, fmt.Sprint(t.Mode), string(t.Content)) }

// Check implements Task.
func (t File) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	m, err := ReadManifest(f)
	if err != nil {
		return nil, err
	}
	// a hub has thousands of files, and nearly all are as they are wanted
	if s.Exists && s.Type == tar.TypeReg && bytes.Equal(s.Content, t.Content) && s.Mode == t.Mode && s.Owner == "root:root" {
		return nil, nil
	}
	c := &Change{
		Task: t.ID(), Action: Create, Backups: []string{t.Path},
		Pre: []Precondition{{Path: t.Path, SHA256: s.SHA256()}},
		Do:  []Step{Put(t.Path, t.Mode, t.Content)},
	}
	if !s.Exists {
		c.Attrs = []Attr{contentAttr(t.Syntax, nil, t.Content), {Name: "mode", New: mode(t.Mode)}}
		return c, nil
	}
	c.Action = Update
	if s.Type != tar.TypeReg {
		c.Blocked, c.Mend = "it is not a regular file", "look at it on the host, and move it away"
		return c, nil
	}
	if !bytes.Equal(s.Content, t.Content) {
		c.Attrs = append(c.Attrs, contentAttr(t.Syntax, s.Content, t.Content))
	}
	if s.Mode != t.Mode {
		c.Attrs = append(c.Attrs, Attr{Name: "mode", Old: mode(s.Mode), New: mode(t.Mode)})
	}
	if s.Owner != "root:root" {
		c.Attrs = append(c.Attrs, Attr{Name: "owner", Old: []byte(s.Owner), New: []byte("root:root")})
	}
	listed := m.Owns(t.Path)
	if !listed && markedBy(s.Content) == "" {
		// somebody else's: it comes back when ours goes
		first := firstDir + t.Path
		c.Backups = append(c.Backups, first)
		c.Do = append([]Step{{Phase: PhaseFiles, Shell: "keep_first " + transport.Quote(t.Path) + " " + transport.Quote(first)}}, c.Do...)
	}
	by := markedBy(s.Content)
	switch {
	case by != "" && by != t.Owner:
		c.Blocked = fmt.Sprintf("it belongs to the inventory %q, this one is %q", by, t.Owner)
		c.Mend = "apply with the other inventory, or set `id` in this one"
	case listed || by == t.Owner || t.Adopt:
	case t.pristine(f, s):
		c.Note = "as the package " + t.Package + " shipped it"
	default:
		c.Blocked = "a file stands there that vpnpush did not write"
		c.Mend = "look at the diff; `vpnpush apply --adopt` backs it up and replaces it"
	}
	return c, nil
}

// pristine reports whether nobody has touched the file since its package
// brought it (dpkg's MD5 of the conffile, dpkg-query(1) ${Conffiles}).
func (t File) pristine(f Facts, s FileState) bool {
	if t.Package == "" {
		return false
	}
	p, err := f.Package(t.Package)
	if err != nil || !p.Installed {
		return false
	}
	sum := md5.Sum(s.Content)
	return p.Conffiles[t.Path] == hex.EncodeToString(sum[:])
}

// Absent wants a file of ours gone that nothing wants any more, and in its place what
// stood there before vpnpush came. It takes away only what the manifest has, carries
// our marker, and was not edited since.
type Absent struct {
	Path, SHA256, Owner string
	First               string // the copy of what stood there; "" for nothing
	Syntax              mask.Syntax
	Adopt               bool // also when it was edited
}

// Adopt lets the tasks among ts replace files that vpnpush did not write, delete those
// of ours that were edited since, and take out foreign keys and what an admin wrote by hand
// that does what ours do.
func Adopt(ts []Task) {
	for i, t := range ts {
		switch t := t.(type) {
		case File:
			t.Adopt = true
			ts[i] = t
		case Absent:
			t.Adopt = true
			ts[i] = t
		case ForeignKeys:
			t.Adopt = true
			ts[i] = t
		case TakeOut:
			t.Adopt = true
			ts[i] = t
		}
	}
}

// ID implements Task.
func (t Absent) ID() string { return "file:" + t.Path }

// Reads implements Task.
func (t Absent) Reads() []Read {
	r := []Read{{Kind: ReadFile, Arg: t.Path}}
	if t.First != "" {
		r = append(r, Read{Kind: ReadFile, Arg: t.First})
	}
	return r
}

// Check implements Task.
func (t Absent) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil || !s.Exists {
		return nil, err
	}
	c := &Change{
		Task: t.ID(), Action: Delete, Backups: []string{t.Path},
		Attrs: []Attr{contentAttr(t.Syntax, s.Content, nil)},
		Pre:   []Precondition{{Path: t.Path, SHA256: s.SHA256()}},
		Do:    []Step{{Phase: PhaseFiles, Shell: "rm -f -- " + transport.Quote(t.Path)}},
	}
	if t.First != "" {
		was, err := f.File(t.First)
		if err != nil {
			return nil, err
		}
		if was.Exists {
			c.Note = "what stood there before vpnpush comes back"
			c.Attrs = []Attr{contentAttr(t.Syntax, s.Content, was.Content)}
			c.Backups = append(c.Backups, t.First)
			c.Do = []Step{{Phase: PhaseFiles, Shell: "put_first " + transport.Quote(t.Path) + " " + transport.Quote(t.First)}}
		}
	}
	switch {
	case t.Adopt:
	case markedBy(s.Content) != t.Owner:
		c.Blocked = "the line that marks it as ours is gone"
	case s.SHA256() != t.SHA256:
		c.Blocked = "it was edited on the host since vpnpush wrote it"
	}
	if c.Blocked != "" {
		c.Mend = "look at the diff; `vpnpush apply --adopt` backs it up and deletes it"
	}
	return c, nil
}

// fileOut deletes a whole file of ours.
func fileOut(e Entry, h Leaving) ([]Task, error) {
	return []Task{Absent{Path: e.Path, SHA256: e.SHA256, Owner: h.Owner, First: e.First, Syntax: e.Syntax}}, nil
}

// fileBack puts the whole file back that the backup has, and the copy of what stood
// there before it, which may have been used up since.
func fileBack(e Entry, _, was *Entry, r Rewind) ([]Task, error) {
	var out []Task
	if backup, changed := r.Copy(e.Path); changed {
		out = append(out, Restore{Path: e.Path, Backup: backup, Syntax: e.Syntax})
	}
	if was == nil || was.First == "" {
		return out, nil
	}
	if backup, changed := r.Copy(was.First); changed {
		out = append(out, Restore{Path: was.First, Backup: backup, Syntax: e.Syntax})
	}
	return out, nil
}

// Put returns the step that writes a file, owned by root.
func Put(path string, m fs.FileMode, content []byte) Step {
	return Step{Phase: PhaseFiles, Shell: fmt.Sprintf("put %s %s root:root", transport.Quote(path), mode(m)), Stdin: secret.New(string(content))}
}

func contentAttr(s mask.Syntax, old, new []byte) Attr {
	o, n := mask.Pair(s, old, new)
	return Attr{Name: "content", Old: o, New: n}
}

func mode(m fs.FileMode) []byte { return fmt.Appendf(nil, "%04o", m) }

// digest is one hash over several strings, none running into the next.
func digest(parts ...string) string {
	return SHA256(fmt.Appendf(nil, "%q", parts))
}
