package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Results that only a drift gives.
const (
	Drifted Result = "drifted" // not as it was left
	Pending Result = "pending" // as it was left, but the inventory has moved on
)

// defaultSecondLook is how long after a first look that found something the host
// is looked at again: an apply may have begun between two reads of the first, and
// a tunnel is down for a moment when it is made anew.
const defaultSecondLook = 2 * time.Second

// Drift is how the hosts stand to the inventory and to what was last applied.
type Drift struct {
	At    time.Time   // when it was begun
	Hosts []HostDrift // hub first, then by name
}

// HostDrift is how one host stands.
type HostDrift struct {
	Name, Role string
	// Result is OK, Drifted, Pending, Locked (a run is at work there, so it was
	// not judged), Unreachable, Failed or Skipped.
	Result   Result
	Err      error     // for Unreachable, Failed, Skipped
	Busy     host.Work // for Locked
	Findings []Finding
	Warnings []string
	Security int // how many of the warnings are about the security level
	Tunnels  []strongswan.TunnelState
	Daemon   tasks.Daemon // what strongSwan is run by there
	Looked   time.Time    // when it answered; zero: it did not
	Took     time.Duration
}

// Checked reports whether the host was judged.
func (h *HostDrift) Checked() bool {
	return h.Result == OK || h.Result == Drifted || h.Result == Pending
}

// FindingState says who moved.
type FindingState string

const (
	FindingPending FindingState = "pending" // the inventory
	FindingDrifted FindingState = "drifted" // the host
	FindingDown    FindingState = "down"    // a tunnel that should be up
)

// Finding is one thing that is not as it should be.
type Finding struct {
	State FindingState
	// Change is what an apply would do: in its Attrs Old is the host's and New
	// the inventory's, masked. That of a tunnel does nothing.
	Change *tasks.Change
	// Also is set when the host moved and the inventory moved on, too.
	Also bool
	// Edited is when the file last changed on the host, by its clock; zero where
	// it is not a file.
	Edited time.Time
	// Ignored is the rule that puts up with it, Expired one that did once.
	Ignored, Expired *Ignore
}

// Ignore is a rule of the inventory to put up with a finding until a day.
type Ignore struct {
	Matches func(host, task string) bool
	Reason  string
	Until   time.Time
}

// Drift reads every host, and returns what is not as the inventory says, and why.
// It takes no lock and writes nothing on a host. The result is whole whatever
// happened on one host.
func (e *Engine) Drift(ctx context.Context, hosts []Host, ignores []Ignore) *Drift {
	d := &Drift{At: time.Now(), Hosts: make([]HostDrift, len(hosts))}
	e.each(ctx, len(hosts), func(i int) {
		start := time.Now()
		hd := e.driftHost(ctx, hosts[i])
		hd.Took = time.Since(start)
		d.Hosts[i] = hd
		e.observe(Event{Host: hd.Name, Stage: stageDone, Result: hd.Result, Err: hd.Err})
	})
	sortHosts(d.Hosts, func(h HostDrift) (string, string) { return h.Role, h.Name })
	d.leaveTunnelsToSites()
	for i := range d.Hosts {
		d.Hosts[i].ignore(ignores, d.At)
		d.Hosts[i].settle()
	}
	return d
}

func (e *Engine) driftHost(ctx context.Context, h Host) HostDrift {
	defer e.drop(h.Name) // a thousand that wait for nothing take 100 MB
	h.Reads = append(slices.Clone(h.Reads), host.WorkRead)
	hd := e.look(ctx, h)
	if !hd.Checked() || len(hd.Findings) == 0 || ctx.Err() != nil {
		return hd
	}
	e.observe(Event{Host: h.Name, Stage: host.StageCheck, Message: "looking again"})
	wait := e.secondLook
	if wait == 0 {
		wait = defaultSecondLook
	}
	sleep(ctx, wait)
	down := func(f Finding) bool { return f.State == FindingDown }
	if slices.ContainsFunc(hd.Findings, down) {
		h.Reads = append(h.Reads, tasks.CharonLog)
	}
	if !slices.ContainsFunc(hd.Findings, func(f Finding) bool { return !down(f) }) {
		return e.lookAtTunnels(ctx, h, hd)
	}
	if again := e.look(ctx, h); !again.Looked.IsZero() {
		return again
	}
	return hd
}

