// Package doctor finds what on a host, or on its way to the hub, would stop a
// tunnel, before it does. It is pure: Reads returns what a probe must bring, and
// Diagnose judges what it brought. What is looked at, and what cannot be known:
// docs/doctor.md.
package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/security"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Host is what is wanted of a host, as far as its checks have to know.
type Host struct {
	Name, Role string // tasks.RoleHub, tasks.RoleSite
	// Daemons are what may run strongSwan on the host. Which of them is to, its facts
	// tell: HostFacts has it.
	Daemons []tasks.Daemon
	// Address is one that an interface of the host must have: left= of its
	// conns. Zero: whatever its default route has.
	Address netip.Addr
	Subnets []netip.Prefix // the LANs behind it
	// Hub is the address that a site dials; zero on the hub.
	Hub     netip.Addr
	Tunnels []strongswan.Tunnel
	L2TP    bool // it serves L2TP
}

// HostFacts is a host with what was read on it.
type HostFacts struct {
	Host
	Facts  tasks.Facts
	Daemon tasks.Daemon // what is to run strongSwan on the host
	// Asked and Answered are when the facts were asked for and had, by the clock
	// of this machine. They bound the moment of Facts.Host.Now.
	Asked, Answered time.Time
	// Refusals and Warnings are what a plan would say of the host.
	Refusals []error
	Warnings []string
	// Keys finds the keys that are not ours and open a conn of ours; nil where no conn
	// of ours is wanted.
	Keys *tasks.ForeignKeys
	// Filter is our chains as they should run; nil where the packet filter is not ours.
	Filter *tasks.Firewall
	// Beside is what else of the admin's own gets in the way of ours, a sentence each.
	Beside []string
	// Security is what is known to be wrong with its programs.
	Security []security.Finding
}

// Severity says whether a finding stops a tunnel or merely may.
type Severity string

const (
	Problem Severity = "problem" // a tunnel, or what it should carry, is stopped
	Warning Severity = "warning"
	Note    Severity = "note" // nothing is wrong, and it could be better
)

// Finding is one thing that is wrong with a host or with its way to the hub.
type Finding struct {
	Check    string // "udp", "mtu", ...: docs/doctor.md has the list
	Severity Severity
	What     string
	Why      string // why it matters
	Mend     string
}

// Diagnosis is what was found on one host. What could not be looked at is in
// Unchecked: it is not known to be well.
type Diagnosis struct {
	Name, Role string
	Findings   []Finding // problems first, then warnings, in the order of the checks
	Unchecked  []string
}

