package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-multierror"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

const (
	// tunnelWait is how long a tunnel may take to come up after an apply: an
	// IKE exchange and its first retransmissions (4 s, 7.2 s).
	tunnelWait = 20 * time.Second
	// guardSlack is what the script adds to the confirmation's time for its own
	// work (main_run in tasks/host/txn.sh).
	guardSlack = 240 * time.Second
)

var errTooLate = errors.New("it did not answer until it was too late to confirm")

// attempt is the apply on one host, from its start until it is known how it came out.
type attempt struct {
	e  *Engine
	h  Host
	hp *HostPlan
	x  host.Txn
	hr HostReport // how it came out; final once it is not armed

	// shown is the plan that was shown, where hp is a first step to it.
	shown *HostPlan
	// last says that it ends what was begun on other hosts: it is begun although no new
	// host is to be.
	last bool
	ends string // the apply on this host of which it is the last step

	// armed: the changes are made, and the host puts everything back by itself
	// unless they are confirmed until the deadline.
	armed     bool
	deadline  time.Time
	confirmed bool
	torn      bool           // the host could not put back what was there
	conn      transport.Conn // made after the changes
	broken    *lostTunnel
	warned    []string // by the apply script
}

// newAttempt returns an attempt that is yet to be made: its report is what the plan found.
func (e *Engine) newAttempt(h Host, hp *HostPlan) *attempt {
	return &attempt{e: e, h: h.withPeers(hp.Facts, hp.peers), hp: hp,
		hr: HostReport{Name: hp.Name, Role: hp.Role, Result: hp.Result, Err: hp.Err, Warnings: hp.Warnings}}
}

// run makes the attempt, from its beginning to its end.
func (a *attempt) run(ctx context.Context) {
	start := time.Now()
	a.transact(ctx)
	a.done(start)
}

// transact makes the changes of the host, and keeps them where the host is as planned
// then.
func (a *attempt) transact(ctx context.Context) {
	a.begin(ctx)
	if a.armed {
		a.verify(ctx)
	}
	if a.armed {
		a.keep(ctx)
	}
}

// done tells the observer how the attempt, which was begun at start, came out.
func (a *attempt) done(start time.Time) {
	a.hr.Took = time.Since(start)
	a.e.observe(Event{Host: a.hr.Name, Stage: stageDone, Result: a.hr.Result, Err: a.hr.Err})
}

func (a *attempt) observe(stage, message string) {
	a.e.observe(Event{Host: a.h.Name, Stage: stage, Message: message})
}

// changes reports whether the attempt would change its host.
func (a *attempt) changes() bool { return a.hp.Result == Changed && len(a.hp.Blocked()) == 0 }

// good reports whether the host came out as desired, so that others may follow it.
func (a *attempt) good() bool { return a.hr.Result == OK || a.hr.Result == Changed }

func (a *attempt) fail(r Result, err error) {
	a.armed, a.hr.Result, a.hr.Err = false, r, err
}

// begin makes the changes of the host, if there are any. Where that went well the host is
// armed then.
func (a *attempt) begin(ctx context.Context) {
	if a.hp.Result != Changed {
		if a.hp.Result == OK {
			a.tunnels(a.hp.Facts)
		}
		return
	}
	if b := a.hp.Blocked(); len(b) > 0 {
		var all *multierror.Error
		for _, c := range b {
			all = multierror.Append(all, transport.WithHint(fmt.Errorf("%s: %s", c.Task, c.Blocked), "%s", c.Mend))
		}
		a.fail(Failed, asLines(all))
		return
	}
	if a.e.stopped() && !a.last || ctx.Err() != nil {
		a.fail(Skipped, transport.WithHint(errors.New("not begun: the run was ended before"), "apply again"))
		return
	}
	var err error
	if a.x, err = a.txn(a.e.confirmTimeout()); err != nil {
		a.fail(Failed, err)
		return
	}
	reply, err := a.launch(ctx)
	if err != nil {
		a.fail(Unknown, transport.WithHint(fmt.Errorf("apply %s: %w", a.x.ID, err),
			"the host puts everything back by itself when nobody confirms within %s; `vpnpush plan --limit %s` tells how it stands",
			a.x.ConfirmTimeout+guardSlack, a.h.Name))
		return
	}
	a.launched(ctx, reply)
}