// lookAtTunnels looks again at the tunnels of a host where nothing else was found, and
// returns hd with those that are down still. Nothing else is read: a hub with many sites has
// always some that are down.
func (e *Engine) lookAtTunnels(ctx context.Context, h Host, hd HostDrift) HostDrift {
	h = h.readingTunnels()
	h.Reads = append(h.Reads, host.WorkRead, tasks.CharonLog)
	read := e.reach(ctx, h)
	if read.Err != nil {
		return hd
	}
	hd.Looked = time.Now()
	run, err := host.WorkFrom(read.Facts)
	if err == nil && run.Busy() {
		return HostDrift{Name: hd.Name, Role: hd.Role, Result: Locked, Busy: run, Looked: hd.Looked, Daemon: hd.Daemon}
	}
	hd.Findings = nil
	if err == nil {
		err = hd.tunnelsDown(h, read.Facts, nil)
	}
	if err != nil {
		hd.Result, hd.Err = Failed, err
	}
	return hd
}

// look reads a host once and judges it.
func (e *Engine) look(ctx context.Context, h Host) HostDrift {
	read := e.reach(ctx, h)
	hd := HostDrift{Name: h.Name, Role: h.Role, Result: read.Result, Err: read.Err}
	if hd.Err != nil {
		return hd
	}
	hd.Looked = time.Now()
	e.observe(Event{Host: h.Name, Stage: host.StageCheck})
	e.judge(h, read.Facts, &hd)
	return hd
}

// judge sets in hd what is not as it should be in the facts of a host.
func (e *Engine) judge(h Host, f tasks.Facts, hd *HostDrift) {
	hd.Daemon = h.daemon(f)
	run, err := host.WorkFrom(f)
	if err == nil && run.Busy() {
		hd.Result, hd.Busy = Locked, run
		return
	}
	ts, m, err2 := e.wanted(h, f, nil)
	if err := errors.Join(err, err2); err != nil {
		hd.Result, hd.Err = Failed, err
		return
	}
	if h.Security != nil {
		hd.Security = len(h.Security(f))
	}
	var all *multierror.Error
	if h.Preflight != nil {
		refusals, warnings := h.Preflight(f)
		hd.Warnings = warnings
		if m == nil && len(refusals) > 0 {
			all = multierror.Append(all, refusals...)
			ts = nil // as in a plan: what it cannot carry says more
		} else {
			// it carries it, well or not: that is what is told
			for _, r := range refusals {
				hd.Warnings = append(hd.Warnings, "plan refuses: "+r.Error())
			}
		}
	}
	for _, t := range ts {
		if _, ok := t.(tasks.Dial); ok {
			continue // hd.tunnels looks at them, and at those of a hub
		}
		c, err := t.Check(f)
		if err != nil {
			all = multierror.Append(all, fmt.Errorf("check %s: %w", t.ID(), err))
			continue
		}
		if c == nil {
			continue
		}
		fi := Finding{Change: e.told.same(c.Told())}
		if fi.State, fi.Also, err = classify(t, c, m, f); err != nil {
			all = multierror.Append(all, fmt.Errorf("check %s: %w", t.ID(), err))
		}
		fi.Edited = edited(c, f)
		hd.Findings = append(hd.Findings, fi)
	}
	hd.Findings = slices.Clone(withoutConsequences(hd.Findings, ts)) // as long as it is
	if s, err := f.File(tasks.RevertFailedPath); err == nil && s.Exists {
		hd.Findings = append(hd.Findings, Finding{State: FindingDrifted, Edited: s.ModTime, Change: &tasks.Change{
			Task: "file:" + tasks.RevertFailedPath, Action: tasks.Update,
			Note: fmt.Sprintf("putting back what apply %s had changed failed: what stands there may be half of it",
				strings.TrimSpace(string(s.Content))),
		}})
	}
	if err := hd.tunnels(h, f, m, ts); err != nil {
		all = multierror.Append(all, err)
	}
	hd.Err = asLines(all)
	hd.Result = OK
	if hd.Err != nil {
		hd.Result = Failed
	}
}

