package main

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// proveConfirm is --confirm-timeout, the shortest that there is: who waits for a revert waits so long.
const proveConfirm = chaosConfirm

// proveChanges are what an apply is broken in the middle of.
func proveChanges(b backend) map[string]change {
	move := change{inv: [2]string{by("ipsec.conf"), by("swanctl")}, suites: [2]string{"bookworm", "trixie"}, more: movedBy, stays: true, apart: true}
	update := b.between(chaosFrom, chaosTo)
	update.apart = true
	return map[string]change{
		"update": update,
		"rotate": b.between(chaosPairFrom, chaosPairTo),
		"move":   move,
	}
}

// trial is one run: a fault at a point of an apply of a change.
type trial struct {
	change string
	script string // a digest of what the hosts run
	to     int    // which of the two inventories is applied
	point  point
	fault  proveFault
	tier   int
}

func (r trial) String() string {
	return fmt.Sprintf("%s %d %s %s %d %s", r.change, r.to, r.point.Host, r.point.Mode, r.point.Index, r.fault.name)
}

// trials returns all runs of a change: the cross product of its points and the faults. The
// first tier has one point in each state of a host, and every one for a command that fails;
// the second the other points; the third the way back. Within a tier they come in the order
// of a hash, so that a part of it is a fair sample of all.
func trials(change, script string, p points) []trial {
	var all []trial
	for to, list := range p {
		for _, at := range list {
			for _, f := range proveFaults {
				r := trial{change: change, script: script, to: to, point: at, fault: f, tier: 2}
				if !f.later && (f.every || at.Last) {
					r.tier = 1
				}
				if to == 0 {
					r.tier = 3
				}
				all = append(all, r)
			}
		}
	}
	order := func(r trial) uint32 {
		h := fnv.New32a()
		_, _ = h.Write([]byte(r.String()))
		return h.Sum32()
	}
	slices.SortStableFunc(all, func(a, b trial) int { return cmp.Or(cmp.Compare(a.tier, b.tier), cmp.Compare(order(a), order(b))) })
	return all
}

// prover runs trials on many labs at a time, and keeps what they came to in a file.
type prover struct {
	backend  backend
	dir      string
	jobs     int
	until    time.Time
	chosen   func(trial) bool
	rounds   int // so many of each change, at random by seed; 0: all
	seed     uint64
	progress *os.File

	first sync.Mutex // of the lab that finds the points of a script

	mu    sync.Mutex
	lists map[string][]trial // by change and script
	taken map[string]bool    // of trials, with their script
	alone map[string]bool    // of these, what is not tried together with others
	read  map[string]bool    // changes of which a lab has read the script as it is now
	lines *os.File
}

// kind is a change, on hosts with a small disk or not: a lab has the one, and then the other.
type kind struct {
	change string
	small  bool
}

// TestE2EProve breaks an apply at each of its commands in turn, in each way, on each host:
// whatever happens, each host ends as before or as planned, and the report says which.
//
// Without more it runs CHAOS_ROUNDS of these at random for each change, by CHAOS_SEED. With
// PROVE=DIR (make prove) it runs all, notes each in DIR/results, and goes on from there
// when it is run again. PROVE_SCENARIO, PROVE_FAULTS and PROVE_TIER choose some, by commas;
// PROVE_JOBS labs work at a time; PROVE_FOR ends it early. What went wrong is not run again
// unless PROVE_AGAIN is set.
func TestE2EProve(t *testing.T) {
	t.Parallel()
	if os.Getenv("VPNPUSH_E2E") != "1" {
		lab.Start(t, lab.Options{}) // says why not
	}
	p := &prover{backend: chosen(t), lists: map[string][]trial{}, taken: map[string]bool{}, alone: map[string]bool{}, read: map[string]bool{}}
	changes := []string{"update", "rotate", "move"}
	if s := os.Getenv("PROVE_SCENARIO"); s != "" {
		changes = strings.Split(s, ",")
	}
	p.chosen = chooses(os.Getenv("PROVE_TIER"), os.Getenv("PROVE_FAULTS"))
	if p.dir = os.Getenv("PROVE"); p.dir == "" {
		p.slice(t, changes[:min(2, len(changes))])
		return
	}
	p.all(t, changes)
}

