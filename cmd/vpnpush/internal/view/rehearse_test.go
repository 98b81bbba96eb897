package view

import (
	"errors"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

func rehearsalOf(name string) engine.SiteRehearsal {
	return engine.SiteRehearsal{Name: name, Up: true, Took: 420 * time.Millisecond, Tunnel: strongswan.Tunnel{
		Conn: name, Peer: "vps", Local: []string{"192.168.1.0/24"}, Remote: []string{"10.10.0.0/24", "203.0.113.10/32"},
	}}
}

func rehearsals() *Rehearsal {
	down, tied, untried, unread := rehearsalOf("tokyo"), rehearsalOf("osaka"), rehearsalOf("nagoya"), rehearsalOf("kobe")
	down.Up, down.Why = false, &tasks.NotUp{About: tasks.AboutKey, AtHub: true, Says: "the keys differ: vps has another one for tokyo than tokyo sends",
		Raw: "tried 1 shared key for 'vps' - 'tokyo', but MAC \x1b[31mmismatched hunter2hunter2"}
	tied.Ties = []string{"old-osaka"}
	untried.Up, untried.Err = false, transport.WithHint(errors.New("another run is at work there: bob@desk"), "wait for it to end, and plan again")
	unread.Unread = errors.New("connect to kobe: connection refused")
	return &Rehearsal{
		Rehearsal: &engine.Rehearsal{
			Name: "vps", Result: engine.OK, Version: "5.9.8",
			Unmade: []tasks.Change{{Task: "file:/etc/a", Blocked: "a file stands there that vpnpush did not write", Mend: "look at the diff; `vpnpush apply --adopt` backs it up and replaces it"}},
			Beside: []string{"/etc/b:1: conn old-osaka is not vpnpush's, and answers a caller that says it is osaka"},
			Sites:  []engine.SiteRehearsal{unread, untried, tied, down},
		},
		Causes: map[string]Cause{"tokyo": {From: []string{"vpnpush.toml:12: sites.tokyo.psk"}, Mend: "mend first what is blocked on vps: its twin has what stands there, not what the inventory says"}},
	}
}

// The whole of what a rehearsal says, to people at 80 columns and to programs: what came
// up, what did not and why, and what was not tried. What a hub could not do is no success.
func TestRehearsal(t *testing.T) {
	cannot := &Rehearsal{Rehearsal: &engine.Rehearsal{Name: "vps", Result: engine.Failed, Sites: []engine.SiteRehearsal{{Name: "tokyo"}},
		Err: transport.WithHint(errors.New("the hub cannot rehearse: unshare: Operation not permitted"), "nothing of the plan was proved, and nothing was changed")}}
	for _, c := range []struct {
		name string
		r    *Rehearsal
		json bool
	}{{"rehearse.txt", rehearsals(), false}, {"rehearse.json", rehearsals(), true}, {"rehearse_cannot.txt", cannot, false}} {
		goldenPage(t, c.name, Options{JSON: c.json}, func(v *View) error { return v.Rehearsal(c.r) })
	}
}

// "All up" is said only where each tunnel was tried and came up.
func TestRehearsalLine(t *testing.T) {
	r := rehearsals()
	for want, sites := range map[string][]engine.SiteRehearsal{
		"Rehearsal: 1 tunnel, all up.":                       r.Sites[:1],
		"Rehearsal: 1 tunnel, 0 up, 1 not tried.":            r.Sites[1:2],
		"Rehearsal: 1 tunnel, 0 up, 1 not up.":               r.Sites[3:],
		"Rehearsal: 4 tunnels, 2 up, 1 not up, 1 not tried.": r.Sites,
	} {
		if got := (&Rehearsal{Rehearsal: &engine.Rehearsal{Sites: sites}}).count().line(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
