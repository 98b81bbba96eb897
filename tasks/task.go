// Package tasks holds what vpnpush can want of a host, as pure values. A task
// says what must be read on the host, compares what was read with what it
// wants, and gives the shell that converges it. Nothing here touches a
// network: Probe and Script make two POSIX programs, ParseFacts reads the
// answer of the first.
package tasks

import (
	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Roles of a host.
const (
	RoleHub  = "hub"
	RoleSite = "site"
)

// Task is one thing wanted of a host.
type Task interface {
	// ID names the task on its host, kind first: "file:/etc/sysctl.d/60-vpnpush.conf".
	ID() string
	// Reads is what Check needs to find in Facts.
	Reads() []Read
	// Check compares. nil, nil: as desired. An error: it cannot be known, never
	// a guess.
	Check(Facts) (*Change, error)
}

// Action is what a change does, in the plan's words (docs/output.md).
type Action string

const (
	Create  Action = "create"
	Update  Action = "update"
	Delete  Action = "delete"
	Install Action = "install"
	Reload  Action = "reload"
	Restart Action = "restart"
	// DialTunnel changes nothing that a host has.
	DialTunnel Action = "dial"
)

// Change is the difference that one task found, as data: the same value is
// shown by plan, run by apply and compared by drift.
type Change struct {
	Task   string
	Action Action
	// Attrs is what differs, for people. Secrets are masked in it already.
	Attrs []Attr
	// Note is a short remark for people, such as why a restart is due.
	Note string
	// Blocked, if set, says why vpnpush will not make this change, and Mend
	// what would let it. A plan with a blocked change is not applied.
	Blocked, Mend string
	// Ends is what ends with the change, for people: "tunnel tokyo". Blinks are the tunnels
	// that go down with it and come up again.
	Ends, Blinks []string
	// Pre must still hold on the host when the change is made.
	Pre []Precondition
	// Backups are the paths that Do may change; they are backed up first and put back
	// by a revert.
	Backups []string
	// Folders are folders of ours that go with the change, once it is confirmed and
	// nothing is in them any more.
	Folders []string
	// Parts are what the shell of Do and Undo calls.
	Parts []Part
	// Do converges the host. Undo puts back what Backups cannot: live state, and in
	// PhaseFiles what lasts over a boot, which a revert at boot does too.
	Do, Undo []Step
}

// Planned returns of a change what is told and saved of it, and not what only an apply asks
// for.
func (c Change) Planned() Change {
	c.Backups, c.Folders, c.Parts, c.Undo = nil, nil, nil, nil
	return c
}

// Told returns of a change what is told of it.
func (c Change) Told() Change {
	c = c.Planned()
	c.Pre, c.Do = nil, nil
	return c
}

// Attr is one differing attribute. Old and New are masked text; nil is absent.
// The attribute named "content" is shown as a unified diff, others as
// "name: old -> new".
type Attr struct {
	Name     string
	Old, New []byte
}

// Precondition is what a file was when the change was planned.
type Precondition struct {
	Path   string
	SHA256 string // hex; "" means: no file there
}

// Phase orders the steps of a host; within a phase the tasks' order holds.
type Phase int

const (
	PhasePackages Phase = iota // before the backup: a revert keeps packages
	PhaseTry                   // before the backup too: nothing is changed yet
	PhaseFiles                 // write and delete
	PhaseLive                  // sysctl, firewall
	PhaseServices              // enable, reload, restart
	PhaseAfter                 // take down what is no longer wanted
	PhaseVerify                // read back
)

// Step is a piece of the apply script. Shell runs under `set -eu` with the
// functions of the script and of the change's Parts (see tasks/host) and must not hold a
// secret; Stdin is given to it as a here-document, must be text, and may.
type Step struct {
	Phase Phase
	Shell string
	Stdin secret.Value
}

// ReadKind says how something is read on a host.
type ReadKind string

const (
	ReadFile    ReadKind = "file"    // Arg: absolute path. Content, mode, owner, mtime
	ReadGlob    ReadKind = "glob"    // Arg: pattern; every regular file it matches
	ReadPackage ReadKind = "package" // Arg: Debian package name
	// Arg: absolute path. What its package, which is read as well, shipped it as
	ReadConffile ReadKind = "conffile"
	ReadPPP      ReadKind = "ppp"     // whether the kernel has PPP
	ReadUnit     ReadKind = "unit"    // Arg: systemd unit with suffix
	ReadSysctl   ReadKind = "sysctl"  // Arg: key, dotted: "net.ipv4.ip_forward"
	ReadCommand  ReadKind = "command" // Arg: a name; Shell: what to run, its stdout, stderr and status are kept
)

// Read is one thing a probe must bring.
type Read struct {
	Kind  ReadKind
	Arg   string
	Shell string
	// Unless is, for a package, another one that stands in its place: where it is installed,
	// or where this is NotAsked, apt is not asked what it would install.
	Unless string
}

// NotAsked among packages is one that is never installed by vpnpush.
const NotAsked = "-"
