package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Each host is planned for itself, and told as what it is: what could not be read must
// not pass for what is as desired.
func TestPlan(t *testing.T) {
	busy := func(run string) *machine {
		return &machine{before: answer{files: noConf.files, commands: map[string]string{"vpnpush-run": run}}}
	}
	for _, tt := range []struct {
		name  string
		m     *machine
		set   func(h *Host)
		want  Result
		says  string
		warns string
	}{
		{name: "there is something to do", m: fresh(), want: Changed},
		{name: "there is nothing to do", m: &machine{before: goodConf}, want: OK},
		{name: "another run is at work", m: busy("working\nholder\t1700000000\troot@x, apply 7\n"), want: Locked,
			says: "another run is at work there: root@x, apply 7 | wait for it"},
		{name: "another run has just begun", m: busy("working\n"), want: Locked, says: "another run is at work there: one that has just begun"},
		{name: "another run waits", m: busy("pending\t1700000000\t7\n"), want: Locked, says: "apply 7 waits to be confirmed or put back"},
		{name: "who is at work is not known", m: busy("?"), want: Failed, says: "vpnpush-run"},
		{name: "the probe fails", m: &machine{cut: at("probe", 1, &transport.ExitError{Code: 3})}, want: Failed, says: "read facts: exit status 3"},
		{name: "the line is cut", m: &machine{cut: at("probe", 1, errCut)}, want: Unreachable, says: "read facts: connection lost"},
		{name: "it takes the probe and does not answer", m: &machine{fault: from("probe", 1, errHangs)}, want: Unreachable,
			says: "read facts: it takes commands, and did not answer within 2m0s | log in to tokyo and look for what hangs"},
		{name: "it answers without end", m: &machine{fault: at("probe", 1, transport.ErrEndless)}, want: Failed, says: "read facts: the host answers without end"},
		{name: "what the probe needs is not in its answer", m: &machine{before: answer{}}, want: Failed, says: "check file:/etc/f"},
		{name: "a pattern that no probe reads", m: fresh(), set: func(h *Host) {
			h.Reads = []tasks.Read{{Kind: tasks.ReadGlob, Arg: "/etc/*/x"}}
		}, want: Failed, says: "probe: pattern"},
		{name: "the host cannot carry it", m: fresh(), set: func(h *Host) {
			h.Preflight = func(tasks.Facts) ([]error, []string) {
				return []error{errors.New("no room"), errors.New("no systemd")}, []string{"old kernel"}
			}
		}, want: Failed, says: "no room\nno systemd", warns: "old kernel"},
		{name: "the machine has another name in the inventory", want: Changed,
			m:     &machine{before: answer{files: noConf.files, manifest: tasks.NextManifest(nil, "vps", "kyoto", "me", time.Unix(1, 0), nil, tasks.Facts{})}},
			warns: `last applied to as "kyoto"`},
		{name: "a revert has failed", m: &machine{before: answer{files: noConf.files, revertFailed: "7\n"}}, want: Changed, warns: "a revert failed here (apply 7)"},
		{name: "the manifest is of another kind", want: Failed, says: "manifest",
			m: &machine{before: answer{files: noConf.files, manifest: &tasks.Manifest{FormatVersion: 99, Owner: "vps"}}}},
		{name: "it is owned by another inventory", want: Failed, says: `belongs to the inventory "other"`,
			m: &machine{before: answer{files: noConf.files, manifest: tasks.NextManifest(nil, "other", "tokyo", "me", time.Unix(1, 0), nil, tasks.Facts{})}}},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			h := wanting("tokyo", "site")
			if tt.set != nil {
				tt.set(&h)
			}
			w := newWorld(t, map[string]*machine{"tokyo": tt.m}, h)
			p, err := w.e.Plan(context.Background(), w.hosts)
			hp := p.Hosts[0]
			if hp.Result != tt.want || !says(hp.Err, tt.says) {
				t.Errorf("%s, %v", hp.Result, hp.Err)
			}
			if (err != nil) != (hp.Err != nil) || (len(hp.Changes) > 0) != (hp.Result == Changed) {
				t.Errorf("%s: error %v, changes %v", hp.Result, err, hp.Changes)
			}
			if got := strings.Join(hp.Warnings, "\n"); !strings.Contains(got, tt.warns) || tt.warns == "" && got != "" {
				t.Errorf("warnings %q", got)
			}
		})
	}
}

