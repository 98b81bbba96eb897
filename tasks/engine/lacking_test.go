package engine

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
)

// lacking is a hub that has no tunnel for nara.
func lacking() *Host {
	h := wanting("vps", tasks.RoleHub)
	h.Lacks = func(_ tasks.Facts, site string) error {
		if site == "nara" {
			return errors.New("it has none")
		}
		return nil
	}
	return &h
}

// A run without the hub skips the sites that would change and whose tunnels the hub does
// not have, and all of those where it cannot tell; it asks the hub once, and not at all
// where no site changes.
func TestSkipLacking(t *testing.T) {
	done := func() *machine { return &machine{before: goodConf} }
	for _, tt := range []struct {
		name  string
		hub   *machine
		nara  *machine
		tokyo *machine
		want  string // results
		why   string // of the last
		asked int
	}{
		{"it lacks one", &machine{}, fresh(), fresh(), "nara skipped, tokyo changed", "", 1},
		{"that one does not change", &machine{}, done(), fresh(), "nara ok, tokyo changed", "", 1},
		{"none changes", &machine{}, done(), done(), "nara ok, tokyo ok", "", 0},
		{"it is not reached", &machine{fault: at("dial", 1, errors.New("no route"))}, fresh(), fresh(), "nara skipped, tokyo skipped", "could not be asked: no route", 1},
		{"another run is at work there", &machine{before: answer{commands: map[string]string{"vpnpush-run": "working\nholder\t1700000000\tme, apply 7\n"}}}, done(), fresh(), "nara ok, tokyo skipped", "another run is at work there", 1},
		{"it is another's", &machine{before: answer{manifest: othersManifest()}}, done(), fresh(), "nara ok, tokyo skipped", "belongs to the inventory \"acme\"", 1},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			w := newWorld(t, map[string]*machine{"vps": tt.hub, "nara": tt.nara, "tokyo": tt.tokyo},
				wanting("nara", tasks.RoleSite), wanting("tokyo", tasks.RoleSite))
			w.e.Hub = lacking()
			p, _ := w.e.Plan(context.Background(), w.hosts)
			var got []string
			for _, h := range p.Hosts {
				got = append(got, h.Name+" "+string(h.Result))
				if h.Result == Skipped && len(h.Changes) > 0 {
					t.Errorf("%s is skipped, and has changes", h.Name)
				}
			}
			if s := strings.Join(got, ", "); s != tt.want {
				t.Errorf("%s, want %s", s, tt.want)
			}
			if err := p.Hosts[1].Err; !says(err, tt.why) {
				t.Errorf("tokyo: %v, want %q", err, tt.why)
			}
			if n := tt.hub.ran("dial"); n != tt.asked {
				t.Errorf("the hub was asked %d times, want %d", n, tt.asked)
			}
		})
	}
}

func othersManifest() *tasks.Manifest {
	m := applied()
	m.Owner = "acme"
	return m
}

// A site whose end stays as it was, since the hub's does, gets its other changes.
func TestSkipLackingKeepsPairs(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		w := pairedNetwork(t, nil, "tokyo")
		w.hosts = w.hosts[1:]
		tokyo := &w.hosts[0]
		pair := tokyo.Tasks
		tokyo.Tasks = func(f tasks.Facts, ps tasks.Peers) ([]tasks.Task, error) {
			ts, err := pair(f, ps)
			return append(ts, tasks.File{Path: "/etc/g", Content: []byte("more\n"), Mode: 0o644}), err
		}
		w.all["tokyo"].before.files["/etc/g"] = ""
		w.e.Hub = lacking()
		w.e.Hub.Lacks = func(tasks.Facts, string) error { return errors.New("it has another") }
		h := w.plan().Hosts[0]
		if h.Result != Changed || len(h.Changes) != 1 || h.Changes[0].Task != "file:/etc/g" {
			t.Errorf("%s, %v: %v", h.Result, h.Err, h.Changes)
		}
	})
}
