package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
)

// blocked is a host on which somebody else's file stands in the way.
func blocked() *machine {
	return &machine{before: answer{files: map[string]string{"/etc/f": "mine\n"}}}
}

// fails is a host on which the apply fails, and which puts everything back.
func fails() *machine {
	return &machine{before: noConf, says: "status\treverted\nstage\twrite\nmessage\texit status 1\nlog\n"}
}

// The hub comes first, then one site alone, then the others: a mistake that locks out a
// site locks out one, and one that breaks the hub breaks nothing else.
func TestApplyOrder(t *testing.T) {
	for _, tt := range []struct {
		name     string
		hosts    map[string]*machine
		noCanary bool
		forks    int
		results  string
		did      string
		says     string // of the first host that was skipped
	}{
		{name: "all is well", hosts: map[string]*machine{"vps": fresh(), "kyoto": fresh(), "osaka": fresh()},
			results: "vps changed, kyoto changed, osaka changed",
			did:     "vps launch, vps confirm, kyoto launch, kyoto confirm, osaka launch, osaka confirm"},
		{name: "the hub fails: no site is tried, and one that needs nothing is told as it is",
			hosts:   map[string]*machine{"vps": fails(), "kyoto": fresh(), "osaka": {before: goodConf}},
			results: "vps rolled-back, kyoto skipped, osaka ok", did: "vps launch", says: "not tried: the hub vps comes first, and it is rolled-back"},
		{name: "the first site fails: no other is tried", hosts: map[string]*machine{"vps": fresh(), "kyoto": fails(), "osaka": fresh()},
			results: "vps changed, kyoto rolled-back, osaka skipped", did: "vps launch, vps confirm, kyoto launch",
			says: "not tried: the first site, kyoto, is rolled-back"},
		{name: "the first site is one that changes", hosts: map[string]*machine{"vps": {before: goodConf}, "a": {before: goodConf}, "b": blocked(), "c": fails(), "d": fresh()},
			results: "vps ok, a ok, b skipped, c rolled-back, d skipped", did: "c launch", says: "not tried: the first site, c, is rolled-back"},
		{name: "one that is not the first stops only itself",
			hosts:   map[string]*machine{"vps": fresh(), "a": fresh(), "b": fails(), "c": fresh()},
			forks:   1,
			results: "vps changed, a changed, b rolled-back, c changed",
			did:     "vps launch, vps confirm, a launch, a confirm, b launch, c launch, c confirm"},
		{name: "without a first one, a site that fails stops no other", noCanary: true, forks: 1,
			hosts:   map[string]*machine{"vps": fresh(), "kyoto": fails(), "osaka": fresh()},
			results: "vps changed, kyoto rolled-back, osaka changed", did: "vps launch, vps confirm, kyoto launch, osaka launch, osaka confirm"},
		{name: "one site alone needs no first one", hosts: map[string]*machine{"kyoto": fails()}, results: "kyoto rolled-back", did: "kyoto launch"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			var hosts []Host
			for name := range tt.hosts {
				role := "site"
				if name == "vps" {
					role = "hub"
				}
				hosts = append(hosts, wanting(name, role))
			}
			w := newWorld(t, tt.hosts, hosts...)
			w.e.NoCanary, w.e.Forks = tt.noCanary, tt.forks
			r := w.apply(context.Background())
			if got := w.results(r); got != tt.results {
				t.Errorf("%s; want %s", got, tt.results)
			}
			if got := w.order(); got != tt.did {
				t.Errorf("did %s; want %s", got, tt.did)
			}
			for _, h := range r.Hosts {
				if h.Result == Skipped && !says(h.Err, tt.says) {
					t.Errorf("%s: %v", h.Name, h.Err)
				}
			}
		})
	}
}

// The error of an apply names every host that it is about, in the report's order: a script
// that reads it must not miss one.
func TestApplyError(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		w := newWorld(t, map[string]*machine{"vps": fresh(), "kyoto": fails(), "osaka": fresh()}, wanting("osaka", "site"), wanting("vps", "hub"), wanting("kyoto", "site"))
		_, err := w.e.Apply(context.Background(), w.plan(), w.hosts)
		text := err.Error()
		if k, o := strings.Index(text, "kyoto: apply (write)"), strings.Index(text, "osaka: not tried"); k < 0 || o < k {
			t.Errorf("%v", err)
		}
	})
}

// A mistake in the program itself is not swallowed, and the hosts that are at work end
// well before it is told.
func TestApplyPanics(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		bad := wanting("osaka", "site")
		w := newWorld(t, map[string]*machine{"kyoto": fresh(), "osaka": fresh()}, wanting("kyoto", "site"), bad)
		w.e.NoCanary = true
		p := w.plan()
		w.hosts[1].Tasks = func(tasks.Facts, tasks.Peers) ([]tasks.Task, error) { panic(errors.New("a bug")) }
		defer func() {
			if r := recover(); r == nil || !strings.Contains(r.(string), "a bug") || w.stands("kyoto") != "after" {
				t.Errorf("%v; kyoto stands as %s", r, w.stands("kyoto"))
			}
		}()
		w.e.Apply(context.Background(), p, w.hosts)
	})
}
