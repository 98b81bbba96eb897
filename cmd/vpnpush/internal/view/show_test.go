package view

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// saved is a plan as its file holds it.
func saved(t *testing.T, p *engine.Plan) SavedPlan {
	t.Helper()
	for i := range p.Hosts {
		p.Hosts[i].Facts = tasks.NewFacts(tasks.Known{Files: map[string]tasks.FileState{tasks.ManifestPath: {}}})
	}
	s, err := engine.Save(p, engine.Source{Owner: "vps"}, "admin@desk", at, New(Options{}).Teller())
	if err != nil {
		t.Fatal(err)
	}
	return SavedPlan{File: "plan.json", Saved: s}
}

// A saved plan is shown as it was when it was made, below what it is, in every form: who
// approves it must see what was planned.
func TestShow(t *testing.T) {
	for name, plan := range map[string]*engine.Plan{"mixed": mixed(), "trouble": trouble(), "losing": losing(), "cut short": cutShort()} {
		s := saved(t, plan)
		for _, o := range []Options{{}, {Color: "always"}, {JSON: true}} {
			before, _ := show(o, func(v *View) { v.Plan(plan) })
			after, _ := show(o, func(v *View) { v.Show(s) })
			if o.JSON {
				_, before, _ = strings.Cut(before, "\n  \"hosts\"")
				_, after, _ = strings.Cut(after, "\n  \"hosts\"")
			} else {
				_, after, _ = strings.Cut(after, "\n\n")
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("%s, %+v (-planned +shown):\n%s", name, o, d)
			}
		}
		before := markdown(t, plan)
		after, _ := show(Options{}, func(v *View) { v.ShowMarkdown(s) })
		if d := cmp.Diff(before, strings.Replace(after, s.until()+"\n\n", "", 1)); d != "" {
			t.Errorf("%s in Markdown (-planned +shown):\n%s", name, d)
		}
	}
}

// The head says when a plan was made of what, and whether it is too late.
func TestShowHead(t *testing.T) {
	s := saved(t, mixed())
	head := func() string {
		out, _ := show(Options{}, func(v *View) { v.Show(s) })
		head, _, _ := strings.Cut(out, "\n\n")
		return head
	}
	const made = "vpnpush plan of vps, 2026-11-23 04:00 UTC, by admin@desk\n"
	if got, want := head(), made+"Good until 2026-11-24 04:00 UTC.\nTo apply exactly this: vpnpush apply plan.json"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s.Expired, s.FormatVersion = true, 1
	if got, want := head(), made+"Expired 2026-11-24 04:00 UTC: an apply refuses it. Plan again.\nAn older vpnpush saved it: without diffs, warnings and reasons."; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	out, _ := show(Options{JSON: true}, func(v *View) { v.Show(s) })
	golden(t, "show.json", out)
}

// A file may have been written by anybody: what is in it steers no terminal.
func TestShowCleans(t *testing.T) {
	s := saved(t, mixed())
	const bad = "a\x1b[2Jb\rc"
	s.Owner, s.By, s.File = bad, bad, bad
	h := &s.Hosts[0]
	h.Name, h.Role, h.Result = bad, bad, bad
	h.Warnings, h.Errors = []string{bad}, []engine.SavedError{{Text: bad, Hint: bad}}
	h.Changes[0] = engine.SavedChange{Task: bad, Action: bad, Diff: bad + "\n" + bad, Note: bad, Blocked: bad, Mend: bad, Ends: []string{bad}, Blinks: []string{bad}}
	h.Dials = h.Changes[:1]
	for _, json := range []bool{false, true} {
		out, stderr := show(Options{JSON: json}, func(v *View) { v.Show(s); v.ShowMarkdown(s) })
		if strings.ContainsAny(out+stderr, "\x1b\r") {
			t.Errorf("json=%t: control characters in\n%q", json, out+stderr)
		}
	}
}

// The lines around two hunks that look like the head of a file are lines of the file.
func TestShowKeepsLinesLikeHeads(t *testing.T) {
	old := "-- a\n++ a\n" + strings.Repeat("x\n", 9) + "-- b\nend\n"
	new := "++ a\n-- a\n" + strings.Repeat("x\n", 9) + "++ b\nend\n"
	plan := &engine.Plan{Hosts: []engine.HostPlan{{Name: "vps", Role: "hub", Result: engine.Changed, Took: time.Second,
		Changes: []tasks.Change{{Task: "file:/etc/x", Action: tasks.Update, Attrs: []tasks.Attr{content(mask.Plain, old, new), content(mask.Plain, new, old)}}}}}}
	before, _ := show(Options{}, func(v *View) { v.Plan(plan) })
	after, _ := show(Options{}, func(v *View) { v.Show(saved(t, plan)) })
	if _, after, _ = strings.Cut(after, "\n\n"); after != before {
		t.Error(cmp.Diff(before, after))
	}
}
