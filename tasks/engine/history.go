package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport"
)

// History is what was done on a host.
type History struct {
	Name, Role string
	Entries    []HistoryEntry // the newest first
	// Pending names an apply that waits to be confirmed or put back.
	Pending string
}

// HistoryEntry is one apply, rollback or revert.
type HistoryEntry struct {
	host.Past
	Backup bool // what stood before is kept: rollback can go back to it
}

// History reads what was done on a host. Result is how reading it came out.
func (e *Engine) History(ctx context.Context, h Host) (*History, Result, error) {
	f, r, err := e.facts(ctx, h, append(host.HistoryReads(), tasks.Read{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}))
	if err != nil {
		return nil, r, err
	}
	past, err := host.History(f)
	if err != nil {
		return nil, Failed, err
	}
	backups, err := host.Backups(f)
	if err != nil {
		return nil, Failed, err
	}
	pending, err := f.File(host.PendingPath)
	if err != nil {
		return nil, Failed, err
	}
	out := &History{Name: h.Name, Role: h.Role, Pending: strings.TrimSpace(string(pending.Content))}
	kept := true // a rollback needs the backups of all that came later, too
	for _, p := range slices.Backward(past) {
		_, has := backups[p.Txn]
		if p.Stands() {
			kept = kept && has
		}
		out.Entries = append(out.Entries, HistoryEntry{Past: p, Backup: kept && has && p.Stands()})
	}
	return out, OK, nil
}

// facts reads something of a host, over its open connection where there is one.
func (e *Engine) facts(ctx context.Context, h Host, reads []tasks.Read) (tasks.Facts, Result, error) {
	h.Reads = reads
	read := e.reach(ctx, h)
	if read.Err != nil {
		return read.Facts, read.Result, read.Err
	}
	m, err := tasks.ReadManifest(read.Facts)
	if err != nil {
		return read.Facts, Failed, err
	}
	return read.Facts, OK, e.owns(m)
}

// owns returns an error where a host is of another inventory.
func (e *Engine) owns(m *tasks.Manifest) error {
	if m == nil || m.Owner == e.Owner {
		return nil
	}
	return transport.WithHint(
		fmt.Errorf("this machine belongs to the inventory %q (its host %q), this one is %q", m.Owner, m.Host, e.Owner),
		"apply with the inventory it belongs to; if it is this one under a new name, set `id = %q`", m.Owner)
}
