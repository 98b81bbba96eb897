package engine

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

var peerWords = map[tasks.Peer]string{tasks.PeerNew: "new", tasks.PeerOld: "old", tasks.PeerEither: "either", tasks.PeerUnread: "old", tasks.PeerGone: "new, gone"}

// end is a host with an end of a tunnel to each of peers, in one file: a word for each of
// them, as far as it has come. Of a site whose name begins with k the key changes, too; of
// one with d nothing that the ends have to agree on.
func end(name, role string, peers ...string) Host {
	h := wanting(name, role)
	h.Tasks = func(f tasks.Facts, ps tasks.Peers) ([]tasks.Task, error) {
		var words []string
		for _, p := range peers {
			word := peerWords[ps[p]]
			if s, err := f.File("/etc/f"); err == nil && ps[p] == tasks.PeerUnread {
				_, is, _ := strings.Cut(string(s.Content), p+"=")
				word = strings.Fields(is)[0]
			}
			if role == tasks.RoleSite && word == "either" && !strings.HasPrefix(name, "k") {
				word = "new"
			}
			if role == tasks.RoleHub && word == "either" && strings.HasPrefix(p, "d") {
				word = "new"
			}
			words = append(words, p+"="+word)
		}
		return []tasks.Task{conf(strings.Join(words, " ") + "\n")}, nil
	}
	h.Pairs = func(tasks.Facts) map[string][]string {
		out := map[string][]string{}
		for _, p := range peers {
			out[p] = []string{"file:/etc/f"}
		}
		return out
	}
	return h
}

// network returns a hub and its sites, all with what was applied before.
func pairedNetwork(t *testing.T, set map[string]func(*machine), sites ...string) *world {
	hosts := []Host{end("vps", tasks.RoleHub, sites...)}
	for _, s := range sites {
		hosts = append(hosts, end(s, tasks.RoleSite, "vps"))
	}
	ms := map[string]*machine{}
	for _, h := range hosts {
		peers := []string{"vps"}
		if h.Role == tasks.RoleHub {
			peers = sites
		}
		old := strings.Join(peers, "=old ") + "=old\n"
		before := answer{files: map[string]string{"/etc/f": marker + old}, manifest: applied(conf(old))}
		before.manifest.Host = h.Name
		ms[h.Name] = &machine{before: before, writes: true}
		if f := set[h.Name]; f != nil {
			f(ms[h.Name])
		}
	}
	return newWorld(t, ms, hosts...)
}

// has returns what a host's file says of its peers in the end.
func (w *world) has(name string) string {
	m := w.all[name]
	a := m.before
	if m.kept {
		a = m.after
	}
	return strings.TrimSuffix(strings.TrimPrefix(a.files["/etc/f"], marker), "\n")
}

func dies(m *machine) { m.says = fails().says }

// neverApplied returns a setting of a machine to which nothing was applied, and whose charon
// lists these tunnels.
func neverApplied(sas string) func(*machine) {
	return func(m *machine) {
		m.before, m.sas = noConf, func(bool) string { return sas }
	}
}

// stood returns a setting of a machine to which that was applied before.
func stood(words string) func(*machine) {
	return func(m *machine) {
		name := m.before.manifest.Host
		m.before = answer{files: map[string]string{"/etc/f": marker + words + "\n"}, manifest: applied(conf(words + "\n"))}
		m.before.manifest.Host = name
	}
}

// overtaken returns a setting of a machine that another run brings to stand so, right
// before the second apply begins.
func overtaken(words string) func(*machine) {
	return func(m *machine) {
		m.fault = func(what string, n int) error {
			if what == "launch" && n == 2 {
				stood(words)(m)
				m.kept, m.says = false, "status\tstale\nmessage\t/etc/f is not what it was\n"
			}
			return nil
		}
	}
}

