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
	defaultConfirm = 60 * time.Second
	// tunnelWait is how long a tunnel may take to come up after an apply: an
	// IKE exchange and its first retransmissions (4 s, 7.2 s).
	tunnelWait = 20 * time.Second
)

// Apply makes the changes of a plan: the hub first, because its conns and
// secrets must be there before a site dials; then one site, the canary; then
// the others, Forks at a time. A failed hub or canary stops what comes after
// it; a failed site stops only itself. Every host comes out as it was or as
// planned. The error repeats the hosts' errors in the report's order.
func (e *Engine) Apply(ctx context.Context, p *Plan, hosts []Host) (*Report, error) {
	byName := map[string]Host{}
	for _, h := range hosts {
		byName[h.Name] = h
	}
	r := &Report{Hosts: make([]HostReport, len(p.Hosts))}
	run := func(i int) {
		start := time.Now()
		hr := e.applyHost(ctx, byName[p.Hosts[i].Name], &p.Hosts[i])
		hr.Took = time.Since(start)
		r.Hosts[i] = hr
		e.done(hr)
	}
	skip := func(is []int, format string, a ...any) {
		for _, i := range is {
			hp := &p.Hosts[i]
			if hp.Result != Changed {
				run(i) // nothing would be done to it: report it as it is
				continue
			}
			r.Hosts[i] = HostReport{Name: hp.Name, Role: hp.Role, Result: Skipped, Err: fmt.Errorf(format, a...), Warnings: hp.Warnings}
		}
	}

	var hubs, rest []int
	for i, h := range p.Hosts {
		if h.Role == "hub" {
			hubs = append(hubs, i)
		} else {
			rest = append(rest, i)
		}
	}
	good := func(i int) bool { return r.Hosts[i].Result == OK || r.Hosts[i].Result == Changed }
	if in, out := e.coupled(p, byName, hubs, rest); len(in) > 0 {
		e.together(ctx, p, byName, r, append(hubs, in...))
		if !good(hubs[0]) {
			skip(out, "not tried: the hub %s comes first, and it is %s", r.Hosts[hubs[0]].Name, r.Hosts[hubs[0]].Result)
			return r, r.err()
		}
		hubs, rest = nil, out
	}
	for _, i := range hubs {
		run(i)
		if !good(i) {
			skip(rest, "not tried: the hub %s comes first, and it is %s", r.Hosts[i].Name, r.Hosts[i].Result)
			return r, r.err()
		}
	}
	if canary := slices.IndexFunc(rest, func(i int) bool { return p.Hosts[i].Result == Changed && len(p.Hosts[i].Blocked()) == 0 }); canary >= 0 && !e.NoCanary && len(rest) > 1 {
		i := rest[canary]
		rest = slices.Delete(slices.Clone(rest), canary, canary+1)
		run(i)
		if !good(i) {
			skip(rest, "not tried: the first site, %s, is %s", r.Hosts[i].Name, r.Hosts[i].Result)
			return r, r.err()
		}
	}
	e.each(ctx, len(rest), func(n int) { run(rest[n]) })
	for i := range r.Hosts {
		if r.Hosts[i].Role == "hub" {
			e.lookAgain(ctx, byName[r.Hosts[i].Name], &r.Hosts[i])
		}
	}
	return r, r.err()
}

// lookAgain tells the hub's tunnels anew: when it was applied to, the sites had
// not dialled yet.
func (e *Engine) lookAgain(ctx context.Context, h Host, hr *HostReport) {
	if !slices.ContainsFunc(hr.Tunnels, func(t strongswan.TunnelState) bool { return !t.Up }) {
		return
	}
	conn, err := e.conn(ctx, h.Name)
	if err == nil {
		var f tasks.Facts
		if f, _, err = e.read(ctx, h, conn); err == nil {
			e.tunnels(h, f, hr)
			return
		}
	}
	hr.Warnings = append(hr.Warnings, fmt.Sprintf("tunnels, once the sites were done: %v", err))
}

func (r *Report) err() error {
	var all *multierror.Error
	for _, h := range r.Hosts {
		if h.Err != nil {
			all = multierror.Append(all, fmt.Errorf("%s: %w", h.Name, h.Err))
		}
	}
	return all.ErrorOrNil()
}

func (e *Engine) done(hr HostReport) {
	e.observe(Event{Host: hr.Name, Stage: "done", Result: hr.Result, Err: hr.Err})
}

func (e *Engine) applyHost(ctx context.Context, h Host, hp *HostPlan) HostReport {
	a := e.begin(ctx, h, hp, e.confirmTimeout())
	if a.armed {
		e.verify(ctx, a)
	}
	if a.armed {
		e.keep(ctx, a)
	}
	return a.hr
}

