package tasks

import (
	"archive/tar"
	"bytes"
	"fmt"

	"github.com/vpnpush/vpnpush/tasks/mask"
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
		Task: t.ID(), Action: Update, Backups: []string{t.Path},
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
		return nil, transport.WithHint(fmt.Errorf("file %s: the backup of %s is not there", t.Backup, t.Path), "somebody has taken it away: go back to a later apply, which `vpnpush history` lists, or put the file right by hand")
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