// A hub fits what its sites have at any moment, and in the end has of each what the site
// has: one that fails keeps its tunnel, and takes nothing from the others.
func TestPairs(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sites   []string
		set     map[string]func(*machine)
		run     func(w *world, cancel func())
		results string
		did     string
		has     string // the hub
		says    string // the hub's error
		warns   string // the hub's warnings
	}{
		{
			name: "all is well: the hub fits both, then each site, then the hub the new", sites: []string{"osaka", "tokyo"},
			results: "vps changed, osaka changed, tokyo changed", has: "osaka=new tokyo=new",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, tokyo launch, tokyo confirm, vps launch, vps confirm",
		},
		{
			// its hub would send the old key, which a site that was never applied to does not know
			name: "a site that has no end yet: the hub takes the new at once", sites: []string{"kyoto"},
			set:     map[string]func(*machine){"kyoto": neverApplied(noSA)},
			results: "vps changed, kyoto changed", has: "kyoto=new",
			did: "vps launch, vps confirm, kyoto launch, kyoto confirm",
		},
		{
			// its hub keeps what carries that until the site has moved: else it is down meanwhile
			name: "a site that has a tunnel by hand: the hub takes both first", sites: []string{"osaka"},
			set:     map[string]func(*machine){"osaka": neverApplied(strings.ReplaceAll(fmt.Sprintf(upSA, "10.10.0.0/24"), "tokyo", "ipsec-test"))},
			results: "vps changed, osaka changed", has: "osaka=new",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, vps launch, vps confirm",
		},
		{
			name: "a site whose charon does not answer: the hub takes both first", sites: []string{"osaka"},
			set:     map[string]func(*machine){"osaka": neverApplied("?")},
			results: "vps changed, osaka changed", has: "osaka=new",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, vps launch, vps confirm",
		},
		{
			name: "a new key: the site takes the old one until the hub has no other", sites: []string{"kyoto"},
			results: "vps changed, kyoto changed", has: "kyoto=new",
			did: "vps launch, vps confirm, kyoto launch, kyoto confirm, vps launch, vps confirm, kyoto launch, kyoto confirm",
		},
		{
			name: "the hub fails: nothing is begun on a site", sites: []string{"osaka"}, set: map[string]func(*machine){"vps": dies},
			results: "vps rolled-back, osaka skipped", has: "osaka=old", did: "vps launch", says: "exit status 1",
		},
		{
			name: "the only site fails: the hub goes back to what it was", sites: []string{"osaka"}, set: map[string]func(*machine){"osaka": dies},
			results: "vps rolled-back, osaka rolled-back", has: "osaka=old", did: "vps launch, vps confirm, osaka launch, vps launch, vps confirm",
			says: "put back together with the other end of the tunnel, because osaka was rolled back; the host stands as before",
		},
		{
			name: "the first site fails: no other is begun, and the hub goes back for all", sites: []string{"osaka", "tokyo"}, set: map[string]func(*machine){"osaka": dies},
			results: "vps rolled-back, osaka rolled-back, tokyo skipped", has: "osaka=old tokyo=old",
			did: "vps launch, vps confirm, osaka launch, vps launch, vps confirm", says: "because osaka was rolled back",
		},
		{
			name: "one of several fails: the hub goes back for that one alone", sites: []string{"osaka", "tokyo"}, set: map[string]func(*machine){"tokyo": dies},
			results: "vps changed, osaka changed, tokyo rolled-back", has: "osaka=new tokyo=old",
			did:   "vps launch, vps confirm, osaka launch, osaka confirm, tokyo launch, vps launch, vps confirm",
			warns: "the tunnel to tokyo stays as it was, since tokyo was rolled back",
		},
		{
			name: "what one has is not known: the hub fits both", sites: []string{"osaka", "tokyo"},
			set: map[string]func(*machine){"tokyo": func(m *machine) {
				m.says, m.comes = "status\tdied\nlog\n", "revert-failed\ta disk"
			}},
			results: "vps changed, osaka changed, tokyo failed", has: "osaka=new tokyo=either",
			did:   "vps launch, vps confirm, osaka launch, osaka confirm, tokyo launch, tokyo undo, vps launch, vps confirm",
			warns: "the hub takes what tokyo had and what it is to have, since tokyo failed",
		},
		{
			name: "one is not reached from the beginning: its end waits", sites: []string{"osaka", "tokyo"},
			set:     map[string]func(*machine){"tokyo": func(m *machine) { m.fault = from("dial", 1, errCut) }},
			results: "vps changed, osaka changed, tokyo unreachable", has: "osaka=new tokyo=old",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, vps launch, vps confirm",
		},
		{
			name: "the hub reboots before its last step: it is waited for", sites: []string{"osaka"},
			set: map[string]func(*machine){"vps": func(m *machine) {
				m.cut = at("probe", 3, errCut)
				m.fault = func(what string, n int) error { // a moment later its sshd is up again
					if reads := m.ran("probe"); what == "dial" && reads == 3 && n < 6 {
						return errCut
					}
					return nil
				}
			}},
			results: "vps changed, osaka changed", has: "osaka=new",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, vps launch, vps confirm",
		},
		{
			name: "the hub does not come back: it fits both still, and says so", sites: []string{"osaka"},
			set:     map[string]func(*machine){"vps": func(m *machine) { m.cut = from("probe", 3, errCut) }},
			results: "vps failed, osaka changed", has: "osaka=either",
			did:  "vps launch, vps confirm, osaka launch, osaka confirm",
			says: "it still takes what its sites had before: ",
		},
		{
			name: "the last step of the hub fails: it fits both still, and says so", sites: []string{"osaka"},
			set:     map[string]func(*machine){"vps": func(m *machine) { m.fault = at("confirm", 2, errCut); m.cut = from("outcome", 1, errCut) }},
			results: "vps unknown, osaka changed", has: "osaka=either",
			did:  "vps launch, vps confirm, osaka launch, osaka confirm, vps launch",
			says: "it still takes what its sites had before: ",
		},
		{
			name: "another apply makes the hub's last step", sites: []string{"osaka"},
			set:     map[string]func(*machine){"vps": overtaken("osaka=new")},
			results: "vps changed, osaka changed", has: "osaka=new",
			did: "vps launch, vps confirm, osaka launch, osaka confirm, vps launch",
		},
		{
			name: "another run changes the hub before its last step, and not to that", sites: []string{"osaka"},
			set:     map[string]func(*machine){"vps": overtaken("osaka=either")},
			results: "vps failed, osaka changed", has: "osaka=either",
			did:  "vps launch, vps confirm, osaka launch, osaka confirm, vps launch",
			says: "it still takes what its sites had before: apply: /etc/f is not what it was",
		},
		{
			name: "the last step of a site fails: it takes both keys still, and says so", sites: []string{"kyoto"},
			set: map[string]func(*machine){"kyoto": func(m *machine) {
				m.fault = func(what string, n int) error {
					if what == "launch" && n == 2 {
						m.says = fails().says
					}
					return nil
				}
			}},
			results: "vps changed, kyoto failed", has: "kyoto=new",
			did: "vps launch, vps confirm, kyoto launch, kyoto confirm, vps launch, vps confirm, kyoto launch",
		},
		{
			name: "the last step of the hub is put back: it is not told as it was before", sites: []string{"osaka"},
			set: map[string]func(*machine){"vps": func(m *machine) {
				m.fault = func(what string, n int) error {
					if what == "launch" && n == 2 {
						m.says = fails().says
					}
					return nil
				}
			}},
			results: "vps failed, osaka changed", has: "osaka=either",
			did:  "vps launch, vps confirm, osaka launch, osaka confirm, vps launch",
			says: "it still takes what its sites had before: ",
		},
		{
			// the hub sends the old key until its last step
			name: "an earlier change ended before that: the site forgets its old key after the hub", sites: []string{"kyoto"},
			set:     map[string]func(*machine){"vps": stood("kyoto=either"), "kyoto": stood("vps=either")},
			results: "vps changed, kyoto changed", has: "kyoto=new",
			did: "vps launch, vps confirm, kyoto launch, kyoto confirm",
		},
		{
			name: "the same, and the first site fails: this one has the new key all the same", sites: []string{"ikeda", "kyoto"},
			set:     map[string]func(*machine){"vps": stood("ikeda=either kyoto=either"), "ikeda": dies, "kyoto": stood("vps=either")},
			results: "vps changed, ikeda rolled-back, kyoto changed", has: "ikeda=either kyoto=new",
			did:   "ikeda launch, vps launch, vps confirm, kyoto launch, kyoto confirm",
			warns: "the hub takes what ikeda had and what it is to have, since ikeda was rolled back",
		},
		{
			// of the keys that the hub takes the site may have any
			name: "an earlier change did not end, and now the site fails: the hub stays as it was", sites: []string{"kyoto"},
			set:     map[string]func(*machine){"vps": stood("kyoto=either"), "kyoto": dies},
			results: "vps ok, kyoto rolled-back", has: "kyoto=either", did: "kyoto launch",
			warns: "the hub takes what kyoto had and what it is to have, since kyoto was rolled back",
		},
		{
			name: "Ctrl-C after the hub's first step: no site is begun, and the hub goes back", sites: []string{"osaka"},
			run: func(w *world, _ func()) {
				stop := make(chan struct{})
				w.e.Stop = stop
				w.all["vps"].fault = func(what string, n int) error {
					if what == "launch" && n == 1 {
						close(stop)
					}
					return nil
				}
			},
			results: "vps rolled-back, osaka skipped", has: "osaka=old", did: "vps launch, vps confirm, vps launch, vps confirm",
			says: "because osaka was skipped",
		},
		{
			name: "a second Ctrl-C in the middle: the hub fits what the site had, too", sites: []string{"osaka"},
			run: func(w *world, cancel func()) {
				w.all["osaka"].fault = func(what string, n int) error {
					if what == "launch" {
						cancel()
					}
					return nil
				}
			},
			results: "vps failed, osaka unknown", has: "osaka=either", did: "vps launch, vps confirm",
			says: "it still takes what its sites had before: interrupted before being read",
		},
		{
			name: "without a first one all sites are tried", sites: []string{"osaka", "tokyo"}, set: map[string]func(*machine){"osaka": dies},
			run:     func(w *world, _ func()) { w.e.NoCanary, w.e.Forks = true, 1 },
			results: "vps changed, osaka rolled-back, tokyo changed", has: "osaka=old tokyo=new",
			did:   "vps launch, vps confirm, osaka launch, tokyo launch, tokyo confirm, vps launch, vps confirm",
			warns: "the tunnel to osaka stays as it was, since osaka was rolled back",
		},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			w := pairedNetwork(t, tt.set, tt.sites...)
			if tt.run != nil {
				tt.run(w, cancel)
			}
			p, _ := w.e.Plan(context.Background(), w.hosts)
			if waits := strings.Contains(strings.Join(p.Hosts[0].Warnings, "\n"), "waits: tokyo does not get it"); waits != strings.Contains(tt.results, "unreachable") {
				t.Errorf("the plan warns %q", p.Hosts[0].Warnings)
			}
			r, _ := w.e.Apply(ctx, p, w.hosts)
			if got := w.results(r); got != tt.results {
				t.Errorf("%s; want %s", got, tt.results)
			}
			if got := w.order(); got != tt.did {
				t.Errorf("did  %s\nwant %s", got, tt.did)
			}
			if got := w.has("vps"); got != tt.has {
				t.Errorf("the hub has %q, want %q", got, tt.has)
			}
			for _, s := range tt.sites {
				// as the hub has it, or, where it fits both, either
				hub := strings.Fields(w.has("vps"))[slices.Index(tt.sites, s)]
				site := w.has(s)
				if fits := hub == s+"=either" || site == "vps=either" || strings.TrimPrefix(hub, s) == strings.TrimPrefix(site, "vps"); !fits {
					t.Errorf("the hub has %s, the site %s", hub, site)
				}
			}
			if !says(r.Hosts[0].Err, tt.says) {
				t.Errorf("the hub says %v, want %q", r.Hosts[0].Err, tt.says)
			}
			if got := strings.Join(r.Hosts[0].Warnings, "; "); got != tt.warns {
				t.Errorf("the hub warns %q, want %q", got, tt.warns)
			}
		})
	}
}

