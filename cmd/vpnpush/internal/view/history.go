package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// History writes what was done on a host.
func (v *View) History(h *engine.History) error {
	if v.o.JSON {
		return v.encode(v.historyDocument(h))
	}
	return v.print(v.historyPage(h))
}

// historyPage returns a table with a row for each entry, the newest first, and
// below it who did what.
func (v *View) historyPage(h *engine.History) *page {
	p := v.page()
	if h.Pending != "" {
		p.line("", yellow, "apply "+oneLine(h.Pending)+" waits to be confirmed, or to be put back")
		p.WriteString("\n")
	}
	if len(h.Entries) == 0 {
		p.line("", plain, oneLine(h.Name)+": nothing was applied here.")
		return p
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
			what = words.Count(len(e.Changes), "change")
			if e.Before != "" {
				what += ", back to before " + oneLine(e.Before)
			}
			if e.Ends != "" {
				what += ", the last step of " + oneLine(e.Ends)
			}
		}
		what = oneLine(e.By) + ": " + what
		if v.o.Verbose {
			p.line("    ", plain, what)
			for _, c := range e.Changes {
				p.line("      ", plain, oneLine(c))
			}
			continue
		}
		p.line("    ", plain, some(what, e.Changes, v.o.Width-4))
	}
	p.WriteString("\n")
	p.line("", bold, fmt.Sprintf("%s: %s, %s kept.", oneLine(h.Name), words.Count(len(h.Entries), "entry"), words.Count(kept, "backup")))
	return p
}

// some returns text, and behind it as many of a list as the width takes.
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

// The document of a history.
type (
	historyDocument struct {
		head
		Host    string      `json:"host"`
		Role    string      `json:"role"`
		Pending string      `json:"pending"`
		Entries []jsonEntry `json:"entries"`
	}
	jsonEntry struct {
		Time    string   `json:"time"`
		Txn     string   `json:"txn"`
		Outcome string   `json:"outcome"`
		Before  string   `json:"before"`
		Ends    string   `json:"ends"`
		By      string   `json:"by"`
		Backup  bool     `json:"backup"`
		Changes []string `json:"changes"`
		Why     string   `json:"why"`
	}
)

func (v *View) historyDocument(h *engine.History) historyDocument {
	d := historyDocument{head: heading("history"), Host: v.text(h.Name), Role: h.Role, Pending: v.text(h.Pending), Entries: []jsonEntry{}}
	for _, e := range h.Entries {
		d.Entries = append(d.Entries, jsonEntry{
			Time: stamp(e.Time), Txn: v.text(e.Txn), Outcome: v.text(e.Outcome), Before: v.text(e.Before), Ends: v.text(e.Ends),
			By: v.text(e.By), Backup: e.Backup, Changes: v.texts(e.Changes), Why: v.text(e.Why),
		})
	}
	return d
}
