package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-multierror"
	"golang.org/x/sync/semaphore"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport"
)

// Engine runs over hosts. Its fields are set once, before the first call.
type Engine struct {
	Dialer   Dialer
	Observer Observer
	// Forks is how many hosts are worked on at once; 0 means 10.
	Forks int
	// Owner is the inventory's ID: a host owned by another is never touched.
	Owner string
	// By says who runs this, for the lock's holder and the history.
	By string
	// ConfirmTimeout is how long a host waits for the confirmation of an apply
	// before it reverts; 0 means 60 s.
	ConfirmTimeout time.Duration
	// NoCanary applies to all sites at once after the hub.
	NoCanary bool
	// ReadOnly says that no apply follows a plan: a host's connection is closed once it was
	// read, and of the host is kept what is told and saved. A thousand connections that wait
	// for nothing take 100 MB, and as much do the facts of a thousand hosts, and what would
	// change them.
	ReadOnly bool
	// Adopt replaces files that stand where ours go and deletes ones of ours
	// that were edited; both are backed up, as all is.
	Adopt bool
	// Hub is the hub of a run that leaves it as it is: a site that would change is skipped
	// where the hub lacks the other end of its tunnel. nil: what the hub has is not asked.
	Hub *Host
	// Stop, when closed, lets running hosts end and starts no new one.
	Stop <-chan struct{}

	secondLook time.Duration // before a drift looks again; 0 means 2 s, less is for tests

	mu    sync.Mutex
	conns map[string]transport.Conn
	seen  sync.Mutex // Observer hears one at a time
	told  changes
}

func (e *Engine) observe(ev Event) {
	if e.Observer != nil {
		e.seen.Lock()
		defer e.seen.Unlock()
		e.Observer.Observe(ev)
	}
}

// conn returns the host's open connection, or a new one.
func (e *Engine) conn(ctx context.Context, host string) (transport.Conn, error) {
	e.mu.Lock()
	c := e.conns[host]
	e.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := e.Dialer.Dial(ctx, host)
	return e.opened(host, c, err)
}

// redial returns a new connection to a host that was changed, by any way, and keeps it in
// the place of the old one.
func (e *Engine) redial(ctx context.Context, host string) (transport.Conn, error) {
	c, err := e.Dialer.DialAnyWay(ctx, host)
	return e.opened(host, c, err)
}

// opened keeps a new connection in the place of the old one.
func (e *Engine) opened(host string, c transport.Conn, err error) (transport.Conn, error) {
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conns == nil {
		e.conns = map[string]transport.Conn{}
	}
	if old := e.conns[host]; old != nil {
		old.Close()
	}
	e.conns[host] = c
	return c, nil
}

// drop closes the host's connection: the next one is new.
func (e *Engine) drop(host string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if c := e.conns[host]; c != nil {
		c.Close()
		delete(e.conns, host)
	}
}

// Close closes all connections.
func (e *Engine) Close() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.conns {
		c.Close()
	}
	e.conns = nil
}

// each runs f for every host, Forks at a time, and returns when all are done.
// f always runs; when ctx has ended it is up to f to say so for its host.
func (e *Engine) each(ctx context.Context, n int, f func(i int)) {
	forks := int64(e.Forks)
	if forks <= 0 {
		forks = 10
	}
	sem := semaphore.NewWeighted(forks)
	var wg sync.WaitGroup
	var bug atomic.Pointer[string]
	for i := range n {
		if err := sem.Acquire(ctx, 1); err != nil {
			f(i) // ctx has ended: f finds that out
			continue
		}
		wg.Go(func() {
			defer sem.Release(1)
			// A panic here would end the process with 2, which says that there
			// are changes. It is the caller's, once the other hosts are done.
			defer func() {
				if r := recover(); r != nil {
					s := fmt.Sprintf("%v\n%s", r, debug.Stack())
					bug.CompareAndSwap(nil, &s)
				}
			}()
			f(i)
		})
	}
	wg.Wait()
	if s := bug.Load(); s != nil {
		panic(*s)
	}
}

// Plan reads every host and returns what it lacks. The plan is whole whatever
// happened on one host; the error, a *multierror.Error in the plan's order,
// repeats what kept hosts from being planned.
func (e *Engine) Plan(ctx context.Context, hosts []Host) (*Plan, error) {
	p := &Plan{Hosts: make([]HostPlan, len(hosts))}
	e.each(ctx, len(hosts), func(i int) {
		start := time.Now()
		hp := e.planHost(ctx, hosts[i])
		if hp.settled = hosts[i].settled(&hp); hp.settled && e.ReadOnly {
			e.lighten(&hp)
		}
		hp.Took = time.Since(start)
		p.Hosts[i] = hp
		e.observe(Event{Host: hp.Name, Stage: stageDone, Result: hp.Result, Err: hp.Err})
	})
	e.settle(p, hosts)
	e.skipLacking(ctx, p)
	for i := range p.Hosts {
		if hp := &p.Hosts[i]; e.ReadOnly && !hp.settled {
			e.lighten(hp)
		}
	}
	p.Rollback = slices.ContainsFunc(hosts, func(h Host) bool { return h.Rollback != nil })
	p.Leave = slices.ContainsFunc(hosts, func(h Host) bool { return h.Leave })
	sortHosts(p.Hosts, func(h HostPlan) (string, string) { return h.Role, h.Name })
	var all *multierror.Error
	for _, h := range p.Hosts {
		if h.Err != nil {
			all = multierror.Append(all, fmt.Errorf("%s: %w", h.Name, h.Err))
		}
	}
	return p, all.ErrorOrNil()
}