// attempt is an apply on one host while it goes on.
type attempt struct {
	h  Host
	hp *HostPlan
	x  host.Txn
	hr HostReport // how it came out; final once it is not armed
	// armed: the changes are made, and the host puts everything back by itself
	// unless they are confirmed until the deadline.
	armed    bool
	deadline time.Time
	conn     transport.Conn // made after the apply
	broken   *lostTunnel
}

// begin makes the changes of a host, armed, as far as there are any.
func (e *Engine) begin(ctx context.Context, h Host, hp *HostPlan, confirm time.Duration) *attempt {
	a := &attempt{h: h, hp: hp, hr: HostReport{Name: hp.Name, Role: hp.Role, Result: hp.Result, Err: hp.Err, Warnings: hp.Warnings}}
	if hp.Result != Changed {
		if hp.Result == OK {
			e.tunnels(h, hp.Facts, &a.hr)
		}
		return a
	}
	fail := func(r Result, err error) *attempt {
		a.hr.Result, a.hr.Err = r, err
		return a
	}
	if b := hp.Blocked(); len(b) > 0 {
		var all *multierror.Error
		for _, c := range b {
			all = multierror.Append(all, transport.WithHint(fmt.Errorf("%s: %s", c.Task, c.Blocked), "%s", c.Mend))
		}
		return fail(Failed, plain(all))
	}
	if e.stopped() || ctx.Err() != nil {
		return fail(Skipped, errors.New("not begun: the run was ended before"))
	}
	x, err := e.txn(h, hp, confirm)
	if err != nil {
		return fail(Failed, err)
	}
	a.x = x
	out, err := e.launch(ctx, h, x)
	if err != nil {
		return fail(Unknown, transport.WithHint(
			fmt.Errorf("apply %s: %w", x.ID, err),
			"the host puts everything back by itself when nobody confirms within %s; `vpnpush plan --limit %s` tells how it stands", x.ConfirmTimeout+guardSlack, h.Name))
	}
	// the host has put everything back before its client came to it again
	late := func(why error) *attempt {
		a.end(e.reverted(h, x, a.hr, out.outcome, why))
		return a
	}
	switch out.status {
	case "applied":
		if out.outcome != "" {
			return late(errTooLate)
		}
		a.armed, a.deadline = true, time.Now().Add(x.ConfirmTimeout)
		return a
	case "locked":
		return fail(Locked, transport.WithHint(fmt.Errorf("apply: another run is at work there: %s", out.message), "wait for it to end, and plan again"))
	case "stale":
		return fail(Stale, transport.WithHint(fmt.Errorf("apply: %s", out.message), "plan again"))
	case "reverted":
		return fail(RolledBack, fmt.Errorf("apply%s: %s; the host stands as before\n%s", out.where(), out.message, out.log))
	case "never-started":
		return fail(Failed, errors.New("the connection was lost before the apply was begun; nothing was changed"))
	case "died":
		cut := errors.New("the apply was cut short on the host")
		if out.outcome != "" {
			return late(cut)
		}
		a.end(e.revert(ctx, h, x, a.hr, cut))
		return a
	case "failed":
		but := "nothing was changed"
		if out.stage == "packages" {
			but = "nothing else was changed, but packages may have come"
		}
		return fail(Failed, fmt.Errorf("apply%s: %s; %s\n%s", out.where(), out.message, but, out.log))
	case "revert-failed":
		return fail(Failed, transport.WithHint(fmt.Errorf("apply%s: %s; and putting back what was there failed too\n%s", out.where(), out.message, out.log),
			"the backup is on the host, in %s/txn/%s/backup", tasks.StateDir, x.ID))
	}
	return fail(Unknown, fmt.Errorf("apply %s: it ended without a result (%s)\n%s", x.ID, out.status, out.log))
}

// guardSlack is what the script adds to the confirmation's time for its own
// work (apply.sh, main_run).
const guardSlack = 240 * time.Second

var errTooLate = errors.New("contact was lost until it was too late to confirm")

// followTries is how often the script that follows a run may end without an
// answer.
const followTries = 20

func (e *Engine) stopped() bool {
	select {
	case <-e.Stop:
		return true
	default:
		return false
	}
}

