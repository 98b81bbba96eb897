package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// A long plan is read at its end, so what it takes away or interrupts is told there once
// more. It is all in the plan above, so that long lists are cut short.
const (
	fewObjects = 6  // of one host
	fewHosts   = 6  // that lose the same
	fewLosses  = 12 // of a kind
)

// losses is what a plan takes away or interrupts, in the order of its hosts.
type losses struct {
	deletes, restarts []loss
	ends, blinks      []string
}

// loss is what hosts lose, each of them the same.
type loss struct{ hosts, objects []string }

func lossesOf(plan *engine.Plan) losses {
	var l losses
	for _, h := range plan.Hosts {
		var deletes, restarts []string
		for _, c := range h.Changes {
			if c.Blocked != "" {
				continue // it will not be made
			}
			switch {
			case c.Action == tasks.Delete && len(c.Ends) == 0:
				deletes = append(deletes, oneLine(c.Task))
			case c.Action == tasks.Restart:
				restarts = append(restarts, oneLine(c.Task))
			}
			l.ends, l.blinks = add(l.ends, c.Ends), add(l.blinks, c.Blinks)
		}
		l.deletes, l.restarts = lost(l.deletes, h.Name, deletes), lost(l.restarts, h.Name, restarts)
	}
	return l
}

func add(list, more []string) []string {
	for _, s := range more {
		if s = oneLine(s); !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// lost adds what a host loses, to those that lose the same where there are any.
func lost(ls []loss, host string, objects []string) []loss {
	if len(objects) == 0 {
		return ls
	}
	if i := slices.IndexFunc(ls, func(l loss) bool { return slices.Equal(l.objects, objects) }); i >= 0 {
		ls[i].hosts = append(ls[i].hosts, host)
		return ls
	}
	return append(ls, loss{[]string{host}, objects})
}

// losses adds what a plan takes away or interrupts, and nothing where that is nothing.
func (v *View) losses(p *page, plan *engine.Plan) {
	l := lossesOf(plan)
	if len(l.deletes)+len(l.restarts)+len(l.ends)+len(l.blinks) == 0 {
		return
	}
	p.line("", bold, "What this takes away or interrupts:")
	each := func(ls []loss, s style, sign, verb string) {
		for i, one := range ls {
			if i == fewLosses {
				n := 0
				for _, rest := range ls[i:] {
					n += len(rest.hosts)
				}
				p.line("  ", s, fmt.Sprintf("%s %s on %s", sign, verb, words.Count(n, "more host")))
				break
			}
			p.folded(v.o.Width, "  ", s, sign+" ", fmt.Sprintf("%s on %s: %s", verb, few(one.hosts, fewHosts), few(one.objects, fewObjects)))
		}
	}
	each(l.deletes, red, "-", "delete")
	if len(l.ends) > 0 {
		p.folded(v.o.Width, "  ", red, "- ", "ends: "+few(l.ends, fewLosses))
	}
	each(l.restarts, purple, "!", "restart")
	if len(l.blinks) > 0 {
		p.folded(v.o.Width, "  ", purple, "! ", "tunnels down for some seconds, and up again: "+few(l.blinks, fewLosses))
	}
	p.WriteString("\n")
}

// few returns a list of which no more than n are named, and how many there are besides.
func few(list []string, n int) string {
	if len(list) <= n+1 { // "and 1 more" is no shorter
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:n], ", "), len(list)-n)
}
