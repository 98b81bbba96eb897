package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// One host through an apply, whatever happens to it and to the line: it is told as what
// it is. A host that is told as changed and is not stays as it was unseen; one that is
// told as before and is not is looked for where nothing is.
func TestAttempt(t *testing.T) {
	const applied = "status\tapplied\n"
	exit := func(code int) error { return &transport.ExitError{Code: code} }
	for _, tt := range []struct {
		name   string
		m      *machine
		faults func(*machine) // that ask how the machine stands
		want   Result
		says   string
		did    string
		stands string
	}{
		{name: "all is well, and it is kept", m: fresh(), want: Changed, did: "launch confirm", stands: "after"},

		// verify: what is not good is not kept
		{name: "the file is not there after the apply", m: &machine{before: noConf, after: noConf}, want: RolledBack,
			says: "did not converge; still to do: create file:/etc/f; the host stands as before", did: "launch undo", stands: "before"},
		{name: "the firewall lets nobody in any more", m: fresh(), faults: func(m *machine) {
			m.fault = func(what string, n int) error {
				if what == "dial" && m.ran("launch") > 0 && time.Now().Before(m.due().Add(2*time.Second)) {
					return errors.New("i/o timeout")
				}
				return nil
			}
		}, want: RolledBack, says: "no new connection after the apply: i/o timeout; the host stands as before (not confirmed within its time)",
			did: "launch", stands: "before"},
		{name: "nobody is let in ever again", m: fresh(), faults: func(m *machine) {
			m.fault = onceApplied(m, "dial", errors.New("no route"))
		}, want: Unknown, says: "no route | the host puts everything back by itself 10s after the apply; `vpnpush plan --limit tokyo`",
			did: "launch", stands: "before"},
		{name: "the line is cut while it is looked at, and another is well", m: &machine{before: noConf, after: goodConf, cut: at("probe", 2, errCut)},
			want: Changed, did: "launch confirm", stands: "after"},
		{name: "each line is cut while it is looked at", m: &machine{before: noConf, after: goodConf, cut: from("probe", 2, errCut)}, want: RolledBack,
			says: "look at the host after the apply: read facts: connection lost", did: "launch undo", stands: "before"},
		{name: "it was looked at too late, and has put everything back",
			m: &machine{before: noConf, after: goodConf, fault: slow("probe", 2, 20*time.Second)}, want: RolledBack,
			says: "until it was too late to confirm; the host stands as before (not confirmed within its time)", did: "launch", stands: "before"},
		{name: "another inventory has taken it meanwhile",
			m:    &machine{before: noConf, after: answer{files: goodConf.files, manifest: tasks.NextManifest(nil, "other", "tokyo", "me", time.Unix(1, 0), nil, tasks.Facts{})}},
			want: RolledBack, says: `look at the host after the apply: this machine belongs to the inventory "other"`, did: "launch undo", stands: "before"},

		// keep: the one step that counts, and its answer is lost
		{name: "confirmed too late", m: &machine{before: noConf, after: goodConf, fault: slow("confirm", 1, 20*time.Second)}, want: RolledBack,
			says: "not confirmed in time; the host stands as before (not confirmed within its time)", did: "launch confirm", stands: "before"},
		{name: "the line is cut before it hears of it", m: &machine{before: noConf, after: goodConf, fault: at("confirm", 1, errCut)}, want: Changed,
			did: "launch confirm", stands: "after"},
		{name: "the line is cut before its answer comes", m: &machine{before: noConf, after: goodConf, cut: at("confirm", 1, errCut)}, want: Changed,
			did: "launch confirm", stands: "after"},
		{name: "the shell that confirms is killed", m: &machine{before: noConf, after: goodConf,
			fault: at("confirm", 1, &transport.ExitError{Signal: "TERM"})}, want: Changed, did: "launch confirm", stands: "after"},
		{name: "the line is cut at the confirmation, and stays cut", m: fresh(), faults: func(m *machine) {
			m.fault = func(what string, n int) error {
				if what == "confirm" || what == "dial" && m.ran("confirm") > 0 && time.Now().Before(m.due()) {
					return errCut
				}
				return nil
			}
		}, want: RolledBack, says: "confirm: connection lost: broken pipe; the host stands as before (not confirmed within its time)",
			did: "launch", stands: "before"},

		{name: "it kept it, and its word comes too late to be heard", m: fresh(), faults: func(m *machine) {
			m.cut = at("confirm", 1, &transport.ExitError{Code: 1}) // a second confirmation finds nothing to confirm
		}, want: Changed, did: "launch confirm", stands: "after"},

		// revert: what the host says of it
		{name: "putting back fails", m: &machine{before: noConf, after: noConf, comes: "revert-failed\tdisk"}, want: Failed,
			says: "putting back what was there failed (disk) | the backup is on the host, in /var/lib/vpnpush/txn/", did: "launch undo", stands: "before"},
		{name: "it does not know what became of it", m: &machine{before: noConf, after: noConf, comes: "unknown"}, want: Unknown,
			says: `the host says "unknown" of apply`, did: "launch undo", stands: "before"},
		{name: "the order to put back does not arrive", m: &machine{before: noConf, after: noConf, fault: from("undo", 1, errCut)}, want: RolledBack,
			says: "did not converge; still to do: create file:/etc/f; the host stands as before (not confirmed within its time)",
			did:  "launch", stands: "before"},
		{name: "the order to put back is cut off", m: &machine{before: noConf, after: noConf, fault: at("undo", 1, errCut)}, want: RolledBack,
			says: "did not converge; still to do: create file:/etc/f; the host stands as before", did: "launch undo", stands: "before"},
		{name: "the shell that puts back ends with an error", m: &machine{before: noConf, after: noConf, cut: at("undo", 1, exit(1))}, want: RolledBack,
			says: "did not converge", did: "launch undo", stands: "before"},
		{name: "it cannot be asked at first", m: &machine{before: noConf, after: noConf, cut: at("outcome", 2, errCut)}, want: RolledBack,
			says: "did not converge", did: "launch undo", stands: "before"},

		// begin: every word of the script
		{name: "packages do not come", m: &machine{before: noConf,
			says: "status\tfailed\nstage\tpackages\ntask\tpackages: xl2tpd ppp\nmessage\texit status 100\nlog\nE: Failed to fetch\n"}, want: Failed,
			says: "install packages xl2tpd ppp: exit status 100; nothing else was changed, but packages may have come\nE: Failed to fetch | see what apt says: `apt-get update`", did: "launch", stands: "before"},
		{name: "another run is at work", m: &machine{before: noConf, says: "status\tlocked\nmessage\troot@x, apply 7\n"}, want: Locked,
			says: "another run is at work there: root@x, apply 7 | wait for it", did: "launch", stands: "before"},
		{name: "a file was edited since the plan", m: &machine{before: noConf, says: "status\tstale\nmessage\t/etc/f is not what it was\n"}, want: Stale,
			says: "/etc/f is not what it was | plan again", did: "launch", stands: "before"},
		{name: "a step fails, and it puts back", m: &machine{before: noConf,
			says: "status\treverted\nstage\twrite\ntask\tfile:/etc/f\nmessage\texit status 1\nlog\nno space\n"}, want: RolledBack,
			says: "apply file:/etc/f (write): exit status 1; the host stands as before\nno space", did: "launch", stands: "before"},
		{name: "a step fails on a full disk", m: &machine{before: noConf,
			says: "status\treverted\nstage\twrite\ntask\tfile:/etc/f\nmessage\texit status 1\nlog\ncat: write error: No space left on device\n"}, want: RolledBack,
			says: "No space left on device | a file system of the host is full: `df -h` there", did: "launch", stands: "before"},
		{name: "a step fails, and so does putting back", m: &machine{before: noConf,
			says: "status\trevert-failed\nstage\twrite\nmessage\texit status 1\nlog\nI/O error\n"}, want: Failed,
			says: "putting back what was there failed too\nI/O error | the backup is on the host", did: "launch", stands: "before"},
		{name: "it fails before it changes anything", m: &machine{before: noConf, says: "status\tfailed\nstage\tarm\nmessage\texit status 1\nlog\n"},
			want: Failed, says: "apply (arm): exit status 1; nothing was changed", did: "launch", stands: "before"},
		{name: "apt fails", m: &machine{before: noConf, says: "status\tfailed\nstage\tpackages\nmessage\texit status 100\nlog\n"},
			want: Failed, says: "nothing else was changed, but packages may have come", did: "launch", stands: "before"},
		{name: "power is cut in the middle, before it is armed", m: &machine{before: noConf, says: "log\n"},
			want: Failed, says: "the apply was cut short on the host; nothing was changed", did: "launch undo", stands: "before"},
		{name: "power is cut in the middle, and the boot has put back", m: &machine{before: noConf, says: "status\tdied\noutcome\treverted\trebooted\nlog\n"},
			want: RolledBack, says: "cut short on the host; the host stands as before (rebooted)", did: "launch", stands: "before"},
		{name: "the script is of a newer vpnpush", m: &machine{before: noConf, says: "status\tparked\nlog\nx\n"}, want: Unknown,
			says: "it ended without a result (parked)", did: "launch", stands: "before"},
		{name: "the answer comes when it has put back already", m: &machine{before: noConf, says: applied + "outcome\treverted\tlate\nlog\n"},
			want: RolledBack, says: "until it was too late to confirm; the host stands as before (late)", did: "launch", stands: "before"},

		{name: "it fails, and its line is dead with the tunnel that failed", m: &machine{before: noConf, cut: at("launch", 1, errHangs), comes: "reverted\tfailed at reload, ipsec:loaded",
			says: "status\treverted\nstage\treload\ntask\tipsec:loaded\nmessage\texit status 1\nlog\ntokyo: no child SA came up\n"}, want: RolledBack,
			says: "apply ipsec:loaded (reload): exit status 1; the host stands as before\ntokyo: no child SA came up | the tunnel did not come up: `vpnpush doctor tokyo` looks", did: "launch follow", stands: "before"},

		// launch: over as many connections as it takes
		{name: "systemd does not start it", m: &machine{before: noConf, fault: at("launch", 1, exit(71))}, want: Failed,
			says: "apply (start): the apply could not be started; nothing was changed", did: "", stands: "before"},
		{name: "the script does not arrive whole", m: &machine{before: noConf, fault: at("launch", 1, exit(74))}, want: Failed,
			says: "the apply could not be started", did: "", stands: "before"},
		{name: "the line is cut while it runs", m: &machine{before: noConf, after: goodConf, cut: at("launch", 1, errCut)}, want: Changed,
			did: "launch follow confirm", stands: "after"},
		{name: "the line is cut before it is begun", m: &machine{before: noConf, fault: at("launch", 1, errCut)}, want: Failed,
			says: "the connection was lost before the apply was begun; nothing was changed", did: "follow", stands: "before"},
		{name: "the shell that follows it ends with the host's own", m: &machine{before: noConf, after: goodConf,
			cut: at("launch", 1, exit(255)), fault: at("follow", 1, exit(1))}, want: Changed, did: "launch follow confirm", stands: "after"},
		{name: "every shell that follows it ends", m: &machine{before: noConf, after: goodConf, cut: at("launch", 1, errCut), fault: from("follow", 1, exit(1))},
			want: RolledBack, says: "until it was too late to confirm; the host stands as before (not confirmed within its time)", did: "launch", stands: "before"},
		{name: "every shell there ends", m: &machine{before: noConf, after: goodConf, cut: at("launch", 1, errCut), fault: either(from("follow", 1, exit(1)), from("outcome", 1, exit(1)))},
			want: Unknown, says: "exit status 1 | the host puts everything back by itself when nobody confirms within 4m10s", did: "launch", stands: "before"},
		{name: "it takes every connection, and drops each", m: &machine{before: noConf, after: goodConf,
			cut: at("launch", 1, errCut), fault: either(from("follow", 1, errCut), from("outcome", 1, errCut))},
			want: Unknown, says: "broken pipe | the host puts everything back by itself", did: "launch", stands: "before"},
		{name: "it tells of itself without end", m: &machine{before: noConf, fault: at("launch", 1, transport.ErrEndless)},
			want: Unknown, says: "the host answers without end | the host puts everything back by itself", did: "", stands: "before"},
		{name: "it is reached again for a while only", m: &machine{before: noConf, after: goodConf, cut: at("launch", 1, errCut),
			fault: func(what string, n int) error {
				if what == "dial" && (n == 2 || n == 3) {
					return errors.New("no route")
				}
				return nil
			}}, want: Changed, did: "launch follow confirm", stands: "after"},
		{name: "it is not reached again", m: fresh(), faults: func(m *machine) {
			m.cut, m.fault = at("launch", 1, errCut), from("dial", 2, errors.New("no route"))
		}, want: Unknown, says: "no route | the host puts everything back by itself", did: "launch", stands: "before"},
		{name: "it is reached again when it has put back", m: fresh(), faults: func(m *machine) {
			m.cut = at("launch", 1, errCut)
			m.fault = func(what string, n int) error {
				if what == "dial" && n > 1 && time.Now().Before(m.due().Add(time.Second)) {
					return errors.New("no route")
				}
				return nil
			}
		}, want: RolledBack, says: "until it was too late to confirm", did: "launch follow", stands: "before"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			if tt.faults != nil {
				tt.faults(tt.m)
			}
			w := newWorld(t, map[string]*machine{"tokyo": tt.m}, wanting("tokyo", "site"))
			start := time.Now()
			r := w.apply(context.Background())
			h := r.Hosts[0]
			if h.Result != tt.want || !says(h.Err, tt.says) {
				t.Errorf("%s, %v (%v); want %s, %s", h.Result, h.Err, errHint(h.Err), tt.want, tt.says)
			}
			if h.Err != nil && errHint(h.Err) == "" {
				t.Errorf("%v has no mend", h.Err)
			}
			did := strings.ReplaceAll(strings.ReplaceAll(w.order("dial"), "tokyo ", ""), ",", "")
			if did != tt.did {
				t.Errorf("did %q, want %q", did, tt.did)
			}
			if got := w.stands("tokyo"); got != tt.stands {
				t.Errorf("it stands as %s, want as %s", got, tt.stands)
			}
			if (len(h.Changes) > 0) != (h.Result == Changed) {
				t.Errorf("%s, with changes %v", h.Result, h.Changes)
			}
			if (r.err() != nil) != (h.Err != nil) || h.Took != time.Since(start) {
				t.Errorf("error %v, took %v of %v", r.err(), h.Took, time.Since(start))
			}
		})
	}
}

