package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// machines is a Dialer of hosts that are applied to.
type machines struct {
	t   *testing.T
	mu  sync.Mutex
	all map[string]*machine
	did []string // "HOST SCRIPT", of those that change something, as they came
}

// machine plays a host through an apply: it answers a probe as it stands, and the scripts
// of a transaction as the real ones would. Its timer runs on the clock of the test.
type machine struct {
	before, after answer // as it stands, and as it does with the changes
	// sas, if set, is what it lists of its tunnels, applied or not.
	sas func(applied bool) string
	// says is what the apply script prints in the place of a good end; it has changed
	// nothing then.
	says string
	// comes is what becomes of a revert, where it is not the usual.
	comes string
	// fault and cut are asked at the n-th time that a script is run, or that the host
	// is dialled: what fault returns comes in the place of it, and what cut returns in
	// the place of its answer.
	fault, cut func(what string, n int) error

	// silent says that what follows its apply hangs, and tells nothing.
	silent bool
	// writes says that what it becomes is what the apply script puts there, at every
	// apply anew, and not after.
	writes bool

	mu      sync.Mutex // of times, and of writes to timer: a fault asks for them unlocked
	times   map[string]int
	script  string // of the apply
	pending bool
	timer   time.Time
	kept    bool
	outcome string // of a revert; "": it came to none
}

var errCut = fmt.Errorf("%w: broken pipe", transport.ErrLost)

// errHangs is of a host that does not answer, over a line that lives.
var errHangs = errors.New("hangs")

// at returns a fault that happens at the n-th time of what.
func at(what string, n int, err error) func(string, int) error {
	return func(w string, i int) error {
		if w == what && i == n {
			return err
		}
		return nil
	}
}

// from is at for the n-th time and all that come after it.
func from(what string, n int, err error) func(string, int) error {
	return func(w string, i int) error {
		if w == what && i >= n {
			return err
		}
		return nil
	}
}

// either is a fault that is one of several.
func either(faults ...func(string, int) error) func(string, int) error {
	return func(w string, i int) error {
		for _, f := range faults {
			if err := f(w, i); err != nil {
				return err
			}
		}
		return nil
	}
}

// slow returns a fault that only takes time.
func slow(what string, n int, d time.Duration) func(string, int) error {
	return func(w string, i int) error {
		if w == what && i == n {
			time.Sleep(d)
		}
		return nil
	}
}

// onceApplied is a fault of what that lasts from the launch on.
func onceApplied(m *machine, what string, err error) func(string, int) error {
	return func(w string, _ int) error {
		if w == what && m.ran("launch") > 0 {
			return err
		}
		return nil
	}
}

func (ms *machines) Dial(_ context.Context, h string) (transport.Conn, error) {
	m := ms.all[h]
	if m == nil {
		return nil, errors.New("connection refused")
	}
	if err := ms.count(m, "dial", m.fault); err != nil {
		return nil, err
	}
	return &machineConn{ms: ms, name: h, closed: make(chan struct{})}, nil
}

func (ms *machines) DialAnyWay(ctx context.Context, h string) (transport.Conn, error) {
	return ms.Dial(ctx, h)
}

// ran returns how often a script was run on the host, or it was dialled.
func (m *machine) ran(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.times[what]
}

// due returns when the host puts everything back.
func (m *machine) due() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.timer
}

// count asks for a fault of what. The hosts must not be locked: a fault may take time.
func (ms *machines) count(m *machine, what string, fault func(string, int) error) error {
	m.mu.Lock()
	if m.times == nil {
		m.times = map[string]int{}
	}
	m.times[what]++
	n := m.times[what]
	m.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(what, n)
}

type machineConn struct {
	ms     *machines
	name   string
	once   sync.Once
	closed chan struct{}
}

func (c *machineConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return nil
}

// scripts are the marks by which the scripts are told apart.
var scripts = []struct{ name, mark string }{
	{"probe", "vpnpush-facts"}, {"follow", "never-started"}, {"launch", "systemd-run --quiet --collect"}, {"undo", "apply.sh undo"},
	{"confirm", `"$t" confirm`}, {"outcome", "echo untouched"}, {"up", "up "},
}

