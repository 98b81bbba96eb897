package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// tally counts for the last line.
type tally struct {
	hosts   int
	results map[engine.Result]int
	// Of changes: a blocked one will not be made, so it counts nowhere else.
	create, update, delete, restart, reload, dial, blocked int
	install                                                int // of those that create
	down                                                   int // tunnels
}

// add counts a host's plan.
func (t *tally) add(h engine.HostPlan) {
	t.host(h.Result)
	for _, c := range h.Changes {
		t.change(c)
	}
}

func (t *tally) host(r engine.Result) {
	if t.results == nil {
		t.results = map[engine.Result]int{}
	}
	t.hosts++
	t.results[r]++
}

func (t *tally) change(c tasks.Change) {
	if c.Action == tasks.Install {
		t.install++
	}
	switch {
	case c.Blocked != "":
		t.blocked++
	case c.Action == tasks.Create || c.Action == tasks.Install:
		t.create++
	case c.Action == tasks.Delete:
		t.delete++
	case c.Action == tasks.Restart:
		t.restart++
	case c.Action == tasks.Reload:
		t.reload++
	case c.Action == tasks.DialTunnel:
		t.dial++
	default:
		t.update++
	}
}

// clean reports whether every host was looked at and is as it should be.
func (t *tally) clean() bool {
	return t.results[engine.OK] == t.hosts && t.create+t.update+t.delete+t.restart+t.reload+t.dial+t.blocked == 0
}

// order is how results are counted out, the good ones first.
var order = []engine.Result{
	engine.Changed, engine.OK, engine.Unreachable, engine.Failed, engine.RolledBack,
	engine.Unknown, engine.Locked, engine.Stale, engine.Skipped,
}

// bad returns the results other than ok and changed.
func (t *tally) bad() (out []string) {
	for _, r := range order[2:] {
		if n := t.results[r]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, resultWord(r)))
		}
	}
	return out
}

// count is a number of changes of a kind.
type count struct {
	n    int
	kind string
}

func (c count) String() string { return fmt.Sprintf("%d %s", c.n, c.kind) }

// counts returns the changes that will be made by kind, the three of most plans first.
func (t *tally) counts() []count {
	return []count{{t.create, "to create"}, {t.update, "to update"}, {t.delete, "to delete"}, {t.reload, "to reload"}, {t.restart, "to restart"}, {t.dial, "to dial"}}
}

// changes returns what there is of them, as "2 to create, 1 blocked".
func (t *tally) changes() string {
	var parts []string
	for _, c := range append(t.counts(), count{t.blocked, "blocked"}) {
		if c.n > 0 {
			parts = append(parts, c.String())
		}
	}
	return strings.Join(parts, ", ")
}

// planLine returns the last line of a plan (docs/output.md).
func (t *tally) planLine() string {
	if t.clean() {
		verb := "match"
		if t.hosts == 1 {
			verb = "matches"
		}
		return fmt.Sprintf("No changes. %s %s the inventory.", words.Count(t.hosts, "host"), verb)
	}
	line := fmt.Sprintf("Plan: %s, %d to create, %d to update, %d to delete", words.Count(t.hosts, "host"), t.create, t.update, t.delete)
	for _, rare := range t.counts()[3:] {
		if rare.n > 0 {
			line += ", " + rare.String()
		}
	}
	bad := t.bad()
	if t.blocked > 0 {
		bad = append(bad, fmt.Sprintf("%d blocked", t.blocked))
	}
	return ending(line, bad)
}

// applyLine returns the last line of an apply.
func (t *tally) applyLine() string {
	parts := []string{words.Count(t.hosts, "host")}
	for _, r := range order[:2] {
		if n := t.results[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, resultWord(r)))
		}
	}
	parts = append(parts, t.bad()...)
	var tail []string
	if t.down > 0 {
		tail = []string{words.Count(t.down, "tunnel") + " down"}
	}
	return ending("Apply: "+strings.Join(parts, ", "), tail)
}

func ending(line string, tail []string) string {
	if len(tail) > 0 {
		line += "; " + strings.Join(tail, ", ")
	}
	return line + "."
}