func errHint(err error) string {
	var h transport.Hinter
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// A connection that was lost between the plan and the apply is no reason to guess: nothing
// was begun, and that is said.
func TestAttemptNotReached(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		w := newWorld(t, map[string]*machine{"tokyo": {before: noConf, fault: from("dial", 2, errors.New("no route"))}}, wanting("tokyo", "site"))
		w.e.ReadOnly = true // the plan's connection is closed
		h := w.apply(context.Background()).Hosts[0]
		if h.Result != Failed || !says(h.Err, "apply (connect): no route; nothing was changed") || len(w.did) > 0 {
			t.Errorf("%s, %v; did %v", h.Result, h.Err, w.did)
		}
	})
}

// Ctrl-C begins nothing new, and a second one waits for nobody: what is then on its way
// is not known, and is not told as anything else.
func TestAttemptInterrupted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    string // the script at which ctx ends; "": before the apply
		stop  bool   // a first Ctrl-C instead
		want  Result
		says  string
		stand string
	}{
		{"stopped before it is begun", "", true, Skipped, "not begun: the run was ended before", "before"},
		{"cancelled before it is begun", "", false, Skipped, "not begun: the run was ended before", "before"},
		{"cancelled while it is launched", "launch", false, Unknown, "context canceled | the host puts everything back by itself", "before"},
		{"cancelled while it is verified", "probe", false, Unknown, "the host puts everything back by itself 10s after", "before"},
		{"cancelled while it is confirmed", "confirm", false, Unknown, "confirm: context canceled", "before"},
		{"stopped while it is launched", "launch", true, Changed, "", "after"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stop := make(chan struct{})
			end := cancel
			if tt.stop {
				end = func() { close(stop) }
			}
			m := fresh()
			m.fault = func(what string, n int) error {
				if what == tt.at && (what != "probe" || n == 2) {
					end()
				}
				return nil
			}
			w := newWorld(t, map[string]*machine{"tokyo": m}, wanting("tokyo", "site"))
			w.e.Stop = stop
			p := w.plan()
			if tt.at == "" {
				end()
			}
			r, _ := w.e.Apply(ctx, p, w.hosts)
			if h := r.Hosts[0]; h.Result != tt.want || !says(h.Err, tt.says) || w.stands("tokyo") != tt.stand {
				t.Errorf("%s, %v, stands as %s", h.Result, h.Err, w.stands("tokyo"))
			}
		})
	}
}

