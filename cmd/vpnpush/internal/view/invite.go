package view

import (
	"fmt"
	"strconv"
	"strings"
)

// Invitation is how the box of a site, which nothing reaches, opens a line to the hub, and
// how it is reached by that.
type Invitation struct {
	Site, Inventory string
	Port            int    // on the hub
	Run, Keep       string // on the box; so that it is opened anew whenever it breaks
	Key, Keys       string // what stands before a key that may do nothing else, and where
	SSH             WayIn  // by the line
	After           *WayIn // through the tunnel; nil: nothing is known to lead there
	Notes           []string
	Next            []string
}

// WayIn is an ssh table of the inventory.
type WayIn struct {
	Host string `json:"host"`
	Port int    `json:"port"` // 0: the default
	Jump string `json:"jump"`
	User string `json:"user"` // "": the default
}

// TOML returns the table in braces.
func (w WayIn) TOML() string {
	pairs := []string{"host = " + strconv.Quote(w.Host)}
	if w.Port != 0 {
		pairs = append(pairs, fmt.Sprintf("port = %d", w.Port))
	}
	if w.User != "" {
		pairs = append(pairs, "user = "+strconv.Quote(w.User))
	}
	return "{ " + strings.Join(append(pairs, "jump = "+strconv.Quote(w.Jump)), ", ") + " }"
}

// Invite writes an invitation.
func (v *View) Invite(i Invitation) error {
	if v.o.JSON {
		return v.encode(v.inviteDocument(i))
	}
	p := v.page()
	table := "[sites." + i.Site + "]"
	p.line("", plain, oneLine("On the box of "+i.Site+", for as long as it is to be reached:"))
	p.line("    ", bold, oneLine(i.Run))
	p.line("", plain, oneLine("To have it opened anew whenever it breaks, as root, by a key without a passphrase:"))
	p.line("    ", plain, oneLine(i.Keep))
	p.line("", plain, oneLine("A key that may do nothing else has this in front of it in "+i.Keys+":"))
	p.line("    ", plain, oneLine(i.Key))
	p.line("", plain, oneLine("In "+i.Inventory+", with what the table has else:"))
	p.line("    ", bold, oneLine(table))
	p.line("    ", bold, oneLine("ssh = "+i.SSH.TOML()))
	if i.After != nil {
		p.line("", plain, "and once the tunnel is up:")
		p.line("    ", plain, oneLine(table))
		p.line("    ", plain, oneLine("ssh = "+i.After.TOML()))
	}
	for _, n := range i.Notes {
		p.line("", yellow, oneLine(n))
	}
	for _, n := range i.Next {
		p.line("", plain, oneLine("Next: "+n))
	}
	return v.print(p)
}

// The document of an invitation.
type inviteDocument struct {
	head
	Site  string   `json:"site"`
	Port  int      `json:"port"`
	Run   string   `json:"run"`
	Keep  string   `json:"keep"`
	Key   string   `json:"key"`
	SSH   WayIn    `json:"ssh"`
	After *WayIn   `json:"after"`
	Notes []string `json:"notes"`
	Next  []string `json:"next"`
}

func (v *View) inviteDocument(i Invitation) inviteDocument {
	d := inviteDocument{
		head: heading("invite"), Site: v.text(i.Site), Port: i.Port, Run: v.text(i.Run), Keep: v.text(i.Keep), Key: v.text(i.Key),
		SSH: v.wayIn(i.SSH), Notes: v.texts(i.Notes), Next: v.texts(i.Next),
	}
	if i.After != nil {
		after := v.wayIn(*i.After)
		d.After = &after
	}
	return d
}

func (v *View) wayIn(w WayIn) WayIn {
	return WayIn{v.text(w.Host), w.Port, v.text(w.Jump), v.text(w.User)}
}
