package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"sync"
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
	change
	l       *lab.Lab
	at      int                  // the inventory that was applied last, on all hosts
	half    bool                 // but the hub, which has the other one already
	state   [2]map[string]string // what each inventory makes of each host
	raced   bool                 // another apply did what the one that is looked at was to do
	kept    bool                 // the lab has kept the hosts' disks as the first makes them
	booted  func(t *testing.T)   // what is to be done on hosts that have booted from these, or nil
	confirm time.Duration        // --confirm-timeout
}

// change is what chaos goes to and fro between.
type change struct {
	inv    [2]string // inventories, as write takes them
	suites [2]string // of the hub and the site, "" for the usual one
	more   string    // a script that prints what snapshot does not
	stays  bool      // what comes with the first time does not go again, such as a package
	apart  bool      // each host's part is its own: a tunnel is up with the one changed and the other not
}

// between returns the change from one inventory of hosts that b runs to another.
func (b backend) between(from, to string) change {
	return change{inv: [2]string{b.inventory(from), b.inventory(to)}}
}

// newChaos learns the states from applies that nothing disturbs.
func newChaos(t *testing.T, b backend, ch change) *chaos {
	t.Helper()
	c := &chaos{backend: b, change: ch, confirm: chaosConfirm}
	c.start(t)
	c.learn(t, fault{}, nil)
	return c
}

// start starts the lab, with hosts as the first inventory makes them.
func (c *chaos) start(t *testing.T) {
	t.Helper()
	b, ch := c.backend, c.change
	c.l = lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Suite: ch.suites[0], Layer: b.layer}, {Name: "tokyo", Place: "1", Suite: ch.suites[1], Layer: b.layer}}})
	write(t, c.l, c.inv[0])
	vpnpush(t, c.l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	for _, h := range chaosHosts {
		bug(t, c.l, h)
	}
	if ch.stays {
		c.turn(t)
		c.turn(t)
	}
}

// learn learns the states from an apply that goes to each of the two inventories. What watch
// notes in it on each host is for recorded, unless that is nil.
func (c *chaos) learn(t *testing.T, watch fault, recorded func(to int)) {
	t.Helper()
	for _, to := range []int{1, 0} {
		if recorded != nil {
			for _, h := range chaosHosts {
				arm(t, c.l, h, watch)
			}
		}
		c.turn(t)
		if recorded != nil {
			recorded(to)
			for _, h := range chaosHosts {
				disarm(t, c.l, h)
			}
		}
		c.state[to] = c.look(t)
	}
	for _, h := range chaosHosts {
		if c.state[0][h] == c.state[1][h] {
			t.Fatalf("%s: the apply changes nothing that the test sees", h)
		}
	}
}

// turn applies the other inventory, and nothing disturbs it.
func (c *chaos) turn(t *testing.T) {
	t.Helper()
	c.at = 1 - c.at
	c.whole(t)
}

// keep keeps the disks of the hosts, which stand as the first inventory makes them.
func (c *chaos) keep(t *testing.T) {
	t.Helper()
	for _, h := range chaosHosts {
		// what it says is loaded is loaded after a boot from the same files, too
		c.l.MustRun(h, "sh", "-ec", "rm -rf /var/lib/chaos-run; cp -a /run/vpnpush /var/lib/chaos-run; sync")
		c.l.Save(h)
	}
	c.kept = true
}

// back makes of the hosts what the first inventory makes of them, by a boot from the disks
// that were kept of them, and fails the test if they are not that. It costs half an apply, and
// of a move a fifth.
func (c *chaos) back(t *testing.T) {
	t.Helper()
	c.l.Restore(chaosHosts...)
	c.at, c.half = 0, false
	for _, h := range chaosHosts {
		left, now := over(c.l, h, c.more, 40*time.Second)
		if d := difference(c.state[0][h], now); d != "" || left != "" {
			t.Fatalf("%s: booted from what was kept it is not as before:\n%s%s", h, left, d)
		}
		c.l.MustRun(h, "sh", "-ec", "rm -rf /run/vpnpush; cp -a /var/lib/chaos-run /run/vpnpush")
	}
	c.l.Wait(60*time.Second, "the tunnel is up", func() bool { return up(c.l, "tokyo", "tokyo") })
	if c.booted != nil {
		c.booted(t)
	}
}