// What somebody else's file stands in the way of is not begun: half of the changes would
// be worse than none.
func TestAttemptBlocked(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		w := newWorld(t, map[string]*machine{"tokyo": {before: answer{files: map[string]string{"/etc/f": "somebody's\n"}}}}, wanting("tokyo", "site"))
		h := w.apply(context.Background()).Hosts[0]
		if h.Result != Failed || !says(h.Err, "file:/etc/f: a file stands there that vpnpush did not write") || len(w.did) > 0 {
			t.Errorf("%s, %v; did %v", h.Result, h.Err, w.did)
		}
	})
}

// A host that needs nothing is left alone, and one that could not be planned is told as
// the plan told it.
func TestAttemptOfNothing(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		h := wanting("tokyo", "site")
		h.Tunnels = []strongswan.Tunnel{tokyoTunnel}
		w := newWorld(t, map[string]*machine{"tokyo": {before: goodConf, sas: func(bool) string { return upTokyo() }}}, h, wanting("gone", "site"))
		p, err := w.e.Plan(context.Background(), w.hosts)
		if err == nil {
			t.Error("a host that cannot be reached was planned")
		}
		r, err := w.e.Apply(context.Background(), p, w.hosts)
		if got := w.results(r); got != "gone unreachable, tokyo ok" || len(w.did) > 0 {
			t.Errorf("%s; did %v", got, w.did)
		}
		if !says(err, "gone: connection refused") || len(r.Hosts[1].Tunnels) != 1 || !r.Hosts[1].Tunnels[0].Up {
			t.Errorf("%v; tunnels %+v", err, r.Hosts[1].Tunnels)
		}
	})
}

