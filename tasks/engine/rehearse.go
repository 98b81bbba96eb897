package engine

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Rehearsal is how the tunnels of a plan came out in twins of their hosts, on the hub.
type Rehearsal struct {
	Name string // the hub's
	// Result is OK where the hub could do it, and Err why it could not.
	Result Result
	Err    error
	// Stays says that the hub is not in the plan: its twin is as it is now.
	Stays bool
	// Unmade are the blocked changes of the hub's: the twin has what stands there.
	Unmade  []tasks.Change
	Version string // of strongSwan, that of the hub
	// UserSpace says that IPsec was strongSwan's own, not the kernel's.
	UserSpace bool
	// NoNAT is why there was no NAT between the twins, "" where there was.
	NoNAT string
	// Beside are what of the admin's own stands beside ours on the hub.
	Beside []string
	Sites  []SiteRehearsal
}

// SiteRehearsal is how a site's tunnel came out.
type SiteRehearsal struct {
	Name string
	Up   bool
	Took time.Duration
	// Tunnel is the site's end as it should come up.
	Tunnel strongswan.Tunnel
	// Ties are other conns of the hub's that fit the site's call as well as the one that
	// took it: which of them does is a matter of their order.
	Ties []string
	// Why is set where the tunnel was tried and is not up.
	Why *tasks.NotUp
	// Err is why the site was not tried.
	Err error
	// Unread is why the site was not looked at: its twin has what the inventory says.
	Unread error
}

// AllUp reports whether every tunnel came up, and whether each was tried as it is wanted.
func (r *Rehearsal) AllUp() (up, tried bool) {
	up, tried = true, r.Err == nil && len(r.Unmade) == 0
	for _, s := range r.Sites {
		tried = tried && s.Err == nil
		up = up && s.Why == nil
	}
	return up, tried
}

// Looked returns the plan of hosts with each as the inventory has it, whatever becomes of
// the others: what all of them are to be in the end.
func (e *Engine) Looked(ctx context.Context, hosts []Host) *Plan {
	p := &Plan{Hosts: make([]HostPlan, len(hosts))}
	e.each(ctx, len(hosts), func(i int) {
		p.Hosts[i] = e.planHost(ctx, hosts[i])
		e.observe(Event{Host: hosts[i].Name, Stage: stageDone, Result: p.Hosts[i].Result, Err: p.Hosts[i].Err})
	})
	return p
}

// Rehearse brings the hub and the sites of a plan up as twins on the hub. A hub that is
// not in the plan stays as it is. Nothing of a host is changed.
func (e *Engine) Rehearse(ctx context.Context, p *Plan, hosts []Host) *Rehearsal {
	plans := map[string]*HostPlan{}
	for i := range p.Hosts {
		plans[p.Hosts[i].Name] = &p.Hosts[i]
	}
	at := slices.IndexFunc(hosts, func(h Host) bool { return h.Role == tasks.RoleHub })
	hub := hosts[at]
	r := &Rehearsal{Name: hub.Name}
	hp := plans[hub.Name]
	if hp == nil {
		looked := e.planHost(ctx, hub)
		looked.Changes = nil
		hp, r.Stays = &looked, true
	}
	var sites []Host
	for _, h := range hosts {
		if h.Role == tasks.RoleSite {
			sites = append(sites, h)
			r.Sites = append(r.Sites, SiteRehearsal{Name: h.Name})
		}
	}
	e.rehearse(ctx, r, hub, hp, sites, plans)
	e.observe(Event{Host: hub.Name, Stage: stageDone, Result: r.Result, Err: r.Err})
	return r
}

// StageRehearse is the stage of the hub while twins are at work on it.
const StageRehearse = "rehearse"

