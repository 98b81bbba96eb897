package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
)

// maxFaults is how many faults are shown to people: who mends those often mends
// the others with them.
const maxFaults = 50

// Diagnostics shows an inventory's faults on standard error, a line each; of very
// many the first, and how many they are, faults before warnings.
func (v *View) Diagnostics(ds inventory.Diagnostics) {
	if len(ds) == 0 {
		return
	}
	shown := ds
	if len(ds) > maxFaults {
		shown = append(ds.Errors(), ds.Warnings()...)[:maxFaults]
	}
	var text strings.Builder
	for _, d := range shown {
		text.WriteString(clean(d.String()) + "\n")
	}
	if rest := len(ds) - len(shown); rest > 0 {
		fmt.Fprintf(&text, "and %d more, of %s and %s; validate --json has them all\n",
			rest, words.Count(len(ds.Errors()), "fault"), words.Count(len(ds.Warnings()), "warning"))
	}
	v.complain(text.String())
}

// Validation is what came of checking an inventory.
type Validation struct {
	File        string
	Inventory   *inventory.Inventory // nil: it has faults
	Diagnostics inventory.Diagnostics
}

// Validate writes what came of checking an inventory. For people an inventory
// with faults is no result: they are on standard error, and so are warnings.
func (v *View) Validate(c Validation) error {
	if v.o.JSON {
		return v.encode(v.validateDocument(c))
	}
	v.Diagnostics(c.Diagnostics)
	if c.Inventory == nil {
		v.halt()
		return nil
	}
	users := ""
	if l := c.Inventory.L2TP; l != nil {
		users = ", " + words.Count(len(l.Users), "user")
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("%s: good. Hub %s, %s%s.", oneLine(c.File), c.Inventory.Hub.Name, words.Count(len(c.Inventory.Sites), "site"), users))
	return v.print(p)
}

// The document of a validate.
type (
	validateDocument struct {
		head
		File        string           `json:"file"`
		Valid       bool             `json:"valid"`
		Hub         string           `json:"hub"` // "" where it is not valid
		Diagnostics []jsonDiagnostic `json:"diagnostics"`
		Summary     validateSummary  `json:"summary"`
	}
	jsonDiagnostic struct {
		File     string `json:"file"`
		Line     int    `json:"line"`     // 0: the file as a whole
		Severity string `json:"severity"` // "error", "warning"
		Summary  string `json:"summary"`
		Mend     string `json:"mend"`
	}
	// validateSummary: sites and users are 0 where it is not valid.
	validateSummary struct {
		Errors   int `json:"errors"`
		Warnings int `json:"warnings"`
		Sites    int `json:"sites"`
		Users    int `json:"users"`
	}
)

func (v *View) validateDocument(c Validation) validateDocument {
	d := validateDocument{head: heading("validate"), File: v.text(c.File), Valid: c.Inventory != nil, Diagnostics: []jsonDiagnostic{}}
	for _, g := range c.Diagnostics {
		severity := "error"
		if g.Severity == inventory.Warning {
			severity = "warning"
		}
		d.Diagnostics = append(d.Diagnostics, jsonDiagnostic{v.text(g.File), g.Line, severity, v.text(g.Summary), v.text(g.Mend)})
	}
	d.Summary.Errors, d.Summary.Warnings = len(c.Diagnostics.Errors()), len(c.Diagnostics.Warnings())
	if inv := c.Inventory; inv != nil {
		d.Hub, d.Summary.Sites = v.text(inv.Hub.Name), len(inv.Sites)
		if inv.L2TP != nil {
			d.Summary.Users = len(inv.L2TP.Users)
		}
	}
	return d
}