// whole makes of the hosts what is to be, and fails the test if they are not.
func (c *chaos) whole(t *testing.T) {
	t.Helper()
	write(t, c.l, c.inv[c.at])
	vpnpush(t, c.l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	c.half = false
	if c.state[c.at] == nil {
		return
	}
	for h, now := range c.look(t) {
		if d := difference(c.state[c.at][h], now); d != "" {
			t.Fatalf("%s: an apply after the fault does not make it as planned:\n%s", h, d)
		}
	}
	c.l.Wait(40*time.Second, "the tunnel is up", func() bool {
		return up(c.l, "tokyo", "tokyo")
	})
}

func (c *chaos) look(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for _, h := range chaosHosts {
		m[h] = c.l.MustRun(h, "sh", "-c", snapshot+c.more)
	}
	return m
}

// chaosRun is what one apply of the other inventory, with a fault in it, came to.
type chaosRun struct {
	code     int
	out      string
	results  map[string]string // by host
	errors   map[string]string
	took     time.Duration
	cpu      time.Duration // of the client
	came     bool          // the fault did
	point    string        // the command that it came at; "" where a reboot took it away
	rebooted map[string]bool
	stuck    string            // fault.stuck
	stands   map[string]string // "before", "planned", "both", "NEITHER"
	wrong    []string          // what must not be: a host in between, what was left behind, a lie
}

func (r *chaosRun) is(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// all reports whether every host stands so.
func (r *chaosRun) all(stands string) bool {
	for _, h := range chaosHosts {
		if r.stands[h] != stands {
			return false
		}
	}
	return true
}

// A meddler does something while vpnpush works, and tells what must not have been.
type meddler func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, done <-chan struct{}) (wrong []string)

// apply is disturb, where anything wrong fails the test. It goes on from a whole state.
func (c *chaos) apply(t *testing.T, host string, f fault, during meddler) chaosRun {
	t.Helper()
	r := c.disturb(t, host, f, during)
	for _, w := range r.wrong {
		t.Error(w)
	}
	if r.all("planned") {
		c.at = 1 - c.at
	} else {
		for _, stands := range r.stands {
			if stands == "planned" {
				c.at = 1 - c.at
				break
			}
		}
		c.whole(t)
	}
	return r
}

// disturb applies the other inventory while during goes on, lets everything come to its
// end, and looks. Wrong is a host that is neither as before nor as planned, that keeps
// something to be done, or of which the report says what is not so, and ends that do not
// fit.
func (c *chaos) disturb(t *testing.T, host string, f fault, during meddler) chaosRun {
	t.Helper()
	l, to := c.l, 1-c.at
	c.raced = false
	write(t, l, c.inv[to])
	boots := c.boots()
	arm(t, l, host, f)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute+6*c.confirm)
	defer cancel()
	cmd := l.Command(ctx, "apply", "--yes", "--json", "--limit", "vps,tokyo", "--confirm-timeout", c.confirm.String())
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	r := chaosRun{stuck: f.stuck, results: map[string]string{}, errors: map[string]string{}, rebooted: map[string]bool{}, stands: map[string]string{}}
	if during != nil {
		r.wrong = during(c, t, host, cmd, done)
	}
	<-done
	r.code, r.out, r.took, r.cpu = cmd.ProcessState.ExitCode(), stderr.String(), time.Since(start), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
	if ctx.Err() != nil {
		r.is("vpnpush hangs")
	}
	var doc struct {
		Hosts []struct{ Name, Result, Error string }
	}
	if err := json.Unmarshal(stdout.Bytes(), &doc); err != nil && r.code >= 0 {
		r.is("no report: %v\n%s%s", err, &stdout, &stderr)
	}
	if strings.Contains(stdout.String()+r.out, "canary") {
		r.is("a secret is in what vpnpush prints")
	}
	for _, h := range doc.Hosts {
		r.results[h.Name], r.errors[h.Name] = h.Result, h.Error
	}
	c.await(t, host, f, boots, &r)
	c.judge(t, to, &r)
	c.dialsAnew(t, &r)
	down := aTunnelDown.MatchString(r.out) // strongSwan was restarted at the end, or the hub rebooted
	if want := codeOf(r.results); r.code >= 0 && r.code != want && r.code != 130 && !(down && want == 0 && r.code == 4) {
		r.is("exit code %d, want %d for %v", r.code, want, r.results)
	}
	return r
}

// aTunnelDown is the warning that a report in JSON comes with.
var aTunnelDown = regexp.MustCompile(`tunnel to \S+: down`)

// boots returns what differs from boot to boot of each host, "" for one that is not up.
func (c *chaos) boots() map[string]string {
	m := map[string]string{}
	for _, h := range chaosHosts {
		m[h] = c.boot(h)
	}
	return m
}

func (c *chaos) boot(host string) string {
	id, _ := c.l.Run(host, "cat", "/proc/sys/kernel/random/boot_id")
	return id
}

