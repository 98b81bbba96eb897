package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// coupled parts the sites into those that have to be applied together with the
// hub and the others. Together go those whose tunnel is the way to them, when
// both of its ends change, and those that get a new key.
func (e *Engine) coupled(p *Plan, hosts map[string]Host, hubs, sites []int) (in, out []int) {
	for _, i := range sites {
		hp := &p.Hosts[i]
		both := len(hubs) == 1 && hp.Result == Changed && p.Hosts[hubs[0]].Result == Changed
		if both && (hosts[hp.Name].InTunnel || newKey(hosts[hp.Name], hp, &p.Hosts[hubs[0]], hosts[p.Hosts[hubs[0]].Name])) {
			in = append(in, i)
		} else {
			out = append(out, i)
		}
	}
	return in, out
}

// newKey tells whether a plan changes a key that stands on both ends.
func newKey(site Host, sp *HostPlan, hub *HostPlan, hubHost Host) bool {
	return updates(sp, site.Keys[hub.Name]) && updates(hub, hubHost.Keys[site.Name])
}

func updates(hp *HostPlan, task string) bool {
	return task != "" && slices.ContainsFunc(hp.Changes, func(c tasks.Change) bool { return c.Task == task && c.Action == tasks.Update })
}

// hold looks again at hosts that would get a new key although the other end of
// the tunnel does not get it in this run: it is not reached, cannot be changed,
// or was not asked for. The old key stays on both.
func (e *Engine) hold(p *Plan, hosts []Host) {
	e.held = map[string]map[string]bool{}
	plans := map[string]*HostPlan{}
	for i := range p.Hosts {
		plans[p.Hosts[i].Name] = &p.Hosts[i]
	}
	ready := func(name string) bool {
		hp := plans[name]
		return hp != nil && (hp.Result == OK || hp.Result == Changed) && len(hp.Blocked()) == 0
	}
	for _, h := range hosts {
		hp := plans[h.Name]
		for _, peer := range slices.Sorted(maps.Keys(h.Keys)) {
			if ready(peer) || !updates(hp, h.Keys[peer]) || h.Leave || h.Back != nil {
				continue
			}
			if e.held[h.Name] == nil {
				e.held[h.Name] = map[string]bool{}
			}
			e.held[h.Name][h.Keys[peer]] = true
		}
		if len(e.held[h.Name]) == 0 {
			continue
		}
		again := e.check(h, HostPlan{Name: hp.Name, Role: hp.Role, Facts: hp.Facts, Took: hp.Took})
		for _, peer := range slices.Sorted(maps.Keys(h.Keys)) {
			if e.held[h.Name][h.Keys[peer]] && !updates(&again, h.Keys[peer]) {
				again.Warnings = append(again.Warnings, fmt.Sprintf("the new key of the tunnel to %s waits: %s does not get it in this run", peer, peer))
			}
		}
		*hp = again
	}
}

// together applies to the hub and to coupled sites as one: all are armed and changed, then all are looked at, and only
// when every one is good are they kept. If one is not, all put back what was
// there: a hub that kept the new end of a tunnel whose site went back to the
// old one would lock us out of that site.
func (e *Engine) together(ctx context.Context, p *Plan, hosts map[string]Host, r *Report, is []int) {
	// The hub waits while the sites are at work.
	confirm := e.confirmTimeout() + guardSlack
	as := make([]*attempt, len(is))
	start := time.Now()
	begin := func(n int) {
		hp := &p.Hosts[is[n]]
		as[n] = e.begin(ctx, hosts[hp.Name], hp, confirm)
		if as[n].armed {
			e.verify(ctx, as[n])
		}
	}
	armed := func(n int) bool { return as[n] != nil && as[n].armed }
	all := func() bool {
		for n := range is {
			if !armed(n) {
				return false
			}
		}
		return true
	}
	begin(0) // the hub
	rest := is[1:]
	if armed(0) && !e.NoCanary {
		begin(1)
		rest = is[2:]
	}
	if armed(0) && (e.NoCanary || armed(1)) {
		skip := len(is) - len(rest)
		e.each(ctx, len(rest), func(n int) { begin(n + skip) })
	}
	if all() {
		// From the first confirmation on there is no way back for one alone:
		// every host gets its whole time again, and no Ctrl-C comes between.
		for _, a := range as {
			if err := e.extend(ctx, a, confirm); err != nil {
				a.end(e.revert(ctx, a.h, a.x, a.hr, fmt.Errorf("keep it armed: %w", err)))
				break
			}
		}
	}
	if all() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), confirm)
		defer cancel()
		// The sites first: while one of them waits, the hub does.
		var wg sync.WaitGroup
		for _, a := range as[1:] {
			wg.Go(func() { e.keep(ctx, a) })
		}
		wg.Wait()
		e.keep(ctx, as[0])
	} else {
		why := "it"
		for n := range is {
			if as[n] != nil && !as[n].armed {
				why = as[n].h.Name
				break
			}
		}
		// The sites first: once the hub is back, their new ends have no way out.
		// What a site cannot be told it does by itself.
		var wg sync.WaitGroup
		for n := len(is) - 1; n >= 0; n-- {
			if a := as[n]; a != nil && a.armed {
				undo := func() {
					a.end(e.revert(ctx, a.h, a.x, a.hr, fmt.Errorf("put back together with the other end of the tunnel, because %s failed", why)))
				}
				if n == 0 {
					wg.Wait()
					undo()
				} else {
					wg.Go(undo)
				}
			}
		}
		wg.Wait()
	}
	for n, i := range is {
		if as[n] == nil {
			hp := &p.Hosts[i]
			r.Hosts[i] = HostReport{Name: hp.Name, Role: hp.Role, Result: Skipped, Err: fmt.Errorf("not tried: another host that it must change together with failed"), Warnings: hp.Warnings}
			continue
		}
		r.Hosts[i] = as[n].hr
		r.Hosts[i].Took = time.Since(start)
		e.done(r.Hosts[i])
	}
}

// extend gives a host that is armed its whole time again.
func (e *Engine) extend(ctx context.Context, a *attempt, d time.Duration) error {
	if _, err := a.conn.Run(ctx, transport.Cmd{Script: a.x.Extend(d)}); err != nil {
		return err
	}
	a.deadline = time.Now().Add(d)
	return nil
}
