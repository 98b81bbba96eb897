// Package engine runs plan, apply and drift over many hosts: every host on its
// own, none hiding another. It never prints; an Observer is told what happens.
package engine

import (
	"context"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/security"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Dialer opens a connection to a host of the inventory by its name. Every call
// makes a new connection.
type Dialer interface {
	Dial(ctx context.Context, host string) (transport.Conn, error)
	// DialAnyWay is Dial once the host was changed: by the way that led to it before, or
	// by any other that may lead to it now.
	DialAnyWay(ctx context.Context, host string) (transport.Conn, error)
}

// Host is a host as the engine sees it.
type Host struct {
	Name  string
	Role  string // tasks.RoleHub, tasks.RoleSite
	Reads []tasks.Read
	// TunnelCount is how many tunnels the inventory has on it, whatever is wanted of them:
	// what it answers grows with them.
	TunnelCount int
	// Preflight returns what the host cannot carry, and what is worth a warning.
	// Pure; nil: nothing.
	Preflight func(tasks.Facts) (refusals []error, warnings []string)
	// Security returns what is known to be wrong with the host's programs. Pure; nil:
	// nothing. Preflight warns of it too.
	Security func(tasks.Facts) []security.Finding
	// Tasks are what is wanted, given what is there and what the other ends of the
	// host's tunnels have. Pure.
	Tasks func(tasks.Facts, tasks.Peers) ([]tasks.Task, error)
	// Pairs returns the tasks that hold what both ends of a tunnel must agree on, by
	// the name of the host at the other end. Pure; nil: none.
	Pairs func(tasks.Facts) map[string][]string
	// Renamed returns the sites that the hub knows by another name than they have now, by
	// that name. Pure; nil: none.
	Renamed func(tasks.Facts) map[string]string
	// Lacks returns why the tunnel to a site does not end at this hub as it was applied to
	// last, nil where it does. Pure; for an Engine's Hub.
	Lacks func(f tasks.Facts, site string) error
	// Twin returns a site's end of its tunnel for a strongSwan that on runs elsewhere,
	// given what was read there, if it was. Pure.
	Twin func(on tasks.Daemon, f tasks.Facts, peers tasks.Peers) (tasks.Twin, error)
	// Gone are the names of hosts at the other ends of its tunnels that are no more: this
	// end does not wait for theirs, and a hub ends what is up to them.
	Gone []string
	// InTunnel says that the way to this host is its own tunnel to the hub: a
	// tunnel whose two ends do not fit together locks us out of it.
	InTunnel bool
	// Leave says that Tasks take vpnpush off this host, and that nothing of it
	// is to be left.
	Leave bool
	// Rollback says that Tasks put back what was here before an apply: they tell
	// only what changes, and the manifest of then comes back with them.
	Rollback *Rollback
	// Daemon returns what is to run strongSwan on this host, given what is there.
	// Pure; nil: nothing. Daemons are all that may, or may have before.
	Daemon  func(tasks.Facts) tasks.Daemon
	Daemons []tasks.Daemon
	// Tunnels are the child SAs that should be up on this host.
	Tunnels []strongswan.Tunnel
	// have is what files are expected to hold when it is read.
	have host.Have
	// Beside returns a sentence for each thing of the admin's own that gets in the way of
	// ours on this host, told by what BesideReads bring. Pure; nil: nothing.
	Beside      func(tasks.Facts) []string
	BesideReads []tasks.Read
}

// reading returns the host as one whose files are expected to hold what have says.
func (h Host) reading(have host.Have) Host {
	h.have = have
	return h
}

// readingTunnels returns the host as one of which no more is read than how its tunnels
// stand.
func (h Host) readingTunnels() Host {
	h.Reads = append(tasks.SAReads(), host.OnlyThese)
	return h
}

// maxAnswer returns how many bytes the host may answer.
func (h Host) maxAnswer() int { return host.MaxAnswer(h.Role, h.TunnelCount) }

func (h Host) daemon(f tasks.Facts) tasks.Daemon {
	if h.Daemon == nil {
		return tasks.Daemon{}
	}
	return h.Daemon(f)
}

// Result is how a host came out.
type Result string

const (
	OK          Result = "ok"          // as desired
	Changed     Result = "changed"     // plan: would change; apply: was changed
	Unreachable Result = "unreachable" // nothing is known of it
	Failed      Result = "failed"
	Skipped     Result = "skipped"     // not tried, because of another host
	RolledBack  Result = "rolled-back" // it stands as before
	Unknown     Result = "unknown"     // contact was lost while it changed
	Locked      Result = "locked"      // another run is at work there
	Stale       Result = "stale"       // not what it was when the plan was made
)

// Plan is what a run would do. It is data: the view shows it, Apply runs it.
type Plan struct {
	Hosts []HostPlan // hub first, then by name
	// Rollback says that it is one: it was compared with what stood before an
	// apply, not with the inventory.
	Rollback bool
	// Leave says that it takes vpnpush off.
	Leave bool
}

// SitesDeleted returns how many sites the plan takes off the hub, and how many the hub
// has of ours.
func (p *Plan) SitesDeleted() (gone, had int) {
	for _, h := range p.Hosts {
		if h.Role == tasks.RoleHub {
			gone, had = gone+h.sitesGone, had+h.sitesHad
		}
	}
	return gone, had
}

// HostPlan is the plan of one host.
type HostPlan struct {
	Name, Role string
	Result     Result         // OK, Changed, Unreachable, Failed
	Err        error          // for Unreachable and Failed
	Changes    []tasks.Change // in the order of the tasks
	Warnings   []string
	Facts      tasks.Facts // of a plan that no apply follows, the manifest alone
	Took       time.Duration

	settled             bool        // whatever is found of the other hosts
	sitesGone, sitesHad int         // conns of sites that go, and that were applied
	peers               tasks.Peers // the other ends of its tunnels
}

// Blocked returns the changes that vpnpush will not make.
func (h *HostPlan) Blocked() []tasks.Change {
	var out []tasks.Change
	for _, c := range h.Changes {
		if c.Blocked != "" {
			out = append(out, c)
		}
	}
	return out
}

// Report is what an apply did.
type Report struct {
	Hosts []HostReport // hub first, then by name
}

// TunnelsDown returns how many ends of tunnels are not up that should be: those whose
// site was in the run.
func (r *Report) TunnelsDown() int {
	in := map[string]bool{}
	for _, h := range r.Hosts {
		in[h.Name] = true
	}
	n := 0
	for _, h := range r.Hosts {
		for _, t := range h.Tunnels {
			if !t.Up && (h.Role != tasks.RoleHub || in[t.Tunnel.Peer]) {
				n++
			}
		}
	}
	return n
}

// HostReport is what an apply did on one host.
type HostReport struct {
	Name, Role string
	Result     Result
	Err        error
	Changes    []tasks.Change // what was made, in order
	Warnings   []string
	Tunnels    []strongswan.TunnelState // after the apply
	Took       time.Duration
}

// Event is something that happens on a host while a run goes on.
type Event struct {
	Host string
	// Stage is "connect", "read", "check", "done", or a stage of the host's own run
	// (host.StagePackages and its fellows).
	Stage string
	// Result and Err are set with Stage "done".
	Result  Result
	Err     error
	Message string
}

// Stages of a host that its own run does not have.
const (
	stageConnect = "connect"
	stageRead    = "read"
	stageDone    = "done"
)

// Observer is told of events. It is called from one goroutine at a time.
type Observer interface{ Observe(Event) }