func (e *Engine) txn(h Host, hp *HostPlan, confirm time.Duration) (host.Txn, error) {
	ts, m, err := e.wanted(h, hp.Facts)
	if err != nil {
		return host.Txn{}, err
	}
	var manifest []byte
	units := m.Units()
	if !h.Leave {
		next := tasks.NextManifest(m, e.Owner, h.Name, e.By, time.Now(), ts, hp.Facts)
		if h.Back != nil {
			next = h.Back.manifest(e.By, time.Now())
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
		Host: h.Name, By: e.By, Summary: summary(hp.Changes), Changes: hp.Changes,
		Manifest: manifest, ManifestSHA: had.SHA256(), Units: slices.Compact(slices.Sorted(slices.Values(units))), ConfirmTimeout: confirm,
	}
	if h.Back != nil {
		x.Before = h.Back.Before
		if m == nil || m.Generation != h.Back.plan.On {
			return x, errors.New("it was applied to while the rollback was being planned; roll back again")
		}
	}
	return x, nil
}

func (e *Engine) confirmTimeout() time.Duration {
	if e.ConfirmTimeout == 0 {
		return defaultConfirm
	}
	return e.ConfirmTimeout
}

func summary(cs []tasks.Change) string {
	var s []string
	for _, c := range cs {
		s = append(s, string(c.Action)+" "+c.Task)
	}
	return strings.Join(s, ", ")
}

// outcome is what an apply script said.
type outcome struct{ status, stage, task, message, outcome, log string }

// where is the task and stage at which it ended, with a space before it.
func (o outcome) where() string {
	if o.task == "" {
		return " (" + o.stage + ")"
	}
	return " " + o.task + " (" + o.stage + ")"
}

// launch runs the apply script and waits for its end, over as many
// connections as that takes. An error means that its outcome is not known.
func (e *Engine) launch(ctx context.Context, h Host, x host.Txn) (outcome, error) {
	script, err := x.Script()
	if err != nil {
		return outcome{}, err
	}
	conn, err := e.conn(ctx, h.Name)
	if err != nil {
		return outcome{status: "failed", stage: "connect", message: err.Error()}, nil
	}
	tell := &teller{e: e, host: h.Name}
	_, err = conn.Run(ctx, transport.Cmd{Script: x.Launch(), Stdin: strings.NewReader(script.Reveal()), Stdout: tell})
	// EX_OSERR and EX_IOERR are Launch's own. Any other end says nothing of the
	// apply: a host that goes down ends the shell that follows it.
	var exit *transport.ExitError
	if errors.As(err, &exit) && (exit.Code == 71 || exit.Code == 74) {
		return outcome{status: "failed", stage: "start", message: "the apply could not be started", log: err.Error()}, nil
	}
	var lost time.Time // since when nothing is heard of it
	for ends := 0; err != nil; {
		if lost.IsZero() {
			lost = time.Now()
		}
		if errors.As(err, &exit) {
			ends++
		}
		if ctx.Err() != nil || ends > followTries || time.Since(lost) > x.ConfirmTimeout+guardSlack {
			return outcome{}, err
		}
		e.observe(Event{Host: h.Name, Stage: "connect", Message: "connection lost; trying again"})
		sleep(ctx, time.Second)
		e.drop(h.Name)
		if conn, err = e.conn(ctx, h.Name); err != nil {
			continue
		}
		lost = time.Time{}
		tell = &teller{e: e, host: h.Name}
		_, err = conn.Run(ctx, transport.Cmd{Script: x.Follow(), Stdout: tell})
	}
	return tell.outcome(), nil
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// teller reads what an apply script prints, and passes its events on.
type teller struct {
	e    *Engine
	host string
	buf  []byte
	log  strings.Builder
	out  outcome
	tail bool // in the log
}

func (t *teller) Write(b []byte) (int, error) {
	t.buf = append(t.buf, b...)
	for {
		i := slices.Index(t.buf, '\n')
		if i < 0 {
			return len(b), nil
		}
		t.line(string(t.buf[:i]))
		t.buf = t.buf[i+1:]
	}
}

func (t *teller) line(l string) {
	if t.tail {
		t.log.WriteString(l + "\n")
		return
	}
	w := append(strings.Split(l, "\t"), "", "", "")
	switch w[0] {
	case "event":
		switch w[1] {
		case "stage":
			t.e.observe(Event{Host: t.host, Stage: w[2]})
		case "task":
			t.e.observe(Event{Host: t.host, Stage: w[2], Message: w[3]})
		}
	case "status":
		t.out.status = w[1]
	case "stage":
		t.out.stage = w[1]
	case "task":
		t.out.task = w[1]
	case "message":
		t.out.message = w[1]
	case "outcome":
		t.out.outcome = strings.TrimSpace(strings.Join(w[1:3], "\t"))
	case "log":
		t.tail = true
	}
}

func (t *teller) outcome() outcome {
	o := t.out
	o.log = strings.TrimSpace(t.log.String() + string(t.buf))
	if o.status == "" {
		o.status = "died"
	}
	return o
}

// verify looks at the host over a new connection. Where it is not as planned,
// the host puts back what was there.
func (e *Engine) verify(ctx context.Context, a *attempt) {
	h, hp, x := a.h, a.hp, a.x
	e.observe(Event{Host: h.Name, Stage: "verify"})
	// A flow that exists can pass a packet filter that lets no new one in.
	e.drop(h.Name)
	conn, err := e.conn(ctx, h.Name)
	for err != nil && ctx.Err() == nil && time.Now().Before(a.deadline) {
		sleep(ctx, time.Second)
		conn, err = e.conn(ctx, h.Name)
	}
	if err != nil {
		a.end(e.awaitRevert(ctx, h, x, a.hr, fmt.Errorf("no new connection after the apply: %w", err)))
		return
	}
	revert := func(format string, args ...any) {
		// what was seen may be what the host has put back already
		if res, err := conn.Run(ctx, transport.Cmd{Script: x.Outcome()}); err == nil {
			if word := strings.TrimSpace(string(res.Stdout)); word != "pending" {
				a.end(e.reverted(h, x, a.hr, word, errTooLate))
				return
			}
		}
		a.end(e.revert(ctx, h, x, a.hr, fmt.Errorf(format, args...)))
	}
	a.conn = conn
	after := HostPlan{Name: h.Name, Role: h.Role}
	if after.Facts, _, err = e.read(ctx, h, conn); err != nil {
		revert("look at the host after the apply: %w", err)
		return
	}
	after = e.check(h, after)
	switch {
	case after.Err != nil:
		revert("look at the host after the apply: %w", after.Err)
		return
	case len(after.Changes) > 0:
		revert("it did not converge; still to do: %s", summary(after.Changes))
		return
	}
	a.hr.Warnings = nil // the plan has told them
	before := &HostReport{}
	e.tunnels(h, hp.Facts, before)
	facts, dialled := after.Facts, h.Role == "hub"
	for wait := time.Now().Add(min(tunnelWait, time.Until(a.deadline)/2)); ; sleep(ctx, time.Second) {
		a.hr.Tunnels, a.hr.Err = nil, nil
		e.tunnels(h, facts, &a.hr)
		a.broken = lost(before.Tunnels, a.hr.Tunnels, h.Role)
		if a.broken == nil || time.Now().After(wait) || ctx.Err() != nil {
			break
		}
		if !a.broken.was && !dialled {
			// somebody took it down by hand, or the hub refused it at the time
			dialled = true
			_, _ = conn.Run(ctx, transport.Cmd{Script: h.Daemon.Dial(a.broken.Tunnel.Conn)})
		}
		if facts, _, err = e.read(ctx, h, conn); err != nil {
			revert("look at the tunnels after the apply: %w", err)
			return
		}
	}
	if a.broken != nil && a.broken.was {
		revert("the tunnel %s was up before and is not after: %s", a.broken.Tunnel.Conn, a.broken.Why)
	}
}

// oneLine is an error's first line.
func oneLine(err error) string {
	s, _, _ := strings.Cut(err.Error(), "\n")
	return s
}

func (a *attempt) end(hr HostReport) { a.hr, a.armed = hr, false }

// keep confirms what verify found good.
func (e *Engine) keep(ctx context.Context, a *attempt) {
	h, x := a.h, a.x
	e.observe(Event{Host: h.Name, Stage: "confirm"})
	for conn := a.conn; ; {
		_, err := conn.Run(ctx, transport.Cmd{Script: x.Confirm()})
		if err == nil {
			break
		}
		var exit *transport.ExitError
		if errors.As(err, &exit) && exit.Signal == "" {
			a.end(e.awaitRevert(ctx, h, x, a.hr, errors.New("it was not confirmed in time")))
			return
		}
		// The line is cut, and it kept or not: ask, and confirm again if not.
		cut := err
		word := ""
		for word == "" && ctx.Err() == nil && time.Now().Before(a.deadline) {
			sleep(ctx, time.Second)
			if conn, err = e.redial(ctx, h.Name); err == nil {
				if res, oerr := conn.Run(ctx, transport.Cmd{Script: x.Outcome()}); oerr == nil {
					word = strings.TrimSpace(string(res.Stdout))
				}
			}
		}
		if word == "confirmed" {
			break
		}
		if word != "pending" {
			a.end(e.awaitRevert(ctx, h, x, a.hr, fmt.Errorf("confirm: %w", cut)))
			return
		}
	}
	a.armed = false
	a.hr.Result, a.hr.Changes = Changed, a.hp.Changes
	if b := a.broken; b != nil {
		a.hr.Result = Failed
		a.hr.Err = transport.WithHint(fmt.Errorf("all is in place, but the tunnel %s is not up: %s", b.Tunnel.Conn, b.Why),
			"look at udp 500 and 4500 between the host and the hub, and at `journalctl -u %s` on both", strings.TrimSuffix(a.h.Daemon.Unit, ".service"))
	}
}

// lostTunnel is a tunnel that should be up and is not.
type lostTunnel struct {
	strongswan.TunnelState
	was bool // it was up before
}

// lost gives the first tunnel that an apply has to answer for: on a site every
// one, on the hub one that was up, for a new site has not dialled yet.
func lost(before, after []strongswan.TunnelState, role string) *lostTunnel {
	for _, a := range after {
		if a.Up {
			continue
		}
		was := slices.ContainsFunc(before, func(b strongswan.TunnelState) bool { return b.Tunnel.Conn == a.Tunnel.Conn && b.Up })
		if was || role != "hub" {
			return &lostTunnel{TunnelState: a, was: was}
		}
	}
	return nil
}

// tunnels tells how the tunnels of a host stand in facts.
func (e *Engine) tunnels(h Host, f tasks.Facts, hr *HostReport) {
	if len(h.Tunnels) == 0 {
		return
	}
	sas, err := tasks.SAsFrom(f)
	if err != nil {
		hr.Warnings = append(hr.Warnings, fmt.Sprintf("tunnels: %v", err))
		return
	}
	hr.Tunnels = strongswan.CheckTunnels(sas, h.Tunnels)
}

// revert tells the host to put back what was there.
func (e *Engine) revert(ctx context.Context, h Host, x host.Txn, hr HostReport, why error) HostReport {
	if conn, err := e.conn(ctx, h.Name); err == nil {
		// its exit status says nothing that the outcome does not say better
		conn.Run(ctx, transport.Cmd{Script: x.Revert(oneLine(why))})
	}
	return e.awaitRevert(ctx, h, x, hr, why)
}

// awaitRevert waits until the host has put everything back by itself, and
// learns how that went. Not to know is an outcome of its own.
func (e *Engine) awaitRevert(ctx context.Context, h Host, x host.Txn, hr HostReport, why error) HostReport {
	hr.Changes = nil
	deadline := time.Now().Add(x.ConfirmTimeout + time.Minute)
	for ctx.Err() == nil && time.Now().Before(deadline) {
		e.observe(Event{Host: h.Name, Stage: "confirm", Message: "waiting for the host to put back what was there"})
		conn, err := e.redial(ctx, h.Name)
		if err == nil {
			res, err := conn.Run(ctx, transport.Cmd{Script: x.Outcome()})
			if err == nil {
				if word := strings.TrimSpace(string(res.Stdout)); word != "pending" {
					return e.reverted(h, x, hr, word, why)
				}
			}
		}
		sleep(ctx, time.Second)
	}
	hr.Result = Unknown
	hr.Err = transport.WithHint(why, "the host puts everything back by itself %s after the apply; `vpnpush plan --limit %s` tells how it stands", x.ConfirmTimeout, h.Name)
	return hr
}

func (e *Engine) reverted(h Host, x host.Txn, hr HostReport, word string, why error) HostReport {
	hr.Changes = nil
	switch w, how, _ := strings.Cut(word, "\t"); w {
	case "confirmed":
		hr.Result, hr.Err = Changed, nil
		hr.Warnings = append(hr.Warnings, fmt.Sprintf("confirmed, but the answer was lost on the way: %v", why))
	case "untouched":
		hr.Result, hr.Err = Failed, fmt.Errorf("%w; nothing was changed", why)
	case "reverted":
		hr.Result, hr.Err = RolledBack, fmt.Errorf("%w; the host stands as before", why)
		if how != oneLine(why) {
			hr.Err = fmt.Errorf("%w (%s)", hr.Err, how)
		}
	case "revert-failed":
		hr.Result = Failed
		hr.Err = transport.WithHint(fmt.Errorf("%w; and putting back what was there failed (%s)", why, how), "the backup is on the host, in %s/txn/%s/backup", tasks.StateDir, x.ID)
	default:
		hr.Result, hr.Err = Unknown, fmt.Errorf("%w; the host says %q of apply %s", why, word, x.ID)
	}
	return hr
}