func (c *machineConn) Run(ctx context.Context, cmd transport.Cmd) (transport.Result, error) {
	if err := ctx.Err(); err != nil {
		return transport.Result{}, err
	}
	i := slices.IndexFunc(scripts, func(s struct{ name, mark string }) bool { return strings.Contains(cmd.Script, s.mark) })
	if i < 0 {
		c.ms.t.Errorf("a script that no host knows: %.80q", cmd.Script)
		return transport.Result{}, errors.New("unknown script")
	}
	what, m := scripts[i].name, c.ms.all[c.name]
	if err := c.ms.count(m, what, m.fault); err != nil {
		return c.fail(ctx, err)
	}
	if err := ctx.Err(); err != nil {
		return transport.Result{}, err
	}
	follows := what == "launch" || what == "follow"
	if follows && m.silent {
		cmd.Stdout = io.Discard
	}
	res, err := c.ms.run(c.name, what, cmd)
	if follows && m.silent {
		return c.hang(ctx)
	}
	if m.cut != nil {
		if cut := m.cut(what, m.ran(what)); cut != nil {
			return c.fail(ctx, cut)
		}
	}
	return res, err
}

// fail returns err; that of a host that hangs comes when its client gives up.
func (c *machineConn) fail(ctx context.Context, err error) (transport.Result, error) {
	if err == errHangs {
		return c.hang(ctx)
	}
	return transport.Result{}, err
}

func (c *machineConn) hang(ctx context.Context) (transport.Result, error) {
	select {
	case <-ctx.Done():
		return transport.Result{}, context.Cause(ctx)
	case <-c.closed:
		return transport.Result{}, errCut
	}
}

var confirmTimeout = regexp.MustCompile(`(?m)^confirm_timeout=(\d+)$`)

func (ms *machines) run(name, what string, cmd transport.Cmd) (transport.Result, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	m := ms.all[name]
	if m.pending && !time.Now().Before(m.timer) {
		m.revert("not confirmed within its time")
	}
	if what != "probe" && what != "outcome" {
		ms.did = append(ms.did, name+" "+what)
	}
	exit := func(code int) (transport.Result, error) { return transport.Result{}, &transport.ExitError{Code: code} }
	arm := func(seconds string) {
		d, err := time.ParseDuration(seconds + "s")
		if err != nil {
			ms.t.Errorf("%s: armed for %q seconds", name, seconds)
		}
		m.mu.Lock()
		m.timer = time.Now().Add(d)
		m.mu.Unlock()
	}
	switch what {
	case "probe":
		a := m.before
		if m.applied() {
			a = m.after
		}
		if m.sas != nil {
			a.commands = maps.Clone(a.commands)
			if a.commands == nil {
				a.commands = map[string]string{}
			}
			a.commands["ipsec-statusall"], a.commands["swanctl-list-sas"] = m.sas(m.applied()), "127"
		}
		return transport.Result{Stdout: a.print(ms.t)}, nil
	case "launch":
		b, err := io.ReadAll(cmd.Stdin)
		if err != nil {
			return transport.Result{}, err
		}
		m.script = string(b)
		if m.says != "" {
			fmt.Fprint(cmd.Stdout, m.says)
			break
		}
		if m.writes {
			if m.kept {
				m.before, m.kept = m.after, false
			}
			m.after = m.before.with(ms.t, m.script)
		}
		m.pending = true
		arm(confirmTimeout.FindStringSubmatch(m.script)[1])
		fmt.Fprintf(cmd.Stdout, "event\tstage\twrite\nstatus\tapplied\nlog\n")
	case "follow":
		switch {
		case m.script == "":
			fmt.Fprint(cmd.Stdout, "status\tnever-started\n")
		case m.says != "":
			fmt.Fprint(cmd.Stdout, m.says)
		default:
			fmt.Fprint(cmd.Stdout, "event\tstage\twrite\nstatus\tapplied\n")
			if !m.pending {
				fmt.Fprintf(cmd.Stdout, "outcome\t%s\n", m.outcome)
			}
			fmt.Fprint(cmd.Stdout, "log\n")
		}
	case "undo":
		if m.pending {
			_, why, _ := strings.Cut(cmd.Script, "apply.sh undo ")
			m.revert(strings.Trim(why, "'"))
		}
	case "confirm":
		if !m.pending {
			return exit(1)
		}
		m.pending, m.kept = false, true
	case "outcome":
		word := m.outcome
		switch {
		case m.pending:
			word = host.OutcomePending
		case m.kept && !strings.Contains(m.script, "\nleave=1\n"):
			word = host.OutcomeConfirmed
		case word == "" && m.comes != "":
			word = m.comes
		case word == "":
			word = host.OutcomeUntouched
		}
		return transport.Result{Stdout: []byte(word + "\n")}, nil
	}
	return transport.Result{}, nil
}

