// Package netmap draws a network as a picture: an SVG for people, or the same
// as text for Graphviz and Mermaid. It is pure and deterministic, and its model
// has no place for a secret.
package netmap

import "time"

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
