package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// fewAlike is how many hosts that were not looked at for one reason have a block each.
const fewAlike = 3

// alike is hosts of which one thing is to be told: why they were not looked at.
type alike struct {
	result engine.Result
	reason string
	hint   string
	hosts  []string
}

// reasonOf returns why a host was skipped or not reached, and the hint, without what of
// them is of this host alone: its name, and its address behind it.
func reasonOf(name string, err error) (reason, hint string) {
	e := explain(err)
	reason = strings.Join(append(e.text, e.stderr...), "\n")
	if rest, ok := strings.CutPrefix(reason, "connect to "+name); ok {
		if inner, after, ok := strings.Cut(rest, "): "); ok && strings.HasPrefix(inner, " (") {
			reason = after
		}
	}
	return reason, e.hint
}

// gather returns the hosts that are many for one reason, and whether a host is among them.
func gather(hosts []engine.HostPlan) (lots []*alike, among func(host string) bool) {
	type key struct {
		result       engine.Result
		reason, hint string
	}
	byKey, of := map[key]*alike{}, map[string]*alike{}
	for _, h := range hosts {
		dull := h.Result == engine.Skipped || h.Result == engine.Unreachable
		if !dull || h.Err == nil || len(h.Changes)+len(h.Warnings) > 0 || len(flatten(h.Err)) > 1 {
			continue
		}
		reason, hint := reasonOf(h.Name, h.Err)
		k := key{h.Result, reason, strings.ReplaceAll(hint, h.Name, "HOST")}
		if byKey[k] == nil {
			byKey[k] = &alike{result: h.Result, reason: reason, hint: k.hint}
			lots = append(lots, byKey[k])
		}
		byKey[k].hosts = append(byKey[k].hosts, h.Name)
		of[h.Name] = byKey[k]
	}
	many := lots[:0]
	for _, a := range lots {
		if len(a.hosts) > fewAlike {
			many = append(many, a)
		}
	}
	return many, func(host string) bool { a := of[host]; return a != nil && len(a.hosts) > fewAlike }
}

// alike adds hosts that are many for one reason: on a line, if that is wide enough for
// some of their names.
func (v *View) alike(p *page, a *alike) {
	head := fmt.Sprintf("%d hosts %s: %s: ", len(a.hosts), resultWord(a.result), oneLine(a.reason))
	n := len(a.hosts)
	for n > 1 && columns(head+few(a.hosts, n)) > v.o.Width {
		n--
	}
	p.folded(v.o.Width, "", bold, "", head+few(a.hosts, n))
	if a.hint != "" {
		p.line("  ", plain, "hint: "+a.hint)
	}
	p.WriteString("\n")
}
