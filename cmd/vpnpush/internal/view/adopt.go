package view

import (
	"fmt"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// Adopted is the inventory of a network by hand.
type Adopted struct {
	File         string // "": it is printed
	Text         string // without secrets
	Hub          string
	Sites, Users []string
	Unread       []string // sites whose boxes were not read
	Notes        []NotCarried
	Faults       int // why it is not valid as it stands
}

// NotCarried is something on a host that an inventory does not carry.
type NotCarried struct{ Host, Place, What, Why string }

// Adopted writes the inventory, or where it was written, and tells what it does not carry.
func (v *View) Adopted(a Adopted) error {
	if v.o.JSON {
		return v.encode(v.adoptedDocument(a))
	}
	for _, n := range a.Notes {
		says := n.Place
		if n.What != "" {
			says += ": " + n.What
		}
		v.Note(fmt.Sprintf("vpnpush: not carried over: %s: %s: %s", n.Host, says, n.Why))
	}
	if a.File == "" {
		return v.result([]byte(a.Text))
	}
	p := v.page()
	p.line("", plain, fmt.Sprintf("Wrote %s: the hub %s, %s, %s.", oneLine(a.File), a.Hub, words.Count(len(a.Sites), "site"), words.Count(len(a.Users), "user")))
	for _, s := range a.Unread {
		p.line("", yellow, fmt.Sprintf("The box of %s was not read: write into the file how it is reached.", oneLine(s)))
	}
	if a.Faults == 0 {
		p.line("", plain, oneLine("Next: vpnpush plan --adopt --inventory "+a.File))
	}
	return v.print(p)
}

// The document of an adopt.
type (
	adoptedDocument struct {
		head
		File    string           `json:"file"`
		Hub     string           `json:"hub"`
		Sites   []string         `json:"sites"`
		Users   []string         `json:"users"`
		Unread  []string         `json:"unread"`
		Notes   []jsonNotCarried `json:"notes"`
		Summary adoptedSummary   `json:"summary"`
	}
	jsonNotCarried struct {
		Host  string `json:"host"`
		Place string `json:"place"`
		What  string `json:"what"`
		Why   string `json:"why"`
	}
	adoptedSummary struct {
		Sites  int `json:"sites"`
		Users  int `json:"users"`
		Notes  int `json:"notes"`
		Faults int `json:"faults"`
	}
)

func (v *View) adoptedDocument(a Adopted) adoptedDocument {
	d := adoptedDocument{
		head: heading("adopt"), File: v.text(a.File), Hub: v.text(a.Hub), Sites: v.texts(a.Sites), Users: v.texts(a.Users), Unread: v.texts(a.Unread),
		Notes: []jsonNotCarried{}, Summary: adoptedSummary{len(a.Sites), len(a.Users), len(a.Notes), a.Faults},
	}
	for _, n := range a.Notes {
		d.Notes = append(d.Notes, jsonNotCarried{v.text(n.Host), v.text(n.Place), v.text(n.What), v.text(n.Why)})
	}
	return d
}
