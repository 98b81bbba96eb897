package engine

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// What both ends of a tunnel must agree on, its selectors, identities, proposals,
// addresses and key, is changed on both of them or on neither, and there is no moment
// between at which they do not fit together, whatever fails:
//
//  1. the hub is changed so that it takes what each of these sites has and what it is to
//     have, and is confirmed;
//  2. each site is changed, is seen to have its tunnel, and is confirmed, or puts back
//     what it had;
//  3. the hub is changed so that it takes of each site only what the site has now;
//  4. a site with a new key is changed so that it takes the old one no more.
//
// What an end takes is for roles to say (tasks.Peer).

// settle looks again at hosts that would get a new end of a tunnel although the other
// end does not get it in this run: it is not reached, cannot be changed, or was not asked
// for. Their ends stay as they are, and so does that of a site under a name which it has
// no more.
func (e *Engine) settle(p *Plan, hosts []Host) {
	plans := map[string]*HostPlan{}
	for i := range p.Hosts {
		plans[p.Hosts[i].Name] = &p.Hosts[i]
	}
	ready := func(name string) bool {
		hp := plans[name]
		return hp != nil && (hp.Result == OK || hp.Result == Changed) && len(hp.Blocked()) == 0
	}
	// all are looked at before one is planned anew: that one waits is no reason to wait
	waits := map[string]tasks.Peers{}
	wait := func(h Host, peer string, has tasks.Peer) {
		if waits[h.Name] == nil {
			waits[h.Name] = tasks.Peers{}
		}
		waits[h.Name][peer] = has
	}
	for _, h := range hosts {
		hp := plans[h.Name]
		if hp.settled {
			continue
		}
		if hp.Result == OK || hp.Result == Changed {
			hp.Warnings = append(hp.Warnings, h.goneUnchanged(hp)...)
		}
		if h.Leave || len(hp.Changes) == 0 {
			continue
		}
		for old, now := range h.renamed(hp.Facts) {
			if !ready(now) { // it knows itself by the old name
				wait(h, old, tasks.PeerUnread)
			}
		}
		pairs := h.pairs(hp)
		for _, peer := range slices.Sorted(maps.Keys(pairs)) {
			switch {
			case !slices.ContainsFunc(pairs[peer], updates): // there is no tunnel yet
			case h.Rollback != nil:
				hp.Warnings = append(hp.Warnings, fmt.Sprintf("the tunnel to %s changes, and %s is not rolled back with it: where both ends changed, roll back both", peer, peer))
			case slices.Contains(h.Gone, peer):
				wait(h, peer, tasks.PeerGone)
			case !ready(peer):
				wait(h, peer, tasks.PeerUnread)
			case h.InTunnel:
				hp.Warnings = append(hp.Warnings,
					"the way to this host is its own tunnel, and that changes: what was there comes back unless the host is reached again with the new one")
			}
		}
	}
	for _, h := range hosts {
		peers, hp := waits[h.Name], plans[h.Name]
		if len(peers) == 0 {
			continue
		}
		again := e.check(h, HostPlan{Name: hp.Name, Role: hp.Role, Facts: hp.Facts, Took: hp.Took, peers: peers})
		had, has, renamed := h.pairs(hp), h.pairs(&again), h.renamed(hp.Facts)
		for _, peer := range slices.Sorted(maps.Keys(peers)) {
			if now := renamed[peer]; now != "" {
				again.Warnings = append(again.Warnings,
					fmt.Sprintf("the tunnel to %s stays: that site is %s now, and does not get its new name in this run", peer, now))
			}
			if peers[peer] == tasks.PeerGone || reflect.DeepEqual(had[peer], has[peer]) {
				continue
			}
			says := fmt.Sprintf("the change of the tunnel to %s waits: %s does not get it in this run", peer, peer)
			if plans[peer] == nil {
				says += fmt.Sprintf("; both ends do with --limit %s,%s", h.Name, peer)
				says += fmt.Sprintf(", %s alone with --gone %s, if what was %s is no more", h.Name, peer, peer)
			}
			again.Warnings = append(again.Warnings, says)
		}
		*hp = again
	}
}

// settled reports whether nothing that is found of other hosts changes the plan of h, or
// adds a warning to it.
func (h Host) settled(hp *HostPlan) bool {
	switch {
	case len(h.Gone) > 0:
		return false
	case h.Leave || len(hp.Changes) == 0:
		return true
	case len(h.renamed(hp.Facts)) > 0:
		return false
	}
	for _, cs := range h.pairs(hp) {
		if slices.ContainsFunc(cs, updates) {
			return false
		}
	}
	return true
}

