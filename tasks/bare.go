package tasks

import _ "embed"

// BareHost is what a host is supposed to be that nobody can look at before it is applied to.
type BareHost struct {
	Releases []string // of Debian; what has another name counts as a later one
	Daemon   Daemon
	Facts    Facts
	// Supposed is what else must be so, beside the files that a plan changes.
	Supposed []Supposed
	// Watch is shell with two functions for who waits for the tunnel:
	//
	//	NAME_state CONN     as in Daemon
	//	NAME_carries CONN   print its selectors that are installed, "local NET" and "remote NET", a line each
	Watch string
}

// Supposed is what a plan was made for of a host that nobody had looked at. The apply
// script looks before it touches anything.
type Supposed struct {
	// Shell prints a sentence a line for what is otherwise, and nothing where it is so.
	Shell string
	Mend  string
}

//go:embed bare.sh
var bareShell string

// PartBare looks whether a host is as it was supposed to be, and keeps what nobody knew
// of it for the way back.
var PartBare = Part{Name: "bare", Text: bareShell}
