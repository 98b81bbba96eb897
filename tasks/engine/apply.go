package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// Apply makes the changes of a plan: the hub first, because its conns and
// secrets must be there before a site dials; then one site, the canary; then
// the others, Forks at a time. A failed hub or canary stops what comes after
// it; a failed site stops only itself. Every host comes out as it was or as
// planned. The error repeats the hosts' errors in the report's order.
func (e *Engine) Apply(ctx context.Context, p *Plan, hosts []Host) (*Report, error) {
	byName := map[string]Host{}
	for _, h := range hosts {
		byName[h.Name] = h
	}
	attempts := make([]*attempt, len(p.Hosts))
	for i := range p.Hosts {
		attempts[i] = e.newAttempt(byName[p.Hosts[i].Name], &p.Hosts[i])
	}
	e.inOrder(ctx, attempts)
	r := &Report{Hosts: make([]HostReport, len(attempts))}
	for i, a := range attempts {
		r.Hosts[i] = a.hr
	}
	return r, r.err()
}

func (r *Report) err() error {
	var all *multierror.Error
	for _, h := range r.Hosts {
		if h.Err != nil {
			all = multierror.Append(all, fmt.Errorf("%s: %w", h.Name, h.Err))
		}
	}
	return all.ErrorOrNil()
}

// inOrder runs the attempts, one after the other or side by side as Apply says.
func (e *Engine) inOrder(ctx context.Context, attempts []*attempt) {
	var hubs, sites []*attempt
	for _, a := range attempts {
		if a.hp.Role == tasks.RoleHub {
			hubs = append(hubs, a)
		} else {
			sites = append(sites, a)
		}
	}
	crossing := e.crossing(hubs, sites)
	for _, hub := range hubs {
		if crossing != nil {
			crossing.widen(ctx)
		} else {
			hub.run(ctx)
		}
		if !hub.good() {
			passOver(ctx, sites, "the hub %s comes first, and it is %s", hub.hp.Name, hub.hr.Result)
			return
		}
	}
	e.sites(ctx, sites)
	if crossing != nil {
		crossing.narrow(ctx)
	}
	changed := map[string]bool{} // sites whose tunnel was made anew in this run
	for _, s := range sites {
		changed[s.h.Name] = s.good() && (s.hr.Result == Changed || len(hubs) > 0 && hubs[0].hr.Result == Changed)
	}
	for _, hub := range hubs {
		hub.lookAgain(ctx, changed)
	}
}

// sites runs the attempts on sites: one first, and then the others.
func (e *Engine) sites(ctx context.Context, sites []*attempt) {
	if canary := slices.IndexFunc(sites, (*attempt).changes); canary >= 0 && !e.NoCanary && len(sites) > 1 {
		first := sites[canary]
		sites = slices.Delete(slices.Clone(sites), canary, canary+1)
		if first.run(ctx); !first.good() {
			passOver(ctx, sites, "the first site, %s, is %s", first.hp.Name, first.hr.Result)
			return
		}
	}
	e.each(ctx, len(sites), func(i int) { sites[i].run(ctx) })
}

// passOver ends attempts that are not made because of another host. A host that would
// not have been changed comes out as the plan found it.
func passOver(ctx context.Context, attempts []*attempt, why string, args ...any) {
	for _, a := range attempts {
		if a.hp.Result != Changed {
			a.run(ctx)
			continue
		}
		a.fail(Skipped, transport.WithHint(fmt.Errorf("not tried: "+why, args...), "mend that one, and apply again"))
	}
}

func (e *Engine) stopped() bool {
	select {
	case <-e.Stop:
		return true
	default:
		return false
	}
}

// defaultConfirm is the confirmation's time where the Engine does not set one.
const defaultConfirm = 60 * time.Second

func (e *Engine) confirmTimeout() time.Duration {
	if e.ConfirmTimeout == 0 {
		return defaultConfirm
	}
	return e.ConfirmTimeout
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