// A plan that is interrupted says of each host that it was not read.
func TestPlanInterrupted(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		m := fresh()
		m.fault = func(what string, _ int) error {
			if what == "probe" {
				cancel()
			}
			return nil
		}
		w := newWorld(t, map[string]*machine{"tokyo": m, "kyoto": fresh()}, wanting("tokyo", "site"), wanting("kyoto", "site"))
		w.e.Forks = 1
		p, err := w.e.Plan(ctx, w.hosts)
		for _, h := range p.Hosts {
			if h.Result != Skipped || !says(h.Err, "interrupted before being read") || err == nil {
				t.Errorf("%s: %s, %v", h.Name, h.Result, h.Err)
			}
		}
	})
}

// A thousand connections that wait for nothing are not held; those of an apply are.
func TestPlanCloses(t *testing.T) {
	for _, readOnly := range []bool{true, false} {
		inBubble(t, fmt.Sprint(readOnly), func(t *testing.T) {
			w := newWorld(t, map[string]*machine{"tokyo": fresh()}, wanting("tokyo", "site"))
			w.e.ReadOnly = readOnly
			w.plan()
			if held := len(w.e.conns) == 1; held == readOnly {
				t.Errorf("connection held: %t", held)
			}
			w.e.Close()
			if len(w.e.conns) > 0 {
				t.Error("a connection is left")
			}
		})
	}
}

// A plan that takes sites off the hub says how many of how many: an inventory that lost
// its sites to a slip of the editor is not applied unseen.
func TestSitesDeleted(t *testing.T) {
	conn := func(name string) tasks.Conn {
		return tasks.Conn{Name: name, Conf: "/etc/c/" + name, Secrets: "/etc/s/" + name, Tunnel: &strongswan.Tunnel{Conn: name}}
	}
	daemon := tasks.Daemon{Name: "test", Unit: "ike.service", Ours: "/etc/c/"}
	last := tasks.IPsec{Daemon: daemon, Conns: []tasks.Conn{conn("kyoto"), conn("osaka"), conn("tokyo"), {Name: "l2tp", Conf: "/etc/c/l2tp", Secrets: "/etc/s/l2tp"}}}
	gone, had := sitesGone(applied(last), []tasks.Task{conf("a\n"), tasks.IPsec{Daemon: daemon, Conns: []tasks.Conn{conn("tokyo"), conn("nara")}}}, nil)
	p := &Plan{Hosts: []HostPlan{{Role: "hub", sitesGone: gone, sitesHad: had}, {Role: "site", sitesGone: 1, sitesHad: 1}}}
	if gone, had := p.SitesDeleted(); gone != 2 || had != 3 {
		t.Errorf("%d of %d, want 2 of 3", gone, had)
	}
	// one of them has another name now
	gone, had = sitesGone(applied(last), []tasks.Task{tasks.IPsec{Daemon: daemon, Conns: []tasks.Conn{conn("tokyo"), conn("nara")}}}, map[string]string{"osaka": "nara"})
	if gone != 1 || had != 3 {
		t.Errorf("with a renamed one: %d of %d, want 1 of 3", gone, had)
	}
}

// What is adopted is replaced; without that it is somebody's, and stays.
func TestPlanAdopts(t *testing.T) {
	for _, adopt := range []bool{false, true} {
		inBubble(t, fmt.Sprint(adopt), func(t *testing.T) {
			w := newWorld(t, map[string]*machine{"tokyo": blocked()}, wanting("tokyo", "site"))
			w.e.Adopt = adopt
			h := w.plan().Hosts[0]
			if free := len(h.Blocked()) == 0; free != adopt {
				t.Errorf("it may be replaced: %t", free)
			}
		})
	}
}

// Facts are read on every host, and the time of each is bounded; a host that fails says
// nothing of the others.
func TestFacts(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		m := &machine{before: goodConf, fault: slow("probe", 1, time.Second)}
		w := newWorld(t, map[string]*machine{"tokyo": m, "cut": {cut: at("probe", 1, errCut)}}, wanting("tokyo", "site"), wanting("gone", "hub"), wanting("cut", "site"))
		fs := w.e.Facts(context.Background(), w.hosts)
		var got []string
		for _, f := range fs {
			got = append(got, f.Name+" "+string(f.Result))
		}
		if want := "gone unreachable, cut unreachable, tokyo ok"; strings.Join(got, ", ") != want {
			t.Errorf("%s, want %s", strings.Join(got, ", "), want)
		}
		if w.e.conns["cut"] != nil {
			t.Error("a connection that broke is used again")
		}
		if took := fs[2].Answered.Sub(fs[2].Asked); took != time.Second {
			t.Errorf("asked %v before the answer", took)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if f := w.e.Facts(ctx, w.hosts)[2]; f.Result != Skipped || f.Err == nil {
			t.Errorf("interrupted: %s, %v", f.Result, f.Err)
		}
	})
}
