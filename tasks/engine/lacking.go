package engine

import (
	"context"
	"fmt"
	"slices"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport"
)

// skipLacking skips those sites of a plan without the hub that would change although the
// hub lacks the other end of their tunnels, or could not be asked: their tunnels would not
// come up. A site whose end stays as it was, because the hub's does, is not one of them.
// The hub is asked once, and only where a site would change.
func (e *Engine) skipLacking(ctx context.Context, p *Plan) {
	dials := func(hp HostPlan) bool {
		return hp.Result == Changed && hp.peers[e.Hub.Name] != tasks.PeerUnread
	}
	if e.Hub == nil || !slices.ContainsFunc(p.Hosts, dials) {
		return
	}
	f, unasked := e.askHub(ctx)
	for i := range p.Hosts {
		hp := &p.Hosts[i]
		if !dials(*hp) {
			continue
		}
		err := unasked
		if err == nil {
			err = e.Hub.Lacks(f, hp.Name)
		}
		if err != nil {
			hp.Result, hp.Err, hp.Changes = Skipped, err, nil
		}
	}
}

// askHub reads what was last applied to the hub.
func (e *Engine) askHub(ctx context.Context) (tasks.Facts, error) {
	h := *e.Hub
	h.Reads = []tasks.Read{{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}, host.WorkRead}
	read := e.reach(ctx, h)
	e.drop(h.Name) // it is not asked again
	e.observe(Event{Host: h.Name, Stage: stageDone, Result: read.Result, Err: read.Err})
	if read.Err != nil {
		return tasks.Facts{}, transport.Hinted(fmt.Errorf("not tried: the hub %s, which comes first, could not be asked: %w", h.Name, read.Err),
			"mend that one, and run this again")
	}
	run, err := host.WorkFrom(read.Facts)
	if err == nil && run.Busy() {
		return tasks.Facts{}, transport.WithHint(fmt.Errorf("not tried: the hub %s comes first, and another run is at work there", h.Name), "wait for it to end, and run this again")
	}
	m, err2 := tasks.ReadManifest(read.Facts)
	for _, err := range []error{err, err2, e.owns(m)} {
		if err != nil {
			return tasks.Facts{}, transport.Hinted(fmt.Errorf("not tried: the hub %s comes first: %w", h.Name, err), "`vpnpush plan --limit %s` tells how it stands", h.Name)
		}
	}
	return read.Facts, nil
}
