package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

func seen(site string) *engine.Status {
	return &engine.Status{Asked: []engine.HostStatus{{Name: "vps", Result: engine.OK}}, Tunnels: []engine.TunnelStatus{{Site: site, Asked: "vps", Up: true}}}
}

// A watch draws what it sees until it is ended, gives the terminal back, and
// leaves out a look that was cut off half-way.
func TestRefresh(t *testing.T) {
	var out bytes.Buffer
	v := view.New(view.Options{Out: &out, Err: &bytes.Buffer{}})
	ctx, cancel := context.WithCancel(context.Background())
	looks := []string{"tokyo", "osaka", "cut-off"}
	n := 0
	look := func() *engine.Status {
		if n++; n == len(looks) {
			cancel()
		}
		return seen(looks[n-1])
	}
	now := make(chan time.Time)
	close(now)
	last, err := refresh(ctx, look, func() <-chan time.Time { return now }, func() int { return 24 }, view.StatusOptions{}, v)
	if err != nil || last == nil || last.Tunnels[0].Site != "osaka" {
		t.Errorf("seen last: %+v, %v", last, err)
	}
	if s := out.String(); !strings.HasPrefix(s, "\x1b[?1049h") || !strings.HasSuffix(s, "\x1b[?1049l") ||
		!strings.Contains(s, "tokyo") || !strings.Contains(s, "osaka") || strings.Contains(s, "cut-off") {
		t.Errorf("drawn: %q", s)
	}
}

// A terminal that is gone ends the watch with an error, not with a good code.
func TestRefreshBroken(t *testing.T) {
	v := view.New(view.Options{Out: gone{}, Err: &bytes.Buffer{}})
	look := func() *engine.Status { t.Error("it looked"); return seen("tokyo") }
	if last, err := refresh(context.Background(), look, nil, nil, view.StatusOptions{}, v); err == nil || last != nil {
		t.Errorf("%+v, %v", last, err)
	}
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, errors.New("input/output error") }

// The hub is asked whatever --limit says; which tunnels are told is what it
// chooses, and to choose the hub chooses all of them.
func TestStatusAsk(t *testing.T) {
	inv, diags := inventory.Load(t.Context(), "testdata/map.toml")
	if inv == nil {
		t.Fatal(diags)
	}
	all, err := inv.Select(nil)
	if err != nil {
		t.Fatal(err)
	}
	hosts, err := engineHosts(inv, all)
	if err != nil {
		t.Fatal(err)
	}
	for want, selected := range map[int][]string{len(all) - 1: {inv.Hub.Name}, 1: {"tokyo"}, 2: {inv.Hub.Name, "tokyo", "osaka"}} {
		ask := statusAsk(inv, hosts, selected)
		if ask.Hub.Name != inv.Hub.Name || len(ask.Sites) != want {
			t.Errorf("%v: the hub %q and %d sites, want %d", selected, ask.Hub.Name, len(ask.Sites), want)
		}
	}
}
