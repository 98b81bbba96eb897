package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// coupled parts the sites into those that have to be applied together with the
// hub and the others. Together go those whose tunnel is the way to them, when
// both of its ends change, and those that get a new key.
func coupled(hubs, sites []*attempt) (with, others []*attempt) {
	for _, site := range sites {
		both := len(hubs) == 1 && site.hp.Result == Changed && hubs[0].hp.Result == Changed
		if both && (site.h.InTunnel || newKey(site, hubs[0])) {
			with = append(with, site)
		} else {
			others = append(others, site)
		}
	}
	return with, others
}

// newKey reports whether a plan changes the key of a site's tunnel on both of its ends.
func newKey(site, hub *attempt) bool {
	return updates(site.hp, site.h.keys(site.hp.Facts)[hub.hp.Name]) && updates(hub.hp, hub.h.keys(hub.hp.Facts)[site.h.Name])
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
		keys := h.keys(hp.Facts)
		for _, peer := range slices.Sorted(maps.Keys(keys)) {
			if ready(peer) || !updates(hp, keys[peer]) || h.Leave || h.Rollback != nil {
				continue
			}
			if e.held[h.Name] == nil {
				e.held[h.Name] = map[string]bool{}
			}
			e.held[h.Name][keys[peer]] = true
		}
		if len(e.held[h.Name]) == 0 {
			continue
		}
		again := e.check(h, HostPlan{Name: hp.Name, Role: hp.Role, Facts: hp.Facts, Took: hp.Took})
		for _, peer := range slices.Sorted(maps.Keys(keys)) {
			if e.held[h.Name][keys[peer]] && !updates(&again, keys[peer]) {
				again.Warnings = append(again.Warnings,
					fmt.Sprintf("the new key of the tunnel to %s waits: %s does not get it in this run", peer, peer))
			}
		}
		*hp = again
	}
}

// together applies to the hub and to the sites that are coupled with it as one: all
// are armed and changed, then all are looked at, and only when every one is good are
// they kept. If one is not, all put back what was there: a hub that kept the new end of
// a tunnel whose site went back to the old one would lock us out of that site.
func (e *Engine) together(ctx context.Context, hub *attempt, sites []*attempt) {
	start := time.Now()
	// The hub waits while the sites are at work.
	confirm := e.confirmTimeout() + guardSlack
	try := func(a *attempt) {
		a.begin(ctx, confirm)
		if a.armed {
			a.verify(ctx)
		}
	}
	try(hub)
	rest := sites
	if hub.armed && !e.NoCanary {
		try(sites[0])
		rest = sites[1:]
	}
	if hub.armed && (e.NoCanary || sites[0].armed) {
		e.each(ctx, len(rest), func(i int) { try(rest[i]) })
	}

	all := append([]*attempt{hub}, sites...)
	if allArmed(all) {
		// From the first confirmation on there is no way back for one alone:
		// every host gets its whole time again, and no Ctrl-C comes between.
		for _, a := range all {
			if err := a.extend(ctx, confirm); err != nil {
				a.revert(ctx, fmt.Errorf("keep it armed: %w", err))
				break
			}
		}
	}
	if allArmed(all) {
		keepTogether(ctx, hub, sites, confirm)
	} else {
		why := putBackWith(firstFailed(all))
		undo := func(a *attempt) {
			if a.armed {
				a.revert(ctx, why)
			}
		}
		// The sites first: once the hub is back, their new ends have no way out.
		// What a site cannot be told it does by itself.
		sideBySide(sites, undo)
		undo(hub)
	}
	for _, a := range all {
		if !a.begun {
			a.fail(Skipped, errors.New("not tried: another host that it must change together with failed"))
			continue
		}
		a.done(start)
	}
}

// keepTogether confirms sites, and the hub as soon as one of them is kept: that one has
// no way back then, and the hub's time must not be up while it waits for another. Where
// no site is kept the hub is put back, since none has the new end of its tunnel.
func keepTogether(ctx context.Context, hub *attempt, sites []*attempt, limit time.Duration) {
	within := func(f func(context.Context)) { // no Ctrl-C comes between
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		f(ctx)
	}
	kept := make(chan bool, len(sites))
	var wg sync.WaitGroup
	for _, site := range sites {
		wg.Go(func() {
			within(site.keep)
			kept <- site.confirmed
		})
	}
	one := false
	for range sites {
		if one = <-kept; one {
			break
		}
	}
	if one {
		within(hub.keep)
	} else {
		within(func(ctx context.Context) { hub.revert(ctx, putBackWith(firstFailed(sites))) })
	}
	wg.Wait()
}

// putBackWith returns why a host is put back that did not fail itself.
func putBackWith(failed string) error {
	return fmt.Errorf("put back together with the other end of the tunnel, because %s failed", failed)
}

func allArmed(all []*attempt) bool {
	return !slices.ContainsFunc(all, func(a *attempt) bool { return !a.armed })
}

// firstFailed returns the name of the first host that was begun and did not come to be
// armed.
func firstFailed(all []*attempt) string {
	for _, a := range all {
		if a.begun && !a.armed {
			return a.h.Name
		}
	}
	return "it"
}

// sideBySide calls f for all attempts at once, and returns when every call has.
func sideBySide(all []*attempt, f func(*attempt)) {
	var wg sync.WaitGroup
	for _, a := range all {
		wg.Go(func() { f(a) })
	}
	wg.Wait()
}
