package engine

import (
	"context"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
)

// Rollback makes an apply a rollback.
type Rollback struct {
	Before string   // the apply that is taken back
	After  []string // those that came after it, and are taken back with it

	plan *host.RollbackPlan
}

// Rollback returns h as a host on which Plan and Apply put back what stood before
// the apply txn, or before the last one when txn is "". It reads the host, and
// changes nothing. Result is how the host came out; it is OK also
// with an error, when there is nothing to go back to.
func (e *Engine) Rollback(ctx context.Context, h Host, txn string) (Host, Result, error) {
	f, res, err := e.facts(ctx, h, host.HistoryReads())
	if err != nil {
		return h, res, err
	}
	r, err := host.NewRollback(f, txn, h.Daemons)
	if err != nil {
		return h, OK, err
	}
	if f, res, err = e.facts(ctx, h, r.Reads()); err != nil {
		return h, res, err
	}
	p, err := r.Plan(f)
	if err != nil {
		return h, Failed, err
	}
	h.Reads = append(r.Reads(), tasks.SAReads()...)
	for _, t := range p.Tasks {
		if _, ok := t.(tasks.Restore); !ok {
			h.Reads = append(h.Reads, t.Reads()...)
		}
	}
	h.Tasks = func(tasks.Facts, tasks.Peers) ([]tasks.Task, error) { return p.Tasks, nil }
	h.Preflight = func(tasks.Facts) ([]error, []string) { return nil, p.Warnings }
	h.Tunnels = p.Tunnels
	h.Rollback = &Rollback{Before: r.Before, After: r.After, plan: p}
	return h, OK, nil
}

// manifest returns what the rollback leaves behind: what was there then, as a new
// generation.
func (b *Rollback) manifest(by string, now time.Time) *tasks.Manifest {
	m := *b.plan.Manifest
	m.Generation = b.plan.On + 1
	m.Applied, m.By = now.UTC().Truncate(time.Second), by
	return &m
}