// What cannot be made into a transaction is not begun.
func TestAttemptWithoutTransaction(t *testing.T) {
	for _, tt := range []struct {
		name, says string
		change     func(h *Host, p *HostPlan)
	}{
		{"the tasks cannot be made any more", "no inventory", func(h *Host, _ *HostPlan) {
			h.Tasks = func(tasks.Facts, tasks.Peers) ([]tasks.Task, error) { return nil, errors.New("no inventory") }
		}},
		{"a text that no here-document can carry", "zero byte", func(_ *Host, p *HostPlan) {
			p.Changes[0].Do = []tasks.Step{tasks.Put("/etc/f", 0o600, []byte("a\x00b\n"))}
		}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			w := newWorld(t, map[string]*machine{"tokyo": fresh()}, wanting("tokyo", "site"))
			p := w.plan()
			tt.change(&w.hosts[0], &p.Hosts[0])
			r, _ := w.e.Apply(context.Background(), p, w.hosts)
			if h := r.Hosts[0]; h.Result == Changed || !says(h.Err, tt.says) || w.stands("tokyo") != "before" {
				t.Errorf("%s, %v", h.Result, h.Err)
			}
		})
	}
}

// A tunnel that was up must be up after the apply, or the host goes back; one that was
// down already is no reason to, but the operator hears of it.
func TestAttemptTunnels(t *testing.T) {
	both := func(before, after string) func(bool) string {
		return func(applied bool) string {
			if applied {
				return after
			}
			return before
		}
	}
	after := func(d time.Duration, before, at, then string) func(bool) string {
		var since time.Time
		return func(applied bool) string {
			switch {
			case !applied:
				return before
			case since.IsZero():
				since = time.Now()
			}
			if time.Since(since) < d {
				return at
			}
			return then
		}
	}
	for _, tt := range []struct {
		name string
		role string
		sas  func(bool) string
		cut  func(string, int) error
		want Result
		says string
		did  string
		up   bool
		warn string
		took time.Duration
	}{
		{name: "up before, up after", role: "site", sas: both(upTokyo(), upTokyo()), want: Changed, did: "launch confirm", up: true},
		{name: "up before, down after: the apply broke it", role: "site", sas: both(upTokyo(), noSA), want: RolledBack,
			says: "the tunnel tokyo was up before and is not after: no IKE SA; the host stands as before", did: "launch undo", took: 6 * time.Second},
		{name: "up before, up again after a while: it was made anew", role: "site", sas: after(3*time.Second, upTokyo(), noSA, upTokyo()),
			want: Changed, did: "launch confirm", up: true, took: 3 * time.Second},
		{name: "a new site dials and comes up", role: "site", sas: after(4*time.Second, noSA, noSA, upTokyo()), want: Changed,
			did: "launch up confirm", up: true, took: 4 * time.Second},
		{name: "a new site does not come up: all is in place, but", role: "site", sas: both(noSA, noSA), want: Failed,
			says: "all is in place, but the tunnel tokyo is not up: no IKE SA | look at udp 500 and 4500 between the host and the hub, and at `journalctl -u ike`",
			did:  "launch up confirm", took: 6 * time.Second},
		{name: "a hub does not wait for a site that has not dialled", role: "hub", sas: both(noSA, noSA), want: Changed, did: "launch confirm"},
		{name: "a hub goes back when it breaks a tunnel", role: "hub", sas: both(upTokyo(), noSA), want: RolledBack,
			says: "was up before and is not after", did: "launch undo", took: 6 * time.Second},
		{name: "what charon lists is not understood", role: "site", sas: both("?", "?"), want: Changed, did: "launch confirm", warn: "tunnels: command ipsec statusall"},
		{name: "the line is cut while the tunnel is waited for", role: "site", sas: both(upTokyo(), noSA), cut: from("probe", 4, errCut), want: RolledBack,
			says: "look at the tunnels after the apply: read facts: connection lost", did: "launch undo", took: 2 * time.Second},
		{name: "the line goes into the tunnel that has come up", role: "site", sas: after(time.Second, upTokyo(), noSA, upTokyo()), cut: at("probe", 3, errHangs), want: Changed,
			did: "launch confirm", up: true, took: 9 * time.Second},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			h := wanting("tokyo", tt.role)
			h.Tunnels = []strongswan.Tunnel{tokyoTunnel}
			m := fresh()
			m.sas, m.cut = tt.sas, tt.cut
			w := newWorld(t, map[string]*machine{"tokyo": m}, h)
			r := w.apply(context.Background()).Hosts[0]
			if r.Result != tt.want || !says(r.Err, tt.says) {
				t.Errorf("%s, %v (%s)", r.Result, r.Err, errHint(r.Err))
			}
			did := strings.ReplaceAll(strings.ReplaceAll(w.order("dial"), "tokyo ", ""), ",", "")
			if did != tt.did || r.Took != tt.took {
				t.Errorf("did %q in %v, want %q in %v", did, r.Took, tt.did, tt.took)
			}
			if up := len(r.Tunnels) == 1 && r.Tunnels[0].Up; up != tt.up {
				t.Errorf("tunnels %+v", r.Tunnels)
			}
			if tt.warn != "" && (len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], tt.warn)) || tt.warn == "" && len(r.Warnings) > 0 {
				t.Errorf("warnings %q", r.Warnings)
			}
		})
	}
}

