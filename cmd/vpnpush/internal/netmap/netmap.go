// Package netmap draws a network as a picture: an SVG for people, or the same
// as text for Graphviz and Mermaid. It is pure and deterministic, and its model
// has no place for a secret.
package netmap

import (
	"fmt"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// State is how a tunnel stands.
type State string

const (
	NotAsked State = ""        // the picture shows the inventory, nobody looked
	Up       State = "up"      // it carries traffic
	Down     State = "down"    // it should be up, and is not
	Unknown  State = "unknown" // the hub could not be asked
)

// Network is what is drawn.
type Network struct {
	Hub   Hub
	Sites []Site
	L2TP  *L2TP // nil: there is none
	Relay bool  // sites reach each other through the hub
	// Looked is when the states were read; zero: they were not.
	Looked time.Time
}

// Hub is the host in the middle.
type Hub struct {
	Name, Address string
	Subnets       []string
}

// Site is an office behind NAT, with its tunnel.
type Site struct {
	Name    string
	Address string // "" when it is not known
	Subnets []string
	State   State
}

// L2TP is the door for single users.
type L2TP struct {
	Pool  string // "192.168.200.2 – 32"
	Users []User
}

// User is an account.
type User struct {
	Name    string
	Address string // "" for one from the pool
}

// live reports whether states are to be shown.
func (n Network) live() bool {
	for _, s := range n.Sites {
		if s.State != NotAsked {
			return true
		}
	}
	return false
}

// mostSites is how many sites a picture has. One of thousands would be too high to find
// anything in, and Mermaid draws no more than 500.
const mostSites = 300

// drawn returns the sites that a picture has, in their order. Of too many those come first
// whose tunnels are not up.
func (n Network) drawn() []Site {
	if len(n.Sites) <= mostSites {
		return n.Sites
	}
	room := mostSites // for those that are up
	for _, s := range n.Sites {
		if s.State != Up && room > 0 {
			room--
		}
	}
	var out []Site
	for _, s := range n.Sites {
		switch {
		case len(out) == mostSites:
			return out
		case s.State == Up && room == 0:
			continue
		case s.State == Up:
			room--
		}
		out = append(out, s)
	}
	return out
}

// LeftOut returns the names of the sites that the picture has not, in their order.
func (n Network) LeftOut() []string {
	drawn := map[string]bool{}
	for _, s := range n.drawn() {
		drawn[s.Name] = true
	}
	out := []string{}
	for _, s := range n.Sites {
		if !drawn[s.Name] {
			out = append(out, s.Name)
		}
	}
	return out
}

// leftOut says how many sites the picture has not, "" for none.
func (n Network) leftOut() string {
	left := len(n.LeftOut())
	if left == 0 {
		return ""
	}
	some := ""
	if n.live() {
		some = fmt.Sprintf(", %d of them not up", notUp(n.Sites)-notUp(n.drawn()))
	}
	return words.Count(left, "site") + " left out" + some + "; --limit draws them"
}

func notUp(sites []Site) (count int) {
	for _, s := range sites {
		if s.State != Up {
			count++
		}
	}
	return count
}