// settle sets the result that follows from the findings which are not ignored.
func (h *HostDrift) settle() {
	if !h.Checked() {
		return
	}
	h.Result = OK
	for _, f := range h.Findings {
		switch {
		case f.Ignored != nil:
		case f.State == FindingPending && h.Result == OK:
			h.Result = Pending
		case f.State != FindingPending:
			h.Result = Drifted
		}
	}
}

// classify returns who moved, given that a task's Check found a change: with D
// what is wanted, L what was last applied and A what stands on the host,
//
//	never applied, or not this task   pending
//	not written down, and wanted then drifted
//	D = L                             drifted
//	D ≠ L, A = L                      pending
//	D ≠ L, A ≠ L                      drifted, and the inventory moved on as well
//	D ≠ L, A not known as a digest    pending; drifted where a service that was
//	                                  applied does not run or is not enabled
//
// A is known of files, blocks, sysctls and chains (tasks.Actual).
func classify(t tasks.Task, c *tasks.Change, m *tasks.Manifest, f tasks.Facts) (s FindingState, also bool, err error) {
	if m == nil {
		return FindingPending, false, nil
	}
	if a, ok := t.(tasks.Absent); ok { // nothing wants it any more
		host, err := f.File(a.Path)
		if err != nil || host.SHA256() == a.SHA256 {
			return FindingPending, false, err
		}
		return FindingDrifted, true, nil
	}
	if s, ok := t.(tasks.Standing); ok && s.Applied(m) {
		return FindingDrifted, false, nil
	}
	d, ok := t.(tasks.Digester)
	if !ok {
		return FindingPending, false, nil
	}
	last := m.Digest(t.ID())
	switch {
	case last == "":
		return FindingPending, false, nil
	case d.Digest() == last:
		return FindingDrifted, false, nil
	}
	if a, ok := t.(tasks.Actual); ok {
		actual, err := a.ActualDigest(f)
		if err != nil || actual == last {
			return FindingPending, false, err
		}
		return FindingDrifted, true, nil
	}
	if _, ok := t.(tasks.Unit); ok && len(c.Attrs) > 0 { // not enabled, or not active
		return FindingDrifted, true, nil
	}
	return FindingPending, false, nil
}

// edited returns when the file whose content differs was last changed on the host.
func edited(c *tasks.Change, f tasks.Facts) time.Time {
	_, p, _ := strings.Cut(c.Task, ":")
	if !slices.ContainsFunc(c.Attrs, func(a tasks.Attr) bool { return a.Name == "content" && a.Old != nil }) {
		return time.Time{} // a change of mode is not in the file's time
	}
	s, err := f.File(p)
	if err != nil || !s.Exists {
		return time.Time{}
	}
	return s.ModTime
}

// loader is a task whose service reads files.
type loader interface {
	// Loads returns the files that the service must have read, with their digests.
	Loads() map[string]string
}

// connMaker is a task that makes conns.
type connMaker interface {
	// Makes returns the IDs of the tasks that each of its conns stands on, by its name:
	// that of the service, and those of the conn's files.
	Makes() (service string, files map[string][]string)
}

// withoutConsequences removes the findings that are there only because a file differs:
// that a service has not read the file as it is wanted says nothing new.
func withoutConsequences(fs []Finding, ts []tasks.Task) []Finding {
	differs := map[string]bool{}
	for _, f := range fs {
		if p, ok := strings.CutPrefix(f.Change.Task, "file:"); ok {
			differs[p] = true
		}
	}
	if len(differs) == 0 {
		return fs
	}
	loaders := map[string]loader{} // by ID
	for _, t := range ts {
		if l, ok := t.(loader); ok {
			loaders[t.ID()] = l
		}
	}
	return slices.DeleteFunc(fs, func(f Finding) bool {
		task, ok := loaders[f.Change.Task]
		if !ok {
			return false
		}
		names := map[string]bool{} // of its files that differ
		for p := range task.Loads() {
			if differs[p] {
				names[path.Base(p)] = true
			}
		}
		return len(names) > 0 && !slices.ContainsFunc(f.Change.Attrs, func(a tasks.Attr) bool { return !names[a.Name] })
	})
}

