package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/doctor"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// Diagnoses is what a doctor found.
type Diagnoses struct {
	Hosts []HostDiagnosis // hub first, then by name
}

// HostDiagnosis is what was found on one host, or why it was not looked at.
type HostDiagnosis struct {
	doctor.Diagnosis
	Result engine.Result // OK: it was looked at
	Err    error
}

// illness counts over hosts.
type illness struct{ hosts, unreachable, failed, problems, warnings, unchecked int }

func (r *Diagnoses) count() illness {
	n := illness{hosts: len(r.Hosts)}
	for _, h := range r.Hosts {
		n.problems += h.Problems()
		n.warnings += len(h.Findings) - h.Problems()
		n.unchecked += len(h.Unchecked)
		switch h.Result {
		case engine.OK:
		case engine.Unreachable:
			n.unreachable++
		default:
			n.failed++
		}
	}
	return n
}

// line is the last line for people.
func (n illness) line() string {
	var after []string
	if n.unreachable > 0 {
		after = append(after, fmt.Sprintf("%d unreachable", n.unreachable))
	}
	if n.failed > 0 {
		after = append(after, fmt.Sprintf("%d failed", n.failed))
	}
	if n.unchecked > 0 {
		after = append(after, fmt.Sprintf("%s not checked", plural(n.unchecked, "thing")))
	}
	if n.problems+n.warnings+len(after) == 0 {
		return fmt.Sprintf("Nothing found. %s looked at.", plural(n.hosts, "host"))
	}
	s := fmt.Sprintf("Doctor: %s, %s, %s", plural(n.hosts, "host"), plural(n.problems, "problem"), plural(n.warnings, "warning"))
	if after != nil {
		s += "; " + strings.Join(after, ", ")
	}
	return s + "."
}

// Doctor implements View.
func (v *humanView) Doctor(r *Diagnoses) error {
	p := page{color: v.color(v.OutIsTerminal)}
	for _, h := range r.Hosts {
		word := "nothing found"
		switch {
		case h.Result != engine.OK:
			word = resultWord(h.Result)
		case len(h.Findings) > 0:
			word = plural(h.Problems(), "problem") + ", " + plural(len(h.Findings)-h.Problems(), "warning")
		case len(h.Unchecked) > 0:
			word = "nothing found in what was checked"
		}
		p.line("", bold, clean(fmt.Sprintf("%s (%s): %s", h.Name, h.Role, word)))
		v.trouble(&p, h.Err)
		for _, f := range h.Findings {
			s := yellow
			if f.Severity == doctor.Problem {
				s = red
			}
			p.folded(v.Width, "  ", s, string(f.Severity)+": ", f.What)
			p.folded(v.Width, "      ", plain, "why: ", f.Why)
			if f.Mend != "" {
				p.folded(v.Width, "      ", plain, "mend: ", f.Mend)
			}
		}
		for _, u := range h.Unchecked {
			p.folded(v.Width, "  ", plain, "not checked: ", u)
		}
		p.WriteString("\n")
	}
	p.line("", bold, r.count().line())
	return v.result(v.Redact([]byte(p.String())))
}

// folded adds a text that begins with a label as lines of at most width columns,
// all but the first set in below the text.
func (p *page) folded(width int, indent string, s style, label, text string) {
	line, first := label, true
	in := indent
	for _, w := range strings.Fields(clean(text)) {
		if !first && columns(in)+columns(line)+1+columns(w) > width {
			p.line(in, s, line)
			in, line, first = indent+strings.Repeat(" ", columns(label)), "", true
		}
		if !first {
			line += " "
		}
		line += w
		first = false
	}
	p.line(in, s, line)
}

// The document of a doctor, docs/output.md. Every key is always there.
type (
	doctorDocument struct {
		FormatVersion string        `json:"format_version"`
		Command       string        `json:"command"`
		Hosts         []jsonPatient `json:"hosts"`
		Summary       struct {
			Hosts       int `json:"hosts"`
			Unreachable int `json:"unreachable"`
			Failed      int `json:"failed"`
			Problems    int `json:"problems"`
			Warnings    int `json:"warnings"`
			Unchecked   int `json:"unchecked"`
		} `json:"summary"`
	}
	jsonPatient struct {
		Name      string        `json:"name"`
		Role      string        `json:"role"`
		Result    string        `json:"result"`
		Error     string        `json:"error"`
		Findings  []jsonFinding `json:"findings"`
		Unchecked []string      `json:"unchecked"`
	}
	jsonFinding struct {
		Check    string `json:"check"`
		Severity string `json:"severity"`
		What     string `json:"what"`
		Why      string `json:"why"`
		Mend     string `json:"mend"`
	}
)

// Doctor implements View.
func (v *jsonView) Doctor(r *Diagnoses) error {
	text := func(s string) string { return clean(string(v.Redact([]byte(clean(s))))) }
	n := r.count()
	d := doctorDocument{FormatVersion: "1", Command: "doctor", Hosts: []jsonPatient{}}
	d.Summary.Hosts, d.Summary.Unreachable, d.Summary.Failed = n.hosts, n.unreachable, n.failed
	d.Summary.Problems, d.Summary.Warnings, d.Summary.Unchecked = n.problems, n.warnings, n.unchecked
	for _, h := range r.Hosts {
		out := jsonPatient{Name: text(h.Name), Role: h.Role, Result: string(h.Result), Findings: []jsonFinding{}, Unchecked: []string{}}
		if h.Err != nil {
			out.Error = text(h.Err.Error())
			if hint := explain(h.Err).hint; hint != "" {
				v.warn("hint", h.Name+": "+hint)
			}
		}
		for _, f := range h.Findings {
			out.Findings = append(out.Findings, jsonFinding{f.Check, string(f.Severity), text(f.What), text(f.Why), text(f.Mend)})
		}
		for _, u := range h.Unchecked {
			out.Unchecked = append(out.Unchecked, text(u))
		}
		d.Hosts = append(d.Hosts, out)
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
