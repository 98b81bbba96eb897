package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) doctorCmd() *cobra.Command {
	return a.reaching(&cobra.Command{
		Use:   "doctor [HOST...]",
		Short: "Find what would stop a tunnel, before it does",
		Long: `Doctor looks at every host, and from each site at the way to the hub, and reports
what would stop a tunnel: what it is, why it matters, and how to mend it. It
changes nothing. What is looked at, and what cannot be known: docs/doctor.md.

Exit codes: 0 nothing stops a tunnel (there may be warnings); 1 usage or
inventory; 2 a problem was found; 4 a host was not reached; 6 both.`,
		ValidArgsFunction: a.completeHosts,
	}, func(ctx context.Context, o *operation, args []string) error {
		return o.doctor(ctx, a.patterns(args), a.view)
	})
}

type doctorView interface{ Doctor(*view.Diagnoses) error }

func (o *operation) doctor(ctx context.Context, patterns []string, v doctorView) error {
	hosts, err := o.hosts(ctx, patterns)
	if err != nil {
		return err
	}
	checked := map[string]doctor.Host{}
	for i, h := range hosts {
		checked[h.Name] = doctorHost(o.inv, h)
		hosts[i].Reads = append(hosts[i].Reads, doctor.Reads(checked[h.Name])...)
	}
	read := o.engine.Facts(ctx, hosts)
	if interrupted(ctx) {
		return exitWith(exitInterrupted)
	}
	r := diagnose(hosts, checked, read)
	if err := v.Doctor(r); err != nil {
		return err
	}
	return exitWith(doctorCode(r))
}

// doctorHost returns what the checks have to know of a host of the inventory.
func doctorHost(inv *inventory.Inventory, h engine.Host) doctor.Host {
	p := doctor.Host{Name: h.Name, Role: h.Role, Daemons: h.Daemons, Tunnels: h.Tunnels}
	if h.Name == inv.Hub.Name {
		p.Address, p.Subnets, p.L2TP = inv.Hub.LocalAddress, inv.Hub.Subnets, inv.L2TP != nil
		return p
	}
	p.Hub = inv.Hub.Address
	if s, err := inv.Site(h.Name); err == nil {
		p.Address, p.Subnets = s.Address, s.Subnets
	}
	return p
}

// taskOf returns the task of a kind that a host has; nil where it has none. That the host
// cannot have tasks is told by its refusals.
func taskOf[T tasks.Task](h engine.Host, f tasks.Facts) *T {
	ts, err := h.Tasks(f, nil)
	if err != nil {
		return nil
	}
	for _, t := range ts {
		if k, ok := t.(T); ok {
			return &k
		}
	}
	return nil
}

// diagnose judges the hosts that were read, and keeps the others' errors.
func diagnose(hosts []engine.Host, checked map[string]doctor.Host, read []engine.HostFacts) *view.Diagnoses {
	wanted := map[string]engine.Host{}
	for _, h := range hosts {
		wanted[h.Name] = h
	}
	var readable []doctor.HostFacts
	for _, h := range read {
		if h.Result != engine.OK {
			continue
		}
		p := doctor.HostFacts{Host: checked[h.Name], Facts: h.Facts, Daemon: wanted[h.Name].Daemon(h.Facts), Asked: h.Asked, Answered: h.Answered}
		p.Refusals, p.Warnings = wanted[h.Name].Preflight(h.Facts)
		p.Keys, p.Filter = taskOf[tasks.ForeignKeys](wanted[h.Name], h.Facts), taskOf[tasks.Firewall](wanted[h.Name], h.Facts)
		p.Beside, p.Security = wanted[h.Name].Beside(h.Facts), wanted[h.Name].Security(h.Facts)
		readable = append(readable, p)
	}
	told := map[string]doctor.Diagnosis{}
	for _, d := range doctor.Diagnose(readable) {
		told[d.Name] = d
	}
	out := &view.Diagnoses{}
	for _, h := range read {
		d := view.HostDiagnosis{Diagnosis: told[h.Name], Result: h.Result, Err: h.Err}
		d.Name, d.Role = h.Name, h.Role
		out.Hosts = append(out.Hosts, d)
	}
	return out
}
