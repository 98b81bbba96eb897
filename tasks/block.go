package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// Block wants a marked block in a shared file; an empty Content wants it gone.
// Everything outside of the markers is kept byte for byte.
type Block struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	Syntax  mask.Syntax
	Owner   string
}

// ID implements Task.
func (t Block) ID() string { return "block:" + t.Path }

// Reads implements Task.
func (t Block) Reads() []Read { return []Read{{Kind: ReadFile, Arg: t.Path}} }

// Record implements Recorder.
func (t Block) Record(*Entry, Facts) Entry {
	if len(t.Content) == 0 {
		return Entry{} // it wants something gone
	}
	return Entry{Kind: kindBlock, Path: t.Path, Syntax: t.Syntax}
}

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
	c := sharedChange(t.ID(), t.Path, t.Mode, t.Syntax, s, want, Step{Phase: PhaseFiles, Shell: shell, Stdin: secret.New(string(t.Content))})
	if len(t.Content) == 0 {
		c.Action = Delete // of the block
	}
	return c, nil
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

// ActualDigest implements Actual: of our part of the file.
func (t Block) ActualDigest(f Facts) (string, error) {
	s, err := f.File(t.Path)
	if err != nil {
		return "", err
	}
	return Block{Path: t.Path, Content: t.find(s.Content)}.Digest(), nil
}

// find returns what stands between our markers.
func (t Block) find(content []byte) []byte {
	_, rest, ok := cutLine(content, BlockBegin(t.Owner))
	if !ok {
		return nil
	}
	block, _, ok := cutLine(rest, BlockEnd)
	if !ok {
		return []byte("it does not end")
	}
	return block
}

// cutLine cuts content at a line of its own.
func cutLine(content []byte, line string) (before, after []byte, ok bool) {
	at := 0
	for l := range bytes.Lines(content) {
		if string(bytes.TrimSuffix(l, []byte("\n"))) == line {
			return content[:at], content[at+len(l):], true
		}
		at += len(l)
	}
	return content, nil, false
}

// blockOut takes our block out of a file.
func blockOut(e Entry, h Leaving) ([]Task, error) {
	return []Task{Block{Path: e.Path, Mode: 0o600, Syntax: e.Syntax, Owner: h.Owner}}, nil
}

// blockBack puts our block of then back. The rest of the file stays as its other owners
// have made it since.
func blockBack(e Entry, _, _ *Entry, r Rewind) ([]Task, error) {
	if !r.changed(e.Path) {
		return nil, nil
	}
	s, err := r.Then(e.Path)
	if err != nil {
		return nil, err
	}
	b := Block{Path: e.Path, Mode: s.Mode, Syntax: e.Syntax, Owner: r.Owner}
	if !s.Exists {
		b.Mode = 0o600
	}
	// what does not pair up there is refused by Edit, and never taken for no block
	if _, err := b.Edit(s.Content); err != nil {
		return nil, fmt.Errorf("the backup of %s: %w: %w", e.Path, ErrUnknown, err)
	}
	b.Content = b.find(s.Content)
	return []Task{b}, nil
}
