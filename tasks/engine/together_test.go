package engine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// hubAndSites is a hub that changes together with sites: their way in is the tunnel
// whose both ends change.
func hubAndSites(t *testing.T, ms map[string]*machine) *world {
	hosts := []Host{wanting("vps", "hub")}
	for _, name := range slices.Sorted(maps.Keys(ms)) {
		if name != "vps" {
			h := wanting(name, "site")
			h.InTunnel = !strings.HasPrefix(name, "z")
			hosts = append(hosts, h)
		}
	}
	return newWorld(t, ms, hosts...)
}

// Both ends of a tunnel come out alike: with an old end here and a new one there the
// tunnel does not come up, and it is the only way to the site.
func TestTogether(t *testing.T) {
	for _, tt := range []struct {
		name    string
		hosts   func() map[string]*machine
		set     func(w *world, cancel func())
		results string
		did     string   // without confirmations, whose order among sites is none
		stands  string   // of all
		says    []string // of each, in the report's order
		kept    bool     // the hub is, and not before a site
	}{
		{
			name: "all is well: the hub is kept when its sites are",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": fresh(), "osaka": fresh()}
			},
			results: "vps changed, kyoto changed, osaka changed", stands: "after",
			did:  "vps launch, kyoto launch, osaka launch, vps extend, kyoto extend, osaka extend",
			kept: true,
		},
		{
			name:    "the hub fails: nothing is begun on a site",
			hosts:   func() map[string]*machine { return map[string]*machine{"vps": fails(), "kyoto": fresh(), "z": fresh()} },
			results: "vps rolled-back, kyoto skipped, z skipped", stands: "before", did: "vps launch",
			says: []string{"exit status 1", "not tried: another host that it must change together with failed", "not tried: the hub vps comes first, and it is rolled-back"},
		},
		{
			name: "the first site fails: the hub goes back, and no other is begun",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": fails(), "osaka": fresh()}
			},
			results: "vps rolled-back, kyoto rolled-back, osaka skipped", stands: "before", did: "vps launch, kyoto launch, vps undo",
			says: []string{"put back together with the other end of the tunnel, because kyoto failed; the host stands as before", "exit status 1", "not tried"},
		},
		{
			name: "one site fails: all go back, the sites before the hub that leads to them",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": fresh(), "osaka": fails()}
			},
			results: "vps rolled-back, kyoto rolled-back, osaka rolled-back", stands: "before",
			did:  "vps launch, kyoto launch, osaka launch, kyoto undo, vps undo",
			says: []string{"because osaka failed", "because osaka failed", "exit status 1"},
		},
		{
			name: "one site does not converge: all go back",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": {before: noConf, after: noConf}}
			},
			results: "vps rolled-back, kyoto rolled-back", stands: "before", did: "vps launch, kyoto launch, kyoto undo, vps undo",
			says: []string{"because kyoto failed", "did not converge"},
		},
		{
			name: "one host cannot be given its time again: all go back",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": {before: noConf, after: goodConf, fault: at("extend", 1, errCut)}}
			},
			results: "vps rolled-back, kyoto rolled-back", stands: "before", did: "vps launch, kyoto launch, vps extend, kyoto undo, vps undo",
			says: []string{"because kyoto failed", "keep it armed: connection lost"},
		},
		{
			name: "Ctrl-C after the hub: it goes back, and no site is begun",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": fresh(), "osaka": fresh()}
			},
			set: func(w *world, _ func()) {
				stop := make(chan struct{})
				w.e.Stop = stop
				w.all["vps"].fault = func(what string, n int) error {
					if what == "launch" {
						close(stop)
					}
					return nil
				}
			},
			results: "vps rolled-back, kyoto skipped, osaka skipped", stands: "before", did: "vps launch, vps undo",
			says: []string{"because kyoto failed", "not begun: the run was ended before", "not tried"},
		},
		{
			name:  "a second Ctrl-C before the first is kept: none is, and each goes back by itself",
			hosts: func() map[string]*machine { return map[string]*machine{"vps": fresh(), "kyoto": fresh()} },
			set: func(w *world, cancel func()) {
				w.all["kyoto"].fault = func(what string, n int) error {
					if what == "extend" {
						cancel()
					}
					return nil
				}
			},
			results: "vps unknown, kyoto unknown", stands: "before", did: "vps launch, kyoto launch, vps extend",
			says: []string{"because kyoto failed", "keep it armed: context canceled"},
		},
		{
			name:  "a second Ctrl-C when the first is kept: the others are too",
			hosts: func() map[string]*machine { return map[string]*machine{"vps": fresh(), "kyoto": fresh()} },
			set: func(w *world, cancel func()) {
				w.all["kyoto"].fault = func(what string, n int) error {
					if what == "confirm" {
						cancel()
					}
					return nil
				}
			},
			results: "vps changed, kyoto changed", stands: "after", did: "vps launch, kyoto launch, vps extend, kyoto extend", kept: true,
		},
		{
			name: "without a first one all sites are tried, and all go back",
			hosts: func() map[string]*machine {
				return map[string]*machine{"vps": fresh(), "kyoto": fails(), "osaka": fresh()}
			},
			set:     func(w *world, _ func()) { w.e.NoCanary, w.e.Forks = true, 1 },
			results: "vps rolled-back, kyoto rolled-back, osaka rolled-back", stands: "before",
			did: "vps launch, kyoto launch, osaka launch, osaka undo, vps undo",
		},
		{
			name:    "those that are not coupled come after",
			hosts:   func() map[string]*machine { return map[string]*machine{"vps": fresh(), "kyoto": fresh(), "z": fresh()} },
			results: "vps changed, kyoto changed, z changed", stands: "after",
			did: "vps launch, kyoto launch, vps extend, kyoto extend, z launch", kept: true,
		},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			w := hubAndSites(t, tt.hosts())
			if tt.set != nil {
				tt.set(w, cancel)
			}
			r := w.apply(ctx)
			if got := w.results(r); got != tt.results {
				t.Errorf("%s; want %s", got, tt.results)
			}
			if got := w.order("confirm"); got != tt.did {
				t.Errorf("did %s; want %s", got, tt.did)
			}
			for i, h := range r.Hosts {
				if got := w.stands(h.Name); got != tt.stands {
					t.Errorf("%s stands as %s, want %s", h.Name, got, tt.stands)
				}
				if tt.says != nil && !says(h.Err, tt.says[i]) {
					t.Errorf("%s: %v, want %q", h.Name, h.Err, tt.says[i])
				}
			}
			confirms := slices.DeleteFunc(slices.Clone(w.did), func(d string) bool { return !strings.HasSuffix(d, " confirm") })
			if tt.kept != (slices.Index(confirms, "vps confirm") > 0) {
				t.Errorf("confirmed %q", confirms)
			}
		})
	}
}