// launched takes in how the run of the apply script ended.
func (a *attempt) launched(ctx context.Context, reply host.Reply) {
	a.warned = reply.Warnings
	switch reply.Status {
	case host.StatusApplied:
		if reply.Outcome != "" { // the host has put everything back before its client came to it again
			a.reverted(reply.Outcome, errTooLate)
			return
		}
		a.armed, a.deadline = true, time.Now().Add(a.x.ConfirmTimeout)
	case host.StatusLocked:
		a.fail(Locked, transport.WithHint(fmt.Errorf("apply: another run is at work there: %s", reply.Message),
			"wait for it to end, and plan again"))
	case host.StatusStale:
		a.fail(Stale, transport.WithHint(fmt.Errorf("apply: %s", reply.Message), "plan again"))
	case host.StatusReverted:
		a.fail(RolledBack, a.mendIt(fmt.Errorf("apply%s: %s; the host stands as before\n%s", reply.Where(), reply.Message, reply.Log), reply.Log))
	case host.StatusNeverStarted:
		a.fail(Failed, transport.WithHint(errors.New("the connection was lost before the apply was begun; nothing was changed"), "apply again"))
	case host.StatusDied:
		cut := errors.New("the apply was cut short on the host")
		if reply.Outcome != "" {
			a.reverted(reply.Outcome, cut)
			return
		}
		a.revert(ctx, cut)
	case host.StatusFailed:
		if reply.Stage == host.StagePackages {
			a.fail(Failed, noPackages(reply))
			return
		}
		if reply.Stage == host.StageTry {
			a.fail(Failed, transport.WithHint(fmt.Errorf("apply%s: strongSwan does not take what was to be written; it was tried on the host beforehand, and nothing was changed\n%s",
				reply.Where(), reply.Log), "mend it where it says, and apply again"))
			return
		}
		a.fail(Failed, a.mendIt(fmt.Errorf("apply%s: %s; nothing was changed\n%s", reply.Where(), reply.Message, reply.Log), reply.Log))
	case host.StatusRevertFailed:
		a.torn = true
		a.fail(Failed, a.backupHint(fmt.Errorf("apply%s: %s; and putting back what was there failed too\n%s",
			reply.Where(), reply.Message, reply.Log)))
	default:
		a.fail(Unknown, a.askAgain(fmt.Errorf("apply %s: it ended without a result (%s)\n%s", a.x.ID, reply.Status, reply.Log)))
	}
}

// mendIt returns err, after which the host is as it was, with a mend. log is what its
// commands said.
func (a *attempt) mendIt(err error, log string) error {
	switch {
	case a.h.Role == tasks.RoleSite && strings.Contains(log, "no child SA came up"):
		return transport.Hinted(err, "the tunnel did not come up: `vpnpush doctor %s` looks for what stops it on the way to the hub", a.h.Name)
	case strings.Contains(log, "No space left on device"):
		return transport.Hinted(err, "a file system of the host is full: `df -h` there tells which, apt-get clean and journalctl --vacuum-size=50M often help; then apply again")
	}
	return transport.Hinted(err, "the host is as it was: mend there what is told, and apply again")
}

// askAgain returns err, after which it is not known how the host stands, with a mend.
func (a *attempt) askAgain(err error) error {
	return transport.Hinted(err, "`vpnpush plan --limit %s` tells how it stands", a.h.Name)
}

// noPackages returns the error of an apply that ended while packages were installed.
func noPackages(reply host.Reply) error {
	what := strings.TrimSpace(strings.TrimPrefix(reply.Task, "packages:"))
	return transport.WithHint(fmt.Errorf("install packages %s: %s; nothing else was changed, but packages may have come\n%s", what, reply.Message, reply.Log),
		"see what apt says: `apt-get update` on the host tells whether it reaches its mirror, `apt-get -s install %s` what else is in the way; then apply again", what)
}

