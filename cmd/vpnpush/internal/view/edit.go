package view

import "fmt"

// Edit is what a verb did to the inventory.
type Edit struct {
	Command string // "site add"
	File    string
	Done    string // a sentence
	Edited  []string
	Shown   []ShownSecret
	Left    []LeftSecret
	Notes   []string // what is good to know, a line each
	Next    []string // the commands to run next
	IfLost  string   // that in their place where the box of a site is lost or stolen
}

func (e Edit) notes() []string {
	if e.IfLost == "" {
		return e.Notes
	}
	return append(e.Notes, fmt.Sprintf("If its box is lost or stolen: `%s` instead, or the hub waits for it and takes the old key.", e.IfLost))
}

// ShownSecret is a new secret that people have to know. It is what was asked for, so it
// is printed, unlike all others.
type ShownSecret struct {
	Key    string // "l2tp.users.bob.password"
	Secret interface{ Reveal() string }
}

// LeftSecret is a secret that the inventory does not hold, so that it was left as it is.
type LeftSecret struct{ Key, Place string }

// Secret writes one secret, which is what was asked for: unlike anything else it is not
// masked. The caller has seen to it that standard output is a terminal.
func (v *View) Secret(s interface{ Reveal() string }) error {
	return v.result([]byte(clean(s.Reveal()) + "\n"))
}

// Edit writes what was done to the inventory, and what to run next.
func (v *View) Edit(e Edit) error {
	if v.o.JSON {
		return v.encode(v.editDocument(e))
	}
	p := v.page()
	p.line("", plain, oneLine(e.Done))
	for _, s := range e.Shown {
		p.line("  ", bold, oneLine(s.Key)+": "+s.Secret.Reveal())
	}
	for _, l := range e.Left {
		p.line("  ", yellow, fmt.Sprintf("%s was left: it is kept in %s", oneLine(l.Key), l.Place))
	}
	for _, n := range e.notes() {
		p.line("", plain, oneLine(n))
	}
	for _, n := range e.Next {
		p.line("", plain, oneLine("Next: "+n))
	}
	return v.print(p)
}

// The document of an edit.
type (
	editDocument struct {
		head
		File    string           `json:"file"`
		Edited  []string         `json:"edited"` // keys of the inventory
		Secrets []jsonShown      `json:"secrets"`
		Left    []jsonLeftSecret `json:"left"`
		Notes   []string         `json:"notes"`
		Next    []string         `json:"next"`
	}
	jsonShown struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	jsonLeftSecret struct {
		Key  string `json:"key"`
		Kept string `json:"kept"`
	}
)

func (v *View) editDocument(e Edit) editDocument {
	d := editDocument{
		head: heading(e.Command), File: v.text(e.File), Edited: v.texts(e.Edited),
		Secrets: []jsonShown{}, Left: []jsonLeftSecret{}, Notes: v.texts(e.notes()), Next: v.texts(e.Next),
	}
	for _, s := range e.Shown {
		d.Secrets = append(d.Secrets, jsonShown{v.text(s.Key), s.Secret.Reveal()})
	}
	for _, l := range e.Left {
		d.Left = append(d.Left, jsonLeftSecret{v.text(l.Key), l.Place})
	}
	return d
}
