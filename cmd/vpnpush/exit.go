package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

// Exit codes (docs/output.md).
const (
	exitOK          = 0
	exitError       = 1   // before anything was done
	exitChanges     = 2   // something was found: changes, drift, a problem, a tunnel that is down
	exitHosts       = 4   // a host was not reached or failed, or its tunnel is not up after an apply
	exitRolledBack  = 5   // a host put back what was there
	exitBoth        = 6   // exitChanges and exitHosts
	exitLocked      = 7   // another run is at work, or the plan is stale
	exitUnknown     = 8   // the outcome on a host is not known
	exitPanic       = 70  // EX_SOFTWARE, sysexits(3)
	exitInterrupted = 130 // SIGINT, as a shell tells it
)

// exitMeanings are the exit codes in words, as docs/output.md has them.
var exitMeanings = []struct{ codes, meaning string }{
	{"0", "done; nothing differs"},
	{"1", "an error before anything was done: usage, inventory"},
	{"2", "something was found: changes (`plan --detailed-exitcode`), drift, a problem (`doctor`), a tunnel that is down (`status`) or does not come up (`rehearse`, `apply --rehearse`)"},
	{"4", "a host was not reached, was skipped, or failed; the time was up; apply: the tunnel of a site in the run is not up"},
	{"6", "both 2 and 4"},
	{"5", "a host rolled back"},
	{"7", "locked by another run, or the plan is stale"},
	{"8", "the outcome on a host is unknown"},
	{"70", "a bug in vpnpush"},
	{"130", "interrupted"},
	{"131, 134", "left at once, by SIGQUIT (`Ctrl-\\`) or SIGABRT"},
}

// codeError ends the run with a code. A nil err says that all has been told.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *codeError) Unwrap() error { return e.err }

// exitWith returns how a run ends whose result was told, with a code.
func exitWith(code int) error {
	if code == exitOK {
		return nil
	}
	return &codeError{code, nil}
}

// exitCode returns the code of how a run ended.
func exitCode(err error) int {
	var c *codeError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	}
	return exitError
}

// resultCode returns the code of how a host came out.
func resultCode(r engine.Result) int {
	switch r {
	case engine.Unreachable, engine.Failed, engine.Skipped:
		return exitHosts
	case engine.Locked, engine.Stale:
		return exitLocked
	case engine.RolledBack:
		return exitRolledBack
	case engine.Unknown:
		return exitUnknown
	}
	return exitOK
}

// severity orders codes, so that a run ends with the worst that happened.
var severity = map[int]int{exitOK: 0, exitHosts: 1, exitInterrupted: 2, exitLocked: 3, exitRolledBack: 4, exitUnknown: 5}

func worse(a, b int) int {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

// found returns the code of a run that looks and changes nothing. What was found
// and what could not be looked at are told side by side, as bits.
func found(something, missed bool) int {
	code := exitOK
	if something {
		code |= exitChanges
	}
	if missed {
		code |= exitHosts
	}
	return code
}

// mergedCode returns the code of several runs as one: the worst of them, and that something
// was found beside that something was missed, as of one run. A report that is not there
// tells of hosts that were not reached.
func mergedCode(codes []int, missing bool) int {
	code, something := exitOK, false
	for _, c := range codes {
		if c == exitChanges || c == exitBoth {
			something, c = true, c&^exitChanges
		}
		if _, known := severity[c]; !known {
			c = exitHosts
		}
		code = worse(code, c)
	}
	if missing {
		code = worse(code, exitHosts)
	}
	if code == exitOK || code == exitHosts {
		code |= found(something, false)
	}
	return code
}

func planCode(p *engine.Plan, detailed bool) int {
	code, changes := exitOK, false
	for _, h := range p.Hosts {
		code = worse(code, resultCode(h.Result))
		if len(h.Blocked()) > 0 {
			code = worse(code, exitHosts) // it would not be applied
		}
		changes = changes || len(h.Changes) > 0
	}
	return code | found(detailed && changes, false)
}

func driftCode(d *engine.Drift) int {
	drift, missed := false, false
	for i := range d.Hosts {
		h := &d.Hosts[i]
		missed = missed || !h.Checked()
		for _, f := range h.Findings {
			drift = drift || f.Ignored == nil
		}
	}
	return found(drift, missed)
}

func doctorCode(r *view.Diagnoses) int {
	problems, missed := false, false
	for _, h := range r.Hosts {
		problems = problems || h.Count(doctor.Problem) > 0
		missed = missed || h.Err != nil
	}
	return found(problems, missed)
}

func statusCode(s *engine.Status) int {
	up, known := s.AllUp()
	return found(!up, !known)
}

// reportEnd returns how a run ends that changed hosts. That it was cut off says
// less than that a host put back what was there.
func reportEnd(ctx context.Context, r *engine.Report) error {
	code, skipped := exitOK, false
	for _, h := range r.Hosts {
		code = worse(code, resultCode(h.Result))
		skipped = skipped || h.Result == engine.Skipped
	}
	if r.TunnelsDown() > 0 {
		code = worse(code, exitHosts)
	}
	switch {
	case interrupted(ctx) && severity[code] <= severity[exitHosts]:
		code = exitInterrupted
	case timeUp(ctx) && skipped:
		return &codeError{code, transport.WithHint(errors.New("the time for the whole run was up: hosts that were skipped are as they were"), "give more time with --timeout")}
	}
	return exitWith(code)
}

// hostEnd returns how a verb ends that could not do what was asked of its one
// host.
func hostEnd(h engine.Host, r engine.Result, err error) error {
	code := resultCode(r)
	if code == exitOK {
		code = exitError // the host is well; what was asked of it cannot be done
	}
	return &codeError{code, fmt.Errorf("%s: %w", h.Name, err)}
}
