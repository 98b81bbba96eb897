package roles

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// firstApply returns what runs as root on a bare hub: the probe, and the apply script.
func firstApply(t *testing.T, inv *inventory.Inventory) (probe, apply string) {
	t.Helper()
	name := inv.Hub.Name
	hub := of(t, inv, name)
	probe, err := host.Probe(hub.Reads(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := bare(hub)
	ts, err := hub.Tasks(f, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tasks.NextManifest(nil, inv.ID, name, "admin@desk", time.Unix(1700000000, 0), ts, f).Encode()
	if err != nil {
		t.Fatal(err)
	}
	x := host.Txn{
		ID: "20260102T030405-abcdef01", Host: name, By: "admin@desk", Summary: "a first apply", Manifest: m,
		Units: []string{unitFirewall, starter.Unit, unitXL2TPD}, ConfirmTimeout: time.Minute,
	}
	for _, task := range ts {
		c, err := task.Check(f)
		if err != nil {
			t.Fatalf("check %s: %v", task.ID(), err)
		}
		if c != nil {
			x.Changes = append(x.Changes, *c)
		}
	}
	script, err := x.Script()
	if err != nil {
		t.Fatal(err)
	}
	return probe, script.Reveal()
}

// What runs as root on a host is seen in a review, whole: a change of a part shows here
// as the line that a host will run.
func TestScriptsGolden(t *testing.T) {
	probe, apply := firstApply(t, full())
	compare(t, filepath.Join("testdata", "scripts", "probe.golden"), []byte(probe))
	compare(t, filepath.Join("testdata", "scripts", "apply.golden"), []byte(apply))
}

// Each part is clean shell by itself, in the eyes of shellcheck and of each shell, and
// so is the whole that a hub with every layer gets.
func TestPartsAreCleanShell(t *testing.T) {
	probe, apply := firstApply(t, full())
	scripts := map[string]string{"probe": "#!/bin/sh\n" + probe, "apply": apply, "starter-files": "#!/bin/sh\n" + starterFilesShell}
	for _, p := range []tasks.Part{tasks.PartFiles, tasks.PartPackages, tasks.PartUnits, tasks.PartSessions, tasks.PartKeys, tasks.PartTrial, tasks.PartSwap, starter.Part, starter.Twin, swanctl.Part, swanctl.Twin} {
		// what txn.sh gives to all of them
		scripts["part "+p.Name] = "#!/bin/sh\nstage=x txn=/x state=/x\n: \"$stage\" \"$txn\" \"$state\"\n" + p.Text
	}
	for name, text := range scripts {
		t.Run(name, func(t *testing.T) { transporttest.CleanShell(t, text) })
	}
}

// Whatever a host had, the reads of what is wanted now bring what its ways out look at:
// a plan that takes a layer off would fail on every host otherwise.
func TestReadsCoverTheWaysOut(t *testing.T) {
	had := full()
	ts, err := of(t, had, "vps").Tasks(bare(of(t, had, "vps")), nil)
	if err != nil {
		t.Fatal(err)
	}
	m := tasks.NextManifest(nil, had.ID, "vps", "admin@desk", time.Unix(1, 0), ts, bare(of(t, had, "vps")))
	brought := map[string]bool{}
	for i, e := range m.Tasks {
		brought["file "+e.Path] = true // the probe reads the manifest's own
		if e.Kind == "unit" {
			m.Tasks[i].Was = &tasks.Before{Exists: true, Enabled: true, Active: true}
		}
	}
	for name, inv := range map[string]*inventory.Inventory{"without L2TP": minimal(), "without a packet filter": unfiltered(), "by swanctl": bySwanctl()} {
		reads := map[string]bool{}
		for _, r := range of(t, inv, "vps").Reads() {
			reads[string(r.Kind)+" "+r.Arg] = true
		}
		wanted, err := of(t, inv, "vps").Tasks(bare(of(t, inv, "vps")), nil)
		if err != nil {
			t.Fatal(err)
		}
		for what, ts := range map[string][]tasks.Task{name: wanted, "removed, " + name: nil} {
			gone, err := tasks.Orphans(m, ts, tasks.Leaving{Facts: bare(of(t, inv, "vps")), Owner: inv.ID, Daemons: Daemons()})
			if err != nil {
				t.Fatal(err)
			}
			if len(gone) == 0 {
				t.Fatalf("%s: nothing goes", what)
			}
			for _, task := range gone {
				for _, r := range task.Reads() {
					if k := string(r.Kind) + " " + r.Arg; !reads[k] && !brought[k] {
						t.Errorf("%s: %s needs %s, which is not read", what, task.ID(), k)
					}
				}
			}
		}
	}
}