// txn returns the transaction that makes the plan's changes.
func (a *attempt) txn(confirm time.Duration) (host.Txn, error) {
	e, h, hp := a.e, a.h, a.hp
	ts, m, err := e.wanted(h, hp.Facts, hp.peers)
	if err != nil {
		return host.Txn{}, err
	}
	var manifest []byte
	units := m.Units()
	if !h.Leave {
		next := tasks.NextManifest(m, e.Owner, h.Name, e.By, time.Now(), ts, hp.Facts)
		if h.Rollback != nil {
			next = h.Rollback.manifest(e.By, time.Now())
		}
		units = append(units, next.Units()...)
		if manifest, err = next.Encode(); err != nil {
			return host.Txn{}, err
		}
	}
	had, err := hp.Facts.File(tasks.ManifestPath)
	if err != nil {
		return host.Txn{}, err
	}
	var nonce [4]byte
	rand.Read(nonce[:])
	x := host.Txn{
		ID:   time.Now().UTC().Format("20060102T150405") + "-" + hex.EncodeToString(nonce[:]),
		Host: h.Name, By: e.By, Summary: summary(hp.Changes), Changes: hp.Changes, Ends: a.ends,
		Manifest: manifest, ManifestSHA: had.SHA256(), Packed: hp.Facts.Host.Gzip,
		Units: slices.Compact(slices.Sorted(slices.Values(units))), ConfirmTimeout: confirm,
	}
	if h.Rollback != nil {
		x.Before = h.Rollback.Before
		if m == nil || m.Generation != h.Rollback.plan.On {
			return x, transport.WithHint(errors.New("it was applied to while the rollback was being planned"), "roll back again")
		}
	}
	return x, nil
}

func summary(cs []tasks.Change) string {
	var s []string
	for _, c := range cs {
		s = append(s, string(c.Action)+" "+c.Task)
	}
	return strings.Join(s, ", ")
}

// verify looks at the host over a new connection. Where it is not as planned,
// the host puts back what was there.
func (a *attempt) verify(ctx context.Context) {
	a.observe(host.StageVerify, "")
	// A flow that exists can pass a packet filter that lets no new one in.
	a.e.drop(a.h.Name)
	conn, err := a.e.redial(ctx, a.h.Name)
	for err != nil && ctx.Err() == nil && time.Now().Before(a.deadline) {
		sleep(ctx, time.Second)
		conn, err = a.e.redial(ctx, a.h.Name)
	}
	if err != nil {
		a.awaitRevert(ctx, fmt.Errorf("no new connection after the apply: %w", err))
		return
	}
	a.conn = conn
	why := a.looksGood(ctx)
	if why == nil {
		return
	}
	// what was seen may be what the host has put back already
	if word, err := a.outcome(ctx, conn); err == nil && word != host.OutcomePending {
		a.reverted(word, errTooLate)
		return
	}
	a.revert(ctx, why)
}

// looksGood looks at the host until it is too late to keep what it has; an error says why
// it is not to be kept.
func (a *attempt) looksGood(ctx context.Context) error {
	ctx, cancel := context.WithDeadlineCause(ctx, a.deadline, errTooLate)
	defer cancel()
	facts, err := a.converged(ctx)
	if err != nil {
		return err
	}
	return a.tunnelsHold(ctx, facts)
}

// converged reads the host again; an error says why it is not as planned.
func (a *attempt) converged(ctx context.Context) (tasks.Facts, error) {
	after := HostPlan{Name: a.h.Name, Role: a.h.Role, peers: a.hp.peers}
	var err error
	if after.Facts, err = a.look(ctx, a.h.reading(a.expected())); err != nil {
		return after.Facts, fmt.Errorf("look at the host after the apply: %w", err)
	}
	after = a.e.check(a.h, after)
	if after.Err != nil {
		return after.Facts, fmt.Errorf("look at the host after the apply: %w", after.Err)
	}
	// a tunnel that does not come up is for tunnelsHold to judge
	left := slices.DeleteFunc(after.Changes, func(c tasks.Change) bool { return c.Action == tasks.DialTunnel })
	if len(left) > 0 {
		return after.Facts, fmt.Errorf("it did not converge; still to do: %s", summary(left))
	}
	a.hr.Warnings = a.warned // the plan has told the others
	return after.Facts, nil
}

