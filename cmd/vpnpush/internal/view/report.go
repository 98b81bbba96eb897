package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// ReportOptions says what a report is of.
type ReportOptions struct {
	Command  string           // "apply", "remove", "rollback"
	Rollback *engine.Rollback // of a rollback: where it went back to
}

// Report writes what a verb did to hosts.
func (v *View) Report(r *engine.Report, o ReportOptions) error {
	switch {
	case !v.o.JSON:
		return v.print(v.reportPage(r))
	case o.Rollback != nil:
		after := v.texts(o.Rollback.After)
		return v.encode(rollbackDocument{heading(o.Command), v.text(o.Rollback.Before), after, v.reportHosts(r)})
	}
	return v.encode(planDocument{heading(o.Command), v.reportHosts(r)})
}

func (v *View) reportPage(r *engine.Report) *page {
	p := v.page()
	var nameWidth, roleWidth, resultWidth int
	for _, h := range r.Hosts {
		nameWidth = max(nameWidth, columns(h.Name))
		roleWidth = max(roleWidth, columns(h.Role))
		resultWidth = max(resultWidth, columns(resultWord(h.Result)))
	}
	var t tally
	for _, h := range r.Hosts {
		t.host(h.Result)
		line := pad(h.Name, nameWidth) + "  " + pad(h.Role, roleWidth) + "  " + pad(resultWord(h.Result), resultWidth)
		if n := len(h.Changes); n > 0 {
			line += "  " + words.Count(n, "change")
		}
		up := 0
		for _, s := range h.Tunnels {
			if s.Up {
				up++
			}
		}
		t.down += len(h.Tunnels) - up
		if len(h.Tunnels) > 0 {
			line += fmt.Sprintf("  %d of %s up", up, words.Count(len(h.Tunnels), "tunnel"))
		}
		if v.o.Verbose {
			line += "  " + seconds(h.Took)
		}
		p.line("", resultStyle(h.Result), clean(line))
		p.trouble(h.Err)
		for _, s := range h.Tunnels {
			v.tunnel(p, s)
		}
		for _, w := range h.Warnings {
			p.line("  ", yellow, "warning: "+oneLine(w))
		}
	}
	p.WriteString("\n")
	p.line("", bold, t.applyLine())
	return p
}

func (v *View) tunnel(p *page, s strongswan.TunnelState) {
	switch {
	case !s.Up:
		p.line("  ", red, tunnelDown(s))
	case s.SAs > 1:
		p.line("  ", yellow, fmt.Sprintf("tunnel to %s: up, with %d IKE SAs where one is enough", oneLine(s.Tunnel.Peer), s.SAs))
	case v.o.Verbose:
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

// rollbackDocument is the document of an apply, and where it went back to.
type rollbackDocument struct {
	head
	Before string   `json:"before"` // the apply that was taken back
	After  []string `json:"after"`  // those that came after it, and were taken back with it
	hostsAndSummary
}

func (v *View) reportHosts(r *engine.Report) hostsAndSummary {
	d := v.noHosts()
	for _, h := range r.Hosts {
		out := v.jsonHost(h.Name, h.Role, h.Result, h.Err, h.Warnings)
		for _, c := range h.Changes {
			out.Changes = append(out.Changes, v.jsonChange(c, made))
		}
		for _, s := range h.Tunnels {
			if !s.Up {
				v.warn("warning", h.Name+": "+tunnelDown(s))
			}
		}
		d.add(out, h.Result)
	}
	return d
}
