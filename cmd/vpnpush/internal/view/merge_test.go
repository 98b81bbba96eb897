package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

var allSites = []string{"kobe", "nara", "osaka", "tokyo"}

// shardFile is what a drift of a shard of allSites has written; the last of sites is down.
func shardFile(t *testing.T, number, of int, sites ...string) ReportFile {
	t.Helper()
	d := &engine.Drift{At: at}
	for i, s := range sites {
		h := engine.HostDrift{Name: s, Role: tasks.RoleSite, Result: engine.OK, Looked: at}
		if i == len(sites)-1 {
			h.Result, h.Looked, h.Err = engine.Unreachable, time.Time{}, fmt.Errorf("connect to %s (10.0.0.1:22): i/o timeout", s)
		}
		d.Hosts = append(d.Hosts, h)
	}
	out, _ := show(Options{JSON: true}, func(v *View) {
		v.Sharded(Shard{Inventory: "acme", Version: "1.0", Of: of, Numbers: []int{number}, Sites: len(sites), AllSites: len(allSites), SitesDigest: inventory.SitesDigest(allSites)}, at)
		v.Ends(4)
		if err := v.Drift(d, DriftOptions{Inventory: "acme"}); err != nil {
			t.Fatal(err)
		}
	})
	return ReportFile{Name: fmt.Sprintf("shard-%d.json", number), Text: []byte(out)}
}

func hubFile(t *testing.T, name string, f func(*View) error) ReportFile {
	t.Helper()
	out, _ := show(Options{JSON: true}, func(v *View) {
		if err := f(v); err != nil {
			t.Fatal(err)
		}
	})
	return ReportFile{Name: name, Text: []byte(out)}
}

func hubDrift(v *View) error {
	f := engine.Finding{State: engine.FindingDrifted, Change: &tasks.Change{Task: "file:/etc/a", Action: tasks.Update,
		Attrs: []tasks.Attr{{Name: "content", Old: []byte("mine\n"), New: []byte("ours\n")}}}}
	v.Ends(2)
	return v.Drift(&engine.Drift{At: at.Add(time.Hour), Hosts: []engine.HostDrift{{Name: "vps", Role: tasks.RoleHub, Result: engine.Drifted, Looked: at, Findings: []engine.Finding{f}}}},
		DriftOptions{Inventory: "acme"})
}