// A hub to which nothing is left to be done once its sites were tried is as planned,
// though it would be refused by now: its disk may have filled meanwhile.
func TestPairsNothingLeft(t *testing.T) {
	inBubble(t, "nothing left", func(t *testing.T) {
		w := pairedNetwork(t, nil, "dejima")
		w.hosts[0].Preflight = func(tasks.Facts) ([]error, []string) {
			if w.all["dejima"].kept {
				return []error{errors.New("no room")}, nil
			}
			return nil, nil
		}
		p := w.plan()
		r, err := w.e.Apply(t.Context(), p, w.hosts)
		if got := w.results(r); err != nil || got != "vps changed, dejima changed" {
			t.Errorf("%s, %v: %v", got, err, r.Hosts[0].Err)
		}
	})
}

// A hub that is applied to alone keeps the tunnel of a site that has another name now: the
// box knows itself by the old one, and that tunnel may be the only way to it.
func TestPairsRenamedAlone(t *testing.T) {
	for _, tt := range []struct {
		name  string
		edo   bool // it is in the run
		wants string
		warns string
	}{
		{"alone", false, "edo=new tokyo=old", "the tunnel to tokyo stays: that site is edo now, and does not get its new name in this run"},
		{"together", true, "edo=new", ""},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			hub := wanting("vps", tasks.RoleHub)
			hub.Tasks = func(_ tasks.Facts, ps tasks.Peers) ([]tasks.Task, error) {
				text := "edo=new"
				if ps["tokyo"] == tasks.PeerUnread {
					text += " tokyo=old"
				}
				return []tasks.Task{conf(text + "\n")}, nil
			}
			hub.Renamed = func(tasks.Facts) map[string]string { return map[string]string{"tokyo": "edo"} }
			before := answer{files: map[string]string{"/etc/f": marker + "tokyo=old\n"}, manifest: applied(conf("tokyo=old\n"))}
			before.manifest.Host = "vps"
			hosts, ms := []Host{hub}, map[string]*machine{"vps": {before: before, writes: true}}
			if tt.edo {
				hosts, ms["edo"] = append(hosts, wanting("edo", tasks.RoleSite)), &machine{before: answer{files: map[string]string{"/etc/f": ""}}, writes: true}
			}
			w := newWorld(t, ms, hosts...)
			p := w.plan()
			if got := string(p.Hosts[0].Changes[0].Attrs[0].New); got != marker+tt.wants+"\n" {
				t.Errorf("the hub is to have\n%s", got)
			}
			if got := strings.Join(p.Hosts[0].Warnings, "; "); got != tt.warns {
				t.Errorf("it warns %q, want %q", got, tt.warns)
			}
		})
	}
}

