package main

import (
	"cmp"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// togetherStops is how often one apply is stopped, so that it is over before its guard's time
// is, and the host works on for a while between two of them.
const togetherStops = 12

// togetherFor is how long it is stopped on a host; what is not tried by then is for another.
const togetherFor = 90 * time.Second

// stop stands in the place of a fault on each host: where the file stop-MODE-INDEX is there,
// the command with that number waits until go-MODE-INDEX is, and at-MODE-INDEX tells of it.
const stop = `
case $caller in *apply.shconfirm*) mode=confirm ;; *) mode=run ;; esac
i=1
set -C
until [ ! -e "/run/chaos/$mode-$i" ] && printf '' >"/run/chaos/$mode-$i"; do i=$((i + 1)); done 2>/dev/null
set +C
if [ -e "/run/chaos/stop-$mode-$i" ]; then
    printf '%s\n' "$said" >"/run/chaos/at-$mode-$i"
    j=0
    while [ -e /run/chaos/when ] && [ ! -e "/run/chaos/go-$mode-$i" ] && [ $j -lt 900 ]; do j=$((j + 1)); sleep 0.1; done
fi
`

// takeGroup returns runs that one apply can be met with in turn, nil for none: harmless
// faults, at every k-th point of it. What an apply comes to that only has to wait meanwhile is
// the same for each; a drift and a second apply are judged where they are tried.
func (p *prover) takeGroup(k kind, script string, c *chaos) (group []trial) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.small || c.half || !c.kept || !p.until.IsZero() && time.Now().After(p.until) {
		return nil
	}
	list := p.lists[k.change+" "+script]
	tier := 0
	for _, r := range list {
		if r.fault.small == k.small && p.chosen(r) && !p.taken[r.key()] {
			tier = r.tier // they are in this order
			break
		}
	}
	groups := togetherOf(list, func(r trial) bool {
		return r.tier == tier && r.to != c.at && p.chosen(r) && !p.alone[r.key()]
	})
	for _, all := range groups {
		for _, r := range all {
			if !p.taken[r.key()] {
				p.taken[r.key()] = true
				group = append(group, r)
			}
		}
		if group != nil {
			return group
		}
	}
	return nil
}

// togetherOf parts the harmless ones of trials that are eligible into groups: of those that let
// the host work on there is one at a point.
func togetherOf(list []trial, eligible func(trial) bool) [][]trial {
	var all []trial
	for _, r := range list {
		// two that begin at once are another matter
		if r.fault.harmless && eligible(r) && !(r.fault.name == "second apply" && r.point.unlocked()) {
			all = append(all, r)
		}
	}
	// as an apply comes to them; at a point the line is cut last, for the host works on then
	slices.SortStableFunc(all, func(a, b trial) int {
		return cmp.Or(cmp.Compare(a.point.Host, b.point.Host), -cmp.Compare(a.point.Mode, b.point.Mode), cmp.Compare(a.point.Index, b.point.Index), cmp.Compare(a.fault.on, b.fault.on))
	})
	at := map[point]int{}
	for _, r := range all {
		if _, ok := at[r.point]; !ok {
			at[r.point] = len(at)
		}
	}
	n := (len(at) + togetherStops - 1) / togetherStops
	groups := make([][]trial, 2*n)
	for _, r := range all {
		g := at[r.point] % n
		if r.fault.on == 2 {
			g += n
		}
		groups[g] = append(groups[g], r)
	}
	return groups
}

// together is an apply that is stopped at the point of each run of a group in turn, where its
// fault is tried; each is noted as a run of its own. Does the apply not end as planned, then
// each is run again for itself, to find which it was.
func (p *prover) together(t *testing.T, c *chaos, group []trial) {
	results := make([]result, len(group))
	stops := map[string][]string{}
	for i, r := range group {
		results[i] = result{script: r.script, trial: r.String(), tier: r.tier, verdict: missed, point: r.point.Command}
		if s := "stop-" + r.at(); !slices.Contains(stops[r.point.Host], s) {
			stops[r.point.Host] = append(stops[r.point.Host], s)
		}
	}
	defer func() {
		for _, res := range results {
			if res.verdict != "" {
				p.note(t, c, res)
			}
		}
	}()
	before, _ := hostCPU(c.l)
	start := time.Now()
	watch := func(host string) fault {
		return fault{mode: "[rc]*", n: 1, action: stop, always: stop, notes: stops[host]}
	}
	arm(t, c.l, "tokyo", watch("tokyo"))
	c.confirm = 60 * time.Second // it is stopped while it waits, too
	d := c.disturb(t, "vps", watch("vps"), func(c *chaos, t *testing.T, _ string, cmd *exec.Cmd, done <-chan struct{}) []string {
		var hosts sync.WaitGroup
		var one sync.Mutex // at a time
		for _, h := range chaosHosts {
			hosts.Go(func() {
				var since time.Time
				for {
					mode, ok := stopped(c, h, done)
					if !ok {
						return
					}
					if since.IsZero() {
						since = time.Now()
					}
					late := time.Since(since) > togetherFor
					one.Lock()
					release := func() { c.l.MustRun(h, "sh", "-c", `mv "/run/chaos/at-$1" "/run/chaos/go-$1"`, "go", mode) }
					let := sync.OnceFunc(release)
					for i, r := range group {
						if r.point.Host == h && r.at() == mode && late {
							results[i].verdict = ""
						} else if r.point.Host == h && r.at() == mode {
							results[i].verdict, results[i].wrong = good, r.fault.beside(c, t, h, cmd, let)
						}
					}
					let()
					one.Unlock()
				}
			})
		}
		hosts.Wait()
		return nil
	})
	c.confirm = proveConfirm
	disarm(t, c.l, "tokyo")
	p.goesOn(c, &d)
	after, _ := hostCPU(c.l)
	bad := len(d.wrong) > 0 || !d.all("planned")
	if bad {
		t.Errorf("%d harmless faults in one apply, and it ends with %v, %v\n%s", len(group), d.results, d.errors, strings.Join(d.wrong, "\n"))
	}
	for i, r := range group {
		res := &results[i]
		res.hub, res.site, res.code = d.stands["vps"], d.stands["tokyo"], d.code
		res.took, res.cpu = time.Since(start)/time.Duration(len(group)), (after-before+d.cpu)/time.Duration(len(group))
		switch {
		case len(res.wrong) > 0:
			res.verdict = wrong
			t.Errorf("%s: %s\n%s", res.trial, res.point, strings.Join(res.wrong, "\n"))
		case bad || res.verdict == "":
			res.verdict = "" // of what is bad it is not known which
			p.mu.Lock()
			p.taken[r.key()], p.alone[r.key()] = false, bad
			p.mu.Unlock()
		}
	}
	c.at, c.half = 1-c.at, false
}

// stopped waits until the apply is stopped on a host, and tells where; false once it is over.
func stopped(c *chaos, host string, done <-chan struct{}) (at string, ok bool) {
	for {
		out, _ := c.l.Run(host, "sh", "-c", `n=0
until [ $n -ge 50 ]; do
    for f in /run/chaos/at-*; do [ ! -s "$f" ] || { echo "${f#*/at-}"; exit; }; done
    n=$((n + 1)); sleep 0.1
done`)
		if out != "" {
			return strings.TrimSpace(out), true
		}
		select {
		case <-done:
			return "", false
		default:
		}
	}
}

// key names a trial of a script.
func (r trial) key() string { return r.script + " " + r.String() }

// at is the number of its point among those of its mode on its host.
func (r trial) at() string { return r.point.Mode + "-" + strconv.Itoa(r.point.Index) }
