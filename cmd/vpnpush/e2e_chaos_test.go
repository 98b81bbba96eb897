package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// The two inventories between which chaos goes to and fro: on the hub a site is
// added and taken away, and another's subnet moves; on tokyo its conn changes.
// The tunnel of tokyo works in each, and between one's end and the other's.
const (
	chaosFrom = labHub + labTokyo + labNagoya
	chaosTo   = labHub + labTokyo + labOsaka + "\n[sites.nagoya]\nsubnets = [\"192.168.30.0/24\"]\npsk = \"nagoya-canary-0123456789abcdef\"\n[tunnel]\ndpd_delay = \"45s\"\n"
)

// chaosHosts are those that are there; the other sites are only known to the hub.
var chaosHosts = []string{"vps", "tokyo"}

// The two between which a tunnel changes on both ends: its key, and proposals that have
// nothing in common. An end of the one does not come up with one of the other.
const (
	chaosPairFrom = labHub + labTokyo + "[tunnel]\nesp = [\"aes256-sha256\"]\n"
	chaosPairTo   = labHub + "\n[sites.tokyo]\nsubnets = [\"192.168.1.0/24\"]\npsk = \"second-canary-0123456789abcdef\"\n[tunnel]\nesp = [\"aes128-sha256\"]\n"
)

const chaosConfirm = 10 * time.Second

// chaos is a lab whose hosts are in one of two known states.
type chaos struct {
	backend
	l     *lab.Lab
	at    int                  // the inventory that was applied last, on all hosts
	inv   [2]string            // inventories
	state [2]map[string]string // what each makes of each host
	calls [2]map[string]int    // how many commands apply.sh calls to get there
}

// newChaos learns the states from applies that nothing disturbs.
func newChaos(t *testing.T, b backend, from, to string) *chaos {
	c := &chaos{backend: b, inv: [2]string{from, to}}
	c.l = lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}}})
	b.write(t, c.l, c.inv[0])
	vpnpush(t, c.l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	first := c.look(t)
	for _, h := range chaosHosts {
		bug(t, c.l, h)
	}
	for _, to := range []int{1, 0} {
		b.write(t, c.l, c.inv[to])
		for _, h := range chaosHosts {
			arm(t, c.l, h, fault{mode: "run", n: 1 << 30})
		}
		vpnpush(t, c.l, 0, "apply", "--yes", "--limit", "vps,tokyo")
		c.state[to] = c.look(t)
		c.calls[to] = map[string]int{}
		for _, h := range chaosHosts {
			c.calls[to][h] = calls(t, c.l, h)
			disarm(t, c.l, h)
		}
	}
	for _, h := range chaosHosts {
		if d := difference(first[h], c.state[0][h]); d != "" {
			t.Fatalf("%s: going there and back is not going nowhere:\n%s", h, d)
		}
		if c.state[0][h] == c.state[1][h] {
			t.Fatalf("%s: the apply changes nothing that the test sees", h)
		}
	}
	return c
}

func (c *chaos) look(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, h := range chaosHosts {
		m[h] = standing(t, c.l, h)
	}
	return m
}

// run is one apply of the other inventory with a fault in it.
type chaosRun struct {
	code    int
	out     string
	results map[string]string // by host
	errors  map[string]string
	took    time.Duration
	point   string // the command that the fault came at
	stands  map[string]string
}