// tunnelsHold waits for the tunnels that the apply has to answer for; an error says which
// one it broke. One that was down before as well is noted, for keep to tell.
func (a *attempt) tunnelsHold(ctx context.Context, facts tasks.Facts) error {
	before := a.tunnelsBefore()
	dialled, daemon := a.h.Role == tasks.RoleHub, a.h.daemon(facts)
	for wait := time.Now().Add(min(tunnelWait, time.Until(a.deadline)/2)); ; {
		a.hr.Tunnels, a.hr.Err = nil, nil
		a.tunnels(facts)
		a.broken = lost(before, a.hr.Tunnels, a.h.Role)
		if a.broken == nil || time.Now().After(wait) || ctx.Err() != nil {
			break
		}
		if !a.broken.was && !dialled {
			// somebody took it down by hand, or the hub refused it at the time
			dialled = true
			_, _ = run(ctx, a.conn, tunnelWait, transport.Cmd{Script: daemon.Dial(a.broken.Tunnel.Conn)})
		}
		sleep(ctx, time.Second)
		var err error
		if facts, err = a.look(ctx, a.h.readingTunnels()); err != nil {
			return fmt.Errorf("look at the tunnels after the apply: %w", err)
		}
	}
	if a.broken != nil && a.broken.was {
		return transport.WithHint(fmt.Errorf("the tunnel %s was up before and is not after: %s", a.broken.Tunnel.Conn, a.broken.Why),
			"what was there is back; `vpnpush doctor` looks for what stops a tunnel, and `journalctl -u %s` at both ends has charon's own words", daemon.Service())
	}
	return nil
}

// expected returns what the long files of the host hold where the apply has done what it
// was to do: the manifest, and the notes of what services have read.
func (a *attempt) expected() host.Have {
	have := host.Have{}
	if a.x.Manifest != nil {
		have[tasks.ManifestPath] = a.x.Manifest
	}
	ts, _, err := a.e.wanted(a.h, a.hp.Facts, a.hp.peers)
	if err != nil {
		return have // the look tells it
	}
	for _, t := range ts {
		if n, ok := t.(noter); ok {
			path, content := n.Note()
			have[path] = content
		}
	}
	return have
}

// noter is a task whose service has a note of what it has read.
type noter interface {
	// Note returns the file of the note and what it holds once all is loaded.
	Note() (path string, content []byte)
}

// look reads h, the host after the apply, while its tunnels come up. The very tunnel that did
// may have taken the line: it is read over a new one then.
func (a *attempt) look(ctx context.Context, h Host) (tasks.Facts, error) {
	first, cancel := context.WithTimeoutCause(ctx, deadLine, silentError(deadLine))
	facts, _, err := a.e.read(first, h, a.conn)
	cancel()
	if err == nil || ctx.Err() != nil {
		return facts, err
	}
	conn, failed := a.e.redial(ctx, a.h.Name)
	if failed != nil {
		return facts, err
	}
	a.conn = conn
	facts, _, err = a.e.read(ctx, h, conn)
	return facts, err
}

// tunnelsBefore returns how the tunnels stood before, as the ends were then: one that is
// to have other selectors, or another name, was up with those that it had. Where the SAs
// of before are not known, no tunnel is known to have been up.
func (a *attempt) tunnelsBefore() []strongswan.TunnelState {
	h := a.h
	h.Tunnels = slices.Clone(h.Tunnels)
	m, _ := tasks.ReadManifest(a.hp.Facts) // the plan has read it
	for i, t := range h.Tunnels {
		was := m.Conn(t.Conn)
		if was == nil && m != nil && h.Role == tasks.RoleSite { // which may have had another name
			was = m.Conn(m.Host)
		}
		if was != nil && was.Tunnel != nil {
			h.Tunnels[i] = *was.Tunnel
		}
	}
	states, _ := tunnelStates(h, a.hp.Facts)
	for i := range states {
		states[i].Tunnel.Conn = a.h.Tunnels[i].Conn
	}
	return states
}

