package tasks

import (
	"archive/tar"
	"io/fs"

	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Files that are shared with others are edited on the host by the script, not replaced
// by content made here: on a bare host the package that is about to be installed
// brings the file, after the plan was made. The edit here and the edit there are the
// same; a test runs both.

func sharedChange(id, path string, m fs.FileMode, syn mask.Syntax, s FileState, want []byte, do ...Step) *Change {
	c := &Change{
		Task: id, Action: Update, Backups: []string{path}, Do: do,
		Pre: []Precondition{{Path: path, SHA256: s.SHA256()}},
	}
	if s.Exists {
		c.Attrs = []Attr{contentAttr(syn, s.Content, want)}
		if s.Type != tar.TypeReg {
			c.Blocked, c.Mend = "it is not a regular file", "look at it on the host, and put a file in its place"
		}
		return c
	}
	c.Action = Create
	c.Attrs = []Attr{contentAttr(syn, nil, want), {Name: "mode", New: mode(m)}}
	return c
}
