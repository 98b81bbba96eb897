package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// A host whose line lives and that says nothing, being hung or no longer its owner's, is
// given up, whatever it is asked for: as the first site it would hold all others.
func TestSilentHost(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(*machine)
		want Result
		says string
		most time.Duration // that it may hold the others, with 10 s to confirm
	}{
		{name: "what follows the apply hangs", set: func(m *machine) { m.silent = true },
			want: RolledBack, says: "the host stands as before (not confirmed within its time)", most: 20 * time.Second},
		{name: "the apply, and all that is asked then", set: func(m *machine) { m.silent, m.fault = true, from("outcome", 1, errHangs) },
			want: Unknown, says: "it takes commands, and did not answer within 8s, and told nothing for 32s | the host puts everything back by itself when nobody confirms within 4m10s; `vpnpush plan --limit kyoto`",
			most: 45 * time.Second},
		{name: "it says for ever that it waits", set: func(m *machine) {
			m.silent = true
			m.fault = func(what string, _ int) error {
				if what == "outcome" {
					m.mu.Lock()
					m.timer = m.timer.Add(time.Hour)
					m.mu.Unlock()
				}
				return nil
			}
		}, want: Unknown, says: "it should long be through with the apply, and told nothing for 4m", most: 5 * time.Minute},
		{name: "it is looked at in vain", set: func(m *machine) { m.fault = from("probe", 2, errHangs) },
			want: RolledBack, says: "it did not answer until it was too late to confirm; the host stands as before (not confirmed within its time)", most: 20 * time.Second},
		{name: "the confirmation hangs", set: func(m *machine) { m.fault = at("confirm", 1, errHangs) },
			want: RolledBack, says: "confirm: it takes commands, and did not answer within 30s; the host stands as before", most: time.Minute},
		{name: "the answer to the confirmation hangs", set: func(m *machine) { m.cut = at("confirm", 1, errHangs) },
			want: Changed, most: time.Minute},
		{name: "the order to put back hangs", set: func(m *machine) { m.after, m.fault = noConf, from("undo", 1, errHangs) },
			want: RolledBack, says: "did not converge", most: 90 * time.Second},
		{name: "all of it, once it is applied", set: func(m *machine) {
			m.fault = func(what string, _ int) error {
				if what != "dial" && m.ran("launch") > 0 && what != "launch" {
					return errHangs
				}
				return nil
			}
		}, want: Unknown, says: "the host puts everything back by itself 10s after the apply", most: 3 * time.Minute},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			m := fresh()
			tt.set(m)
			w := newWorld(t, map[string]*machine{"kyoto": m, "tokyo": fresh()}, wanting("kyoto", tasks.RoleSite), wanting("tokyo", tasks.RoleSite))
			start := time.Now()
			r := w.apply(context.Background())
			if h := r.Hosts[0]; h.Result != tt.want || !says(h.Err, tt.says) {
				t.Errorf("%s, %v (%s); want %s, %s", h.Result, h.Err, errHint(h.Err), tt.want, tt.says)
			}
			if r.Hosts[1].Result == Unknown || (r.Hosts[1].Result == Changed) != (tt.want == Changed) {
				t.Errorf("the other is %s", r.Hosts[1].Result)
			}
			if took := time.Since(start); took > tt.most {
				t.Errorf("the others were held for %v, longer than %v", took, tt.most)
			}
		})
	}
}

// Ctrl-C ends every wait for a silent host.
func TestSilentHostInterrupted(t *testing.T) {
	for _, what := range []string{"launch", "probe", "outcome", "confirm", "undo"} {
		inBubble(t, what, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			m := fresh()
			if what == "undo" || what == "outcome" {
				m.after = noConf // it is not as planned, and is to put back
			}
			m.fault = func(w string, _ int) error {
				if w == what && m.ran("launch") > 0 {
					cancel()
					return errHangs
				}
				return nil
			}
			w := newWorld(t, map[string]*machine{"tokyo": m}, wanting("tokyo", tasks.RoleSite))
			start := time.Now()
			if r := w.apply(ctx); r.Hosts[0].Result != Unknown {
				t.Errorf("%s, %v", r.Hosts[0].Result, r.Hosts[0].Err)
			}
			if took := time.Since(start); took > 0 {
				t.Errorf("it took %v more", took)
			}
		})
	}
}

// A host that tells of its work for ever is never silent, and is given up all the same.
func TestEndlessApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{Dialer: (&machines{t: t, all: map[string]*machine{}}), ConfirmTimeout: 10 * time.Second}
		l := e.newAttempt(Host{Name: "tokyo"}, &HostPlan{}).listen(context.Background())
		start := time.Now()
		for l.ctx.Err() == nil && time.Since(start) < time.Hour {
			time.Sleep(5 * time.Second)
			l.event("write", "file:/etc/f")
		}
		if took := time.Since(start); took > 5*time.Minute || !errors.Is(context.Cause(l.ctx), transport.ErrEndless) {
			t.Errorf("it was heard for %v: %v", took, context.Cause(l.ctx))
		}
		l.done()
	})
}

// A script on its way over a slow line is no silence, and neither are packages on theirs: a
// line that is given up then ends an apply that would have been well.
func TestSlowIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := fresh()
		m.fault = func(what string, n int) error {
			if what == "launch" {
				time.Sleep(5 * time.Minute)
			}
			return nil
		}
		w := newWorld(t, map[string]*machine{"tokyo": m}, wanting("tokyo", tasks.RoleSite))
		p := w.plan()
		p.Hosts[0].Changes = append(p.Hosts[0].Changes, tasks.Change{Task: "package:x", Action: tasks.Install})
		if r, _ := w.e.Apply(context.Background(), p, w.hosts); r.Hosts[0].Result != Changed {
			t.Errorf("%s, %v", r.Hosts[0].Result, r.Hosts[0].Err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		e := &Engine{Dialer: (&machines{t: t, all: map[string]*machine{"tokyo": fresh()}}), ConfirmTimeout: 10 * time.Second}
		a := e.newAttempt(Host{Name: "tokyo"}, &HostPlan{})
		l := a.listen(context.Background())
		r := l.sending(strings.NewReader(strings.Repeat("x", 100)))
		for range 100 {
			time.Sleep(4 * time.Minute)
			if _, err := r.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if l.ctx.Err() != nil {
			t.Error(context.Cause(l.ctx))
		}
		time.Sleep(5 * time.Minute) // it has all, and must be through with it
		if !errors.Is(context.Cause(l.ctx), errOverdue) {
			t.Errorf("it is waited for still: %v", context.Cause(l.ctx))
		}
		l.done()
	})
}