// lostTunnel is a tunnel that should be up and is not.
type lostTunnel struct {
	strongswan.TunnelState
	was bool // it was up before
}

// lost returns the first tunnel that an apply has to answer for: on a site every
// one, on the hub one that was up, for a new site has not dialled yet.
func lost(before, after []strongswan.TunnelState, role string) *lostTunnel {
	up := map[string]bool{} // before
	for _, b := range before {
		up[b.Tunnel.Conn] = up[b.Tunnel.Conn] || b.Up
	}
	for _, a := range after {
		if was := up[a.Tunnel.Conn]; !a.Up && (was || role != tasks.RoleHub) {
			return &lostTunnel{TunnelState: a, was: was}
		}
	}
	return nil
}

// tunnelStates returns how the tunnels of a host stand in facts.
func tunnelStates(h Host, f tasks.Facts) ([]strongswan.TunnelState, error) {
	if len(h.Tunnels) == 0 {
		return nil, nil
	}
	sas, err := tasks.SAsFrom(f)
	if err != nil {
		return nil, fmt.Errorf("tunnels: %w", err)
	}
	return strongswan.CheckTunnels(sas, h.Tunnels), nil
}

// tunnels reports how the host's tunnels stand in facts; those that cannot be told are
// worth a warning.
func (a *attempt) tunnels(f tasks.Facts) {
	states, err := tunnelStates(a.h, f)
	if err != nil {
		a.hr.Warnings = append(a.hr.Warnings, err.Error())
		return
	}
	a.hr.Tunnels = states
}

// lookAgain reports the hub's tunnels anew: when it was applied to, the sites had
// not dialled yet. It waits for those to come up that are expected to.
func (a *attempt) lookAgain(ctx context.Context, expected map[string]bool) {
	down := func(t strongswan.TunnelState) bool { return !t.Up }
	awaited := func(t strongswan.TunnelState) bool { return !t.Up && expected[t.Tunnel.Peer] }
	if !slices.ContainsFunc(a.hr.Tunnels, down) {
		return
	}
	for until := time.Now().Add(tunnelWait); ; sleep(ctx, time.Second) {
		read := a.e.reach(ctx, a.h.readingTunnels())
		if read.Err != nil {
			a.hr.Warnings = append(a.hr.Warnings, fmt.Sprintf("tunnels, once the sites were done: %v", read.Err))
			return
		}
		told := len(a.hr.Warnings)
		a.tunnels(read.Facts)
		if !slices.ContainsFunc(a.hr.Tunnels, awaited) || len(a.hr.Warnings) > told || time.Now().After(until) || ctx.Err() != nil {
			return
		}
	}
}

// keep confirms what verify found good.
func (a *attempt) keep(ctx context.Context) {
	a.observe(host.StageConfirm, "")
	for conn := a.conn; ; {
		_, err := run(ctx, conn, confirmWait, transport.Cmd{Script: a.x.Confirm(), MaxStdout: maxWord})
		if err == nil {
			a.kept()
			return
		}
		var exit *transport.ExitError
		if errors.As(err, &exit) && exit.Signal == "" {
			a.awaitRevert(ctx, errors.New("it was not confirmed in time"))
			return
		}
		// The line is cut, and it kept or not: ask, and confirm again if not.
		var word string
		switch conn, word = a.ask(ctx); word {
		case host.OutcomeConfirmed:
			a.kept()
			return
		case host.OutcomePending:
		default:
			a.awaitRevert(ctx, fmt.Errorf("confirm: %w", err))
			return
		}
	}
}

// ask asks the host what has become of the apply, over new connections until one brings
// an answer; "" when none does before the deadline.
func (a *attempt) ask(ctx context.Context) (conn transport.Conn, word string) {
	for word == "" && ctx.Err() == nil && time.Now().Before(a.deadline) {
		sleep(ctx, time.Second)
		var err error
		if conn, err = a.e.redial(ctx, a.h.Name); err == nil {
			word, _ = a.outcome(ctx, conn)
		}
	}
	return conn, word
}