var putText = regexp.MustCompile(`(?ms)^put '?(/[^ ']+)'? .*?<<'VPNPUSH_END_OF_TEXT'\n(.*?)VPNPUSH_END_OF_TEXT$`)

// with returns what a host answers once a script has put down its files.
func (a answer) with(t *testing.T, script string) answer {
	a.files = maps.Clone(a.files)
	for _, put := range putText.FindAllStringSubmatch(script, -1) {
		if put[1] != tasks.ManifestPath {
			a.files[put[1]] = put[2]
			continue
		}
		a.manifest = &tasks.Manifest{}
		if err := json.Unmarshal([]byte(put[2]), a.manifest); err != nil {
			t.Errorf("the manifest that the script writes: %v", err)
		}
	}
	return a
}

func (m *machine) revert(why string) {
	m.pending, m.outcome = false, host.OutcomeReverted+"\t"+why
	if m.comes != "" {
		m.outcome = m.comes
	}
}

// applied reports whether the changes stand on it.
func (m *machine) applied() bool { return m.pending || m.kept }

// stands reports how the host is left, once all timers are up.
func (ms *machines) stands(name string) string {
	if ms.all[name].kept {
		return "after"
	}
	return "before"
}

// order returns what the hosts did, in order, "HOST SCRIPT" without those of names.
func (ms *machines) order(without ...string) string {
	var out []string
	for _, d := range ms.did {
		if _, what, _ := strings.Cut(d, " "); !slices.Contains(without, what) {
			out = append(out, d)
		}
	}
	return strings.Join(out, ", ")
}

var (
	goodConf = answer{files: map[string]string{"/etc/f": marker + "a\n"}}
	noConf   = answer{files: map[string]string{"/etc/f": ""}}
)

// fresh is a machine without our file, to which it is applied.
func fresh() *machine { return &machine{before: noConf, after: goodConf} }

// wanting is a host of the inventory that wants one file.
func wanting(name, role string) Host {
	h := wants(name, conf("a\n"))
	h.Role, h.Reads = role, conf("a\n").Reads()
	h.Daemon = func(tasks.Facts) tasks.Daemon {
		return tasks.Daemon{Unit: "ike.service", Dial: func(conn string) string { return "up " + conn }}
	}
	return h
}

var tokyoTunnel = strongswan.Tunnel{Conn: "tokyo", Peer: "vps", Local: []string{"10.10.0.0/24"}, Remote: []string{"192.168.1.0/24"}}

func upTokyo() string { return fmt.Sprintf(upSA, "192.168.1.0/24") }

// world is an engine with its hosts, in a bubble of synctest: no deadline costs real time.
type world struct {
	*machines
	e     *Engine
	hosts []Host
}

func newWorld(t *testing.T, ms map[string]*machine, hosts ...Host) *world {
	w := &world{machines: &machines{t: t, all: ms}, hosts: hosts}
	w.e = &Engine{Dialer: w.machines, Owner: "vps", By: "me@desk", ConfirmTimeout: 10 * time.Second}
	return w
}

// plan plans, and fails the test where that is not possible.
func (w *world) plan() *Plan {
	w.t.Helper()
	p, err := w.e.Plan(context.Background(), w.hosts)
	if err != nil {
		w.t.Fatalf("plan: %v", err)
	}
	return p
}

// apply plans and applies, and waits until the timers of all hosts are up.
func (w *world) apply(ctx context.Context) *Report {
	w.t.Helper()
	r, _ := w.e.Apply(ctx, w.plan(), w.hosts)
	return r
}

// results are the hosts of a report: "HOST RESULT".
func (w *world) results(r *Report) string {
	var out []string
	for _, h := range r.Hosts {
		out = append(out, h.Name+" "+string(h.Result))
	}
	return strings.Join(out, ", ")
}

// inBubble runs a test on a clock of its own.
func inBubble(t *testing.T, name string, f func(*testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// says reports whether an error's text, and its hint, hold want.
func says(err error, want string) bool {
	if err == nil {
		return want == ""
	}
	text := err.Error()
	var h transport.Hinter
	if errors.As(err, &h) {
		text += " | " + h.Hint()
	}
	return want != "" && strings.Contains(text, want)
}