// chooses returns what reports whether a trial is of these tiers and faults; "" for all.
func chooses(tiers, faults string) func(trial) bool {
	of := func(list, one string) bool { return list == "" || slices.Contains(strings.Split(list, ","), one) }
	return func(r trial) bool { return of(tiers, strconv.Itoa(r.tier)) && of(faults, r.fault.name) }
}

// slice runs a few of each change, at random.
func (p *prover) slice(t *testing.T, changes []string) {
	seed := uint64(time.Now().UnixNano()) % 1e6
	p.rounds = 3
	if s := os.Getenv("CHAOS_ROUNDS"); s != "" {
		p.rounds, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("CHAOS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("CHAOS_SEED=%d", seed)
	p.dir, p.progress = t.TempDir(), os.Stderr
	if err := p.resume(); err != nil {
		t.Fatal(err)
	}
	p.seed = seed
	for _, change := range changes {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			p.work(t, kind{change: change})
		})
	}
}

// all runs all that is chosen and not in the results yet.
func (p *prover) all(t *testing.T, changes []string) {
	p.jobs, p.progress = 3, os.Stderr
	if s := os.Getenv("PROVE_JOBS"); s != "" {
		p.jobs, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("PROVE_FOR"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		p.until = time.Now().Add(d)
	}
	if err := errors.Join(p.resume(), p.recall()); err != nil {
		t.Fatal(err)
	}
	t.Run("labs", func(t *testing.T) {
		for j := range p.jobs {
			t.Run(strconv.Itoa(j+1), func(t *testing.T) {
				t.Parallel()
				// each begins with another change, and helps with the others' once that is done
				for i := range changes {
					change := changes[(i+j)%len(changes)]
					// a lab that has seen something wrong is not gone on with
					for n := 0; (p.more(kind{change, false}) || p.more(kind{change, true})) && n < 20; n++ {
						t.Run(fmt.Sprintf("%s %d", change, n), func(t *testing.T) { p.work(t, kind{change: change}) })
					}
				}
			})
		}
	})
	p.tell(t)
}

// resume reads which runs there were, and opens the file for more.
func (p *prover) resume() error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil {
		return err
	}
	had, err := readResults(p.dir)
	if err != nil {
		return err
	}
	for _, r := range had {
		p.taken[r.script+" "+r.trial] = r.verdict == good || r.verdict == missed || os.Getenv("PROVE_AGAIN") == ""
	}
	file := filepath.Join(p.dir, "results")
	b, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if p.lines, err = os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644); err == nil && len(b) > 0 && b[len(b)-1] != '\n' {
		_, err = p.lines.WriteString("\n") // the line was cut short
	}
	return err
}

// recall adds the runs of each change as the last lab of it has found them, so that the table
// tells of all, also where no lab of it is started.
func (p *prover) recall() error {
	files, err := filepath.Glob(filepath.Join(p.dir, "points-*.json"))
	if err != nil {
		return err
	}
	age := func(file string) int64 {
		i, err := os.Stat(file)
		if err != nil {
			return 0
		}
		return i.ModTime().UnixNano()
	}
	slices.SortFunc(files, func(a, b string) int { return cmp.Compare(age(a), age(b)) })
	for _, file := range files {
		change, script, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "points-"), ".json"), "-")
		if err := p.know(kind{change: change}, script, points{}); err != nil {
			return err
		}
	}
	return nil
}

// more reports whether there may be work for a lab of a kind.
func (p *prover) more(k kind) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.until.IsZero() && time.Now().After(p.until) {
		return false
	}
	for _, list := range p.lists {
		for _, r := range list {
			if r.change == k.change && r.fault.small == k.small && !p.taken[r.key()] && p.chosen(r) {
				return true
			}
		}
	}
	// Nobody knows yet. What is recalled does not tell: the script may be another one since.
	if !p.read[k.change] {
		for _, f := range proveFaults {
			if f.small == k.small && (p.chosen(trial{fault: f, tier: 1}) || p.chosen(trial{fault: f, tier: 2})) {
				return true
			}
		}
	}
	return false
}