// sortHosts sorts the hub first, and then by name.
func sortHosts[T any](hs []T, key func(T) (role, name string)) {
	slices.SortStableFunc(hs, func(a, b T) int {
		ra, na := key(a)
		rb, nb := key(b)
		if (ra == tasks.RoleHub) != (rb == tasks.RoleHub) {
			if ra == tasks.RoleHub {
				return -1
			}
			return 1
		}
		return strings.Compare(na, nb)
	})
}

func (e *Engine) planHost(ctx context.Context, h Host) HostPlan {
	hp := HostPlan{Name: h.Name, Role: h.Role}
	fail := func(r Result, err error) HostPlan {
		if ctx.Err() != nil {
			r, err = Skipped, cutOff(ctx)
		}
		hp.Result, hp.Err = r, err
		return hp
	}
	h.Reads = append(slices.Clone(h.Reads), host.WorkRead)
	read := e.reach(ctx, h)
	if read.Err != nil {
		return fail(read.Result, read.Err)
	}
	if e.ReadOnly {
		e.drop(h.Name)
	}
	hp.Facts = read.Facts
	// what stands there is not what will: the other run may yet be taken back
	run, err := host.WorkFrom(hp.Facts)
	if err != nil {
		return fail(Failed, err)
	}
	if run.Busy() {
		who := run.Holder
		switch {
		case who != "":
		case run.Pending != "":
			who = "apply " + run.Pending
		default: // it has opened the lock, and not said more yet
			who = "one that has just begun"
		}
		if run.Pending != "" && !run.Working {
			who += " waits to be confirmed or put back"
		}
		return fail(Locked, transport.WithHint(fmt.Errorf("another run is at work there: %s", who), "wait for it to end, and plan again"))
	}
	return e.check(h, hp)
}

// reach connects to a host and reads what its Reads ask for. A connection over which that
// failed is not used again. A host that was not read when ctx ended is Skipped.
func (e *Engine) reach(ctx context.Context, h Host) HostFacts {
	hf := HostFacts{Name: h.Name, Role: h.Role}
	fail := func(r Result, err error) HostFacts {
		if ctx.Err() != nil {
			r, err = Skipped, cutOff(ctx)
		}
		hf.Result, hf.Err = r, err
		return hf
	}
	if ctx.Err() != nil {
		return fail(Skipped, nil)
	}
	e.observe(Event{Host: h.Name, Stage: stageConnect})
	conn, err := e.conn(ctx, h.Name)
	if err != nil {
		return fail(Unreachable, err)
	}
	hf.Asked = time.Now()
	hf.Facts, hf.Result, err = e.read(ctx, h, conn)
	hf.Answered = time.Now()
	if err != nil {
		e.drop(h.Name)
		return fail(hf.Result, err)
	}
	return hf
}

// errInterrupted is why a host was skipped when the run was ended by hand.
var errInterrupted = errors.New("interrupted before being read")

// cutOff returns why a host was not read to the end when ctx ended first.
func cutOff(ctx context.Context) error {
	if cause := context.Cause(ctx); cause != ctx.Err() {
		return cause // the time was up: ErrTime
	}
	return errInterrupted
}

// read reads what the Reads of a host ask for, over conn.
func (e *Engine) read(ctx context.Context, h Host, conn transport.Conn) (tasks.Facts, Result, error) {
	e.observe(Event{Host: h.Name, Stage: stageRead})
	script, err := host.Probe(h.Reads, h.have)
	if err != nil {
		return tasks.Facts{}, Failed, transport.Bug(err)
	}
	res, err := run(ctx, conn, answerWait, transport.Cmd{Script: host.Lean(script), MaxStdout: h.maxAnswer()})
	var exit *transport.ExitError
	var silent silentError
	switch {
	case errors.As(err, &exit), errors.Is(err, transport.ErrEndless):
		return tasks.Facts{}, Failed, fmt.Errorf("read facts: %w", err)
	case errors.As(err, &silent):
		return tasks.Facts{}, Unreachable, transport.WithHint(fmt.Errorf("read facts: %w", err),
			"log in to %s and look for what hangs: `systemctl status`, a disk (`df`), `dmesg`", h.Name)
	case err != nil:
		return tasks.Facts{}, Unreachable, fmt.Errorf("read facts: %w", err)
	}
	var f tasks.Facts
	answer, packed, err := host.Unpack(res.Stdout, h.maxAnswer())
	if err == nil {
		f, err = host.ParseFacts(answer, h.have)
		f.Host.Gzip = packed
	}
	if said := bytes.TrimSpace(res.Stderr); errors.Is(err, tasks.ErrUnknown) && len(said) > 0 {
		err = fmt.Errorf("%w\n%s", err, said)
	}
	if err != nil {
		return f, Failed, err
	}
	if err := f.Host.Root(); err != nil {
		return f, Failed, fmt.Errorf("read facts: %w", err)
	}
	return f, OK, nil
}

