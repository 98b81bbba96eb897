package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/diff"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// sign returns what stands in front of a change, and its colour.
func sign(a tasks.Action) (string, style) {
	switch a {
	case tasks.Create, tasks.Install:
		return "+", green
	case tasks.Delete:
		return "-", red
	case tasks.Restart:
		return "!", purple
	}
	return "~", yellow // update, reload, dial: nothing is interrupted
}

// Plan writes a plan.
func (v *View) Plan(plan *engine.Plan) error {
	if v.o.JSON {
		return v.encode(v.planDocument(plan))
	}
	p := v.page()
	v.planPage(p, plan, nil)
	return v.print(p)
}

// planPage adds a plan. saved are the diffs of each host's changes where the plan is
// one that was saved, whose changes have no attributes.
func (v *View) planPage(p *page, plan *engine.Plan, saved [][]string) {
	var t tally
	var fine []string
	lots, among := gather(plan.Hosts)
	if v.o.Verbose {
		lots, among = nil, func(string) bool { return false }
	}
	for i, h := range plan.Hosts {
		t.add(h)
		if h.Result == engine.OK && len(h.Changes)+len(h.Warnings) == 0 && !v.o.Verbose {
			fine = append(fine, h.Name)
			continue
		}
		if among(h.Name) {
			continue
		}
		var diffs []string
		if saved != nil {
			diffs = toldOnce(h.Changes, saved[i])
		}
		v.hostPlan(p, h, diffs)
		p.WriteString("\n")
		v.printSome(p)
	}
	for _, a := range lots {
		v.alike(p, a)
	}
	if t.clean() {
		fine = nil // the last line says it
	}
	if len(fine) > 0 {
		p.wrapped(v.o.Width, append([]string{"Match", "the", "inventory:"}, commas(fine)...))
		p.WriteString("\n")
	}
	if t.install > 0 {
		p.line("", plain, "Packages stay once they are installed, also where an apply is reverted.")
		p.WriteString("\n")
	}
	v.losses(p, plan)
	last := t.planLine()
	if plan.Rollback && t.clean() {
		last = "No changes. " + words.Count(t.hosts, "host") + " as before that apply."
	}
	if plan.Leave && t.clean() {
		last = "No changes. There is nothing to remove on " + words.Count(t.hosts, "host") + "."
	}
	p.line("", bold, last)
}

// hostTitle returns what a host's block begins with.
func hostTitle(h engine.HostPlan) string {
	what := resultWord(h.Result)
	if len(h.Changes) > 0 && h.Result == engine.Changed {
		what = words.Count(len(h.Changes), "change")
	}
	return fmt.Sprintf("%s (%s): %s", h.Name, h.Role, what)
}

// hostPlan adds a host's block, with diffs in the place of the attributes of its changes
// where there are any.
func (v *View) hostPlan(p *page, h engine.HostPlan, diffs []string) {
	title := hostTitle(h)
	if v.o.Verbose && h.Took > 0 {
		title += ", " + seconds(h.Took)
	}
	p.line("", bold, clean(title))
	p.trouble(h.Err)
	for i, c := range h.Changes {
		if sameRules(h.Changes, i, func(j int) string { return attrText(h.Changes[j]) }) {
			c.Attrs, c.Note = nil, asTheyRun
		}
		p.change(c)
		if diffs != nil {
			p.diff(diffs[i])
		}
	}
	for _, w := range h.Warnings {
		p.line("  ", yellow, "warning: "+oneLine(w))
	}
}

// asTheyRun is told in the place of rules that a change before has told.
const asTheyRun = "the same rules, as they run"

// sameRules reports whether one of a host's changes, of the packet filter as it runs, adds
// and takes the very rules that one before it does in the filter's file: what differs
// besides is what a file has around them. It is told once.
func sameRules(cs []tasks.Change, i int, diff func(int) string) bool {
	if cs[i].Task != (tasks.Firewall{}).ID() || cs[i].Blocked != "" {
		return false
	}
	live := rules(diff(i))
	for j := range i {
		if live != "" && cs[j].Blocked == "" && rules(diff(j)) == live {
			return true
		}
	}
	return false
}

// rules returns the rules of iptables that a diff adds and takes, in order.
func rules(diff string) string {
	var out strings.Builder
	for l := range strings.Lines(diff) {
		if strings.HasPrefix(l, "+-A ") || strings.HasPrefix(l, "--A ") {
			out.WriteString(l)
		}
	}
	return out.String()
}

// changeTitle returns the line that a change begins with, and its colour.
func changeTitle(c tasks.Change) (string, style) {
	mark, color := sign(c.Action)
	title := fmt.Sprintf("%s %s %s", mark, oneLine(string(c.Action)), oneLine(c.Task))
	if c.Blocked != "" {
		return title + " (blocked)", red
	}
	return title, color
}