// take returns the run of most worth for a lab whose hosts stand as they do, false if there
// is none for it. To whole: there is one, once c.at is on all hosts; to turn: the other one.
func (p *prover) take(k kind, script string, c *chaos) (r trial, then step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.until.IsZero() && time.Now().After(p.until) {
		return r, toEnd
	}
	var best, back, rest *trial
	for i := range p.lists[k.change+" "+script] {
		r := &p.lists[k.change+" "+script][i]
		if r.fault.small != k.small || p.taken[r.key()] || !p.chosen(*r) {
			continue
		}
		if best == nil {
			best = r
		}
		// the way back is worth a run, too, where it is likely to be gone to its end
		if back == nil && r.fault.harmless && r.to != c.at {
			back = r
		}
		// the next apply goes on where the last one ended
		if rest == nil && c.half && r.to != c.at && r.point.Host == "tokyo" && r.tier == best.tier {
			rest = r
		}
	}
	switch {
	case best == nil:
		return r, toEnd
	case c.half && rest == nil:
		return r, toWhole
	case c.half:
		best = rest
	case best.to == c.at && back != nil:
		best = back
	case best.to == c.at:
		return r, toTurn
	}
	p.taken[best.key()] = true
	return *best, toRun
}

// step is what a lab does next.
type step int

const (
	toEnd step = iota
	toRun
	toWhole
	toTurn
)

// work runs trials on a lab of its own until there are no more, or one has ended as it
// must not.
func (p *prover) work(t *testing.T, k kind) {
	c := &chaos{backend: p.backend, change: proveChanges(p.backend)[k.change], confirm: proveConfirm}
	c.start(t)
	script := p.learn(t, c, k)
	if p.rounds == 0 {
		c.keep(t)
	}
	for !t.Failed() {
		if group := p.takeGroup(k, script, c); group != nil {
			p.together(t, c, group)
			continue
		}
		r, then := p.take(k, script, c)
		switch then {
		case toEnd:
			if k.small || p.rounds > 0 || !p.more(kind{k.change, true}) {
				return
			}
			// the same hosts, with a small disk
			k.small, c.booted = true, smallDisks(c)
			c.back(t)
		case toWhole:
			c.whole(t)
		case toTurn:
			if c.kept && c.at == 1 {
				c.back(t)
			} else {
				c.turn(t)
			}
		case toRun:
			p.run(t, c, r)
		}
	}
}

// smallDisks gives the hosts of c, once they have booted, a small disk for what an apply writes.
func smallDisks(c *chaos) func(t *testing.T) {
	return func(t *testing.T) {
		for _, h := range chaosHosts {
			c.l.MustRun(h, "sh", "-ec", `mkdir /small; mount -t tmpfs -o size=24m tmpfs /small
cp -a /etc /var/lib/vpnpush /small; mount --bind /small/etc /etc; mount --bind /small/vpnpush /var/lib/vpnpush`)
		}
	}
}

