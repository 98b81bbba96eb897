package view

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// jsonView writes one JSON document to standard output. What its schema has no
// place for, warnings and hints and tunnels, goes to standard error.
type jsonView struct{ *screen }

// The document: DESIGN section 8, docs/output.md. Every key is always there.
type (
	document struct {
		FormatVersion string     `json:"format_version"`
		Command       string     `json:"command"`
		Hosts         []jsonHost `json:"hosts"`
		Summary       summary    `json:"summary"`
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

// Plan implements View.
func (v *jsonView) Plan(plan *engine.Plan) error {
	d := document{FormatVersion: "1", Command: "plan", Hosts: []jsonHost{}}
	for _, h := range sorted(plan.Hosts, planKey) {
		out := v.host(h.Name, h.Role, h.Result, h.Err, h.Warnings)
		for _, c := range h.Changes {
			state := planned
			if c.Blocked != "" {
				state = blocked
				v.warn("blocked", h.Name+": "+c.Task+": "+c.Blocked)
				if c.Mend != "" {
					v.warn("hint", h.Name+": "+c.Mend)
				}
			}
			out.Changes = append(out.Changes, jsonChange{c.Task, string(c.Action), state, attrText(c)})
		}
		d.add(out, h.Result)
	}
	return v.document(d)
}

// Report implements View.
func (v *jsonView) Report(r *engine.Report) error {
	d := document{FormatVersion: "1", Command: "apply", Hosts: []jsonHost{}}
	for _, h := range sorted(r.Hosts, reportKey) {
		out := v.host(h.Name, h.Role, h.Result, h.Err, h.Warnings)
		for _, c := range h.Changes {
			out.Changes = append(out.Changes, jsonChange{c.Task, string(c.Action), made, attrText(c)})
		}
		for _, s := range h.Tunnels {
			if !s.Up {
				v.warn("warning", h.Name+": "+tunnelDown(s))
			}
		}
		d.add(out, h.Result)
	}
	return v.document(d)
}

func (v *jsonView) host(name, role string, r engine.Result, err error, warnings []string) jsonHost {
	h := jsonHost{Name: name, Role: role, Result: string(r), Changes: []jsonChange{}}
	if err != nil {
		h.Error = err.Error()
		if hint := explain(err).hint; hint != "" {
			v.warn("hint", name+": "+hint)
		}
	}
	for _, w := range warnings {
		v.warn("warning", name+": "+w)
	}
	return h
}

func (d *document) add(h jsonHost, r engine.Result) {
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

// document writes d. Texts are redacted before they are encoded: in the encoded
// text a secret with a quote in it would not be found, and a secret that is
// also a word of the schema would break it.
func (v *jsonView) document(d document) error {
	text := func(s *string) { *s = clean(string(v.Redact([]byte(clean(*s))))) }
	for i := range d.Hosts {
		h := &d.Hosts[i]
		text(&h.Name)
		text(&h.Error)
		for j := range h.Changes {
			text(&h.Changes[j].Task)
			text(&h.Changes[j].Diff)
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	return v.result(b.Bytes())
}