// apply applies the other inventory while during goes on, lets everything come
// to its end, and looks. A host that is neither as before nor as planned, that
// keeps something to be done, or of which the report says what is not so, fails
// the test.
func (c *chaos) apply(t *testing.T, host string, f fault, during func(cmd *exec.Cmd, done <-chan struct{})) chaosRun {
	t.Helper()
	l, to := c.l, 1-c.at
	c.write(t, l, c.inv[to])
	arm(t, l, host, f)
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	cmd := l.Command(ctx, "apply", "--yes", "--json", "--limit", "vps,tokyo", "--confirm-timeout", chaosConfirm.String())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	if during != nil {
		during(cmd, done)
	}
	<-done
	r := chaosRun{code: cmd.ProcessState.ExitCode(), out: stderr.String(), took: time.Since(start), results: map[string]string{}, errors: map[string]string{}, stands: map[string]string{}}
	if ctx.Err() != nil {
		t.Errorf("vpnpush hangs")
	}
	var doc struct {
		Hosts []struct{ Name, Result, Error string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil && r.code >= 0 {
		t.Errorf("no report: %v\n%s%s", err, &stdout, &stderr)
	}
	for _, h := range doc.Hosts {
		r.results[h.Name], r.errors[h.Name] = h.Result, h.Error
	}
	for _, h := range chaosHosts {
		// a host that is booting cannot be asked yet
		l.Wait(60*time.Second, h+" is up", func() bool {
			out, _ := l.Run(h, "systemctl", "is-system-running")
			return strings.TrimSpace(out) == "running" || strings.TrimSpace(out) == "degraded"
		})
		if h == host {
			r.point = disarm(t, l, h)
		}
		if left := over(t, l, h, 40*time.Second); left != "" {
			t.Errorf("%s: left behind:\n%s", h, left)
		}
	}
	ends := 0
	for h, now := range c.look(t) {
		switch now {
		case c.state[to][h]:
			r.stands[h] = "planned"
			ends++
		case c.state[1-to][h]:
			r.stands[h] = "before"
		default:
			if c.fitsBoth(t, h) {
				r.stands[h] = "both"
				break
			}
			r.stands[h] = "NEITHER"
			t.Errorf("%s is neither as before nor as planned; from before:\n%s\nfrom planned:\n%s", h, difference(c.state[1-to][h], now), difference(c.state[to][h], now))
		}
		if msg := lie(r.results[h], r.errors[h], r.stands[h]); msg != "" && r.code >= 0 {
			t.Errorf("%s stands as %s, and the report says %s: %s\n%s", h, r.stands[h], msg, r.errors[h], r.out)
		}
	}
	c.dialsAnew(t)
	down := strings.Contains(stdout.String(), `"up": false`) // a hub that was rebooted at the end
	if want := codeOf(r.results); r.code >= 0 && r.code != want && r.code != 130 && !(down && want == 0 && r.code == 4) {
		t.Errorf("exit code %d, want %d for %v", r.code, want, r.results)
	}
	// go on from a whole state
	if ends > 0 {
		c.at = to
	}
	if ends != len(chaosHosts) {
		c.write(t, l, c.inv[c.at])
		vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	}
	for h, now := range c.look(t) {
		if d := difference(c.state[c.at][h], now); d != "" {
			t.Fatalf("%s: an apply after the fault does not make it as planned:\n%s", h, d)
		}
	}
	l.Wait(40*time.Second, "the tunnel is up", func() bool {
		return up(l, "tokyo", "tokyo")
	})
	return r
}

// fitsBoth reports whether a host's end of tokyo's tunnel is between before and planned:
// it fits both.
func (c *chaos) fitsBoth(t *testing.T, host string) bool {
	t.Helper()
	out := c.l.MustRun(host, "sh", "-c", "grep -c canary "+c.secrets("tokyo")+"; grep 'esp[=_]' "+c.conf("tokyo"))
	return strings.HasPrefix(out, "2\n") && (host != "vps" || strings.Contains(out, ","))
}

// dialsAnew fails the test if the ends of tokyo's tunnel do not fit: what an SA of before
// hides, a new one shows.
func (c *chaos) dialsAnew(t *testing.T) {
	t.Helper()
	c.l.MustRun("tokyo", "systemctl", "restart", c.unit)
	c.l.Wait(45*time.Second, "tokyo dials anew, with what each end has after the fault", func() bool {
		return up(c.l, "tokyo", "tokyo")
	})
}

// lie tells what is wrong about a host's result, "" for nothing.
func lie(result, why, stands string) string {
	if stands == "both" {
		// it says so, or it is said of the other end that it is not known
		if strings.Contains(why, "it still takes") || result == "changed" || result == "unknown" {
			return ""
		}
		return result
	}
	switch result {
	case "changed":
		if stands != "planned" {
			return "changed"
		}
	case "failed":
		if strings.Contains(why, "all is in place") != (stands == "planned") {
			return "failed"
		}
	case "rolled-back", "locked", "stale", "skipped", "unreachable", "ok":
		if stands != "before" {
			return result
		}
	default: // "unknown" too: when all is over, it can be known
		return result
	}
	return ""
}

// codeOf is the exit code that a report calls for.
func codeOf(results map[string]string) int {
	has := map[string]bool{}
	for _, r := range results {
		has[r] = true
	}
	switch {
	case has["unknown"]:
		return 8
	case has["rolled-back"]:
		return 5
	case has["locked"], has["stale"]:
		return 7
	case has["failed"], has["unreachable"]:
		return 4
	}
	return 0
}

// chaosFaults are what can happen at any point.
var chaosFaults = []struct {
	name   string
	mode   string
	action string
	during func(t *testing.T, c *chaos, host string, cmd *exec.Cmd, done <-chan struct{})
}{
	{"a command fails", "run", "exit 1", nil},
	{"apply killed -9", "run", "systemctl kill -s KILL 'vpnpush-apply-*.service'; sleep 60", nil},
	{"power cut", "run", "reboot -ff; sleep 60", nil},
	{"orderly reboot", "run", "systemctl --no-block reboot", nil},
	{"line cut for 2 s", "run", hold, cutFor(2 * time.Second)},
	{"line cut for 15 s", "run", hold, cutFor(15 * time.Second)},
	{"client killed -9", "run", hold, func(t *testing.T, c *chaos, host string, cmd *exec.Cmd, done <-chan struct{}) {
		if fired(c.l, host, done) {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			release(t, c.l, host)
		}
	}},
	{"Ctrl-C", "run", hold, func(t *testing.T, c *chaos, host string, cmd *exec.Cmd, done <-chan struct{}) {
		if fired(c.l, host, done) {
			interrupt(t, cmd)
			release(t, c.l, host)
		}
	}},
	{"power cut at the confirmation", "confirm", "reboot -ff; sleep 60", nil},
}

// interrupt sends vpnpush a Ctrl-C, and not the nsenter that waits for it.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func cutFor(d time.Duration) func(*testing.T, *chaos, string, *exec.Cmd, <-chan struct{}) {
	return func(t *testing.T, c *chaos, host string, cmd *exec.Cmd, done <-chan struct{}) {
		if !fired(c.l, host, done) {
			return
		}
		mend := cut(t, c.l, host)
		release(t, c.l, host)
		time.Sleep(d)
		mend()
	}
}

var aNumber = regexp.MustCompile(`\d{8}T\d{6}-[0-9a-f]{8}|\.vpnpush\.\w+`)

// Faults at random points of an apply: whatever happens, each host ends as before
// or as planned, and the report says which. CHAOS_ROUNDS and CHAOS_SEED set how
// many, and which.
func TestE2EChaos(t *testing.T) {
	t.Parallel()
	runChaos(t, chaosFrom, chaosTo)
}

// The same where a tunnel changes on both ends: whatever happens to either of them, or to
// the client, the ends fit.
func TestE2EChaosPair(t *testing.T) {
	t.Parallel()
	runChaos(t, chaosPairFrom, chaosPairTo)
}

func runChaos(t *testing.T, from, to string) {
	rounds, seed := 3, uint64(time.Now().UnixNano())%1e6
	if s := os.Getenv("CHAOS_ROUNDS"); s != "" {
		rounds, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("CHAOS_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	c := newChaos(t, chosen(t), from, to)
	t.Logf("CHAOS_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var table strings.Builder
	fmt.Fprintf(&table, "%-3s %-30s %-6s %-9s %-9s %4s %5s  %s\n", "", "fault", "host", "hub", "site", "code", "took", "before command")
	for i := range rounds {
		f := chaosFaults[rnd.IntN(len(chaosFaults))]
		host := chaosHosts[rnd.IntN(len(chaosHosts))]
		n := 1 + rnd.IntN(c.calls[1-c.at][host])
		if f.mode != "run" {
			n = 1 + rnd.IntN(8)
		}
		ok := t.Run(fmt.Sprintf("%d %s, %s, %d", i+1, f.name, host, n), func(t *testing.T) {
			var during func(*exec.Cmd, <-chan struct{})
			if f.during != nil {
				during = func(cmd *exec.Cmd, done <-chan struct{}) { f.during(t, c, host, cmd, done) }
			}
			r := c.apply(t, host, fault{mode: f.mode, n: n, action: f.action}, during)
			line := fmt.Sprintf("%-3d %-30s %-6s %-9s %-9s %4d %4.0fs  %d: %.40s\n", i+1, f.name, host, r.stands["vps"], r.stands["tokyo"], r.code, r.took.Seconds(), n, aNumber.ReplaceAllString(r.point, "*"))
			table.WriteString(line)
			fmt.Fprint(os.Stderr, line)
			if t.Failed() || testing.Verbose() && os.Getenv("CHAOS_ROUNDS") != "" {
				t.Logf("%s\n%v\n%v", line, r.results, r.errors)
			}
		})
		if !ok && c.l == nil {
			break
		}
	}
	t.Logf("CHAOS_SEED=%d\n%s", seed, &table)
}
