package tasks

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Shared files are edited on the host by the script, not replaced by content
// made here: on a bare host the package that is about to be installed brings
// the file, after the plan was made. The edit here and the edit there are the
// same; a test runs both.

// ID implements Task.
func (t Line) ID() string { return "line:" + t.Path }

// Reads implements Task.
func (t Line) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Digest implements Digester.
func (t Line) Digest() string { return digest(t.Path, t.Line) }

// Check implements Task.
func (t Line) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	want := appendLine(s.Content, t.Line)
	if s.Exists && bytes.Equal(want, s.Content) {
		return nil, nil
	}
	shell := fmt.Sprintf("line %s %s %s", transport.Quote(t.Path), mode(t.Mode), transport.Quote(t.Line))
	return sharedChange(t.ID(), t.Path, t.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell}), nil
}

// Edit is what the file is to be, given what it is.
func (t Line) Edit(old []byte) ([]byte, error) { return appendLine(old, t.Line), nil }

func appendLine(old []byte, line string) []byte {
	for l := range strings.Lines(string(old)) {
		if strings.TrimRight(l, "\n") == line {
			return old
		}
	}
	return append(endLine(old), line+"\n"...)
}

// endLine copies b, ending its last line.
func endLine(b []byte) []byte {
	out := bytes.Clone(b)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out
}

// ID implements Task.
func (t Block) ID() string { return "block:" + t.Path }

// Reads implements Task.
func (t Block) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Digest implements Digester.
func (t Block) Digest() string { return digest(t.Path, string(t.Content)) }

// BlockBegin and BlockEnd are the lines around our part of a shared file.
func BlockBegin(owner string) string { return "# vpnpush begin owner=" + owner }

// BlockEnd is the line after our part of a shared file.
const BlockEnd = "# vpnpush end"

// Check implements Task.
func (t Block) Check(f Facts) (*Change, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return nil, err
	}
	want, err := t.Edit(s.Content)
	if err != nil {
		c := sharedChange(t.ID(), t.Path, t.Mode, t.Syntax, s, s.Content)
		c.Blocked, c.Mend = err.Error(), "look at the file on the host, and put the lines right"
		return c, nil
	}
	if bytes.Equal(want, s.Content) && (s.Exists || len(t.Content) == 0) {
		return nil, nil
	}
	shell := fmt.Sprintf("block %s %s %s %s", transport.Quote(t.Path), mode(t.Mode), transport.Quote(BlockBegin(t.Owner)), transport.Quote(BlockEnd))
	return sharedChange(t.ID(), t.Path, t.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell, Stdin: secret.New(string(t.Content))}), nil
}

// Edit is what the file is to be, given what it is.
func (t Block) Edit(old []byte) ([]byte, error) {
	var out []byte
	begin, state := BlockBegin(t.Owner), 0 // 0 before our block, 1 in it, 2 after
	block := func() {
		if len(t.Content) > 0 {
			out = append(out, begin+"\n"...)
			out = append(out, t.Content...)
			out = append(out, BlockEnd+"\n"...)
		}
	}
	for l := range strings.Lines(string(old)) {
		switch line := strings.TrimRight(l, "\n"); {
		case line == begin && state == 0:
			state = 1
			block()
		case line == BlockEnd && state == 1:
			state = 2
		case strings.HasPrefix(line, "# vpnpush begin"):
			return nil, fmt.Errorf("another block of vpnpush begins in it: %q", line)
		case line == BlockEnd:
			return nil, errors.New("a block of vpnpush ends in it that does not begin")
		case state != 1:
			out = append(out, l...)
		}
	}
	switch state {
	case 1:
		return nil, errors.New("the block of vpnpush in it does not end")
	case 0:
		if len(t.Content) > 0 {
			out = endLine(out)
		}
		block()
	}
	return out, nil
}

func sharedChange(id, path string, m fs.FileMode, syn mask.Syntax, s FileState, want []byte, do ...Step) *Change {
	c := &Change{
		Task: id, Action: Update, Backs: []string{path}, Do: do,
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
