package main

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a run comes to, beside words for one that did not come to its end.
const (
	good   = "good"
	wrong  = "WRONG"
	missed = "missed" // the apply was over before the fault came
)

// result is a line of the results.
type result struct {
	script, trial string
	tier          int
	verdict       string
	hub, site     string
	code          int
	took, cpu     time.Duration
	repaired      bool
	point         string
	wrong         []string
}

// note writes a result's line.
func (p *prover) note(t *testing.T, c *chaos, r result) {
	p.mu.Lock()
	defer p.mu.Unlock()
	field := strings.NewReplacer("\t", " ", "\n", "\\n").Replace // a command may have a tab in it, too
	line := strings.Join([]string{time.Now().UTC().Format(time.RFC3339), r.script, r.trial, strconv.Itoa(r.tier), r.verdict, r.hub, r.site, strconv.Itoa(r.code),
		fmt.Sprintf("%.1f", r.took.Seconds()), fmt.Sprintf("%.1f", r.cpu.Seconds()), strconv.FormatBool(r.repaired), field(r.point), field(strings.Join(r.wrong, "; "))}, "\t") + "\n"
	if _, err := p.lines.WriteString(line); err != nil {
		t.Error(err)
	}
	if p.progress != nil {
		fmt.Fprintf(p.progress, "%-14s %-50s %-9s %-9s %4d %5.1fs %4.1fs  %.40s\n", r.verdict, r.trial, r.hub, r.site, r.code, r.took.Seconds(), r.cpu.Seconds(), r.point)
	}
}

