package roles

import (
	"bytes"
	"fmt"
	"io/fs"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
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

// editor is a task that keeps a part of a file: what the file is to be, given
// what it is.
type editor interface {
	Edit(old []byte) ([]byte, error)
}

// Render gives every file of a host as it would land on a bare one, without
// looking at any host. Of a file shared with others it is our part.
func Render(inv *inventory.Inventory, host string) ([]RenderedFile, error) {
	p, err := place(inv, host)
	if err != nil {
		return nil, err
	}
	ts, err := p.tasks()
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
		case tasks.RulesV4:
			r = RenderedFile{t.Path, 0o644, restorable(t.Chains)}
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
	return out, nil
}

// restorable is the own chains as iptables-restore(8) reads them. It names no
// policy: a host keeps the ones it has.
func restorable(chains []iptables.Chain) []byte {
	var b bytes.Buffer
	for i, c := range chains {
		if i == 0 || chains[i-1].Table != c.Table {
			fmt.Fprintf(&b, "*%s\n", c.Table)
			for _, d := range chains[i:] {
				if d.Table == c.Table {
					fmt.Fprintf(&b, ":%s - [0:0]\n", d.Name)
				}
			}
		}
		fmt.Fprintf(&b, "-A %s -j %s\n", c.From, c.Name)
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "-A %s %s\n", c.Name, r)
		}
		if i == len(chains)-1 || chains[i+1].Table != c.Table {
			b.WriteString("COMMIT\n")
		}
	}
	return b.Bytes()
}
