package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/diff"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/host"
)

// DriftOptions is what a drift's report tells besides the drift.
type DriftOptions struct {
	Inventory string // its ID
	Shard     string // "3/8"; "": it is of no shard
	// Last is when each host was last judged, before this run, and last as it
	// should be. A host that never was is not in it.
	Last map[string]LastSeen
}

// LastSeen is when a host was last judged (Checked), and last found as it should
// be (OK). Zero: never.
type LastSeen struct{ Checked, OK time.Time }

// shortDiff is how many lines of one difference a report shows; all of them
// with --verbose.
const shortDiff = 12

// Drift writes what is not as it should be, and nothing when all is well; as
// JSON always a document.
func (v *View) Drift(d *engine.Drift, o DriftOptions) error {
	if v.o.JSON {
		return v.encode(v.driftDocument(d, o))
	}
	p := v.driftPage(d, o)
	if p == nil {
		v.halt()
		return nil
	}
	return v.print(p)
}

// driftPage returns nil when all is well.
func (v *View) driftPage(d *engine.Drift, o DriftOptions) *page {
	var drifted, pending, unchecked int
	var fine, mend []string
	var down *tasks.Daemon // that of a host with a tunnel that is down
	var dial []string      // the sites of such tunnels
	for i := range d.Hosts {
		h := &d.Hosts[i]
		switch {
		case h.Result == engine.OK:
			fine = append(fine, h.Name)
		case h.Result == engine.Drifted:
			drifted++
		case h.Result == engine.Pending:
			pending++
		default:
			unchecked++
		}
		plan := false
		for _, f := range h.Findings {
			plan = plan || f.Ignored == nil && f.State != engine.FindingDown
			if f.Ignored == nil && f.State == engine.FindingDown {
				down = &h.Daemon
				// a tunnel has its site's name
				if site := strings.TrimPrefix(f.Change.Task, tasks.TunnelTask("")); !slices.Contains(dial, site) {
					dial = append(dial, site)
				}
			}
		}
		if plan {
			mend = append(mend, h.Name)
		}
	}
	if len(fine) == len(d.Hosts) && !v.o.Verbose {
		return nil
	}
	p := v.page()
	var parts []string
	for _, c := range []struct {
		n    int
		word string
	}{{drifted, "drifted"}, {pending, "pending"}, {unchecked, "NOT CHECKED"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.word))
		}
	}
	if len(parts) == 0 {
		parts = []string{"all is well"}
	}
	title := "vpnpush drift of " + oneLine(o.Inventory)
	if o.Shard != "" {
		title += ", shard " + o.Shard
	}
	p.line("", bold, title+", "+minute(d.At))
	p.line("", bold, fmt.Sprintf("%s: %s", words.Count(len(d.Hosts), "host"), strings.Join(parts, ", ")))
	for i := range d.Hosts {
		h := &d.Hosts[i]
		if h.Result == engine.OK && !(v.o.Verbose && len(h.Findings)+len(h.Warnings) > 0) {
			continue
		}
		p.WriteString("\n")
		v.hostDrift(p, h, o.Last[h.Name])
	}
	p.WriteString("\n")
	if len(fine) > 0 {
		p.wrapped(v.o.Width, append([]string{"As", "it", "should", "be:"}, commas(fine)...))
	}
	if len(mend) > 0 {
		all := ""
		if len(mend) < len(d.Hosts) {
			all = limit(mend)
		}
		p.wrapped(v.o.Width, strings.Fields("To see what would put it right: vpnpush plan"+all))
	}
	if down != nil {
		p.wrapped(v.o.Width, strings.Fields(fmt.Sprintf("A site dials a tunnel that is down by itself; at once: `vpnpush apply%s`. Why it stays down: `vpnpush doctor`, and `journalctl -u %s` at both ends.",
			limit(dial), down.Service())))
	}
	return p
}

// limit returns the flag that limits a verb to hosts, "" where that would be long.
func limit(hosts []string) string {
	l := strings.Join(hosts, ",")
	if len(l) > 50 {
		return ""
	}
	return " --limit " + l
}

func commas(names []string) []string {
	out := append([]string(nil), names...)
	for i := range out[:len(out)-1] {
		out[i] += ","
	}
	return out
}

func (v *View) hostDrift(p *page, h *engine.HostDrift, last LastSeen) {
	title := fmt.Sprintf("%s (%s): ", h.Name, h.Role)
	switch h.Result {
	case engine.OK, engine.Drifted, engine.Pending:
		title += string(h.Result)
	case engine.Locked:
		title += "NOT CHECKED, a run is at work there"
	default:
		title += "NOT CHECKED, " + lastSeen(last)
	}
	p.line("", bold, clean(title))
	if h.Result == engine.Locked {
		p.line("  ", yellow, busy(h.Busy))
		if !h.Busy.Since.IsZero() {
			p.line("  ", yellow, "since "+minute(h.Busy.Since)+" (host's clock)")
		}
	}
	p.trouble(h.Err)
	for _, f := range h.Findings {
		if f.Ignored == nil || v.o.Verbose {
			v.finding(p, h, f)
		}
	}
	if v.o.Verbose {
		for _, w := range h.Warnings {
			p.line("  ", yellow, "warning: "+oneLine(w))
		}
	}
}