func updates(c tasks.Change) bool { return c.Action == tasks.Update }

// goneUnchanged returns a warning for each host that is gone and keeps its way in: nothing
// of its tunnel is to change.
func (h Host) goneUnchanged(hp *HostPlan) (warnings []string) {
	pairs := h.pairs(hp)
	for _, peer := range h.Gone {
		if h.Role == tasks.RoleHub && !slices.ContainsFunc(pairs[peer], updates) {
			warnings = append(warnings, fmt.Sprintf("nothing of the tunnel to %s changes here: if the box that is gone has the key of the inventory, it gets in; `vpnpush secret rotate %s` makes another", peer, peer))
		}
	}
	return warnings
}

// renamed returns the sites that have another name now than the host knows them by, by
// that name.
func (h Host) renamed(f tasks.Facts) map[string]string {
	if h.Renamed == nil || h.Leave || h.Rollback != nil {
		return nil
	}
	return h.Renamed(f)
}

// pairs returns the changes of what a host must have agreed on with the other ends of
// its tunnels, by their names.
func (h Host) pairs(hp *HostPlan) map[string][]tasks.Change {
	out := map[string][]tasks.Change{}
	if h.Pairs == nil || len(hp.Changes) == 0 {
		return out
	}
	peers := map[string][]string{} // by task
	for name, ids := range h.Pairs(hp.Facts) {
		for _, id := range ids {
			peers[id] = append(peers[id], name)
		}
	}
	for _, c := range hp.Changes {
		for _, name := range peers[c.Task] {
			out[name] = append(out[name], c)
		}
	}
	return out
}

// crossing is a change of tunnels on both of their ends while it is made.
type crossing struct {
	e     *Engine
	hub   *attempt
	sites []*attempt
	// renamed are the names by which the hub knows sites that have another one now.
	renamed map[string]*attempt
	// between are the sites of which the hub takes more than one end already, since an
	// earlier change of them did not come to its end.
	between map[*attempt]bool
	start   time.Time
}

// crossing returns the change of those tunnels that change on both ends, nil for none.
func (e *Engine) crossing(hubs, sites []*attempt) *crossing {
	if len(hubs) != 1 || !hubs[0].changes() || hubs[0].h.Leave || hubs[0].h.Rollback != nil {
		return nil
	}
	c := &crossing{e: e, hub: hubs[0], renamed: map[string]*attempt{}, between: map[*attempt]bool{}, start: time.Now()}
	had, _ := tasks.ReadManifest(c.hub.hp.Facts) // the plan has read it
	ours := c.hub.h.pairs(c.hub.hp)
	for _, s := range sites {
		if !s.changes() || s.h.Leave || s.h.Rollback != nil {
			continue
		}
		m, err := tasks.ReadManifest(s.hp.Facts)
		bare := err == nil && m == nil && s.hasNoTunnel()
		if len(ours[s.h.Name]) > 0 && len(s.h.pairs(s.hp)[c.hub.h.Name]) > 0 && !bare {
			c.sites = append(c.sites, s)
		}
		if err == nil && m != nil && m.Host != s.h.Name && had.Conn(m.Host) != nil {
			c.renamed[m.Host] = s
		}
	}
	if len(c.sites)+len(c.renamed) == 0 {
		return nil
	}
	if len(c.sites) > 0 {
		back, stay := c.hubWhere(tasks.PeerOld), c.hubWhere(tasks.PeerUnread)
		for _, s := range c.sites {
			c.between[s] = !reflect.DeepEqual(back[s.h.Name], stay[s.h.Name])
		}
	}
	return c
}

// hasNoTunnel reports whether a host is known to have no tunnel at all, not one that was made
// by hand either: where it was never applied to, there is nothing to be kept.
func (a *attempt) hasNoTunnel() bool {
	sas, err := tasks.SAsFrom(a.hp.Facts)
	return err == nil && len(sas) == 0
}

// hubWhere returns the changes of the hub's ends, by site, where each site of the crossing
// is has.
func (c *crossing) hubWhere(has tasks.Peer) map[string][]tasks.Change {
	a := c.attempt(c.hub.h, c.hub.hp.Facts, c.peers(func(*attempt) tasks.Peer { return has }))
	return a.h.pairs(a.hp)
}