// check compares what was read, hp.Facts, with what is wanted, and returns hp with the
// changes that lead from the one to the other.
func (e *Engine) check(h Host, hp HostPlan) HostPlan {
	e.observe(Event{Host: h.Name, Stage: host.StageCheck})
	ts, m, err := e.wanted(h, hp.Facts, hp.peers)
	if err != nil {
		hp.Result, hp.Err = Failed, err
		return hp
	}
	if m != nil && m.Host != h.Name {
		hp.Warnings = append(hp.Warnings,
			fmt.Sprintf("this machine was last applied to as %q; is it in the inventory twice, or was it renamed?", m.Host))
	}
	if s, err := hp.Facts.File(tasks.RevertFailedPath); err == nil && s.Exists {
		hp.Warnings = append(hp.Warnings,
			fmt.Sprintf("a revert failed here (apply %s): what stands on this host may be half of it; see %s",
				strings.TrimSpace(string(s.Content)), tasks.StateDir))
	}
	var all *multierror.Error
	if h.Preflight != nil {
		refusals, warnings := h.Preflight(hp.Facts)
		all = multierror.Append(all, refusals...)
		hp.Warnings = append(hp.Warnings, warnings...)
	}
	if all.ErrorOrNil() != nil {
		ts = nil // what it cannot carry says more than what cannot be checked
	}
	hp.sitesGone, hp.sitesHad = sitesGone(m, ts, h.renamed(hp.Facts))
	if h.Leave {
		hp.Warnings = append(hp.Warnings, tasks.Stays(m, ts)...)
	}
	for _, t := range ts {
		c, err := t.Check(hp.Facts)
		if err != nil {
			all = multierror.Append(all, fmt.Errorf("check %s: %w", t.ID(), err))
			continue
		}
		if c != nil {
			hp.Changes = append(hp.Changes, *c)
		}
	}
	if len(hp.Changes) > 1 { // they go with the others
		hp.Changes = slices.DeleteFunc(hp.Changes, func(c tasks.Change) bool { return c.Task == (tasks.Remains{}).ID() })
	}
	hp.Err = asLines(all)
	switch {
	case hp.Err != nil:
		hp.Result, hp.Changes = Failed, nil
	case len(hp.Changes) > 0:
		hp.Result = Changed
	default:
		hp.Result = OK
	}
	return hp
}

// wanted returns the tasks of a host where the other ends of its tunnels are peers, with
// those for what it has of ours and should have no more.
func (e *Engine) wanted(h Host, f tasks.Facts, peers tasks.Peers) ([]tasks.Task, *tasks.Manifest, error) {
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, nil, err
	}
	if err := e.owns(m); err != nil {
		return nil, m, err
	}
	ts, err := h.Tasks(f, peers)
	if err != nil {
		return nil, m, err
	}
	if h.Rollback != nil {
		return ts, m, nil
	}
	gone, err := tasks.Orphans(m, ts, tasks.Leaving{Facts: f, Owner: e.Owner, Daemons: h.Daemons})
	if err != nil {
		return nil, m, err
	}
	ts = append(ts, gone...)
	if e.Adopt {
		tasks.Adopt(ts)
	}
	return ts, m, nil
}

// sitesGone returns how many of the tunnels that were applied ts do not want, and how
// many were applied. A site with another name does not go.
func sitesGone(m *tasks.Manifest, ts []tasks.Task, renamed map[string]string) (gone, had int) {
	wanted := map[string]bool{}
	for _, t := range ts {
		if maker, ok := t.(connMaker); ok {
			_, conns := maker.Makes()
			for conn := range conns {
				wanted[conn] = true
			}
		}
	}
	for _, tunnel := range m.Tunnels() {
		had++
		if renamed[tunnel.Conn] == "" && !wanted[tunnel.Conn] {
			gone++
		}
	}
	return gone, had
}

// asLines returns all as one error without multierror's heading and bullets: a single
// error as itself, and several as a line each, since the host's name stands over them.
func asLines(all *multierror.Error) error {
	if all == nil {
		return nil
	}
	if len(all.Errors) == 1 {
		return all.Errors[0]
	}
	all.ErrorFormat = func(es []error) string {
		var lines []string
		for _, e := range es {
			lines = append(lines, e.Error())
		}
		return strings.Join(lines, "\n")
	}
	return all.ErrorOrNil()
}
