package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) rehearseCmd() *cobra.Command {
	return a.reaching(&cobra.Command{
		Use:   "rehearse [SITE...]",
		Short: "Bring the planned tunnels up as twins on the hub, before anything changes",
		Long: `Rehearse brings hub and sites up on the hub itself as they would be applied: each
a strongSwan of its own in namespaces of its own, with the real files and keys, and
a NAT between them. It tells for each site that its tunnel came up, or why not: in
charon's own words, with the line of the inventory and the mend. The hosts see
nothing of it. SITE is a name or a glob, as in --limit; none: all. What it proves,
and what not: docs/rehearse.md.

Exit codes: 0 every tunnel came up; 1 usage or inventory; 2 one did not; 4 one was
not tried, or the hub cannot; 6 both; 7 another run is at work on the hub.`,
		ValidArgsFunction: a.completeHosts,
	}, func(ctx context.Context, o *operation, args []string) error {
		return o.rehearse(ctx, a.patterns(args), a.view)
	})
}

type rehearseView interface {
	Hosts(int)
	Rehearsal(*view.Rehearsal) error
}

func (o *operation) rehearse(ctx context.Context, patterns []string, v rehearseView) error {
	sites, err := o.inv.Select(patterns)
	if err != nil {
		return err
	}
	names := append(slices.Clone(sites), o.inv.Hub.Name) // the twins are on it
	if hubAlone(o.inv, sites) {
		names = nil
	}
	hosts, err := o.hosts(ctx, names)
	if err != nil {
		return err
	}
	p := o.engine.Looked(ctx, hosts)
	if err := ended(ctx); err != nil {
		return err
	}
	v.Hosts(1)
	r := o.rehearsal(o.engine.Rehearse(ctx, p, hosts))
	if interrupted(ctx) {
		return exitWith(exitInterrupted)
	}
	if err := v.Rehearsal(r); err != nil {
		return err
	}
	return exitWith(rehearsalCode(r))
}

// gate rehearses a plan, and returns an error where that does not show each tunnel up of the
// sites that it changes. Those that were not reached stay as they are.
func (o *operation) gate(ctx context.Context, p *engine.Plan, hosts []engine.Host, v rehearseView) error {
	planned := map[string]bool{}
	for _, h := range p.Hosts {
		planned[h.Name] = h.Err == nil || h.Role == tasks.RoleHub
	}
	staged := slices.DeleteFunc(slices.Clone(hosts), func(h engine.Host) bool { return !planned[h.Name] })
	if !slices.ContainsFunc(staged, func(h engine.Host) bool { return h.Role == tasks.RoleSite }) {
		return transport.WithHint(errors.New("apply --rehearse: no site of this run can be changed, and so no tunnel can be tried"),
			"leave --rehearse out, or choose sites too: `vpnpush rehearse` tries all of them")
	}
	if staged[0].Role != tasks.RoleHub {
		hub, err := engineHosts(o.inv, []string{o.inv.Hub.Name})
		if err != nil {
			return err
		}
		staged = append(hub, staged...)
	}
	v.Hosts(1)
	r := o.rehearsal(o.engine.Rehearse(ctx, p, staged))
	if err := ended(ctx); err != nil {
		return err
	}
	code := rehearsalCode(r)
	if !o.app.json || code != exitOK {
		if err := v.Rehearsal(r); err != nil {
			return err
		}
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code, transport.WithHint(errors.New("not applied: the rehearsal did not show every tunnel up"), "mend what is told, or leave --rehearse out")}
}

func rehearsalCode(r *view.Rehearsal) int {
	up, tried := r.AllUp()
	if r.Result == engine.Locked {
		return exitLocked
	}
	return found(!up, !tried)
}

// rehearsal returns r with what each fault comes from.
func (o *operation) rehearsal(r *engine.Rehearsal) *view.Rehearsal {
	out := &view.Rehearsal{Rehearsal: r, Causes: map[string]view.Cause{}}
	for _, s := range r.Sites {
		if s.Why != nil {
			out.Causes[s.Name] = cause(o.inv, r, s)
		}
	}
	return out
}

// cause returns where in the inventory it comes from that a tunnel is not up, and the mend.
func cause(inv *inventory.Inventory, r *engine.Rehearsal, s engine.SiteRehearsal) view.Cause {
	site := func(key ...string) string { return inv.Place(append([]string{"sites", s.Name}, key...)...) }
	var c view.Cause
	switch s.Why.About {
	case tasks.AboutKey:
		c.From = []string{site("psk")}
		c.Mend = fmt.Sprintf("the inventory gives both ends this one: look on %s for another key that %s's name finds, and take it out", r.Name, s.Name)
	case tasks.AboutName, tasks.AboutConn:
		c.From = []string{site()}
		c.Mend = fmt.Sprintf("look on %s for a conn of somebody else's that takes a caller with this name: give it the identity of its own peer, or take it out", r.Name)
	case tasks.AboutNets:
		c.From = []string{site("subnets"), inv.Place("hub", "subnets")}
		c.Mend = "let both ends have the networks that the inventory says"
	case tasks.AboutIKE:
		c.From = []string{inv.Place("tunnel", "ike")}
		c.Mend = "let both ends have one proposal in common"
	case tasks.AboutESP:
		c.From = []string{inv.Place("tunnel", "esp")}
		c.Mend = "let both ends have one proposal in common"
	default:
		c.From = []string{site()}
		c.Mend = "what charon says is all there is: `journalctl -u` of strongSwan's service on the hub may have more of the kind"
	}
	switch {
	case len(r.Unmade) > 0:
		c.Mend = fmt.Sprintf("mend first what is blocked on %s: its twin has what stands there, not what the inventory says", r.Name)
	case r.Stays:
		c.Mend = fmt.Sprintf("%s is not in this run, and stays as it is: apply to it too", r.Name)
	case s.Why.About != tasks.AboutConn && len(r.Beside) > 0:
		c.Mend = fmt.Sprintf("see first to what stands beside vpnpush's on %s, as it is told above", r.Name)
	}
	return c
}