// peers returns what the hub has to fit, with of for the sites of the crossing.
func (c *crossing) peers(of func(*attempt) tasks.Peer) tasks.Peers {
	peers := maps.Clone(c.hub.hp.peers)
	if peers == nil {
		peers = tasks.Peers{}
	}
	for _, s := range c.sites {
		peers[s.h.Name] = of(s)
	}
	for name, s := range c.renamed {
		if of(s) != tasks.PeerNew {
			peers[name] = tasks.PeerUnread
		}
	}
	return peers
}

// widen makes the first step: the hub takes what its sites have and what they are to
// have.
func (c *crossing) widen(ctx context.Context) {
	hub := c.hub
	peers := c.peers(func(*attempt) tasks.Peer { return tasks.PeerEither })
	wide := c.attempt(hub.h, hub.hp.Facts, peers)
	if wide.transact(ctx); !wide.good() {
		hub.hr = wide.hr
		hub.done(c.start)
		return
	}
	hub.hr, hub.x = wide.hr, wide.x
	hub.observe(host.StageConfirm, "waits for the sites")
	for _, s := range c.sites {
		first := c.attempt(s.h, s.hp.Facts, tasks.Peers{hub.h.Name: tasks.PeerEither})
		// A new key; or one that the site has already from an earlier change, and all that
		// is left to it is to forget the old one, which the hub still sends.
		if (first.changes() || first.hp.Result == OK) && !reflect.DeepEqual(first.hp.Changes, s.hp.Changes) {
			s.shown, s.hp, s.hr.Result = s.hp, first.hp, first.hp.Result
		}
	}
}

// attempt returns an attempt at what a host is to have where the other ends of its
// tunnels are peers.
func (c *crossing) attempt(h Host, f tasks.Facts, peers tasks.Peers) *attempt {
	hp := c.e.check(h, HostPlan{Name: h.Name, Role: h.Role, Facts: f, peers: peers})
	return c.e.newAttempt(h, &hp)
}

// withPeers returns h with the tunnels that it is to have while the other ends are peers.
// One that does not change is up with what it was applied with.
func (h Host) withPeers(f tasks.Facts, peers tasks.Peers) Host {
	if len(peers) == 0 {
		return h
	}
	m, _ := tasks.ReadManifest(f) // the plan has read it
	h.Tunnels = slices.Clone(h.Tunnels)
	if h.Role == tasks.RoleHub { // nobody is to bring up the one of a site that is gone
		h.Tunnels = slices.DeleteFunc(h.Tunnels, func(t strongswan.Tunnel) bool { return peers[t.Peer] == tasks.PeerGone })
	}
	for i, t := range h.Tunnels {
		has := peers[t.Peer]
		if h.Role == tasks.RoleSite && has == tasks.PeerEither {
			continue // the hub takes the new
		}
		was := m.Conn(t.Conn)
		switch {
		case has == tasks.PeerNew || has == tasks.PeerGone || was == nil || was.Tunnel == nil:
		case was.Also != nil && has != tasks.PeerUnread:
			h.Tunnels[i] = *was.Also
		default:
			h.Tunnels[i] = *was.Tunnel
		}
	}
	return h
}

// narrow makes what is left once the sites were tried: the hub takes only what each has
// now, and after it the sites do with their keys.
func (c *crossing) narrow(ctx context.Context) {
	defer func() { c.hub.done(c.start) }()
	hub := c.hub
	peers := c.peers(c.has)
	still := func(result Result, err error) {
		hub.fail(result.between(), transport.WithHint(fmt.Errorf("it still takes what its sites had before: %w", err),
			"every tunnel fits; `vpnpush apply` ends it"))
	}
	read := c.reachAgain(ctx, hub.h)
	if read.Err != nil {
		still(Failed, read.Err)
		return
	}
	last := c.attempt(hub.h, read.Facts, peers)
	if last.hp.Err != nil && last.h.Preflight != nil {
		// What would refuse it now, such as a disk that has filled, is nothing to a hub that
		// is as planned already.
		free := last.h
		free.Preflight = nil
		if done := c.attempt(free, read.Facts, peers); done.hp.Result == OK {
			last = done
		}
	}
	last.last, last.ends = true, hub.x.ID
	if last = c.end(ctx, last, peers); !last.good() {
		still(last.hr.Result, last.hr.Err)
		return
	}
	c.tell(peers, last)
	var keys []*attempt
	for _, s := range c.sites {
		if s.shown == nil {
			continue
		}
		s.hr.Changes = s.shown.Changes
		if s.good() {
			keys = append(keys, s)
		}
	}
	c.e.each(ctx, len(keys), func(i int) { c.forget(ctx, keys[i]) })
}

