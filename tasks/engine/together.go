package engine

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// inTunnel parts the sites into those that have to be applied together with the
// hub, because their tunnel is the way to them and both of its ends change, and
// the others.
func (e *Engine) inTunnel(p *Plan, hosts map[string]Host, hubs, sites []int) (in, out []int) {
	for _, i := range sites {
		if hosts[p.Hosts[i].Name].InTunnel && p.Hosts[i].Result == Changed && len(hubs) == 1 && p.Hosts[hubs[0]].Result == Changed {
			in = append(in, i)
		} else {
			out = append(out, i)
		}
	}
	return in, out
}

// together applies to the hub and to sites that are reached through their
// tunnels as one: all are armed and changed, then all are looked at, and only
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
					a.end(e.revert(ctx, a.h, a.x, a.hr, fmt.Errorf("put back with the hub and the other sites that are reached through their tunnels, because %s failed", why)))
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
