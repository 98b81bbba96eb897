package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// Scripts and cron act on the codes: the worst host decides, and what was found
// hides no host that was not looked at, nor the other way round.
func TestExitCodes(t *testing.T) {
	plan := func(rs ...engine.Result) *engine.Plan {
		p := &engine.Plan{}
		for _, r := range rs {
			h := engine.HostPlan{Result: r}
			if r == engine.Changed {
				h.Changes = []tasks.Change{{Task: "file:/etc/a"}}
			}
			p.Hosts = append(p.Hosts, h)
		}
		return p
	}
	blocked := &engine.Plan{Hosts: []engine.HostPlan{{Result: engine.Changed, Changes: []tasks.Change{{Blocked: "it is not ours"}}}}}
	drift := func(hs ...engine.HostDrift) *engine.Drift { return &engine.Drift{Hosts: hs} }
	finding, ignored := engine.Finding{State: engine.FindingDrifted}, engine.Finding{State: engine.FindingDrifted, Ignored: &engine.Ignore{}}
	ill := view.HostDiagnosis{Diagnosis: doctor.Diagnosis{Findings: []doctor.Finding{{Severity: doctor.Problem}}}, Result: engine.OK}
	lost := view.HostDiagnosis{Result: engine.Unreachable, Err: errors.New("lost")}
	status := func(hub error, tunnels ...engine.TunnelStatus) *engine.Status {
		return &engine.Status{Asked: []engine.HostStatus{{Err: hub}}, Tunnels: tunnels}
	}
	for name, c := range map[string]struct{ got, want int }{
		"plan, nothing":              {planCode(plan(engine.OK), true), exitOK},
		"plan, changes":              {planCode(plan(engine.Changed), false), exitOK},
		"plan, changes, detailed":    {planCode(plan(engine.OK, engine.Changed), true), exitChanges},
		"plan, lost":                 {planCode(plan(engine.Changed, engine.Unreachable), false), exitHosts},
		"plan, lost, detailed":       {planCode(plan(engine.Changed, engine.Skipped), true), exitBoth},
		"plan, locked, detailed":     {planCode(plan(engine.Changed, engine.Locked, engine.Failed), true), exitLocked},
		"plan, blocked":              {planCode(blocked, false), exitHosts},
		"drift, all well":            {driftCode(drift(engine.HostDrift{Result: engine.OK})), exitOK},
		"drift, ignored":             {driftCode(drift(engine.HostDrift{Result: engine.OK, Findings: []engine.Finding{ignored}})), exitOK},
		"drift, drifted":             {driftCode(drift(engine.HostDrift{Result: engine.Drifted, Findings: []engine.Finding{ignored, finding}})), exitChanges},
		"drift, busy":                {driftCode(drift(engine.HostDrift{Result: engine.Locked})), exitHosts},
		"drift, drifted and skipped": {driftCode(drift(engine.HostDrift{Result: engine.Drifted, Findings: []engine.Finding{finding}}, engine.HostDrift{Result: engine.Skipped})), exitBoth},
		"doctor, nothing":            {doctorCode(&view.Diagnoses{Hosts: []view.HostDiagnosis{{Result: engine.OK}}}), exitOK},
		"doctor, problem":            {doctorCode(&view.Diagnoses{Hosts: []view.HostDiagnosis{ill}}), exitChanges},
		"doctor, both":               {doctorCode(&view.Diagnoses{Hosts: []view.HostDiagnosis{ill, lost}}), exitBoth},
		"status, up":                 {statusCode(status(nil, engine.TunnelStatus{Asked: "vps", Up: true})), exitOK},
		"status, down":               {statusCode(status(nil, engine.TunnelStatus{Asked: "vps"})), exitChanges},
		"status, not known":          {statusCode(status(nil, engine.TunnelStatus{})), exitHosts},
		"status, sites alone":        {statusCode(status(errors.New("lost"), engine.TunnelStatus{Asked: "tokyo"})), exitBoth},
	} {
		if c.got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, c.got, c.want)
		}
	}
}