// end makes the last change of a host. Another apply may have made it meanwhile: then
// nothing is left to be done.
func (c *crossing) end(ctx context.Context, last *attempt, peers tasks.Peers) *attempt {
	if last.transact(ctx); last.hr.Result != Stale {
		return last
	}
	read := c.reachAgain(ctx, last.h)
	if read.Err != nil {
		return last
	}
	done := c.attempt(last.h, read.Facts, peers)
	if done.hp.Result != OK {
		return last
	}
	done.transact(ctx)
	return done
}

// reachAgain reads a host that was let in and changed a moment ago. One that is gone
// meanwhile, as for a reboot, is waited for: what it has it keeps.
func (c *crossing) reachAgain(ctx context.Context, h Host) HostFacts {
	for until := time.Now().Add(c.e.confirmTimeout()); ; sleep(ctx, time.Second) {
		read := c.e.reach(ctx, h)
		if read.Result != Unreachable || time.Now().After(until) {
			return read
		}
	}
}

// forget makes the last step on a site: it takes its old key no more.
func (c *crossing) forget(ctx context.Context, s *attempt) {
	read := c.reachAgain(ctx, s.h)
	err := read.Err
	result := Failed
	if err == nil {
		last := c.attempt(s.h, read.Facts, nil)
		last.last, last.ends = true, s.x.ID
		if last = c.end(ctx, last, nil); last.good() {
			if last.confirmed {
				s.hr.Result = Changed
			}
			return
		}
		result, err = last.hr.Result, last.hr.Err
	}
	s.fail(result.between(), transport.WithHint(fmt.Errorf("it still takes its old key besides the new one: %w", err), "`vpnpush apply` ends it"))
}

// tell makes the hub's report: what it was changed to in the end, with all steps in one.
func (c *crossing) tell(peers tasks.Peers, last *attempt) {
	hub := c.hub
	whole := c.e.check(hub.h, HostPlan{Name: hub.h.Name, Role: hub.h.Role, Facts: hub.hp.Facts, peers: peers})
	hub.h, hub.hr.Tunnels = last.h, last.hr.Tunnels
	if len(whole.Changes) > 0 {
		hub.hr.Result = Changed
	}
	hub.hr.Changes = whole.Changes
	for _, w := range last.hr.Warnings {
		if !slices.Contains(hub.hr.Warnings, w) { // each step finds the same
			hub.hr.Warnings = append(hub.hr.Warnings, w)
		}
	}
	for _, s := range c.sites {
		switch has := peers[s.h.Name]; {
		case has == tasks.PeerOld && len(whole.Changes) == 0:
			hub.fail(RolledBack, transport.WithHint(fmt.Errorf("put back together with the other end of the tunnel, because %s %s; the host stands as before", s.h.Name, s.hr.Result.told()),
				"mend %s, and apply to both again", s.h.Name))
			return
		case has == tasks.PeerOld:
			hub.hr.Warnings = append(hub.hr.Warnings, fmt.Sprintf("the tunnel to %s stays as it was, since %s %s", s.h.Name, s.h.Name, s.hr.Result.told()))
		case has == tasks.PeerEither:
			hub.hr.Warnings = append(hub.hr.Warnings, fmt.Sprintf("the hub takes what %s had and what it is to have, since %s %s", s.h.Name, s.h.Name, s.hr.Result.told()))
		}
	}
}

// has returns what a site has now. Where it has what it had before, and the hub took more
// than one end of it then, it may be any of them.
func (c *crossing) has(s *attempt) tasks.Peer {
	has := s.has()
	if has == tasks.PeerOld && c.between[s] {
		return tasks.PeerEither
	}
	return has
}

// between returns what r means for a host that stood between two steps when it came: only
// that it is not known stays so.
func (r Result) between() Result {
	if r == Unknown {
		return r
	}
	return Failed
}

// has returns what the attempt has left on its host.
func (a *attempt) has() tasks.Peer {
	switch {
	case a.confirmed, a.shown != nil && a.hp.Result == OK: // it had it before
		return tasks.PeerNew
	case a.torn, a.hr.Result == Unknown, a.hr.Result == Locked, a.hr.Result == Stale: // somebody else is at work there
		return tasks.PeerEither
	}
	return tasks.PeerOld
}

// told returns a result as the end of a sentence about its host.
func (r Result) told() string {
	switch r {
	case Failed:
		return string(r)
	case RolledBack:
		return "was rolled back"
	case Skipped:
		return "was skipped"
	}
	return "is " + string(r)
}