// The tunnel of a site that gets another name was up under the old one: where it is not up
// under the new one, since the hub does not know that, the site goes back.
func TestTunnelBeforeARename(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		tunnel := tokyoTunnel
		m := applied(tasks.IPsec{Daemon: tasks.Daemon{Name: "starter", Unit: "ike.service"}, Conns: []tasks.Conn{{Name: "tokyo", Initiates: true, Tunnel: &tunnel}}})
		h := wanting("edo", tasks.RoleSite)
		h.Tunnels = []strongswan.Tunnel{{Conn: "edo", Peer: "vps", Local: tunnel.Local, Remote: tunnel.Remote}}
		w := newWorld(t, map[string]*machine{"edo": {before: answer{manifest: m}, sas: func(bool) string { return upTokyo() }}}, h)
		f, _, err := w.e.facts(context.Background(), h, append(tasks.SAReads(), tasks.Read{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}))
		if err != nil {
			t.Fatal(err)
		}
		before := w.e.newAttempt(h, &HostPlan{Name: "edo", Facts: f}).tunnelsBefore()
		if l := lost(before, []strongswan.TunnelState{{Tunnel: h.Tunnels[0]}}, h.Role); l == nil || !l.was {
			t.Errorf("it is not known to have been up: %+v", before)
		}
	})
}