// tunnels adds a finding for each child SA that should be up and is not. One that is down
// because its conn was not applied yet, or because strongSwan does not run, gets none:
// the cause has one.
func (h *HostDrift) tunnels(host Host, f tasks.Facts, m *tasks.Manifest, ts []tasks.Task) error {
	if m == nil || len(ts) == 0 {
		return nil
	}
	return h.tunnelsDown(host, f, h.explained(ts))
}

// tunnelsDown is tunnels where it is known of which conns a finding explains that they are
// down.
func (h *HostDrift) tunnelsDown(host Host, f tasks.Facts, explained map[string]bool) error {
	var err error
	if h.Tunnels, err = tunnelStates(host, f); err != nil {
		return err
	}
	for _, t := range h.Tunnels {
		if t.Up || explained[t.Tunnel.Conn] {
			continue
		}
		if w := tasks.LastWord(f, t.Tunnel, h.Role != tasks.RoleHub); w != nil {
			t.Why += "; " + w.String()
		}
		h.Findings = append(h.Findings, Finding{State: FindingDown, Change: tasks.TunnelDown(t)})
	}
	return nil
}

// explained returns the conns of ts whose tunnel is down because of a finding.
func (h *HostDrift) explained(ts []tasks.Task) map[string]bool {
	found, pending := map[string]bool{}, map[string]bool{} // tasks
	for _, f := range h.Findings {
		found[f.Change.Task] = true
		if f.State == FindingPending {
			pending[f.Change.Task] = true
		}
	}
	out := map[string]bool{}
	for _, t := range ts {
		maker, ok := t.(connMaker)
		if !ok {
			continue
		}
		service, conns := maker.Makes()
		for conn, files := range conns {
			if found[service] || slices.ContainsFunc(files, func(id string) bool { return pending[id] }) {
				out[conn] = true
			}
		}
	}
	return out
}

// leaveTunnelsToSites removes from the hub's findings each tunnel that its site sees down
// as well, or up to a hub elsewhere, and has a finding about: the tunnel itself, or the
// fault that explains it. One fault is reported once, and at the site, where most of them
// are mended.
func (d *Drift) leaveTunnelsToSites() {
	atSite := map[string]bool{} // tasks of such tunnels
	for _, h := range d.Hosts {
		if h.Role == tasks.RoleHub || !h.Checked() {
			continue
		}
		for _, t := range h.Tunnels {
			if (!t.Up || t.LeadsElsewhere()) && len(h.Findings) > 0 {
				atSite[tasks.TunnelTask(t.Tunnel.Conn)] = true
			}
		}
	}
	for i := range d.Hosts {
		if h := &d.Hosts[i]; h.Role == tasks.RoleHub {
			h.Findings = slices.DeleteFunc(h.Findings, func(f Finding) bool { return f.State == FindingDown && atSite[f.Change.Task] })
		}
	}
}

// ignore marks the findings that a rule puts up with.
func (h *HostDrift) ignore(rules []Ignore, now time.Time) {
	for i := range h.Findings {
		f := &h.Findings[i]
		for j := range rules {
			r := &rules[j]
			switch {
			case !r.Matches(h.Name, f.Change.Task):
			case now.Before(r.Until):
				f.Ignored = r
			default:
				f.Expired = r
			}
		}
	}
}

// Fingerprint returns the same as long as nothing new is to be told of the host; ""
// when nothing is. How a tunnel is down, and why a host cannot be reached, may
// change from hour to hour and is no news.
func (h *HostDrift) Fingerprint() string {
	if h.Result == OK {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q\n", h.Result)
	for _, f := range h.Findings {
		if f.Ignored != nil {
			continue
		}
		fmt.Fprintf(&b, "%q %q %t %t\n", f.State, f.Change.Task, f.Also, f.Expired != nil)
		if f.State != FindingDown {
			for _, a := range f.Change.Attrs {
				fmt.Fprintf(&b, "%q %q %q\n", a.Name, a.Old, a.New)
			}
		}
	}
	return tasks.SHA256([]byte(b.String()))
}

// ErrTime is why a host was skipped when the time for the whole run was up.
var ErrTime = transport.WithHint(errors.New("the time for the whole run was up before it had answered"),
	"give more time with --timeout, or look at more hosts at once with --forks")