// learn finds the points of a change, and returns a digest of its script. Their states,
// which cost more than all else of an apply, are looked at by the first lab that has the
// script.
func (p *prover) learn(t *testing.T, c *chaos, k kind) (script string) {
	t.Helper()
	var scripts string
	find := func(states bool) (found points) {
		scripts = ""
		c.learn(t, record(states), func(to int) {
			for _, h := range chaosHosts {
				list, s := recall(t, c.l, h)
				found[to] = append(found[to], list...)
				scripts += s
			}
		})
		script = digest(scripts)
		return found
	}
	found := find(false)
	if p.rounds == 0 {
		p.first.Lock()
		defer p.first.Unlock()
		if _, err := os.Stat(found.file(p.dir, k.change+"-"+script)); err != nil {
			found = find(true)
		}
	}
	if err := os.WriteFile(filepath.Join(p.dir, "scripts-"+k.change+"-"+script), []byte(anApply.ReplaceAllString(scripts, "*")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.know(k, script, found); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read[k.change] = true
	return script
}

// know adds the runs of a change to what is to be done.
func (p *prover) know(k kind, script string, found points) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := k.change + " " + script
	if p.lists[name] != nil {
		return nil
	}
	found, err := found.load(p.dir, k.change+"-"+script)
	if err != nil {
		return err
	}
	// what other scripts did is over
	for other := range p.lists {
		if strings.HasPrefix(other, k.change+" ") {
			delete(p.lists, other)
		}
	}
	list := trials(k.change, script, found)
	if p.rounds > 0 {
		// a disk of its own is more than a few runs are worth
		list = slices.DeleteFunc(list, func(r trial) bool { return r.fault.small || r.fault.later })
		rand.New(rand.NewPCG(p.seed, 0)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:p.rounds]
	}
	p.lists[name] = list
	return nil
}

// run is one run, from a whole state of the hosts to a whole one.
func (p *prover) run(t *testing.T, c *chaos, r trial) {
	res := result{script: r.script, trial: r.String(), tier: r.tier, verdict: "broken off", point: r.point.Command}
	defer func() { p.note(t, c, res) }()
	before, _ := hostCPU(c.l)
	start := time.Now()
	// Where what fails is its going itself, an empty folder stays, and nothing but that.
	f := r.fault.of(r.point.Mode, r.point.Index)
	if folder, ok := strings.CutPrefix(r.point.Command, "rmdir -- "); ok && r.fault.name == "a command fails" {
		f.stuck = folder
	}
	d := c.disturb(t, r.point.Host, f, r.fault.meddler())
	if r.fault.harmless && d.came && !d.all("planned") && len(d.wrong) == 0 && !r.fault.said(d) {
		d.is("all it had to do was to wait, and it ends with %v, %v", d.results, d.errors)
	}
	p.goesOn(c, &d)
	res.hub, res.site, res.code, res.took, res.wrong = d.stands["vps"], d.stands["tokyo"], d.code, time.Since(start), d.wrong
	if d.point != "" {
		res.point = aNumber.ReplaceAllString(d.point, "*")
	}
	switch {
	case len(d.wrong) > 0:
		res.verdict = wrong
	case !d.came:
		res.verdict = missed
	default:
		res.verdict = good
	}
	switch {
	case d.all("planned"):
		c.at, c.half = r.to, false
	case d.all("before"):
	case c.apart && d.stands["vps"] == "planned" && d.stands["tokyo"] == "before":
		c.half = true
	case res.verdict == wrong: // the lab goes
	default:
		// half-way between: the next apply goes the one way or the other
		if r.point.Index%2 == 0 {
			c.at = r.to
		}
		res.repaired = true
		was := res.verdict
		res.verdict = "not made whole"
		c.whole(t)
		res.verdict = was
	}
	after, _ := hostCPU(c.l)
	res.cpu = after - before + d.cpu
	if res.verdict == wrong {
		t.Errorf("%s: %s\n%v %v\n%s", res.trial, res.point, d.results, d.errors, strings.Join(d.wrong, "\n"))
	}
}

// goesOn finds out that the next apply has nothing to do, where all is as planned and the
// hosts are then put back without one. Everywhere else the next apply is a run, or whole.
func (p *prover) goesOn(c *chaos, d *chaosRun) {
	if !c.kept || !d.all("planned") || len(d.wrong) > 0 {
		return
	}
	if r := c.l.Vpnpush("apply", "--yes", "--limit", "vps,tokyo"); r.Code != 0 {
		d.is("the next apply exits with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)
	}
}

// hostCPU returns the processor time that all hosts of a lab have taken.
func hostCPU(l *lab.Lab) (time.Duration, error) {
	pid, err := os.ReadFile(l.Dir + "/pid")
	if err != nil {
		return 0, err
	}
	id, err := os.ReadFile(l.Dir + "/id")
	if err != nil {
		return 0, err
	}
	b, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "root", l.Dir, "cg", "vpnpush-lab-"+strings.TrimSpace(string(id)), "cpu.stat"))
	if err != nil {
		return 0, err
	}
	var usec int64
	_, err = fmt.Sscanf(string(b), "usage_usec %d", &usec)
	return time.Duration(usec) * time.Microsecond, err
}

// tell prints the table, and fails the test if anything in the results is not as it must be.
func (p *prover) tell(t *testing.T) {
	all, err := readResults(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	planned := map[string]trial{}
	for name, list := range p.lists {
		for _, r := range list {
			planned[strings.Fields(name)[1]+" "+r.String()] = r
		}
	}
	table, bad := tabulate(all, planned)
	fmt.Printf("\n%s", table)
	if bad > 0 {
		t.Errorf("%d runs went wrong: see %s", bad, filepath.Join(p.dir, "results"))
	}
}