// A hub does not wait for a site whose box is gone: it gets its end of that tunnel alone,
// though it was up before, and waits for another that is not in the run. What does not
// change of a box that is gone is told, since that may still get in.
func TestPairsGone(t *testing.T) {
	const carries = "Security Associations (1 up, 0 connecting):\n       osaka[1]: ESTABLISHED 5 seconds ago, 203.0.113.10[vps]...203.0.113.52[osaka]\n" +
		"       osaka{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: c7_i b7_o\n       osaka{1}:   10.10.0.0/24 === 192.168.2.0/24\n"
	inBubble(t, "gone", func(t *testing.T) {
		w := pairedNetwork(t, map[string]func(*machine){"vps": func(m *machine) {
			m.sas = func(applied bool) string {
				if applied {
					return noSA
				}
				return carries
			}
		}}, "osaka", "tokyo")
		hub := w.hosts[0]
		hub.Tunnels = []strongswan.Tunnel{{Conn: "osaka", Peer: "osaka", Local: []string{"10.10.0.0/24"}, Remote: []string{"192.168.2.0/24"}}}
		hub.Gone = []string{"osaka"}
		w.hosts = []Host{hub}
		p := w.plan()
		if got := strings.Join(p.Hosts[0].Warnings, "; "); got != "the change of the tunnel to tokyo waits: tokyo does not get it in this run; both ends do with --limit vps,tokyo, vps alone with --gone tokyo, if what was tokyo is no more" {
			t.Errorf("the plan warns %q", got)
		}
		r, _ := w.e.Apply(context.Background(), p, w.hosts)
		if got := w.results(r); got != "vps changed" || r.TunnelsDown() != 0 {
			t.Errorf("%s, %d tunnels down: %v", got, r.TunnelsDown(), r.Hosts[0].Err)
		}
		if got, want := w.has("vps"), "osaka=new, gone tokyo=old"; got != want {
			t.Errorf("the hub has %q, want %q", got, want)
		}
	})
	inBubble(t, "the hub, which a site does not wait for", func(t *testing.T) {
		w := pairedNetwork(t, nil, "osaka")
		w.hosts = w.hosts[1:]
		if got := strings.Join(w.plan().Hosts[0].Warnings, "; "); !strings.Contains(got, "osaka alone with --gone vps") {
			t.Errorf("the plan warns %q", got)
		}
		w.hosts[0].Gone = []string{"vps"}
		p := w.plan()
		r, _ := w.e.Apply(context.Background(), p, w.hosts)
		if got := w.results(r) + ", " + w.has("osaka"); got != "osaka changed, vps=new, gone" || len(p.Hosts[0].Warnings) > 0 {
			t.Errorf("%s; the plan warns %q", got, p.Hosts[0].Warnings)
		}
	})
	inBubble(t, "nothing of it changes", func(t *testing.T) {
		w := newWorld(t, map[string]*machine{"vps": {before: noConf}}, wanting("vps", tasks.RoleHub))
		w.hosts[0].Gone = []string{"osaka"}
		if got := strings.Join(w.plan().Hosts[0].Warnings, "; "); !strings.Contains(got, "nothing of the tunnel to osaka changes here") {
			t.Errorf("the plan warns %q", got)
		}
	})
}