func lastSeen(l LastSeen) string {
	switch {
	case l.Checked.IsZero():
		return "never checked before"
	case l.OK.Equal(l.Checked):
		return "last checked " + minute(l.Checked) + ", well then"
	case l.OK.IsZero():
		return "last checked " + minute(l.Checked)
	}
	return "last checked " + minute(l.Checked) + ", last well " + minute(l.OK)
}

// busy returns who is at work on a host.
func busy(r host.Work) string {
	text := "somebody holds its lock"
	switch {
	case r.Pending != "" && !strings.HasSuffix(r.Holder, ", apply "+r.Pending):
		text = "apply " + r.Pending + " waits to be confirmed"
	case r.Pending != "":
		text = r.Holder + ", waits to be confirmed"
	case r.Holder != "":
		text = r.Holder
	}
	return oneLine(text)
}

func (v *View) finding(p *page, h *engine.HostDrift, f engine.Finding) {
	const detail = "      "
	word, color := string(f.State), red
	switch {
	case f.Ignored != nil:
		word, color = "ignored", plain
	case f.State == engine.FindingPending:
		color = yellow
	}
	title := fmt.Sprintf("%-8s %s", word, oneLine(f.Change.Task))
	if f.State == engine.FindingDown {
		title += " " + oneLine(f.Change.Note)
		for _, a := range f.Change.Attrs {
			title += ": " + strings.TrimPrefix(oneLine(string(a.Old)), "down, ")
		}
	}
	p.line("  ", color, title)
	switch {
	case f.Ignored != nil:
		p.line(detail, plain, "until "+lastDay(f.Ignored)+": "+oneLine(f.Ignored.Reason))
		return
	case f.Expired != nil:
		p.line(detail, plain, "was ignored until "+lastDay(f.Expired)+": "+oneLine(f.Expired.Reason))
	}
	if f.State == engine.FindingDown || f.State == engine.FindingPending && !v.o.Verbose {
		return // a plan shows what is pending
	}
	if !f.Edited.IsZero() && f.State == engine.FindingDrifted {
		p.line(detail, plain, "edited "+minute(f.Edited)+" (host's clock)")
	}
	if f.Also {
		p.line(detail, plain, "and the inventory has moved on since the last apply")
	}
	if f.Change.Note != "" {
		p.line(detail, plain, oneLine(f.Change.Note))
	}
	if f.Change.Blocked != "" { // an apply does not mend it
		p.line(detail, red, "blocked: "+oneLine(f.Change.Blocked))
		p.line(detail, plain, "hint: "+oneLine(f.Change.Mend))
	}
	lines := twoSides(*f.Change)
	for i, l := range lines {
		if i == shortDiff && len(lines) > shortDiff+2 && !v.o.Verbose {
			p.line(detail, plain, fmt.Sprintf("(%d more lines: vpnpush plan --limit %s)", len(lines)-i, h.Name))
			break
		}
		p.line(detail, l.style, l.text)
	}
}

// lastDay returns the last day on which a rule held.
func lastDay(ig *engine.Ignore) string { return ig.Until.Add(-time.Second).Format("2006-01-02") }

type styled struct {
	style style
	text  string
}

// twoSides returns a change with the inventory's side first: the other way round
// than a plan, for here it is the host that is looked at.
func twoSides(c tasks.Change) (out []styled) {
	for _, a := range c.Attrs {
		switch {
		case a.Name != "content":
		case a.Old == nil:
			return []styled{{plain, "the host does not have it"}}
		case a.New == nil:
			return []styled{{plain, "the inventory no longer has it"}}
		}
		if !byLines(a) {
			value := func(b []byte) string {
				_, v, _ := strings.Cut(change(tasks.Attr{New: b}), ": ")
				return v
			}
			out = append(out, styled{plain, fmt.Sprintf("%s: inventory %s, host %s", a.Name, value(a.New), value(a.Old))})
			continue
		}
		out = append(out, styled{red, "--- inventory"}, styled{green, "+++ host"})
		hs, stripped := hunks(tasks.Attr{Name: a.Name, Old: a.New, New: a.Old})
		for _, h := range hs {
			hostsSecret(h.Lines)
			out = append(out, styled{cyan, h.Header()})
			for _, l := range h.Lines {
				s := map[diff.Kind]style{diff.Insert: green, diff.Delete: red}[l.Kind]
				out = append(out, styled{s, string(rune(l.Kind)) + l.Text})
				if l.NoEOL {
					out = append(out, styled{plain, diff.NoNewline})
				}
			}
		}
		if stripped {
			out = append(out, styled{plain, unseen})
		}
	}
	return out
}

// hostsSecret moves the mark of a changed secret from the inventory's line, where
// mask.Pair puts it, to the host's.
func hostsSecret(lines []diff.Line) {
	unmark := strings.NewReplacer("(secret, changed)", "(secret)", "(line hidden, changed)", "(line hidden)", "(comment hidden, changed)", "(comment hidden)")
	mark := strings.NewReplacer("(secret)", "(secret, changed)", "(line hidden)", "(line hidden, changed)", "(comment hidden)", "(comment hidden, changed)")
	marked := map[string]bool{}
	for i, l := range lines {
		if text := unmark.Replace(l.Text); l.Kind == diff.Delete && text != l.Text {
			lines[i].Text, marked[text] = text, true
		}
	}
	for i, l := range lines {
		if l.Kind == diff.Insert && marked[l.Text] {
			lines[i].Text = mark.Replace(l.Text)
		}
	}
}

// minute returns a time as reports give it: one zone for all, no seconds.
func minute(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
