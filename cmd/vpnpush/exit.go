package main

import (
	"context"
	"errors"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// Exit codes, DESIGN section 3 and docs/output.md.
const (
	exitOK          = 0
	exitError       = 1   // before anything was done
	exitChanges     = 2   // plan --detailed-exitcode: there are changes
	exitHosts       = 4   // a host was not reached or failed
	exitRolledBack  = 5   // a host put back what was there
	exitBoth        = 6   // exitChanges and exitHosts
	exitLocked      = 7   // another run is at work, or the plan is stale
	exitUnknown     = 8   // the outcome on a host is not known
	exitPanic       = 70  // EX_SOFTWARE, sysexits(3)
	exitInterrupted = 130 // SIGINT, as a shell tells it
)

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

// resultsCode is the code of a run over hosts: the worst that happened.
func resultsCode(rs []engine.Result) int {
	code := exitOK
	worse := map[int]int{exitOK: 0, exitHosts: 1, exitLocked: 2, exitRolledBack: 3, exitUnknown: 4}
	for _, r := range rs {
		c := exitOK
		switch r {
		case engine.Unreachable, engine.Failed, engine.Skipped:
			c = exitHosts
		case engine.Locked, engine.Stale:
			c = exitLocked
		case engine.RolledBack:
			c = exitRolledBack
		case engine.Unknown:
			c = exitUnknown
		}
		if worse[c] > worse[code] {
			code = c
		}
	}
	return code
}