// dialling wants a tunnel up that is down for good.
type dialling struct{}

func (dialling) ID() string          { return "tunnel:tokyo" }
func (dialling) Reads() []tasks.Read { return nil }
func (dialling) Check(tasks.Facts) (*tasks.Change, error) {
	return &tasks.Change{Task: "tunnel:tokyo", Action: tasks.DialTunnel, Do: []tasks.Step{{Phase: tasks.PhaseAfter, Shell: ":"}}}, nil
}

// A tunnel that was dialled in vain puts back nothing of what its host has, and is no
// apply that did not converge.
func TestAttemptDialsInVain(t *testing.T) {
	for _, changes := range []bool{true, false} {
		inBubble(t, fmt.Sprintf("with another change: %t", changes), func(t *testing.T) {
			h := wanting("tokyo", "site")
			h.Tunnels = []strongswan.Tunnel{tokyoTunnel}
			ts := []tasks.Task{conf("a\n"), dialling{}}
			h.Tasks = func(tasks.Facts, tasks.Peers) ([]tasks.Task, error) { return ts, nil }
			m := fresh()
			if !changes {
				m.before = goodConf
			}
			m.sas = func(bool) string { return noSA }
			w := newWorld(t, map[string]*machine{"tokyo": m}, h)
			r := w.apply(context.Background()).Hosts[0]
			if r.Result != Failed || !says(r.Err, "all is in place, but the tunnel tokyo is not up: no IKE SA") || w.stands("tokyo") != "after" {
				t.Errorf("%s, %v, it stands %s", r.Result, r.Err, w.stands("tokyo"))
			}
		})
	}
}

