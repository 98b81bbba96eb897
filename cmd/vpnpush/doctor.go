package main

import (
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor [HOST...]",
		Short: "Tell what would stop a tunnel, before it does",
		Long: `Doctor looks at every host, and from each site at the way to the hub, and tells
what would stop a tunnel: what it is, why it matters, and the mend. It changes
nothing. What is looked at, and what cannot be known: docs/doctor.md.

Exit codes: 0 nothing stops a tunnel (there may be warnings); 1 usage or
inventory; 2 a problem was found; 4 a host was not reached; 6 both.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			a.limit = append(a.limit, args...)
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			e, hosts, d, err := a.engineFor(inv)
			if err != nil {
				return err
			}
			defer d.Close()
			defer e.Close()
			ill := map[string]doctor.Host{}
			for i, h := range hosts {
				ill[h.Name] = patient(inv, h)
				hosts[i].Reads = append(hosts[i].Reads, doctor.Reads(ill[h.Name])...)
			}
			a.view.Hosts(len(hosts))
			read := e.Facts(cmd.Context(), hosts)
			if cmd.Context().Err() != nil {
				return &codeError{exitInterrupted, nil}
			}
			r := diagnose(inv, ill, read)
			if err := a.view.Doctor(r); err != nil {
				return err
			}
			return doctorResult(r)
		},
	}
}

// patient is what a doctor has to know of a host of the inventory.
func patient(inv *inventory.Inventory, h engine.Host) doctor.Host {
	p := doctor.Host{Name: h.Name, Role: h.Role, Tunnels: h.Tunnels}
	if h.Name == inv.Hub.Name {
		p.Address, p.Subnets, p.L2TP = inv.Hub.LocalAddress, inv.Hub.Subnets, inv.L2TP != nil
		return p
	}
	p.Hub = inv.Hub.Address
	for _, s := range inv.Sites {
		if s.Name == h.Name {
			p.Address, p.Subnets = s.Address, s.Subnets
		}
	}
	return p
}

// diagnose judges the hosts that were read, and keeps the others' errors.
func diagnose(inv *inventory.Inventory, ill map[string]doctor.Host, read []engine.HostFacts) *view.Diagnoses {
	var ps []doctor.Patient
	for _, h := range read {
		if h.Result != engine.OK {
			continue
		}
		p := doctor.Patient{Host: ill[h.Name], Facts: h.Facts, Asked: h.Asked, Answered: h.Answered}
		p.Refusals, p.Warnings = roles.Preflight(inv, h.Name, h.Facts)
		ps = append(ps, p)
	}
	told := map[string]doctor.Diagnosis{}
	for _, d := range doctor.Examine(ps) {
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

func doctorResult(r *view.Diagnoses) error {
	code := exitOK
	for _, h := range r.Hosts {
		if h.Err != nil {
			code |= exitHosts
		}
		if h.Problems() > 0 {
			code |= exitChanges
		}
	}
	if code == exitOK {
		return nil
	}
	return &codeError{code, nil}
}