// await waits until all is over on all hosts, and tells how they stand then.
func (c *chaos) await(t *testing.T, host string, f fault, boots map[string]string, r *chaosRun) {
	t.Helper()
	if strings.Contains(f.action, "reboot") {
		// one that is about to go down looks as if all were over
		not, _ := c.l.Run(host, "sh", "-c", "[ ! -e /run/chaos/when ] || [ -e /run/chaos/fired ] || echo not")
		if r.came = not != "not\n"; !r.came {
			disarm(t, c.l, host)
		}
		for end := time.Now().Add(60 * time.Second); r.came && c.boot(host) == boots[host]; time.Sleep(200 * time.Millisecond) {
			if time.Now().After(end) {
				r.is("%s was to reboot, and does not", host)
				break
			}
		}
	} else {
		r.point = disarm(t, c.l, host)
		r.came = r.point != ""
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	for _, h := range chaosHosts {
		all.Go(func() {
			left, stands := over(c.l, h, c.more, 40*time.Second)
			mu.Lock()
			defer mu.Unlock()
			r.stands[h] = stands
			if left != "" {
				r.is("%s: left behind:\n%s", h, left)
			}
		})
	}
	all.Wait()
	now := c.boots()
	for _, h := range chaosHosts {
		r.rebooted[h] = now[h] != boots[h]
	}
}

// judge says of each host by what await has found how it stands, and whether the report is true.
func (c *chaos) judge(t *testing.T, to int, r *chaosRun) {
	t.Helper()
	for _, h := range chaosHosts {
		switch now := r.stands[h]; {
		case now == c.state[to][h], r.stuck != "" && strings.Replace(now, "d 755 0:0 "+r.stuck+" \n", "", 1) == c.state[to][h]:
			r.stands[h] = "planned"
		case now == c.state[1-to][h]:
			r.stands[h] = "before"
		case c.fitsBoth(h):
			r.stands[h] = "both"
		default:
			r.stands[h] = "NEITHER"
			r.is("%s is neither as before nor as planned; from before:\n%s\nfrom planned:\n%s", h, difference(c.state[1-to][h], now), difference(c.state[to][h], now))
		}
		stands := r.stands[h]
		if c.half && h == "vps" && stands == "planned" {
			stands = "before" // both
		}
		if c.raced && (r.results[h] == "locked" || r.results[h] == "stale" || r.results[h] == "ok" || r.results[h] == "skipped") {
			stands = "before" // as before it: the other did it
		}
		if msg := lie(r.results[h], r.errors[h], stands); msg != "" && r.code >= 0 {
			r.is("%s stands as %s, and the report says %s: %s\n%s", h, r.stands[h], msg, r.errors[h], r.out)
		}
	}
}

// fitsBoth reports whether a host's end of tokyo's tunnel is between before and planned:
// it fits both.
func (c *chaos) fitsBoth(host string) bool {
	out, _ := c.l.Run(host, "sh", "-c", "grep -c canary "+c.secrets("tokyo")+"; grep 'esp[=_]' "+c.conf("tokyo"))
	return strings.HasPrefix(out, "2\n") && (host != "vps" || strings.Contains(out, ","))
}

// dialsAnew finds ends of tokyo's tunnel that do not fit: what an SA of before hides, a new
// one shows. It is by what each end has in its memory, which no file shows, where both
// have stayed up; else by what the site reads anew.
func (c *chaos) dialsAnew(t *testing.T, r *chaosRun) {
	t.Helper()
	how := "anew"
	switch {
	case r.rebooted["tokyo"]:
		how = "wait" // it has dialled by itself
	case r.rebooted["vps"] || !c.apart && !r.all("before") && !r.all("planned"):
		how = "restart"
	}
	out, code := c.l.Run("tokyo", "sh", "-c", `
swan=; unit=strongswan-starter; systemctl --quiet is-active strongswan-starter && ipsec status >/dev/null 2>&1 || { swan=1; unit=strongswan; }
case $1$swan in
restart*) systemctl restart "$unit" ;;
anew) ipsec stroke down-nb tokyo; timeout 30 ipsec up tokyo ;;
anew1) swanctl --terminate --ike tokyo --force --timeout 5; swanctl --initiate --child tokyo --timeout 30 ;;
esac >/run/dialled 2>&1
end=$(($(date +%s) + 45))
until { swanctl --list-sas || ipsec status; } 2>/dev/null | grep -q 'tokyo.*INSTALLED'; do
    if [ "$(date +%s)" -gt "$end" ]; then cat /run/dialled; exit 1; fi
    sleep 0.3
done`, "dial", how)
	if code != 0 {
		r.is("tokyo does not dial anew (%s), with what each end has after the fault:\n%s", how, out)
	}
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