// An apply answers for every tunnel of a site, and on the hub for those that were up: a
// hub that went back for a new site would never get one.
func TestLost(t *testing.T) {
	is := func(conn string, up bool) strongswan.TunnelState {
		return strongswan.TunnelState{Tunnel: strongswan.Tunnel{Conn: conn}, Up: up}
	}
	before := []strongswan.TunnelState{is("osaka", true), is("tokyo", false)}
	for _, tt := range []struct {
		name, role string
		after      []strongswan.TunnelState
		conn       string
		was        bool
	}{
		{"none is down", "site", []strongswan.TunnelState{is("osaka", true)}, "", false},
		{"one that was up", "hub", []strongswan.TunnelState{is("tokyo", false), is("osaka", false)}, "osaka", true},
		{"one that was down, at the hub", "hub", []strongswan.TunnelState{is("tokyo", false), is("kyoto", false)}, "", false},
		{"one that was down, at its site", "site", []strongswan.TunnelState{is("tokyo", false)}, "tokyo", false},
		{"one that is new, at its site", "site", []strongswan.TunnelState{is("kyoto", false)}, "kyoto", false},
	} {
		got := lost(before, tt.after, tt.role)
		if got == nil && tt.conn != "" || got != nil && (got.Tunnel.Conn != tt.conn || got.was != tt.was) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// The hub is applied to before its sites dial, so its tunnels are looked at again at the
// end; where that is not possible, a warning says so.
func TestLookAgain(t *testing.T) {
	for _, tt := range []struct {
		name string
		cut  func(string, int) error
		sas  func(sites string) func(bool) string
		up   bool
		warn string
	}{
		{"the site has dialled", nil, nil, true, ""},
		{"the line is cut", at("probe", 3, errCut), nil, false, "tunnels, once the sites were done: read facts: connection lost"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			hub := wanting("vps", "hub")
			hub.Tunnels = []strongswan.Tunnel{tokyoTunnel}
			hm, sm := fresh(), fresh()
			hm.sas = func(bool) string {
				if !sm.kept {
					return noSA
				}
				return upTokyo()
			}
			hm.cut = tt.cut
			w := newWorld(t, map[string]*machine{"vps": hm, "tokyo": sm}, wanting("tokyo", "site"), hub)
			r := w.apply(context.Background())
			h := r.Hosts[0]
			if got := w.results(r); got != "vps changed, tokyo changed" || h.Tunnels[0].Up != tt.up {
				t.Errorf("%s; tunnels %+v", got, h.Tunnels)
			}
			if got := strings.Join(h.Warnings, "\n"); !strings.Contains(got, tt.warn) || tt.warn == "" && got != "" {
				t.Errorf("warnings %q", got)
			}
		})
	}
}

// The manifest of an apply is the next generation, and carries what is wanted; that of
// the host's last one must still stand there when the apply is begun.
func TestTransaction(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		m := fresh()
		m.before.manifest = applied()
		w := newWorld(t, map[string]*machine{"tokyo": m}, wanting("tokyo", "site"))
		w.apply(context.Background())
		b, _ := m.before.manifest.Encode()
		for _, want := range []string{`"generation": 2`, "file:/etc/f", "by=me@desk\n",
			"summary='create file:/etc/f'\n", "did=applied\n", "confirm_timeout=10\n", tasks.SHA256(b)} {
			if !strings.Contains(m.script, want) {
				t.Errorf("the script has no %q", want)
			}
		}
	})
}

