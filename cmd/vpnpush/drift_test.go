package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

type driftTeller func(*engine.Drift) error

func (driftTeller) Ends(int) {}

func (f driftTeller) Drift(d *engine.Drift, _ view.DriftOptions) error { return f(d) }

// With --changed-only the same drift is told once; what could not be written is
// not told yet, so that the next run tells it.
func TestChangedOnly(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	prom := filepath.Join(t.TempDir(), "vpnpush.prom")
	drifted := func(path string) *engine.Drift {
		return &engine.Drift{Hosts: []engine.HostDrift{{Name: "tokyo", Role: "site", Result: engine.Drifted, Looked: time.Now(),
			Findings: []engine.Finding{{State: engine.FindingDrifted, Change: &tasks.Change{Task: "file:" + path}}}}}}
	}
	broken := errors.New("no space left on device")
	for i, c := range []struct {
		path    string
		changed bool // --changed-only
		fails   bool
		told    bool
	}{
		{"/etc/a", true, true, true},
		{"/etc/a", true, false, true},
		{"/etc/a", true, false, false},
		{"/etc/a", false, false, true},
		{"/etc/b", true, false, true},
		{"/etc/b", true, false, false},
	} {
		told := false
		err := tellDrift(drifted(c.path), loadDriftState("acme"), "acme", driftFlags{prom: prom, changedOnly: c.changed}, driftTeller(func(*engine.Drift) error {
			told = true
			if c.fails {
				return broken
			}
			return nil
		}))
		if told != c.told || (err != nil) != c.fails {
			t.Errorf("run %d: told %t, %v, want %t", i, told, err, c.told)
		}
		if _, err := os.Stat(prom); err != nil {
			t.Errorf("run %d: %v: silence is told by the metrics, too", i, err)
		}
	}
}

// Shards that end at the same moment on one machine forget nothing of each other.
func TestDriftStateOfShards(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s := loadDriftState("acme")
			s.add(&engine.Drift{Hosts: []engine.HostDrift{{Name: fmt.Sprint("site", i), Role: "site", Result: engine.OK, Looked: time.Now()}}})
			s.save()
		})
	}
	wg.Wait()
	if got := len(loadDriftState("acme").Hosts); got != 16 {
		t.Errorf("%d of 16 hosts are remembered", got)
	}
}
