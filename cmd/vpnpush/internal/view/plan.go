package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/diff"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// humanView writes for people.
type humanView struct{ *screen }

// sign is what stands in front of a change, and its colour.
func sign(a tasks.Action) (string, style) {
	switch a {
	case tasks.Create, tasks.Install:
		return "+", green
	case tasks.Delete:
		return "-", red
	case tasks.Restart:
		return "!", purple
	}
	return "~", yellow // update, reload: nothing is interrupted
}

// Plan implements View.
func (v *humanView) Plan(plan *engine.Plan) error {
	p := page{color: v.color(v.OutIsTerminal)}
	var t tally
	var fine []string
	installs := false
	for _, h := range sorted(plan.Hosts, planKey) {
		t.host(h.Result)
		for _, c := range h.Changes {
			t.change(c)
			installs = installs || c.Action == tasks.Install
		}
		if h.Result == engine.OK && len(h.Changes)+len(h.Warnings) == 0 && !v.Verbose {
			fine = append(fine, h.Name)
			continue
		}
		v.hostPlan(&p, h)
		p.WriteString("\n")
	}
	if t.clean() {
		fine = nil // the last line says it
	}
	for i := range fine {
		if i < len(fine)-1 {
			fine[i] += ","
		}
	}
	if len(fine) > 0 {
		p.wrapped(v.Width, append([]string{"Match", "the", "inventory:"}, fine...))
		p.WriteString("\n")
	}
	if installs {
		p.line("", plain, "Packages stay once they are installed, also where an apply is reverted.")
		p.WriteString("\n")
	}
	last := t.planLine()
	if plan.Back && t.clean() {
		last = "No changes. " + plural(t.hosts, "host") + " as before that apply."
	}
	p.line("", bold, last)
	return v.result(v.Redact([]byte(p.String())))
}

func (v *humanView) hostPlan(p *page, h engine.HostPlan) {
	title := fmt.Sprintf("%s (%s): %s", h.Name, h.Role, resultWord(h.Result))
	if len(h.Changes) > 0 && h.Result == engine.Changed {
		title = fmt.Sprintf("%s (%s): %s", h.Name, h.Role, plural(len(h.Changes), "change"))
	}
	if v.Verbose {
		title += ", " + seconds(h.Took)
	}
	p.line("", bold, clean(title))
	v.trouble(p, h.Err)
	for _, c := range h.Changes {
		v.change(p, c)
	}
	for _, w := range h.Warnings {
		p.line("  ", yellow, "warning: "+oneLine(w))
	}
}

// trouble shows a host's error once, with the remote stderr and the hint.
func (v *humanView) trouble(p *page, err error) {
	if err == nil {
		return
	}
	all := flatten(err)
	for i, one := range all {
		e := explain(one)
		for _, l := range e.text {
			p.line("  ", red, l)
		}
		for _, l := range e.stderr {
			p.line("    ", plain, l)
		}
		// one hint for several in a row that have the same mend
		if e.hint != "" && (i == len(all)-1 || explain(all[i+1]).hint != e.hint) {
			p.line("  ", plain, "hint: "+e.hint)
		}
	}
}

func (v *humanView) change(p *page, c tasks.Change) {
	const detail = "      "
	mark, color := sign(c.Action)
	title := fmt.Sprintf("%s %s %s", mark, c.Action, oneLine(c.Task))
	if c.Blocked != "" {
		title += " (blocked)"
		color = red
	}
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

// Report implements View.
func (v *humanView) Report(r *engine.Report) error {
	p := page{color: v.color(v.OutIsTerminal)}
	hosts := sorted(r.Hosts, reportKey)
	var nameWidth, roleWidth, resultWidth int
	for _, h := range hosts {
		nameWidth = max(nameWidth, columns(h.Name))
		roleWidth = max(roleWidth, columns(h.Role))
		resultWidth = max(resultWidth, columns(resultWord(h.Result)))
	}
	var t tally
	for _, h := range hosts {
		t.host(h.Result)
		line := pad(h.Name, nameWidth) + "  " + pad(h.Role, roleWidth) + "  " + pad(resultWord(h.Result), resultWidth)
		if n := len(h.Changes); n > 0 {
			line += "  " + plural(n, "change")
		}
		up := 0
		for _, s := range h.Tunnels {
			if s.Up {
				up++
			}
		}
		t.down += len(h.Tunnels) - up
		if len(h.Tunnels) > 0 {
			line += fmt.Sprintf("  %d of %s up", up, plural(len(h.Tunnels), "tunnel"))
		}
		if v.Verbose {
			line += "  " + seconds(h.Took)
		}
		p.line("", resultStyle(h.Result), clean(line))
		v.trouble(&p, h.Err)
		for _, s := range h.Tunnels {
			v.tunnel(&p, s)
		}
		for _, w := range h.Warnings {
			p.line("  ", yellow, "warning: "+oneLine(w))
		}
	}
	p.WriteString("\n")
	p.line("", bold, t.applyLine())
	return v.result(v.Redact([]byte(p.String())))
}

func (v *humanView) tunnel(p *page, s strongswan.TunnelState) {
	switch {
	case !s.Up:
		p.line("  ", red, tunnelDown(s))
	case s.SAs > 1:
		p.line("  ", yellow, fmt.Sprintf("tunnel to %s: up, with %d IKE SAs where one is enough", oneLine(s.Tunnel.Peer), s.SAs))
	case v.Verbose:
		p.line("  ", plain, strings.TrimRight(fmt.Sprintf("tunnel to %s: up %s", oneLine(s.Tunnel.Peer), oneLine(s.Peer)), " "))
	}
}

func tunnelDown(s strongswan.TunnelState) string {
	text := "tunnel to " + oneLine(s.Tunnel.Peer) + ": down"
	if s.Why != "" {
		text += ", " + oneLine(s.Why)
	}
	return text
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

// seconds is a duration as "1.2s", or "2m05s".
func seconds(d time.Duration) string {
	if d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
}