// Nothing of vpnpush is left on a host that is taken out: no manifest either.
func TestTransactionOfALeave(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		h := wants("tokyo")
		h.Leave, h.Reads = true, conf("a\n").Reads()
		m := &machine{before: answer{files: goodConf.files, manifest: applied(conf("a\n"))}, after: noConf}
		w := newWorld(t, map[string]*machine{"tokyo": m}, h)
		r := w.apply(context.Background())
		if got := w.results(r); got != "tokyo changed" || !strings.Contains(m.script, "leave=1\n") || !strings.Contains(m.script, "delete file:/etc/f") {
			t.Errorf("%s, %v", got, r.Hosts[0].Err)
		}
	})
}

// A host that is taken out keeps nothing, not even the note that it was confirmed: where
// the answer is lost, an operator must not be told that nothing was changed.
func TestLeaveIsKeptUnheard(t *testing.T) {
	for name, cut := range map[string]error{"the line is cut": errCut, "a second confirmation finds no script": &transport.ExitError{Code: 1}} {
		inBubble(t, name, func(t *testing.T) {
			h := wants("tokyo")
			h.Leave, h.Reads = true, conf("a\n").Reads()
			m := &machine{before: answer{files: goodConf.files, manifest: applied(conf("a\n"))}, after: noConf, cut: at("confirm", 1, cut)}
			w := newWorld(t, map[string]*machine{"tokyo": m}, h)
			if r := w.apply(context.Background()).Hosts[0]; r.Result != Changed || len(r.Changes) == 0 {
				t.Errorf("%s, %v", r.Result, r.Err)
			}
		})
	}
}

// Observers hear of the host's own stages while it is at work, and last how it came out.
func TestAttemptIsObserved(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		var heard []string
		w := newWorld(t, map[string]*machine{"tokyo": fresh()}, wanting("tokyo", "site"))
		p := w.plan()
		w.e.Observer = observer(func(e Event) { heard = append(heard, strings.TrimSpace(e.Stage+" "+string(e.Result))) })
		w.e.Apply(context.Background(), p, w.hosts)
		want := []string{"write", "verify", "read", "check", "confirm", "done changed"}
		if !slices.Equal(heard, want) {
			t.Errorf("heard %q, want %q", heard, want)
		}
		w.e.Close()
	})
}

type observer func(Event)

func (f observer) Observe(e Event) { f(e) }

// The line over which an apply was begun can die with what it changes, the tunnel that it
// goes through, and nothing tells so until the host has put everything back: a new
// connection is made as soon as the host is silent.
func TestDeadLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fresh()
		m.cut = at("launch", 1, errHangs)
		w := newWorld(t, map[string]*machine{"tokyo": m}, wanting("tokyo", tasks.RoleSite))
		start := time.Now()
		r := w.apply(context.Background())
		if got := w.results(r); got != "tokyo changed" || w.stands("tokyo") != "after" {
			t.Errorf("%s, and it stands as %s: %v", got, w.stands("tokyo"), r.Hosts[0].Err)
		}
		if took := time.Since(start); took > w.e.ConfirmTimeout {
			t.Errorf("it took %v, longer than the host waits", took)
		}
	})
}