// From the first confirmation on there is no way back for one alone. The hub goes with
// the sites: kept as soon as one is, or that one is locked out when the hub's time is up
// first; put back when none is, or it has a new end that no site has.
func TestTogetherSiteNotKept(t *testing.T) {
	rebooted := func(m *machine) {
		m.fault = func(what string, n int) error {
			if what == "confirm" {
				m.revert("the host was rebooted before it was confirmed")
			}
			return nil
		}
	}
	cutOff := func(m *machine) {
		m.fault = func(what string, n int) error {
			if what == "confirm" || what == "dial" && m.times["confirm"] > 0 {
				return errCut
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name    string
		set     map[string]func(*machine)
		results string
		stands  string
		took    time.Duration
	}{
		{"the only site reboots: the hub goes back to the old end", map[string]func(*machine){"kyoto": rebooted},
			"vps rolled-back, kyoto rolled-back", "before before", 0},
		{"both sites reboot", map[string]func(*machine){"kyoto": rebooted, "osaka": rebooted},
			"vps rolled-back, kyoto rolled-back, osaka rolled-back", "before before before", 0},
		{"one of two reboots: the other is not locked out for it", map[string]func(*machine){"kyoto": nil, "osaka": rebooted},
			"vps changed, kyoto changed, osaka rolled-back", "after after before", 0},
		{"one of two is cut off for good: the hub does not wait until its own time is up", map[string]func(*machine){"kyoto": nil, "osaka": cutOff},
			"vps changed, kyoto changed, osaka unknown", "after after before", 250 * time.Second},
		{"the only site is cut off for good: each goes back", map[string]func(*machine){"kyoto": cutOff},
			"vps rolled-back, kyoto unknown", "before before", 250 * time.Second},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			ms := map[string]*machine{"vps": fresh()}
			for name, set := range tt.set {
				ms[name] = fresh()
				if set != nil {
					set(ms[name])
				}
			}
			w := hubAndSites(t, ms)
			r := w.apply(context.Background())
			if got := w.results(r); got != tt.results {
				t.Errorf("%s; want %s", got, tt.results)
			}
			var stands []string
			for _, h := range r.Hosts {
				stands = append(stands, w.stands(h.Name))
				if h.Took != tt.took {
					t.Errorf("%s took %v, want %v", h.Name, h.Took, tt.took)
				}
			}
			if got := strings.Join(stands, " "); got != tt.stands {
				t.Errorf("they stand as %s, want %s", got, tt.stands)
			}
			if tt.stands == "before before" && !says(r.Hosts[0].Err, "put back together with the other end of the tunnel, because kyoto failed") {
				t.Errorf("the hub says %v", r.Hosts[0].Err)
			}
		})
	}
}

