package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// History implements View: a table row for each entry, the newest first, and
// below it who did what.
func (v *humanView) History(h *engine.History) error {
	p := page{color: v.color(v.OutIsTerminal)}
	if h.Pending != "" {
		p.line("", yellow, "apply "+oneLine(h.Pending)+" waits to be confirmed, or to be put back")
		p.WriteString("\n")
	}
	if len(h.Entries) == 0 {
		p.line("", plain, oneLine(h.Name)+": nothing was applied here.")
		return v.result(v.Redact([]byte(p.String())))
	}
	row := func(s style, when, txn, outcome, backup string) {
		p.line("", s, pad(when, 17)+"  "+pad(txn, 24)+"  "+pad(outcome, 13)+"  "+backup)
	}
	row(bold, "WHEN (UTC)", "APPLY", "OUTCOME", "BACKUP")
	kept := 0
	for _, e := range h.Entries {
		backup := ""
		if e.Backup {
			backup = "kept"
			kept++
		}
		s := plain
		if !e.Stands() {
			s = red
		}
		row(s, e.Time.UTC().Format("2006-01-02 15:04"), oneLine(e.Txn), strings.ReplaceAll(oneLine(e.Outcome), "-", " "), backup)
		what := oneLine(e.Why)
		if e.Stands() {
			what = plural(len(e.Changes), "change")
			if e.Before != "" {
				what += ", back to before " + oneLine(e.Before)
			}
		}
		what = oneLine(e.By) + ": " + what
		if v.Verbose {
			p.line("    ", plain, what)
			for _, c := range e.Changes {
				p.line("      ", plain, oneLine(c))
			}
			continue
		}
		p.line("    ", plain, some(what, e.Changes, v.Width-4))
	}
	p.WriteString("\n")
	p.line("", bold, fmt.Sprintf("%s: %s, %s kept.", oneLine(h.Name), entries(len(h.Entries)), plural(kept, "backup")))
	return v.result(v.Redact([]byte(p.String())))
}

func entries(n int) string {
	if n == 1 {
		return "1 entry"
	}
	return fmt.Sprintf("%d entries", n)
}

// some is text, and behind it as many of a list as the width takes.
func some(text string, list []string, width int) string {
	line := text
	for i, c := range list {
		sep := ", "
		if i == 0 {
			sep = ": "
		}
		next := line + sep + oneLine(c)
		rest := ""
		if n := len(list) - i - 1; n > 0 {
			rest = fmt.Sprintf(" and %d more", n)
		}
		if columns(next+rest) > width {
			if i > 0 {
				line += fmt.Sprintf(" and %d more", len(list)-i)
			}
			break
		}
		line = next
	}
	return cut(line, width)
}

// The document of history --json (docs/output.md).
type (
	jsonHistory struct {
		FormatVersion string      `json:"format_version"`
		Command       string      `json:"command"`
		Host          string      `json:"host"`
		Role          string      `json:"role"`
		Pending       string      `json:"pending"`
		Entries       []jsonEntry `json:"entries"`
	}
	jsonEntry struct {
		Time    string   `json:"time"`
		Txn     string   `json:"txn"`
		Outcome string   `json:"outcome"`
		Before  string   `json:"before"`
		By      string   `json:"by"`
		Backup  bool     `json:"backup"`
		Changes []string `json:"changes"`
		Why     string   `json:"why"`
	}
)

// History implements View.
func (v *jsonView) History(h *engine.History) error {
	text := func(s string) string { return clean(string(v.Redact([]byte(clean(s))))) }
	d := jsonHistory{FormatVersion: "1", Command: "history", Host: text(h.Name), Role: h.Role, Pending: text(h.Pending), Entries: []jsonEntry{}}
	for _, e := range h.Entries {
		j := jsonEntry{
			Time: e.Time.UTC().Format(time.RFC3339), Txn: text(e.Txn), Outcome: text(e.Outcome), Before: text(e.Before),
			By: text(e.By), Backup: e.Backup, Changes: slices.Clone(e.Changes), Why: text(e.Why),
		}
		for i := range j.Changes {
			j.Changes[i] = text(j.Changes[i])
		}
		if j.Changes == nil {
			j.Changes = []string{}
		}
		d.Entries = append(d.Entries, j)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("encode the history: %w", err)
	}
	return v.result(b.Bytes())
}