// A merged report ends as one run over all of it would have: the worst decides, what was
// found and what was missed are told side by side, and a report that is not there missed.
func TestMergedCode(t *testing.T) {
	for _, tt := range []struct {
		codes   []int
		missing bool
		want    int
	}{
		{[]int{exitOK, exitOK}, false, exitOK},
		{[]int{exitOK, exitOK}, true, exitHosts},
		{[]int{exitChanges, exitOK}, false, exitChanges},
		{[]int{exitChanges, exitOK}, true, exitBoth},
		{[]int{exitChanges, exitHosts}, false, exitBoth},
		{[]int{exitOK, exitBoth}, false, exitBoth},
		{[]int{exitHosts, exitRolledBack, exitLocked}, true, exitRolledBack},
		{[]int{exitUnknown, exitRolledBack}, false, exitUnknown},
		{[]int{exitInterrupted, exitHosts}, true, exitInterrupted},
		{[]int{exitInterrupted, exitLocked}, false, exitLocked},
		{[]int{exitChanges, exitLocked}, false, exitLocked},
		{[]int{exitOK, 42}, false, exitHosts},
	} {
		if got := mergedCode(tt.codes, tt.missing); got != tt.want {
			t.Errorf("%v, missing %t: exit code %d, want %d", tt.codes, tt.missing, got, tt.want)
		}
	}
}

// What was done to hosts says more than that the run was cut off; and a run whose
// time was up is not one that was interrupted.
func TestReportEnd(t *testing.T) {
	whole := context.Background()
	stopped, cancel := context.WithCancel(whole)
	cancel()
	late, cancel := context.WithDeadlineCause(whole, time.Unix(0, 0), engine.ErrTime)
	defer cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		rs   []engine.Result
		want int
		told bool
	}{
		"done":                        {whole, []engine.Result{engine.Changed, engine.OK}, exitOK, false},
		"skipped":                     {whole, []engine.Result{engine.RolledBack, engine.Skipped}, exitRolledBack, false},
		"unknown is the worst":        {whole, []engine.Result{engine.Unknown, engine.RolledBack, engine.Locked}, exitUnknown, false},
		"stale":                       {whole, []engine.Result{engine.Stale, engine.Unreachable}, exitLocked, false},
		"interrupted":                 {stopped, []engine.Result{engine.Changed, engine.Skipped}, exitInterrupted, false},
		"interrupted, and put back":   {stopped, []engine.Result{engine.RolledBack, engine.Skipped}, exitRolledBack, false},
		"time is up":                  {late, []engine.Result{engine.Changed, engine.Skipped}, exitHosts, true},
		"time is up, and put back":    {late, []engine.Result{engine.RolledBack, engine.Skipped}, exitRolledBack, true},
		"time is up when all is done": {late, []engine.Result{engine.Changed, engine.OK}, exitOK, false},
	} {
		r := &engine.Report{}
		for _, res := range c.rs {
			r.Hosts = append(r.Hosts, engine.HostReport{Result: res})
		}
		err := reportEnd(c.ctx, r)
		if got := exitCode(err); got != c.want {
			t.Errorf("%s: exit code %d, want %d", name, got, c.want)
		}
		if told := err != nil && err.Error() != ""; told != c.told {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := ended(late); exitCode(err) != exitHosts || err.Error() == "" {
		t.Errorf("out of time: %v", err)
	}
	if err := ended(stopped); exitCode(err) != exitInterrupted || err.Error() != "" {
		t.Errorf("interrupted: %v", err)
	}
	if err := ended(whole); err != nil {
		t.Errorf("not cut off: %v", err)
	}
}

// An apply does not end well while a tunnel is down whose site it was asked for; that of
// another may wait for its own apply.
func TestReportEndTunnelDown(t *testing.T) {
	down := []strongswan.TunnelState{{Tunnel: strongswan.Tunnel{Conn: "tokyo", Peer: "tokyo"}}}
	hub := engine.HostReport{Name: "vps", Role: tasks.RoleHub, Result: engine.OK, Tunnels: down}
	site := engine.HostReport{Name: "tokyo", Role: tasks.RoleSite, Result: engine.OK}
	for _, tt := range []struct {
		name  string
		hosts []engine.HostReport
		want  int
	}{
		{"the site was in the run", []engine.HostReport{hub, site}, exitHosts},
		{"it was not", []engine.HostReport{hub}, exitOK},
	} {
		if got := exitCode(reportEnd(context.Background(), &engine.Report{Hosts: tt.hosts})); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.want)
		}
	}
}
