package tasks

import (
	"io/fs"

	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// The kinds of task. Each has its Check in the file named beside it.

// File wants a whole file that vpnpush owns. (file.go)
type File struct {
	Path    string
	Content []byte // text, ends in a newline; its first line is the marker (see Marker)
	Mode    fs.FileMode
	Syntax  mask.Syntax // how to mask it when it is shown
	Owner   string      // the inventory's ID, as in the marker
	Adopt   bool        // replace a foreign file
	// Package is the package that ships the file as a conffile, if one does: a
	// copy nobody has touched since the installation is not a conflict.
	Package string
}

// Line wants one line in a file that is shared with others, and keeps the rest
// byte for byte. It is appended when no line equals it. (shared.go)
type Line struct {
	Path   string
	Line   string
	Mode   fs.FileMode // for a file that is not there yet
	Syntax mask.Syntax
}

// Block wants a marked block in a shared file; an empty Content wants it gone.
// Everything outside of the markers is kept byte for byte. (shared.go)
type Block struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	Syntax  mask.Syntax
	Owner   string
}

// Package wants a Debian package installed. (package.go)
type Package struct {
	Name string
	// Preseed are debconf selections set before, "PKG QUESTION TYPE VALUE".
	Preseed []string
}

// Unit wants a service enabled and running. (unit.go)
type Unit struct {
	Name string // "xl2tpd.service"
	// Config are files that the service reads only when it starts, with the
	// digest they are to have. A service started before the last of them was
	// loaded is restarted.
	Config map[string]string
	// BootOnly wants it enabled for the next boot and never starts it now:
	// netfilter-persistent flushes the live tables when it starts.
	BootOnly bool
}

// Stopped wants a service of ours that nothing wants any more stopped, and not
// started at boot. (gone.go)
type Stopped struct{ Name string }

// NoLine wants a Line gone again. (gone.go)
type NoLine struct {
	Path, Line string
	Syntax     mask.Syntax
}

// Sysctl wants a live kernel parameter; the file for the next boot is a File.
// (sysctl.go)
type Sysctl struct{ Key, Value string }

// Firewall wants own chains, live: the rules of each, and one jump to each from
// the built-in chain, before any rule there that decides. (firewall.go)
type Firewall struct{ Chains []iptables.Chain }

// RulesV4 wants the same chains in iptables-persistent's file, and keeps
// everything else in it byte for byte. (rulesv4.go)
type RulesV4 struct {
	Path   string // /etc/iptables/rules.v4
	Chains []iptables.Chain
}

// IPsec wants strongSwan (starter, ipsec.conf) to run with what the files say:
// it reloads conns and secrets that changed since they were loaded, takes down
// SAs of conns that changed or went, and reads the state back. (ipsec.go)
type IPsec struct {
	Unit  string // "strongswan-starter.service"
	Conns []Conn
}

// Conn is one conn of ours and the files that hold it.
type Conn struct {
	Name    string
	Conf    string // path
	Secrets string // path
	// ConfSHA and SecretsSHA are the digests that are wanted.
	ConfSHA, SecretsSHA string
	// Initiates tells a site's auto=start conn from a hub's auto=add one.
	Initiates bool
}
