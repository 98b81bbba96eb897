package roles

import (
	"fmt"
	"io/fs"

	"github.com/vpnpush/vpnpush/tasks"
)

// RenderedFile is a file as it would land on a bare host. It may hold secrets:
// no verb prints its content.
type RenderedFile struct {
	Path    string
	Mode    fs.FileMode
	Content []byte
}

// Format keeps Content out of any print.
func (r RenderedFile) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "{%s %04o %d bytes}", r.Path, r.Mode, len(r.Content))
}

// editor is a task that keeps a part of a file.
type editor interface {
	// Edit returns what the file is to be, given what it is.
	Edit(old []byte) ([]byte, error)
}

// Render returns every file of a host as it would land on a bare one, without
// looking at any host. Of a file shared with others it is our part.
func (h Host) Render() ([]RenderedFile, error) {
	ts, err := h.tasks(h.backend(tasks.Facts{}), h.tunnels())
	if err != nil {
		return nil, err
	}
	var out []RenderedFile
	for _, t := range ts {
		var r RenderedFile
		switch t := t.(type) {
		case tasks.File:
			r = RenderedFile{t.Path, t.Mode, t.Content}
		case tasks.Line:
			r = RenderedFile{Path: t.Path, Mode: t.Mode}
		case tasks.Block:
			r = RenderedFile{Path: t.Path, Mode: t.Mode}
		default:
			continue
		}
		if e, ok := t.(editor); ok {
			if r.Content, err = e.Edit(nil); err != nil {
				return nil, fmt.Errorf("render %s: %w", r.Path, err)
			}
		}
		if len(r.Content) > 0 {
			out = append(out, r)
		}
	}
	if h.filter.render != nil {
		out = append(out, h.filter.render(h.policy(h.tunnels()))...)
	}
	return out, nil
}
