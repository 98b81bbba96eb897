package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
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

// illness is what was counted over all hosts.
type illness struct{ hosts, unreachable, failed, problems, warnings, notes, unchecked int }

func (r *Diagnoses) count() illness {
	n := illness{hosts: len(r.Hosts)}
	for _, h := range r.Hosts {
		n.problems += h.Count(doctor.Problem)
		n.warnings += h.Count(doctor.Warning)
		n.notes += h.Count(doctor.Note)
		n.unchecked += len(h.Unchecked)
		switch h.Result {
		case engine.OK:
		case engine.Unreachable, engine.Skipped: // nothing is known of it
			n.unreachable++
		default:
			n.failed++
		}
	}
	return n
}

// line returns the last line for people.
func (n illness) line() string {
	var after []string
	if n.unreachable > 0 {
		after = append(after, fmt.Sprintf("%d unreachable", n.unreachable))
	}
	if n.failed > 0 {
		after = append(after, fmt.Sprintf("%d failed", n.failed))
	}
	if n.unchecked > 0 {
		after = append(after, fmt.Sprintf("%s not checked", words.Count(n.unchecked, "thing")))
	}
	if n.problems+n.warnings+len(after) == 0 {
		notes := ""
		if n.notes > 0 {
			notes = "; " + words.Count(n.notes, "note")
		}
		return fmt.Sprintf("Nothing found. %s looked at%s.", words.Count(n.hosts, "host"), notes)
	}
	s := fmt.Sprintf("Doctor: %s, %s, %s", words.Count(n.hosts, "host"), words.Count(n.problems, "problem"), words.Count(n.warnings, "warning"))
	if after != nil {
		s += "; " + strings.Join(after, ", ")
	}
	return s + "."
}

// Doctor writes what a doctor found.
func (v *View) Doctor(r *Diagnoses) error {
	if v.o.JSON {
		return v.encode(v.doctorDocument(r))
	}
	return v.print(v.doctorPage(r))
}

func (v *View) doctorPage(r *Diagnoses) *page {
	p := v.page()
	for _, h := range r.Hosts {
		word := "nothing found"
		switch {
		case h.Result != engine.OK:
			word = resultWord(h.Result)
		case h.Count(doctor.Note) < len(h.Findings):
			word = words.Count(h.Count(doctor.Problem), "problem") + ", " + words.Count(h.Count(doctor.Warning), "warning")
		case len(h.Unchecked) > 0:
			word = "nothing found in what was checked"
		}
		p.line("", bold, clean(fmt.Sprintf("%s (%s): %s", h.Name, h.Role, word)))
		p.trouble(h.Err)
		for _, f := range h.Findings {
			s := map[doctor.Severity]style{doctor.Problem: red, doctor.Warning: yellow}[f.Severity]
			p.folded(v.o.Width, "  ", s, string(f.Severity)+": ", f.What)
			p.folded(v.o.Width, "      ", plain, "why: ", f.Why)
			if f.Mend != "" {
				p.folded(v.o.Width, "      ", plain, "mend: ", f.Mend)
			}
		}
		for _, u := range h.Unchecked {
			p.folded(v.o.Width, "  ", plain, "not checked: ", u)
		}
		p.WriteString("\n")
	}
	p.line("", bold, r.count().line())
	return p
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

// The document of a doctor.
type (
	doctorDocument struct {
		head
		Hosts   []jsonPatient `json:"hosts"`
		Summary struct {
			Hosts       int `json:"hosts"`
			Unreachable int `json:"unreachable"`
			Failed      int `json:"failed"`
			Problems    int `json:"problems"`
			Warnings    int `json:"warnings"`
			Notes       int `json:"notes"`
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

func (v *View) doctorDocument(r *Diagnoses) doctorDocument {
	n := r.count()
	d := doctorDocument{head: heading("doctor"), Hosts: []jsonPatient{}}
	d.Summary.Hosts, d.Summary.Unreachable, d.Summary.Failed = n.hosts, n.unreachable, n.failed
	d.Summary.Problems, d.Summary.Warnings, d.Summary.Notes, d.Summary.Unchecked = n.problems, n.warnings, n.notes, n.unchecked
	for _, h := range r.Hosts {
		out := jsonPatient{
			Name: v.text(h.Name), Role: h.Role, Result: string(h.Result), Error: v.errorText(h.Name, h.Err),
			Findings: []jsonFinding{}, Unchecked: v.texts(h.Unchecked),
		}
		for _, f := range h.Findings {
			out.Findings = append(out.Findings, jsonFinding{f.Check, string(f.Severity), v.text(f.What), v.text(f.Why), v.text(f.Mend)})
		}
		d.Hosts = append(d.Hosts, out)
	}
	return d
}