// What several runs have written is what one would have: the same keys, hosts in order,
// and the counts; for people what is not well.
func TestMergeGolden(t *testing.T) {
	whole := []ReportFile{shardFile(t, 2, 2, "nara", "tokyo"), hubFile(t, "hub.json", hubDrift), shardFile(t, 1, 2, "kobe", "osaka")}
	died := []ReportFile{whole[1], {Name: "shard-2.json"}, whole[2]}
	plans := []ReportFile{
		hubFile(t, "mixed.json", func(v *View) error { return v.Plan(mixed()) }),
		hubFile(t, "many.json", func(v *View) error {
			p := &engine.Plan{}
			for i := range 12 {
				p.Hosts = append(p.Hosts, engine.HostPlan{Name: fmt.Sprint("lacked", i), Role: tasks.RoleSite, Result: engine.Skipped, Err: errors.New("not tried: the hub vps comes first")})
			}
			return v.Plan(p)
		}),
	}
	for name, tt := range map[string]struct {
		o     Options
		files []ReportFile
	}{
		"merge.json": {Options{JSON: true}, whole}, "merge.txt": {Options{}, whole},
		"merge_died.json": {Options{JSON: true}, died}, "merge_died.txt": {Options{}, died},
		"merge_plan.txt": {Options{}, plans}, "merge_plan.json": {Options{JSON: true}, plans},
	} {
		m, err := MergeReports(tt.files, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		out, stderr := show(tt.o, func(v *View) {
			v.Ends(6)
			if err := v.Merged(m); err != nil {
				t.Error(err)
			}
		})
		golden(t, name, out)
		if want := strings.HasPrefix(name, "merge_died.json"); want != strings.Contains(stderr, "vpnpush: missing: ") {
			t.Errorf("%s: on stderr: %q", name, stderr)
		}
		if strings.Contains(out, "hush") || strings.ContainsAny(out, "\x1b\r") {
			t.Errorf("%s: a secret or a control character is shown", name)
		}
	}
}

// The document of a merge is one that can be merged again, and comes out the same
// whatever the order.
func TestMergeAgain(t *testing.T) {
	a, b, hub := shardFile(t, 1, 2, "kobe", "osaka"), shardFile(t, 2, 2, "nara", "tokyo"), hubFile(t, "hub.json", hubDrift)
	merged := func(files ...ReportFile) ReportFile {
		m, err := MergeReports(files, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		return hubFile(t, "merged.json", func(v *View) error { v.Ends(6); return v.Merged(m) })
	}
	if one, two := merged(a, b, hub), merged(merged(hub, b), a); string(one.Text) != string(two.Text) {
		t.Errorf("%s\n%s", one.Text, two.Text)
	}
}

// A merge tells what is missing, and refuses what would count something twice or not at
// all: no site is left out unseen.
func TestMergeIncomplete(t *testing.T) {
	one, two := shardFile(t, 1, 2, "kobe", "osaka"), shardFile(t, 2, 2, "nara", "tokyo")
	hub := hubFile(t, "hub.json", hubDrift)
	named := func(f ReportFile, name string) ReportFile { f.Name = name; return f }
	edited := func(f ReportFile, old, with string) ReportFile {
		if !strings.Contains(string(f.Text), old) {
			t.Fatalf("no %s in %s", old, f.Text)
		}
		f.Text = []byte(strings.Replace(string(f.Text), old, with, 1))
		return f
	}
	half := one
	half.Text = half.Text[:len(half.Text)/2]
	for name, tt := range map[string]struct {
		files   []ReportFile
		missing string // the sentences
		err     string
	}{
		"whole":                {[]ReportFile{one, two, hub}, "", ""},
		"a shard":              {[]ReportFile{one, hub}, "shard 2 of 2 is missing, and with it 2 of 4 sites", ""},
		"two shards":           {[]ReportFile{shardFile(t, 3, 3, "tokyo")}, "shards 1, 2 of 3 are missing, and with them 3 of 4 sites", ""},
		"an empty report":      {[]ReportFile{{Name: "shard-1.json"}, two}, "shard-1.json: no report of this run: it is empty, as where the run has died, or is at work yet; shard 1 of 2 is missing, and with it 2 of 4 sites", ""},
		"half a report":        {[]ReportFile{half, two}, "shard-1.json: no report of this run: it is cut short, or something else; shard 1 of 2 is missing, and with it 2 of 4 sites", ""},
		"no file":              {[]ReportFile{{Name: "hub.json", Err: os.ErrNotExist}, one, two}, "hub.json: no report of this run: file does not exist", ""},
		"of yesterday":         {[]ReportFile{edited(one, at.Format("2006-01-02"), at.AddDate(0, 0, -1).Format("2006-01-02")), two}, "shard-1.json: no report of this run: it is an old one, of " + minute(at.AddDate(0, 0, -1)) + "; shard 1 of 2 is missing, and with it 2 of 4 sites", ""},
		"nothing":              {[]ReportFile{half}, "", "none of 1 file is a report"},
		"a shard twice":        {[]ReportFile{one, named(one, "copy.json"), two}, "", "shard 1 of 2 is in shard-1.json and in copy.json"},
		"a file twice":         {[]ReportFile{one, one, two}, "", "shard 1 of 2 is in shard-1.json twice"},
		"a host twice":         {[]ReportFile{hub, named(hub, "copy.json")}, "", "vps is in hub.json and in copy.json"},
		"another verb":         {[]ReportFile{one, hubFile(t, "plan.json", func(v *View) error { return v.Plan(mixed()) })}, "", "shard-1.json is of the verb drift, and plan.json of plan"},
		"a verb without":       {[]ReportFile{hubFile(t, "status.json", func(v *View) error { return v.Status(running(), StatusOptions{}) })}, "", "it is a report of status"},
		"another inventory":    {[]ReportFile{one, edited(hub, `"acme"`, `"other"`)}, "", "shard-1.json is of the inventory acme, and hub.json of other"},
		"of more shards":       {[]ReportFile{hub, one, shardFile(t, 2, 3, "nara", "tokyo")}, "", "shard-1.json is of a run over 2 shards, and shard-2.json of 3 shards"},
		"other sites to share": {[]ReportFile{one, edited(two, inventory.SitesDigest(allSites), inventory.SitesDigest(allSites[1:]))}, "", "did not have the same sites to share"},
		"another site in it":   {[]ReportFile{edited(one, `"kobe"`, `"kyoto"`), two}, "", "have not the sites that they say"},
		"another format":       {[]ReportFile{edited(one, `"format_version": "1"`, `"format_version": "2"`), two}, "", `its format_version is "2", this vpnpush knows "1"`},
		"without an exit code": {[]ReportFile{edited(one, "exit_code", "exit")}, "", "it lacks keys"},
	} {
		m, err := MergeReports(tt.files, at.Add(-time.Hour))
		if tt.err != "" || err != nil {
			if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		if got := strings.Join(m.Missing, "; "); got != tt.missing {
			t.Errorf("%s: missing %q, want %q", name, got, tt.missing)
		}
	}
	m, err := MergeReports([]ReportFile{one, edited(two, `"1.0"`, `"1.1"`)}, time.Time{})
	if err != nil || !slices.Equal(m.Notes, []string{"shard-1.json is of vpnpush 1.0, and shard-2.json of 1.1", "the hub is in none of the reports: it has a run of its own, --limit hub"}) {
		t.Errorf("%v: %q", err, m.Notes)
	}
}

// Of a drift in which all is well a merge says nothing, so that cron mails only news.
func TestMergeSilent(t *testing.T) {
	well := hubFile(t, "hub.json", func(v *View) error {
		return v.Drift(&engine.Drift{At: at, Hosts: []engine.HostDrift{{Name: "vps", Role: tasks.RoleHub, Result: engine.OK, Looked: at}}}, DriftOptions{Inventory: "acme"})
	})
	m, err := MergeReports([]ReportFile{well}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if out, stderr := show(Options{}, func(v *View) { v.Merged(m) }); out+stderr != "" {
		t.Errorf("%q, %q", out, stderr)
	}
	out, _ := show(Options{JSON: true}, func(v *View) { v.Merged(m) })
	if !json.Valid([]byte(out)) {
		t.Errorf("no document: %q", out)
	}
}