func (e *Engine) rehearse(ctx context.Context, r *Rehearsal, hub Host, hp *HostPlan, sites []Host, plans map[string]*HostPlan) {
	if hp.Err != nil {
		r.Result, r.Err = hp.Result, hp.Err
		return
	}
	fail := func(err error) { r.Result, r.Err = Failed, err }
	r.Unmade = hp.Blocked()
	if hub.Beside != nil {
		r.Beside = hub.Beside(hp.Facts)
	}
	d := hub.daemon(hp.Facts)
	switch p, err := hp.Facts.Package(d.Package); {
	case err != nil:
		fail(err)
		return
	case !p.Installed:
		fail(transport.WithHint(fmt.Errorf("strongSwan (%s) is not installed yet: there is nothing to rehearse with", d.Package),
			"apply to the hub first: vpnpush apply --limit %s", hub.Name))
		return
	}
	hub = hub.withPeers(hp.Facts, hp.peers)
	x := host.Rehearsal{Daemon: d, Hub: host.RehearsedHub{Changes: slices.DeleteFunc(slices.Clone(hp.Changes), func(c tasks.Change) bool { return c.Blocked != "" })}}
	var tried []int
	for i, h := range sites {
		s := &r.Sites[i]
		sp := plans[h.Name]
		if sp == nil {
			sp = &HostPlan{}
		}
		if sp.Err != nil {
			// a box that nothing reaches yet can be rehearsed by what the inventory says
			if s.Unread = sp.Err; sp.Result != Unreachable && sp.Result != Skipped {
				s.Err = sp.Err
				continue
			}
		}
		if b := sp.Blocked(); len(b) > 0 {
			s.Err = transport.WithHint(fmt.Errorf("%s: %s", b[0].Task, b[0].Blocked), "%s", b[0].Mend)
			continue
		}
		h = h.withPeers(sp.Facts, sp.peers)
		twin, err := h.Twin(d, sp.Facts, sp.peers)
		if err != nil {
			s.Err = err
			continue
		}
		s.Tunnel = h.Tunnels[0]
		end := hubEnd(hub, h.Name)
		x.Hub.Local, x.Hub.Public = end.Hub, s.Tunnel.Hub
		for _, a := range tasks.Insides(end.Local) {
			if !slices.Contains(x.Hub.Inside, a) {
				x.Hub.Inside = append(x.Hub.Inside, a)
			}
		}
		x.Sites = append(x.Sites, host.RehearsedSite{Conn: s.Tunnel.Conn, Inside: tasks.Insides(s.Tunnel.Local), Twin: twin})
		tried = append(tried, i)
	}
	r.Result = OK
	if len(tried) == 0 {
		return
	}
	out, err := e.onHub(ctx, hub, x, func(n int) { e.observe(Event{Host: hub.Name, Stage: StageRehearse, Message: r.Sites[tried[n]].Name}) })
	if err != nil {
		r.Result, r.Err = Failed, err
		if ctx.Err() != nil {
			r.Result, r.Err = Skipped, cutOff(ctx)
		}
		return
	}
	r.NoNAT = out.NoNAT
	for n, i := range tried {
		r.judge(&r.Sites[i], hubEnd(hub, r.Sites[i].Name), out, n)
	}
}

// hubEnd returns the hub's end of the tunnel to a site.
func hubEnd(hub Host, site string) strongswan.Tunnel {
	for _, t := range hub.Tunnels {
		if t.Peer == site {
			return t
		}
	}
	return strongswan.Tunnel{}
}

// onHub runs a rehearsal on the hub.
func (e *Engine) onHub(ctx context.Context, hub Host, x host.Rehearsal, found func(int)) (*host.Rehearsed, error) {
	script, err := x.Script()
	if err != nil {
		return nil, err
	}
	conn, err := e.conn(ctx, hub.Name)
	if err != nil {
		return nil, err
	}
	e.observe(Event{Host: hub.Name, Stage: StageRehearse})
	in := host.NewRehearsals(x)
	in.Found = found
	res, err := run(ctx, conn, x.Limit()+deadLine, transport.Cmd{Script: x.Launch(), Stdin: strings.NewReader(script.Reveal()), Stdout: in, MaxStdout: hub.maxAnswer() + len(x.Sites)<<20})
	out := in.Rehearsed()
	said := strings.TrimSpace(string(res.Stderr))
	var exit *transport.ExitError
	switch {
	case out.Cannot != "":
		return nil, cannotRehearse(strings.TrimSpace(out.Cannot + "\n" + out.Hub.Said))
	case errors.As(err, &exit) && !out.Began:
		return nil, cannotRehearse(strings.TrimSpace(string(exit.Stderr)))
	case err != nil:
		e.drop(hub.Name)
		return nil, fmt.Errorf("rehearse: %w", err)
	case !out.Ended:
		return nil, cannotRehearse("it did not come to its end\n" + said)
	}
	return out, nil
}

// cannotRehearse returns the error of a hub that cannot carry twins.
func cannotRehearse(why string) error {
	return transport.WithHint(fmt.Errorf("the hub cannot rehearse: %s", why),
		"nothing of the plan was proved, and nothing was changed; an apply still tries each host's files before it touches one")
}

// judge says how the Nth site that was tried came out.
func (r *Rehearsal) judge(s *SiteRehearsal, hubEnd strongswan.Tunnel, out *host.Rehearsed, n int) {
	site := out.Sites[n]
	if !site.Told {
		s.Err = transport.Hinted(fmt.Errorf("its twin did not come up\n%s", strings.TrimSpace(site.Said)), "nothing was proved of this site: mend what is told, and rehearse again")
		return
	}
	r.about(site.About)
	s.Took = site.After
	siteSAs, hubSAs, err := out.SAs(n)
	if err != nil {
		s.Err = err
		return
	}
	here, there := strongswan.CheckTunnels(siteSAs, []strongswan.Tunnel{s.Tunnel})[0], strongswan.CheckTunnels(hubSAs, []strongswan.Tunnel{hubEnd})[0]
	if s.Up = here.Up && there.Up; s.Up {
		s.Ties = tasks.CallFrom(out.From(n)).Ties
		return
	}
	why := tasks.WhyNotUp(out.From(n), site.Log, s.Tunnel)
	s.Why = &why
}

var ofStrongSwan = regexp.MustCompile(`strongSwan (?:swanctl )?(\d[\w.]*)`)

// about takes in which strongSwan it was.
func (r *Rehearsal) about(text string) {
	if m := ofStrongSwan.FindStringSubmatch(text); m != nil {
		r.Version = m[1]
	}
	r.UserSpace = strings.Contains(text, " kernel-libipsec")
}
