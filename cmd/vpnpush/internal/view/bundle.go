package view

import (
	"fmt"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// Bundling is a script that was written for the box of a site.
type Bundling struct {
	Site, File string
	Expires    time.Time
	Keys       int      // that are let in there
	Login      string   // whom they let in
	Before     []string // what must have been run before
	Command    string   // for who is there
	Next       []string
}

// Bundle writes which script was written, and what is to be done with it.
func (v *View) Bundle(b Bundling) error {
	if v.o.JSON {
		return v.encode(bundleDocument{
			head: heading("bundle"), Site: v.text(b.Site), File: v.text(b.File), Expires: stamp(b.Expires),
			Keys: b.Keys, Before: v.texts(b.Before), Run: v.text(b.Command), Next: v.texts(b.Next),
		})
	}
	p := v.page()
	p.line("", plain, oneLine(fmt.Sprintf("Wrote %s, which sets up the box of %s until %s.", b.File, b.Site, b.Expires.UTC().Format("2006-01-02 15:04 UTC"))))
	if b.Keys > 0 {
		p.line("", plain, oneLine(fmt.Sprintf("It lets %s in as %s.", words.Count(b.Keys, "key"), b.Login)))
	}
	p.line("", yellow, oneLine("In it is the key of "+b.Site+"'s tunnel: bring it there by a safe way, and delete it, there and here, when the box is set up."))
	for _, n := range b.Before {
		p.line("", plain, oneLine("First, unless it was done since "+b.Site+" is in the inventory: "+n))
	}
	p.line("", plain, "Then on the box, as root:")
	p.line("    ", bold, oneLine(b.Command))
	for _, n := range b.Next {
		p.line("", plain, oneLine("Next: "+n))
	}
	return v.print(p)
}

type bundleDocument struct {
	head
	Site    string   `json:"site"`
	File    string   `json:"file"`
	Expires string   `json:"expires"`
	Keys    int      `json:"keys"`
	Before  []string `json:"before"`
	Run     string   `json:"run"`
	Next    []string `json:"next"`
}