// Count returns how many findings are of a severity.
func (d *Diagnosis) Count(s Severity) int {
	n := 0
	for _, f := range d.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// Diagnose judges all hosts that were read: some things are seen only where two
// are looked at together. The diagnoses are in the order of the hosts.
func Diagnose(hosts []HostFacts) []Diagnosis {
	hub := hubView{}
	checks := make([]*hostChecks, len(hosts))
	for i := range hosts {
		checks[i] = &hostChecks{HostFacts: &hosts[i]}
		checks[i].read()
		checks[i].before()
		if hosts[i].Role == tasks.RoleHub && checks[i].sockets != nil {
			hub.state, hub.drops = hubSilent, checks[i].dropsIKE
			if checks[i].listensOn(500) && checks[i].listensOn(4500) {
				hub.state = hubListens
			}
		}
	}
	out := make([]Diagnosis, len(hosts))
	for i, x := range checks {
		x.plan()
		x.keys()
		x.beside()
		x.security()
		x.sameMachine(hosts[:i])
		x.kernel()
		x.addresses()
		x.ports()
		x.lost(checks)
		x.clients()
		x.filters()
		x.way(hub)
		x.clock()
		x.names()
		x.apparmor()
		x.sayOnce()
		out[i] = Diagnosis{Name: hosts[i].Name, Role: hosts[i].Role, Unchecked: x.unchecked}
		for _, s := range []Severity{Problem, Warning, Note} {
			for _, f := range x.findings {
				if f.Severity == s {
					out[i].Findings = append(out[i].Findings, f)
				}
			}
		}
	}
	return out
}

// hubView is what a site's way to the hub is judged by.
type hubView struct {
	state hubState
	drops bool // a rule before our own drops what IKE needs
}

// hubState is what is known of the hub when the way of a site to it is checked.
type hubState int

const (
	hubNotRead hubState = iota
	hubListens          // charon listens there, on both ports of IKE
	hubSilent           // it does not
)

// hostChecks is the checks of one host, while they are made.
type hostChecks struct {
	*HostFacts
	findings  []Finding
	unchecked []string

	sockets []socket
	up      []strongswan.Tunnel      // the tunnels that are up
	down    []strongswan.TunnelState // those that were applied and are not
	shared  []string                 // addresses of more than one L2TP client
	// into are the networks that tunnels to the hub lead to, whatever conn made them.
	into     []netip.Prefix
	dropsIKE bool // a rule before ours drops what IKE needs
}

func (x *hostChecks) find(check string, s Severity, why, mend, what string, a ...any) {
	x.findings = append(x.findings, Finding{check, s, fmt.Sprintf(what, a...), why, mend})
}

// skip notes what could not be looked at.
func (x *hostChecks) skip(what string, err error) {
	x.unchecked = append(x.unchecked, fmt.Sprintf("%s: %v", what, err))
}

// output returns what a command printed; what it could not tell is noted.
func (x *hostChecks) output(name, what string) ([]byte, bool) {
	out, err := x.Facts.Output(name)
	if err != nil {
		x.skip(what, err)
	}
	return out, err == nil
}

// read takes from the facts what more than one check looks at.
func (x *hostChecks) read() {
	if out, ok := x.output(readSockets, "the sockets"); ok {
		x.sockets = parseSockets(out)
	}
	x.tunnels()
}

// checkPlan is what a plan says, too.
const checkPlan = "plan"

// plan repeats what a plan refuses or warns of: the packages, the disk, rivals
// for the packet filter, PPP, known holes.
func (x *hostChecks) plan() {
	for _, err := range x.Refusals {
		if errors.Is(err, tasks.ErrUnknown) {
			x.skip("what a plan looks at", err)
			continue
		}
		mend := ""
		var h transport.Hinter
		if errors.As(err, &h) {
			mend = h.Hint()
		}
		x.find(checkPlan, Problem, "plan and apply refuse the host until it is mended", mend, "%v", err)
	}
	for _, w := range x.Warnings {
		x.find(checkPlan, Warning, "plan warns of it", "", "%s", w)
	}
}

// sayOnce takes out what a plan says where a check of our own says the same, and why it
// matters. A plan's warning may end with the mend.
func (x *hostChecks) sayOnce() {
	own := map[string]bool{}
	for _, f := range x.findings {
		if f.Check != checkPlan {
			own[f.What], own[f.What+": "+f.Mend] = true, true
		}
	}
	x.findings = slices.DeleteFunc(x.findings, func(f Finding) bool { return f.Check == checkPlan && own[f.What] })
}

// keys looks for keys that are not ours and open a conn of ours.
func (x *hostChecks) keys() {
	if x.Keys == nil {
		return
	}
	found, err := x.Keys.Found(x.Facts)
	if err != nil {
		x.skip("the keys that are not vpnpush's", err)
	}
	for _, says := range found {
		x.find("keys", Problem, "charon tries every key of which either end's identity matches, and asks for no more than one that fits",
			tasks.MendForeignKey, "%s", says)
	}
}

// beside tells what of the admin's own gets in the way of ours, but for keys.
func (x *hostChecks) beside() {
	for _, says := range x.Beside {
		if slices.ContainsFunc(x.findings, func(f Finding) bool { return f.Check == "keys" && f.What == says }) {
			continue
		}
		x.find("beside", Warning, "it is the admin's own, and works beside vpnpush: it lets in, or takes away, what the inventory does not know of",
			"take it out on the host, if it is of no use any more; vpnpush does not touch it", "%s", says)
	}
}

// security tells what is known to be wrong with the host's programs: on the hub, which
// listens to everybody, that is a problem. What charon runs there and nothing needs is
// worth a note.
func (x *hostChecks) security() {
	s := Warning
	if x.Role == tasks.RoleHub {
		s = Problem
	}
	for _, f := range x.Security {
		x.find("security", s, f.Why, f.Mend, "%s", f.Says)
	}
	if x.Role != tasks.RoleHub {
		return
	}
	status, err := tasks.CharonStatus(x.Facts)
	if err != nil {
		return // the tunnels were not read either, which is told
	}
	if f, ok := security.Plugins(string(status), x.Daemon.Service()); ok {
		x.find("security", Note, f.Why, f.Mend, "%s", f.Says)
	}
}

// sameMachine finds one machine under two names.
func (x *hostChecks) sameMachine(others []HostFacts) {
	for _, o := range others {
		if id := x.Facts.Host.BootID; id != "" && id == o.Facts.Host.BootID {
			x.find("twin", Problem, "each name's tunnel would replace the other's files on it",
				"give each its own address: ssh.host, ssh.port and ssh.jump of both", "this is the same machine as %s", o.Name)
		}
	}
}

// clockSlack is what a clock may be off. The time of a probe counts on top.
const clockSlack = 5 * time.Second

func (x *hostChecks) clock() {
	now := x.Facts.Host.Now
	off, word := now.Sub(x.Answered), "ahead of"
	if d := x.Asked.Sub(now); d > off {
		off, word = d, "behind"
	}
	if x.Asked.IsZero() || now.IsZero() || off <= clockSlack {
		return
	}
	x.find("clock", Warning,
		"keys of this kind do not look at the clock, but apt refuses lists from the future, and the logs of two ends cannot be laid side by side",
		"timedatectl set-ntp true (package systemd-timesyncd); if every host says so, look at this machine's clock",
		"the clock is %s %s this machine's", off.Round(time.Second), word)
}