// detail is how far what is below a change is indented.
const detail = "      "

// change adds a change with its diff.
func (p *page) change(c tasks.Change) {
	title, color := changeTitle(c)
	p.line("  ", color, title)
	if c.Blocked != "" {
		p.line(detail, red, "blocked: "+oneLine(c.Blocked))
	}
	if c.Mend != "" {
		p.line(detail, plain, "hint: "+oneLine(c.Mend))
	}
	if c.Note != "" {
		p.line(detail, plain, oneLine(c.Note))
	}
	for _, a := range c.Attrs {
		if !byLines(a) {
			p.line(detail, plain, change(a))
			continue
		}
		if a.Name != "content" {
			p.line(detail, plain, a.Name+":")
		}
		hs, stripped := hunks(a)
		for _, h := range hs {
			p.line(detail, cyan, h.Header())
			for _, l := range h.Lines {
				s := map[diff.Kind]style{diff.Insert: green, diff.Delete: red}[l.Kind]
				p.line(detail, s, string(rune(l.Kind))+l.Text)
				if l.NoEOL {
					p.line(detail, plain, diff.NoNewline)
				}
			}
		}
		if stripped {
			p.line(detail, plain, unseen)
		}
	}
}

func resultWord(r engine.Result) string {
	if r == engine.RolledBack {
		return "rolled back"
	}
	return string(r)
}

func resultStyle(r engine.Result) style {
	switch r {
	case engine.OK:
		return green
	case engine.Changed, engine.Skipped:
		return yellow
	}
	return red
}

// seconds returns a duration as "1.2s", or "2m05s".
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}

// The document of a plan, which those of apply, remove and rollback share.
type (
	planDocument struct {
		head
		hostsAndSummary
	}
	hostsAndSummary struct {
		Shard    *Shard     `json:"shard"`
		Hosts    []jsonHost `json:"hosts"`
		Summary  summary    `json:"summary"`
		ExitCode int        `json:"exit_code"`
	}
	jsonHost struct {
		Name    string       `json:"name"`
		Role    string       `json:"role"`
		Result  string       `json:"result"`
		Error   string       `json:"error"`
		Changes []jsonChange `json:"changes"`
	}
	jsonChange struct {
		Task   string `json:"task"`
		Action string `json:"action"`
		State  string `json:"state"`
		Diff   string `json:"diff"`
	}
	// summary counts hosts by result: failed are all that are neither ok,
	// changed, unreachable nor skipped. changes are those of all hosts.
	summary struct {
		Hosts       int `json:"hosts"`
		OK          int `json:"ok"`
		Changed     int `json:"changed"`
		Unreachable int `json:"unreachable"`
		Failed      int `json:"failed"`
		Changes     int `json:"changes"`
	}
)

// States of a change.
const (
	planned = "planned"
	blocked = "blocked" // vpnpush will not make it
	made    = "made"
)

func (v *View) planDocument(plan *engine.Plan) planDocument {
	d := planDocument{head: heading("plan"), hostsAndSummary: v.noHosts()}
	for _, h := range plan.Hosts {
		out := v.jsonHost(h.Name, h.Role, h.Result, h.Err, h.Warnings)
		for _, c := range h.Changes {
			state := planned
			if c.Blocked != "" {
				state = blocked
				v.warn("blocked", h.Name+": "+c.Task+": "+c.Blocked)
				if c.Mend != "" {
					v.warn("hint", h.Name+": "+c.Mend)
				}
			}
			out.Changes = append(out.Changes, v.jsonChange(c, state))
		}
		d.add(out, h.Result)
	}
	return d
}

func (v *View) noHosts() hostsAndSummary {
	return hostsAndSummary{Shard: v.shard, Hosts: []jsonHost{}, ExitCode: v.code}
}

func (v *View) jsonHost(name, role string, r engine.Result, err error, warnings []string) jsonHost {
	h := jsonHost{Name: v.text(name), Role: role, Result: string(r), Error: v.errorText(name, err), Changes: []jsonChange{}}
	for _, w := range warnings {
		v.warn("warning", name+": "+w)
	}
	return h
}

func (v *View) jsonChange(c tasks.Change, state string) jsonChange {
	return jsonChange{v.text(c.Task), string(c.Action), state, v.text(attrText(c))}
}

func (d *hostsAndSummary) add(h jsonHost, r engine.Result) {
	d.Hosts = append(d.Hosts, h)
	d.Summary.Hosts++
	d.Summary.Changes += len(h.Changes)
	switch r {
	case engine.OK:
		d.Summary.OK++
	case engine.Changed:
		d.Summary.Changed++
	case engine.Unreachable:
		d.Summary.Unreachable++
	case engine.Skipped:
	default:
		d.Summary.Failed++
	}
}