// readResults reads the file of results; of a run that is there twice the last counts.
func readResults(dir string) ([]result, error) {
	f, err := os.Open(filepath.Join(dir, "results"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []result
	at := map[string]int{}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		w := strings.Split(s.Text(), "\t")
		if len(w) != 13 {
			continue // cut short
		}
		r := result{script: w[1], trial: w[2], verdict: w[4], hub: w[5], site: w[6], point: w[11]}
		r.tier, _ = strconv.Atoi(w[3])
		if w[12] != "" {
			r.wrong = []string{w[12]}
		}
		if i, ok := at[r.script+" "+r.trial]; ok {
			all[i] = r
			continue
		}
		at[r.script+" "+r.trial] = len(all)
		all = append(all, r)
	}
	return all, s.Err()
}

// tabulate makes a table of results: how many of the runs that there are were run, by tier,
// change and fault, and what they came to. Results of other scripts than those that were
// met are counted apart. bad is how many are not as they must be.
func tabulate(all []result, planned map[string]trial) (table string, bad int) {
	type row struct{ runs, of, before, planned, mixed, missed, wrong int }
	rows := map[string]*row{}
	at := func(key string) *row {
		if rows[key] == nil {
			rows[key] = &row{}
		}
		return rows[key]
	}
	keys := func(r trial) []string {
		return []string{fmt.Sprintf("tier %d", r.tier), r.change, r.fault.name, "all"}
	}
	for _, r := range planned {
		for _, k := range keys(r) {
			at(k).of++
		}
	}
	old := 0
	for _, res := range all {
		r, ok := planned[res.script+" "+res.trial]
		if !ok {
			old++
			continue
		}
		for _, k := range keys(r) {
			w := at(k)
			w.runs++
			switch {
			case res.verdict == missed:
				w.missed++
			case res.verdict != good:
				w.wrong++
			case res.hub == "before" && res.site == "before":
				w.before++
			case res.hub == "planned" && res.site == "planned":
				w.planned++
			default:
				w.mixed++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-22s %6s %6s %8s %8s %8s %8s %8s\n", "", "runs", "of", "before", "planned", "each", "no fault", "wrong")
	order := []string{"tier 1", "tier 2", "tier 3", "update", "rotate", "move"}
	for _, f := range proveFaults {
		order = append(order, f.name)
	}
	for _, k := range append(order, "all") {
		if w := rows[k]; w != nil {
			fmt.Fprintf(&b, "%-22s %6d %6d %8d %8d %8d %8d %8d\n", k, w.runs, w.of, w.before, w.planned, w.mixed, w.missed, w.wrong)
		}
	}
	if w := rows["all"]; w != nil {
		bad = w.wrong
	}
	if old > 0 {
		fmt.Fprintf(&b, "%d results are of other scripts, and do not count\n", old)
	}
	return b.String(), bad
}

// What was run is known again, a line that was cut short is not taken for one, and of a run
// that was run again the last line counts. Of what other scripts came to nothing is told.
func TestProveResults(t *testing.T) {
	dir := t.TempDir()
	line := func(script, trial, verdict, hub, site string) string {
		return strings.Join([]string{"2026-11-28T16:00:00Z", script, trial, "1", verdict, hub, site, "0", "1.0", "0.5", "false", "mv a b", ""}, "\t") + "\n"
	}
	text := line("abc", "update 1 vps run 1 power cut", wrong, "NEITHER", "before") +
		line("abc", "update 1 vps run 1 power cut", good, "before", "before") +
		line("abc", "update 1 vps run 2 power cut", good, "planned", "before") +
		line("old", "update 1 vps run 2 power cut", wrong, "NEITHER", "before") +
		line("abc", "update 1 vps run 3 power cut", "broken off", "", "") +
		"2026-11-28T16:00:00Z\tabc\tupdate 1 vps ru"
	if err := os.WriteFile(filepath.Join(dir, "results"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	had, err := readResults(dir)
	if err != nil || len(had) != 4 || had[0].verdict != good {
		t.Fatalf("%v, %+v", err, had)
	}
	planned := map[string]trial{}
	for i := range 5 {
		r := trial{change: "update", script: "abc", to: 1, tier: 1, point: point{Host: "vps", Mode: "run", Index: i + 1}, fault: proveFaults[0]}
		planned["abc "+r.String()] = r
	}
	table, bad := tabulate(had, planned)
	if want := regexp.MustCompile(`(?m)^all +3 +5 +1 +0 +1 +0 +1$`); bad != 1 || !want.MatchString(table) || !strings.Contains(table, "\n1 results are of other scripts") {
		t.Errorf("%d went wrong\n%s", bad, table)
	}
}

// A command may have a tab in it, or lines: its result is a line of as many words as any.
func TestProveNotes(t *testing.T) {
	p := &prover{dir: t.TempDir()}
	f, err := os.Create(filepath.Join(p.dir, "results"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p.lines = f
	p.note(t, nil, result{script: "abc", trial: "update 1 vps run 1 power cut", tier: 1, verdict: wrong, point: "grep -e \ta\nb", wrong: []string{"x\ty", "z\n"}})
	got, err := readResults(p.dir)
	if err != nil || len(got) != 1 || got[0].point != `grep -e  a\nb` || !slices.Equal(got[0].wrong, []string{`x y; z\n`}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Results that are whole are no reason not to look at the script: it may be another one
// since, of which there are none.
func TestProveLooksAtTheScript(t *testing.T) {
	p := &prover{dir: t.TempDir(), chosen: chooses("", ""), lists: map[string][]trial{}, taken: map[string]bool{}, read: map[string]bool{}}
	if err := p.know(kind{change: "move"}, "abc", points{{{"vps", "run", 1, "mv a b", true}}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range p.lists["move abc"] {
		p.taken[r.key()] = true
	}
	if k := (kind{change: "move"}); !p.more(k) {
		t.Error("nobody looks")
	} else if p.read["move"] = true; p.more(k) {
		t.Error("there is more to do, and all is done")
	}
}

// The first tier has one point in each state of a host, and every one for a command that
// fails; nothing is left out of all tiers together, and nothing is in two.
func TestProveTrials(t *testing.T) {
	forth := []point{{"vps", "run", 1, "mkdir -p /run/vpnpush", true}, {"vps", "run", 2, "grep a b", false}, {"vps", "run", 3, "mv a b", true}}
	back := []point{{"tokyo", "confirm", 1, "mv a b", true}}
	seen, tiers := map[string]bool{}, map[int]int{}
	later := 0
	for _, f := range proveFaults {
		if f.later {
			later++
		}
	}
	for _, r := range trials("update", "abc", points{back, forth}) {
		if seen[r.String()] {
			t.Errorf("%s is there twice", r)
		}
		seen[r.String()] = true
		tiers[r.tier]++
	}
	n := len(proveFaults)
	if want := map[int]int{1: 2*(n-later) + 1, 2: 2*later + n - 1, 3: n}; !maps.Equal(tiers, want) {
		t.Errorf("by tier %v, want %v", tiers, want)
	}
}

// Harmless faults are tried together, some points apart, and never two of those that let the
// host work on at one point of an apply; none is left out, and none is in two groups.
func TestProveTogether(t *testing.T) {
	var list []point
	for _, host := range chaosHosts {
		for i := range 20 {
			list = append(list, point{host, "run", i + 1, "mv a b", true}, point{host, "confirm", i + 1, "mv a b", true})
		}
	}
	all := trials("update", "abc", points{nil, append(list, point{"vps", "run", 21, "flock -n 9", true})})
	all = slices.DeleteFunc(all, func(r trial) bool { return r.point.unlocked() && r.fault.name != "second apply" })
	seen := map[string]bool{}
	for _, group := range togetherOf(all, func(trial) bool { return true }) {
		on, stops := map[point]int{}, []point{}
		for _, r := range group {
			if r.fault.on > 0 {
				on[r.point]++
			}
			if seen[r.key()] || !r.fault.harmless || on[r.point] > 1 {
				t.Errorf("%s is one too many", r)
			}
			seen[r.key()] = true
			if len(stops) > 0 && stops[len(stops)-1] == r.point {
				continue
			}
			if last := len(stops) - 1; last >= 0 && stops[last].Host == r.point.Host && stops[last].Mode == r.point.Mode && r.point.Index < stops[last].Index+4 {
				t.Errorf("the host does not work on between %v and %v", stops[last], r.point)
			}
			stops = append(stops, r.point)
		}
		if len(stops) > togetherStops {
			t.Errorf("an apply is stopped %d times", len(stops))
		}
	}
	for _, r := range all {
		if (r.fault.harmless && !r.point.unlocked()) != seen[r.key()] {
			t.Errorf("%s is in no group", r)
		}
	}
}

// What a command of the apply script changes that no digest of the host shows makes another
// state of it.
func TestProveKnown(t *testing.T) {
	for command, want := range map[string]bool{
		"mv -fT -- a b": true, "systemctl --quiet is-active x.service": true, "ipsec status": true, "ipsec --piddir": true, "apt-get -s -y install x": true,
		"systemctl start x.service": false, "ipsec rereadsecrets": false, "swanctl --load-all": false, "flock -n 9": false, "apt-get -qq -y install x": false,
		"systemd-run --quiet true": false, "unshare --net": false, "sleep 1": false,
	} {
		if got := known(command); got != want {
			t.Errorf("%s: %v", command, got)
		}
	}
}