// Only what is coupled goes together: two hosts that could go one by one would put back
// one another's changes.
func TestCoupled(t *testing.T) {
	const key = "file:/etc/key"
	plan := func(name string, r Result, cs ...tasks.Change) *HostPlan {
		return &HostPlan{Name: name, Result: r, Changes: cs}
	}
	newKey, other := tasks.Change{Task: key, Action: tasks.Update}, tasks.Change{Task: "file:/etc/f", Action: tasks.Update}
	first := tasks.Change{Task: key, Action: tasks.Create}
	hubHost := Host{Name: "vps", Keys: keys("tokyo", key)}
	site := Host{Name: "tokyo", Keys: keys("vps", key)}
	inTunnel := Host{Name: "tokyo", InTunnel: true}
	for _, tt := range []struct {
		name     string
		hub      *HostPlan
		site     Host
		sitePlan *HostPlan
		want     bool
	}{
		{"both ends get a new key", plan("vps", Changed, newKey), site, plan("tokyo", Changed, newKey), true},
		{"both ends get their first key", plan("vps", Changed, first), site, plan("tokyo", Changed, first), false},
		{"only the site gets a new key", plan("vps", Changed, other), site, plan("tokyo", Changed, newKey), false},
		{"only the hub gets a new key", plan("vps", Changed, newKey), site, plan("tokyo", Changed, other), false},
		{"the tunnel is the way in", plan("vps", Changed, other), inTunnel, plan("tokyo", Changed, other), true},
		{"the tunnel is the way in, and the hub stays", plan("vps", OK), inTunnel, plan("tokyo", Changed, other), false},
		{"the tunnel is the way in, and the site stays", plan("vps", Changed, other), inTunnel, plan("tokyo", OK), false},
		{"neither", plan("vps", Changed, other), site, plan("tokyo", Changed, other), false},
	} {
		e := &Engine{}
		hub, s := e.newAttempt(hubHost, tt.hub), e.newAttempt(tt.site, tt.sitePlan)
		with, others := coupled([]*attempt{hub}, []*attempt{s})
		if got := len(with) == 1 && len(others) == 0; got != tt.want {
			t.Errorf("%s: together %t", tt.name, got)
		}
		if with, _ := coupled(nil, []*attempt{s}); len(with) > 0 {
			t.Errorf("%s: together with no hub", tt.name)
		}
	}
}

// A new key whose other end does not get it in this run waits: with it the tunnel would
// be down until the other end is applied to.
func TestHold(t *testing.T) {
	old := answer{files: map[string]string{"/etc/f": marker + "old\n"}, manifest: applied(conf("old\n"))}
	reached := func() *machine { return &machine{before: old, after: goodConf} }
	for _, tt := range []struct {
		name  string
		hosts map[string]*machine
		set   func(hosts []Host)
		want  string
		warn  string
	}{
		{"both are reached", map[string]*machine{"vps": reached(), "tokyo": reached()}, nil, "vps changed, tokyo changed", ""},
		{"the site is not reached", map[string]*machine{"vps": reached()}, nil, "vps ok, tokyo unreachable",
			"the new key of the tunnel to tokyo waits: tokyo does not get it in this run"},
		{"the hub cannot be changed", map[string]*machine{"vps": blocked(), "tokyo": reached()}, nil, "vps changed, tokyo ok",
			"the new key of the tunnel to vps waits: vps does not get it in this run"},
		{"the site has it already", map[string]*machine{"vps": reached(), "tokyo": {before: goodConf}}, nil, "vps changed, tokyo ok", ""},
		{"the hub is taken out", map[string]*machine{"vps": reached()}, func(hosts []Host) { hosts[0].Leave = true }, "vps changed, tokyo unreachable", ""},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			hosts := []Host{wanting("vps", "hub"), wanting("tokyo", "site")}
			hosts[0].Keys, hosts[1].Keys = keys("tokyo", "file:/etc/f"), keys("vps", "file:/etc/f")
			if tt.set != nil {
				tt.set(hosts)
			}
			w := newWorld(t, tt.hosts, hosts...)
			p, _ := w.e.Plan(context.Background(), w.hosts)
			var got []string
			warnings := ""
			for _, h := range p.Hosts {
				got = append(got, h.Name+" "+string(h.Result))
				for _, warning := range h.Warnings {
					if strings.Contains(warning, "waits") {
						warnings += warning
					}
				}
			}
			if strings.Join(got, ", ") != tt.want || warnings != tt.warn {
				t.Errorf("%s, warnings %q; want %s, %q", got, warnings, tt.want, tt.warn)
			}
		})
	}
}

// A new key on both ends goes through an apply as one, though neither end is the way to
// the other: else the tunnel is down from the first to the second, and for good when the
// second fails.
func TestNewKeyOnBothEnds(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		old := answer{files: map[string]string{"/etc/f": marker + "old\n"}, manifest: applied(conf("old\n"))}
		hosts := []Host{wanting("vps", "hub"), wanting("tokyo", "site")}
		hosts[0].Keys, hosts[1].Keys = keys("tokyo", "file:/etc/f"), keys("vps", "file:/etc/f")
		bad := fails()
		bad.before = old
		w := newWorld(t, map[string]*machine{"vps": {before: old, after: goodConf}, "tokyo": bad}, hosts...)
		r := w.apply(context.Background())
		if got := w.results(r); got != "vps rolled-back, tokyo rolled-back" || w.stands("vps") != "before" {
			t.Errorf("%s; the hub stands as %s", got, w.stands("vps"))
		}
	})
}