// kept ends an attempt that was confirmed.
func (a *attempt) kept() {
	a.armed, a.confirmed = false, true
	a.hr.Result, a.hr.Changes = Changed, a.hp.Changes
	if b := a.broken; b != nil {
		a.hr.Result = Failed
		a.hr.Err = transport.WithHint(fmt.Errorf("all is in place, but the tunnel %s is not up: %s", b.Tunnel.Conn, b.Why),
			"look at udp 500 and 4500 between the host and the hub, and at `journalctl -u %s` on both",
			a.h.daemon(a.hp.Facts).Service())
	}
}

// revert tells the host to put back what was there, and waits until it has. The line may
// be the very thing that broke, so a second try goes over a new one; a host that is only
// silent has heard it.
func (a *attempt) revert(ctx context.Context, why error) {
	for _, connect := range []func(context.Context, string) (transport.Conn, error){a.e.conn, a.e.redial} {
		conn, err := connect(ctx, a.h.Name)
		if err != nil {
			continue
		}
		_, err = run(ctx, conn, revertWait, transport.Cmd{Script: a.x.Revert(oneLine(why))})
		var exit *transport.ExitError
		var silent silentError
		if err == nil || errors.As(err, &exit) || errors.As(err, &silent) {
			break // its exit status says nothing that the outcome does not say better
		}
	}
	a.awaitRevert(ctx, why)
}

// awaitRevert waits until the host has put everything back by itself, and
// learns how that went. Not to know is an outcome of its own.
func (a *attempt) awaitRevert(ctx context.Context, why error) {
	deadline := time.Now().Add(a.x.ConfirmTimeout + time.Minute)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		a.observe(host.StageConfirm, "waiting for the host to put back what was there")
		if conn, err := a.e.redial(ctx, a.h.Name); err == nil {
			if word, err := a.outcome(ctx, conn); err == nil && word != host.OutcomePending {
				a.reverted(word, why)
				return
			}
		}
		sleep(ctx, time.Second)
	}
	a.fail(Unknown, transport.WithHint(why,
		"the host puts everything back by itself %s after the apply; `vpnpush plan --limit %s` tells how it stands",
		a.x.ConfirmTimeout, a.h.Name))
}

// outcome asks the host what has become of the apply: host.OutcomePending or how it
// ended, with the reason behind a tab.
func (a *attempt) outcome(ctx context.Context, conn transport.Conn) (string, error) {
	res, err := run(ctx, conn, deadLine, transport.Cmd{Script: a.x.Outcome(), MaxStdout: maxWord})
	word := strings.TrimSpace(string(res.Stdout))
	if a.armed && a.h.Leave && word == host.OutcomeUntouched {
		// The host was armed, and has no trace of it: a host that is left forgets all
		// of vpnpush once that is confirmed, the confirmation too.
		word = host.OutcomeConfirmed
	}
	return word, err
}

// reverted ends an attempt by the host's own word of how it ended. why is what went wrong.
func (a *attempt) reverted(word string, why error) {
	switch w, how, _ := strings.Cut(word, "\t"); w {
	case host.OutcomeConfirmed:
		a.kept()
		a.hr.Warnings = append(a.hr.Warnings, fmt.Sprintf("confirmed, but the answer was lost on the way: %v", why))
	case host.OutcomeUntouched:
		a.fail(Failed, a.mendIt(fmt.Errorf("%w; nothing was changed", why), ""))
	case host.OutcomeReverted:
		err := fmt.Errorf("%w; the host stands as before", why)
		if how != oneLine(why) {
			err = fmt.Errorf("%w (%s)", err, how)
		}
		a.fail(RolledBack, a.mendIt(err, ""))
	case host.OutcomeRevertFailed:
		a.torn = true
		a.fail(Failed, a.backupHint(fmt.Errorf("%w; and putting back what was there failed (%s)", why, how)))
	default:
		a.fail(Unknown, a.askAgain(fmt.Errorf("%w; the host says %q of apply %s", why, word, a.x.ID)))
	}
}

// backupHint says where on the host the backup is that could not be put back.
func (a *attempt) backupHint(err error) error {
	return transport.WithHint(err, "the backup is on the host, in %s/txn/%s/backup", tasks.StateDir, a.x.ID)
}

// oneLine returns the first line of an error's text.
func oneLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}