// A plan that no apply follows says the same as one that is applied, also where an end
// waits for another, though it keeps of a host neither its facts nor the way back.
func TestPairsReadOnly(t *testing.T) {
	inBubble(t, "read only", func(t *testing.T) {
		w := pairedNetwork(t, nil, "osaka", "tokyo")
		for _, hosts := range [][]Host{w.hosts, w.hosts[:1]} { // all, and the hub alone
			w.hosts, w.e.ReadOnly = hosts, false
			full := w.plan()
			w.e.Close()
			w.e.ReadOnly = true
			light := w.plan()
			for i, h := range light.Hosts {
				f := full.Hosts[i]
				if h.Result != f.Result || !slices.Equal(h.Warnings, f.Warnings) || len(h.Changes) != len(f.Changes) {
					t.Fatalf("%s is %s %v, %d changes; want %s %v, %d", h.Name, h.Result, h.Warnings, len(h.Changes), f.Result, f.Warnings, len(f.Changes))
				}
				for j, c := range h.Changes {
					if !reflect.DeepEqual(c, f.Changes[j].Planned()) {
						t.Errorf("%s: %s is not as it was planned", h.Name, c.Task)
					}
				}
				_, err := h.Facts.File("/etc/f")
				if m, merr := tasks.ReadManifest(h.Facts); err == nil || merr != nil || m == nil {
					t.Errorf("%s has kept its files (%v), and of its manifest %v, %v", h.Name, err, m, merr)
				}
			}
		}
	})
}
