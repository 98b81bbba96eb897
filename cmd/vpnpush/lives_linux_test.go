package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// livesWorld is the hosts of a life.
type livesWorld struct {
	dir, skeleton string
	hosts         map[string]*livesHost // by the name that they are dialled by
	boxes         []*livesHost          // those too that are no more in the inventory

	mu     sync.Mutex // of what looks at more than one host
	cancel context.CancelFunc
	failed sync.Mutex
	faults []string
}

// fault notes what must not be.
func (w *livesWorld) fault(format string, args ...any) {
	w.failed.Lock()
	defer w.failed.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// life is a network whose admin does this and that.
type life struct {
	*livesWorld
	t    *rapid.T
	test *testing.T
	path string // of the inventory
	now  time.Time

	n        int                        // of names and networks that were given
	secrets  map[string]bool            // that were in the inventory
	names    []string                   // that sites had
	undo     map[*livesHost][]livesSeen // what stood before each apply that was confirmed
	pristine map[*livesHost]livesSeen
	foreign  map[*livesHost]map[string]string
	byHand   map[*livesHost]bool // something there is not as the last apply left it
}

const livesHub = "vps"

func newLife(rt *rapid.T, test *testing.T, skeleton string) *life {
	dir, err := os.MkdirTemp(filepath.Dir(skeleton), "life")
	if err != nil {
		rt.Fatal(err)
	}
	l := &life{livesWorld: &livesWorld{dir: dir, skeleton: skeleton, hosts: map[string]*livesHost{}}, t: rt, test: test, path: filepath.Join(dir, "vpnpush.toml"),
		now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), secrets: map[string]bool{}, pristine: map[*livesHost]livesSeen{}, undo: map[*livesHost][]livesSeen{}, foreign: map[*livesHost]map[string]string{}, byHand: map[*livesHost]bool{}}
	text := "[hub]\nname = \"" + livesHub + "\"\naddress = \"203.0.113.10\"\nsubnets = [\"10.10.0.0/24\"]\n"
	if err := os.WriteFile(l.path, []byte(text), 0o600); err != nil {
		rt.Fatal(err)
	}
	l.box(livesHub, "203.0.113.10")
	return l
}

// box puts up a host.
func (l *life) box(name, address string) *livesHost {
	h := l.newHost(name, address)
	l.hosts[name] = h
	l.boxes = append(l.boxes, h)
	l.pristine[h] = l.see(h)
	return h
}

func (l *life) fatal(format string, args ...any) {
	l.t.Helper()
	l.t.Fatalf(format, args...)
}

// inv is the inventory as it stands.
func (l *life) inv() *inventory.Inventory {
	l.t.Helper()
	inv, diags := inventory.Load(context.Background(), l.path)
	if inv == nil {
		l.fatal("the inventory: %v", diags)
	}
	if d := inv.Resolve(context.Background()); len(d.Errors()) > 0 {
		l.fatal("the inventory: %v", d)
	}
	return inv
}

// vpnpush runs a verb that edits the inventory.
func (l *life) vpnpush(args ...string) {
	l.t.Helper()
	var out bytes.Buffer
	if code := run(context.Background(), nil, append(args, "-i", l.path), strings.NewReader(""), &out, &out); code != 0 {
		l.fatal("vpnpush %s: %d\n%s", strings.Join(args, " "), code, out.String())
	}
}

// edit changes what no verb does.
func (l *life) edit(do func(*inventory.Draft)) {
	l.t.Helper()
	a := &app{inventory: l.path, redactor: secret.NewRedactor(), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, color: "never"}
	err := a.makeView()
	if err == nil {
		_, err = a.edit(context.Background(), func(d *inventory.Draft) (view.Edit, error) { do(d); return view.Edit{}, nil })
	}
	if err != nil {
		l.fatal("edit: %v", err)
	}
}

// sites are the names of the sites.
func (l *life) sites() []string {
	var out []string
	for _, s := range l.inv().Sites {
		out = append(out, s.Name)
	}
	return out
}

// site draws one.
func (l *life) site() string {
	sites := l.sites()
	if len(sites) == 0 {
		l.t.Skip("no sites")
	}
	return rapid.SampledFrom(sites).Draw(l.t, "site")
}

// host draws a host of the inventory.
func (l *life) host() *livesHost {
	return l.hosts[rapid.SampledFrom(append(l.sites(), livesHub)).Draw(l.t, "host")]
}

func (l *life) network() string {
	l.n++
	return fmt.Sprintf("10.20.%d.0/24", l.n)
}

func (l *life) add() {
	if len(l.sites()) >= 3 {
		l.t.Skip("enough sites")
	}
	lan := l.network()
	name, address := fmt.Sprintf("s%d", l.n), strings.TrimSuffix(lan, "0/24")+"1"
	args := []string{"site", "add", name, "--lan", lan, "--address", address, "--ssh", "root@" + address}
	if rapid.Bool().Draw(l.t, "group") {
		args = append(args, "--group", "few")
	}
	l.vpnpush(args...)
	l.box(name, address)
	l.names = append(l.names, name)
}

func (l *life) remove() {
	name := l.site()
	if rapid.Bool().Draw(l.t, "clear") {
		l.leave(name)
	}
	l.vpnpush("site", "remove", name)
	delete(l.hosts, name)
}

func (l *life) rename() {
	old := l.site()
	l.n++
	name := fmt.Sprintf("r%d", l.n)
	l.vpnpush("site", "rename", old, name)
	l.hosts[name] = l.hosts[old]
	l.names = append(l.names, name)
	delete(l.hosts, old)
}

func (l *life) renumber() {
	name := l.site()
	l.edit(func(d *inventory.Draft) {
		s, err := d.Inventory.Site(name)
		if err != nil {
			l.fatal("%v", err)
		}
		var lans []string
		for _, p := range s.Subnets {
			lans = append(lans, p.String())
		}
		d.Set([]string{"sites", name, "subnets"}, append(lans[:min(1, len(lans))], l.network()))
	})
}

func (l *life) rotate() {
	inv := l.inv()
	what := []string{}
	for _, s := range inv.Sites {
		what = append(what, "sites."+s.Name+".psk")
	}
	if inv.L2TP != nil {
		what = append(what, "l2tp.psk")
	}
	if len(what) == 0 {
		l.t.Skip("no keys")
	}
	l.vpnpush("secret", "rotate", rapid.SampledFrom(append(what, "all")).Draw(l.t, "secret"))
}

func (l *life) l2tp() {
	on := l.inv().L2TP != nil
	l.edit(func(d *inventory.Draft) {
		if on {
			d.Remove([]string{"l2tp"})
			return
		}
		d.Add([]string{"l2tp"}, inventory.Pair{Key: []string{"psk"}, Value: secret.GeneratePSK()},
			inventory.Pair{Key: []string{"pool"}, Value: "10.99.0.2-10.99.0.50"}, inventory.Pair{Key: []string{"local_ip"}, Value: "10.99.0.1"})
	})
}

func (l *life) user() {
	inv := l.inv()
	if inv.L2TP == nil {
		l.t.Skip("no L2TP")
	}
	if len(inv.L2TP.Users) > 0 && rapid.Bool().Draw(l.t, "remove") {
		l.vpnpush("user", "remove", inv.L2TP.Users[0].Name)
		return
	}
	l.n++
	l.vpnpush("user", "add", fmt.Sprintf("u%d", l.n))
}

func (l *life) filter() {
	word := "none"
	if l.inv().Firewall.Backend == inventory.FilterNone {
		word = "iptables"
	}
	l.edit(func(d *inventory.Draft) { d.Set([]string{"firewall", "backend"}, word) })
}

// --- what stands on a host -------------------------------------------------

// livesFile is a file as it stands.
type livesFile struct {
	text string
	mode os.FileMode
	id   string // inode and time
}

// livesSeen is how a host stands.
type livesSeen struct {
	files map[string]livesFile
	live  map[string]string
	boots int
	calls int
}

// ofItsOwn are files of the apply script's own, which stay until vpnpush is taken off.
func ofItsOwn(path string) bool {
	return strings.HasPrefix(path, "/var/lib/vpnpush/") && path != tasks.ManifestPath || path == "/etc/systemd/system/vpnpush-revert.service"
}

func (l *life) see(h *livesHost) livesSeen {
	s := livesSeen{files: map[string]livesFile{}, live: map[string]string{}, boots: h.boots, calls: len(h.calls)}
	for _, dir := range []string{"/etc", "/var/lib"} {
		err := filepath.WalkDir(h.path(dir), func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			i, err := d.Info()
			if err != nil {
				return err
			}
			b, err := os.ReadFile(p)
			s.files[strings.TrimPrefix(p, h.root)] = livesFile{string(b), i.Mode(), fmt.Sprint(inode(i), i.ModTime().UnixNano())}
			return err
		})
		if err != nil {
			l.fatal("%v", err)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	rules := slices.Collect(strings.Lines(h.rules())) // of each chain in their order; that of the chains says nothing
	table := ""
	byChain := map[string]string{}
	for _, l := range rules {
		if l[0] == '*' {
			table = l
		}
		w := strings.Fields(strings.Replace(l, ":", "-A ", 1))
		byChain[table+strings.Join(w[:min(2, len(w))], " ")] += l
	}
	s.live["rules"] = ""
	for _, key := range slices.Sorted(maps.Keys(byChain)) {
		s.live["rules"] += byChain[key]
	}
	for name, u := range h.units {
		if name != "vpnpush-revert.service" {
			s.live["unit "+name] = fmt.Sprintf("enabled %v, active %v", u.enabled, u.active)
		}
	}
	s.live["conns"], s.live["keys"] = fmt.Sprint(h.conns), fmt.Sprint(h.keys)
	for key := range livesSysctls {
		s.live[key] = h.read("/proc/sys/net/ipv4/" + key)
	}
	return s
}

// differs returns how a host differs from how it stood, "" where it does not. After a boot
// what ran is that of the files.
func (s livesSeen) differs(was livesSeen) string {
	var out []string
	for p, f := range s.files {
		if w, ok := was.files[p]; !ofItsOwn(p) && (!ok || undated(p, w.text) != undated(p, f.text) || w.mode != f.mode) {
			out = append(out, fmt.Sprintf("%s is %q, %v; it was %q, %v", p, f.text, f.mode, w.text, w.mode))
		}
	}
	for p := range was.files {
		if _, ok := s.files[p]; !ofItsOwn(p) && !ok {
			out = append(out, p+" is gone")
		}
	}
	if s.boots == was.boots {
		for k := range s.live {
			if s.live[k] != was.live[k] && !strings.HasPrefix(k, "unit vpnpush-redial") {
				out = append(out, fmt.Sprintf("%s: %q, was %q", k, s.live[k], was.live[k]))
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

var dates = regexp.MustCompile(`(?m)^  "(generation|applied)": .*\n`)

// undated returns the text of a file without what counts the applies: a hub that went to
// both and back has had two of them.
func undated(path, text string) string {
	if path == tasks.ManifestPath {
		return dates.ReplaceAllString(text, "")
	}
	return text
}

// --- what the admin does to hosts ------------------------------------------

// bubble runs do on the clock of the life, with an engine.
func (l *life) bubble(do func(ctx context.Context, e *engine.Engine)) {
	var thrown any
	synctest.Test(l.test, func(*testing.T) {
		defer func() { thrown = recover() }()
		time.Sleep(time.Until(l.now))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l.cancel = cancel
		e := &engine.Engine{Dialer: l.livesWorld, Owner: livesHub, By: "me@desk"}
		do(ctx, e)
		e.Close()
		time.Sleep(time.Minute)
		l.now = time.Now()
	})
	if thrown != nil {
		panic(thrown)
	}
	l.failed.Lock()
	faults := l.faults
	l.failed.Unlock()
	if len(faults) > 0 {
		l.fatal("%s", strings.Join(faults, "\n"))
	}
}

// chosen returns the hosts of an inventory, for the engine.
func (l *life) chosen(patterns ...string) []engine.Host {
	l.t.Helper()
	inv := l.inv()
	names, err := inv.Select(patterns)
	if err != nil {
		l.fatal("%v", err)
	}
	hosts, err := engineHosts(inv, names)
	if err != nil {
		l.fatal("%v", err)
	}
	return hosts
}

// change plans and applies, tells what stood before and after on each box, and looks at what
// must hold whatever came of it.
func (l *life) change(c *livesChange) {
	l.t.Helper()
	c.before, c.after = map[*livesHost]livesSeen{}, map[*livesHost]livesSeen{}
	for _, h := range l.boxes {
		c.before[h] = l.see(h)
	}
	c.upBefore = l.up()
	l.bubble(func(ctx context.Context, e *engine.Engine) {
		e.Adopt = true
		if c.back != nil {
			h, res, err := e.Rollback(ctx, c.hosts[0], "")
			if c.hosts[0] = h; err != nil {
				c.report = &engine.Report{Hosts: []engine.HostReport{{Name: h.Name, Result: res, Err: err}}}
				return
			}
		}
		c.plan, _ = e.Plan(ctx, c.hosts)
		if c.trouble != nil {
			h := l.hosts[c.on]
			h.trouble, h.hit = c.trouble, ""
		}
		c.report, _ = e.Apply(ctx, c.plan, c.hosts)
		c.killed = ctx.Err() != nil
		for _, h := range l.boxes {
			h.trouble = nil
			h.settle(time.Now().Add(24 * time.Hour))
		}
	})
	for _, h := range l.boxes {
		c.after[h] = l.see(h)
	}
	l.atRest(c)
	if c.plan == nil {
		for _, h := range l.boxes {
			l.as(c, h, "before")
		}
		return
	}
	for _, r := range c.report.Hosts {
		l.told(c, r)
	}
	l.untouched(c)
	l.tunnelsStay(c)
}

// livesChange is an apply, a rollback or a removal.
type livesChange struct {
	what    string
	hosts   []engine.Host
	back    []livesFile // a rollback
	leaves  bool
	gone    string // a site that is lost
	on      string // the host of the trouble
	trouble *livesTrouble

	plan          *engine.Plan
	report        *engine.Report
	killed        bool // the client was
	before, after map[*livesHost]livesSeen
	upBefore      map[string]bool
}

// wrong fails the life, with what came of a change.
func (l *life) wrong(c *livesChange, format string, args ...any) {
	l.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", c.what, fmt.Sprintf(format, args...))
	if c.trouble != nil {
		fmt.Fprintf(&b, "  trouble on %s: %s\n", c.on, l.hosts[c.on].hit)
	}
	for _, h := range c.report.Hosts {
		fmt.Fprintf(&b, "  told: %s: %s %v %v\n", h.Name, h.Result, h.Err, changed(h.Changes))
	}
	if c.plan != nil {
		for _, h := range c.plan.Hosts {
			fmt.Fprintf(&b, "  planned: %s: %s %v %v\n", h.Name, h.Result, h.Err, changed(h.Changes))
		}
	}
	l.fatal("%s", b.String())
}

// good reports whether the change says of each host that it worked.
func (c *livesChange) good() bool {
	return c.plan != nil && !c.killed && !slices.ContainsFunc(c.report.Hosts, func(h engine.HostReport) bool { return h.Result != engine.OK && h.Result != engine.Changed })
}

// atRest wants that nothing waits on any box, and that nothing half-done is left.
func (l *life) atRest(c *livesChange) {
	for _, h := range l.boxes {
		for _, dir := range []string{"/etc", "/var/lib/vpnpush", "/run/vpnpush"} {
			_ = filepath.WalkDir(h.path(dir), func(p string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return nil
				}
				p = strings.TrimPrefix(p, h.root)
				_, name, _ := strings.Cut(p, "/txn/")
				_, name, _ = strings.Cut(name, "/")
				if strings.HasPrefix(d.Name(), ".vpnpush.") || p == "/var/lib/vpnpush/pending" || slices.Contains([]string{"apply.sh", "reserve", "block", "edited", "edited2"}, name) {
					l.wrong(c, "%s: %s is left", h.name, p)
				}
				return nil
			})
		}
		for timer := range h.timers {
			l.wrong(c, "%s: the timer %s is left", h.name, timer)
		}
		if _, err := os.Lstat(h.path("/var/lib/vpnpush/revert-failed")); err == nil {
			l.wrong(c, "%s: a revert failed: %s", h.name, h.log())
		}
		history := h.read("/var/lib/vpnpush/history")
		dirs, _ := filepath.Glob(h.path("/var/lib/vpnpush/txn/*"))
		for _, d := range dirs {
			line := "\t" + filepath.Base(d) + "\t"
			told := strings.Count(history, line+"applied") + strings.Count(history, line+"rolled-back")
			if _, err := os.Lstat(d + "/confirmed"); err == nil && told != 1 || err != nil && told > 0 {
				l.wrong(c, "%s: the history tells %d times of %s, confirmed: %v\n%s", h.name, told, filepath.Base(d), err, history)
			}
		}
		for p, text := range l.foreign[h] {
			if got := h.read(p); got != text {
				l.wrong(c, "%s: %s, which is not ours, is %q", h.name, p, got)
			}
		}
		for p, want := range map[string]string{"/etc/ipsec.conf": "config setup\n", "/etc/ipsec.secrets": "# the admin's own\n", "/etc/iptables/rules.v4": "-A INPUT -i lo -j ACCEPT\n"} {
			if !strings.Contains(h.read(p), want) {
				l.wrong(c, "%s: %s has lost the admin's line: %q", h.name, p, h.read(p))
			}
		}
	}
}

// log returns what the last apply script said.
func (h *livesHost) log() string {
	logs, _ := filepath.Glob(h.path("/var/lib/vpnpush/txn/*/log"))
	if len(logs) == 0 {
		return ""
	}
	b, _ := os.ReadFile(logs[len(logs)-1])
	return string(b)
}

// as wants that a host stands as before.
func (l *life) as(c *livesChange, h *livesHost, what string) {
	l.t.Helper()
	before := c.before[h]
	if l.byHand[h] { // strongSwan reads what the admin has made of its files
		before.live = maps.Clone(before.live)
		before.live["conns"], before.live["keys"] = c.after[h].live["conns"], c.after[h].live["keys"]
	}
	if d := c.after[h].differs(before); d != "" {
		l.wrong(c, "%s is not as before (%s):\n%s\nits script said: %s", h.name, what, d, h.log())
	}
}

// told wants that what is told of a host is so.
func (l *life) told(c *livesChange, r engine.HostReport) {
	h := l.hosts[r.Name]
	says := fmt.Sprint(r.Err)
	between := strings.Contains(says, "it still takes") || strings.Contains(says, "all is in place, but")
	as := func() { l.as(c, h, string(r.Result)) }
	applied := c.after[h].files[tasks.ManifestPath].text != c.before[h].files[tasks.ManifestPath].text
	switch {
	case c.killed || r.Result == engine.Unknown:
		if !c.killed && l.hosts[c.on].hit == "" {
			l.wrong(c, "%s: the answer could have been had", r.Name)
		}
		if !applied {
			as()
		}
	case r.Result == engine.Changed:
		if !applied && !c.leaves { // what it leaves may have no manifest
			l.wrong(c, "%s: it is told as changed, and was not applied to: %s", r.Name, h.log())
		}
		l.undo[h] = append(l.undo[h], c.before[h])
	case r.Result == engine.OK:
		as()
	case between:
		if applied {
			l.undo[h] = append(l.undo[h], c.before[h])
		}
		return
	default:
		as()
	}
	// it went to both and back, each confirmed: what a rollback goes back to is not seen
	if applied && r.Result != engine.Changed {
		l.undo[h] = append(l.undo[h], livesSeen{})
	}
}

// made returns what a change may touch on a host, and the tasks of it.
func (c *livesChange) made(name string) (paths, ids map[string]bool) {
	paths, ids = map[string]bool{}, map[string]bool{}
	var all []tasks.Change
	for _, h := range c.plan.Hosts {
		if h.Name == name {
			all = append(all, h.Changes...)
		}
	}
	for _, h := range c.report.Hosts {
		if h.Name == name {
			all = append(all, h.Changes...)
		}
	}
	for _, t := range all {
		ids[t.Task] = true
		for _, p := range t.Backups {
			paths[p] = true
		}
	}
	if len(all) > 0 {
		paths[tasks.ManifestPath] = true
	}
	return paths, ids
}

// untouched wants that what did not change was not touched: no file was written anew, and no
// service was asked for anything.
func (l *life) untouched(c *livesChange) {
	for _, h := range l.boxes {
		name := ""
		for n, is := range l.hosts {
			if is == h {
				name = n
			}
		}
		paths, ids := c.made(name)
		before, after := c.before[h], c.after[h]
		// of a change in steps the plan has the sum
		const history = "/var/lib/vpnpush/history"
		steps := strings.Count(after.files[history].text, "\n") - strings.Count(before.files[history].text, "\n")
		for p, f := range after.files {
			same := before.files[p].id == f.id || (steps > 1 || steps == 1 && !c.good() || before.boots != after.boots) && before.files[p].text == f.text
			if !paths[p] && !ofItsOwn(p) && !same {
				l.wrong(c, "%s: %s is not in the plan, and was written", h.name, p)
			}
		}
		for _, call := range h.calls[before.calls:] {
			verb, unit, _ := strings.Cut(call, " ")
			ok := ids["unit:"+unit] || ids["helper:"+unit]
			switch {
			case verb == "daemon-reload", verb == "reset-failed", unit == "vpnpush-revert.service":
				ok = len(ids) > 0
			case verb == "ipsec":
				ok = ids["ipsec:loaded"] || ids["keys:foreign"]
			case unit == starterUnit && before.boots == after.boots:
				ok = ok || ids["ipsec:loaded"] && strings.Contains(before.live["unit "+unit], "active false")
			case unit == starterUnit:
				ok = len(ids) > 0
			}
			if !ok {
				l.wrong(c, "%s: %s, and the plan says nothing of it", h.name, call)
			}
		}
	}
}

// up returns the sites of the inventory whose tunnels are up.
func (l *life) up() map[string]bool {
	up := map[string]bool{}
	hub := l.hosts[livesHub]
	for _, name := range l.sites() {
		h := l.hosts[name]
		for mine := range hub.conns {
			for its := range h.conns {
				if _, _, ok := fits(hub, mine, h, its); ok {
					up[name] = true
				}
			}
		}
	}
	return up
}

// tunnelsStay wants that both ends of each tunnel that was up fit each other.
func (l *life) tunnelsStay(c *livesChange) {
	up := l.up()
	for name := range c.upBefore {
		h, hub := l.hosts[name], l.hosts[livesHub]
		// one that is put back reads what the admin has made of its files
		if !up[name] && !c.leaves && name != c.gone && (c.good() || !l.byHand[h] && !l.byHand[hub]) {
			l.wrong(c, "the tunnel to %s was up, and its ends do not fit:\nhub %v %v\nsite %v %v", name, hub.conns, hub.keys, h.conns, h.keys)
		}
	}
}

func (l *life) leave(name string) {
	hosts := l.chosen(name)
	hosts[0] = leaving(hosts[0])
	c := &livesChange{what: "remove " + name, hosts: hosts, leaves: true}
	l.change(c)
	if !c.good() {
		l.wrong(c, "it did not work")
	}
	h := l.hosts[name]
	l.undo[h] = nil
	after := c.after[h]
	for p, f := range after.files {
		if strings.HasPrefix(p, "/var/lib/vpnpush") || (strings.Contains(f.text, "vpnpush") || strings.Contains(f.text, "VPNPUSH")) && l.foreign[h][p] == "" {
			l.wrong(c, "%s is left: %q", p, f.text)
		}
	}
	for p, f := range l.pristine[h].files {
		if after.files[p].text != f.text || after.files[p].mode != f.mode {
			l.wrong(c, "%s is %q, and was %q before vpnpush came", p, after.files[p].text, f.text)
		}
	}
	for what, was := range l.pristine[h].live {
		if is := after.live[what]; is != was && livesSysctls[what] == "" && what != "rules" {
			l.wrong(c, "%s: %q, and was %q before vpnpush came", what, is, was)
		}
	}
	if strings.Contains(after.live["rules"], "VPNPUSH") {
		l.wrong(c, "rules are left: %s", after.live["rules"])
	}
	l.byHand[h] = false
}

// lost is a site whose box is stolen: the hub gets another key for it without it. Then
// another box comes in its place, or none.
func (l *life) lost() {
	name := l.site()
	l.full() // else the hub has seldom anything of it
	box, site := l.hosts[name], l.inv().Sites[slices.Index(l.sites(), name)]
	box.down = true
	l.vpnpush("secret", "rotate", "sites."+name+".psk")
	c := &livesChange{what: "apply --gone " + name, hosts: l.chosen("!" + name), gone: name}
	if err := goneFrom(c.hosts, []string{name}); err != nil {
		l.fatal("%v", err)
	}
	l.change(c)
	l.worked(c)
	if !c.good() {
		l.wrong(c, "it did not work")
	}
	if keys := fmt.Sprint(l.hosts[livesHub].keys); strings.Contains(keys, site.PSK.Reveal()) {
		l.wrong(c, "the hub still takes the key of the lost box: %s", keys)
	}
	if rapid.Bool().Draw(l.t, "replaced") {
		l.box(name, box.address)
		return
	}
	l.vpnpush("site", "remove", name)
	delete(l.hosts, name)
}

// clear takes vpnpush off a host that stays in the inventory.
func (l *life) clear() {
	for n, h := range l.hosts {
		if h == l.host() {
			l.leave(n)
			return
		}
	}
}

// full is an apply of all hosts, with nothing in its way.
func (l *life) full() {
	c := &livesChange{what: "apply", hosts: l.chosen()}
	l.change(c)
	l.worked(c)
	if !c.good() {
		l.wrong(c, "it did not work")
	}
}

// worked wants, of a change that says so, that the inventory is what stands on its hosts,
// and nothing else.
func (l *life) worked(c *livesChange) {
	if !c.good() {
		return
	}
	hosts := l.chosen()
	whole := len(hosts) == len(c.report.Hosts)
	if !whole {
		hosts = l.chosen(c.report.Hosts[0].Name)
	}
	var p *engine.Plan
	l.bubble(func(ctx context.Context, e *engine.Engine) { p, _ = e.Plan(ctx, hosts) })
	for _, h := range p.Hosts {
		if h.Result != engine.OK {
			l.wrong(c, "a plan after it: %s: %s, %v: %v", h.Name, h.Result, h.Err, changed(h.Changes))
		}
		l.byHand[l.hosts[h.Name]] = false
	}
	if !whole {
		return
	}
	up := l.up()
	for _, name := range l.sites() {
		if !up[name] {
			l.wrong(c, "the tunnel to %s is not up", name)
		}
	}
	text, _ := os.ReadFile(l.path)
	known := map[string]bool{}
	for _, psk := range pskOf.FindAllStringSubmatch(string(text), -1) {
		known[psk[1]], l.secrets[psk[1]] = true, true
	}
	sites := l.sites()
	for _, r := range c.report.Hosts {
		h := l.hosts[r.Name]
		for p, f := range c.after[h].files {
			if strings.HasPrefix(p, "/var/lib/vpnpush/txn/") { // backups
				continue
			}
			for s := range l.secrets {
				if !known[s] && strings.Contains(f.text, s) {
					l.wrong(c, "%s: %s has a secret that is no more in the inventory", r.Name, p)
				}
			}
			for _, name := range l.names {
				if !slices.Contains(sites, name) && !ofItsOwn(p) && (strings.Contains(f.text, "\""+name+"\"") || strings.Contains(f.text, "@"+name) || strings.HasPrefix(filepath.Base(p), name+".")) {
					l.wrong(c, "%s: %s is of the site %s, which is no more: %s", r.Name, p, name, f.text)
				}
			}
		}
		for s := range l.secrets {
			if !known[s] && strings.Contains(fmt.Sprint(h.keys), s) {
				l.wrong(c, "%s: strongSwan has a key that is no more in the inventory", r.Name)
			}
		}
	}
}

var pskOf = regexp.MustCompile(`(?m)(?:psk|password) = "([^"]+)"`)

// note remembers the secrets and names of the inventory.
func (l *life) note() {
	text, _ := os.ReadFile(l.path)
	for _, psk := range pskOf.FindAllStringSubmatch(string(text), -1) {
		l.secrets[psk[1]] = true
	}
}

// some is an apply of some of the hosts, of which some are not reached.
func (l *life) some() {
	limit := []string{livesHub}
	if sites := l.sites(); len(sites) > 0 {
		limit = rapid.SampledFrom([][]string{nil, nil, {livesHub}, {"sites"}, {sites[0]}, {livesHub, sites[0]}}).Draw(l.t, "limit")
	}
	c := &livesChange{what: "apply --limit " + strings.Join(limit, ","), hosts: l.chosen(limit...)}
	if rapid.IntRange(0, 2).Draw(l.t, "unreached") == 0 {
		h := l.host()
		h.down = true
		defer func() { h.down = false }()
		c.what += ", with " + h.name + " unreached"
	}
	l.change(c)
	l.worked(c)
}

// hurt is an apply in the middle of which something happens.
func (l *life) hurt() {
	hosts := l.chosen()
	c := &livesChange{what: "apply", hosts: hosts, on: rapid.SampledFrom(append(l.sites(), livesHub)).Draw(l.t, "on")}
	c.trouble = &livesTrouble{
		what: rapid.SampledFrom([]string{"run", "run", "run", "confirm", "undo"}).Draw(l.t, "script"),
		kind: rapid.SampledFrom([]string{"fail", "kill", "client", "reboot"}).Draw(l.t, "kind"),
		n:    rapid.IntRange(1, 150).Draw(l.t, "command"),
	}
	switch c.trouble.what {
	case "confirm":
		c.trouble.n = 1 + c.trouble.n%20
	case "undo": // comes after something else; a revert that fails is told as that
		c.trouble.what, c.trouble.kind = "run", "client"
	}
	l.change(c)
	l.worked(c)
}

// back is a rollback of a host.
func (l *life) back() {
	h := l.host()
	name := ""
	for n, is := range l.hosts {
		if is == h {
			name = n
		}
	}
	was := l.undo[h]
	c := &livesChange{what: "rollback " + name, hosts: l.chosen(name), back: []livesFile{}}
	l.change(c)
	if !c.good() || c.report.Hosts[0].Result != engine.Changed || l.byHand[h] {
		return
	}
	if len(was) == 0 {
		l.wrong(c, "there is nothing to go back to")
	}
	then := was[len(was)-1]
	if then.files == nil {
		return
	}
	paths, _ := c.made(name)
	for p := range paths {
		if p == tasks.ManifestPath || strings.HasPrefix(p, "/run/") {
			continue
		}
		if is, want := c.after[h].files[p], then.files[p]; is.text != want.text || is.mode != want.mode {
			l.wrong(c, "%s is %q %v, and was %q %v", p, is.text, is.mode, want.text, want.mode)
		}
	}
	for p := range then.files {
		if is, want := c.after[h].files[p], then.files[p]; !ofItsOwn(p) && p != tasks.ManifestPath && l.foreign[h][p] == "" && (is.text != want.text || is.mode != want.mode) {
			l.wrong(c, "%s is %q %v, and was %q %v", p, is.text, is.mode, want.text, want.mode)
		}
	}
}

// ours returns the files of a host's that the manifest has as ours alone.
func (l *life) ours(h *livesHost) []string {
	var out []string
	for p, f := range l.see(h).files {
		if !ofItsOwn(p) && p != tasks.ManifestPath && strings.Contains(f.text, "vpnpush owner=") && !strings.Contains(f.text, "# vpnpush begin") {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// byHandOn lets the admin do something to a file on a host.
func (l *life) byHandOn(do func(h *livesHost, path string)) {
	h := l.host()
	ours := l.ours(h)
	if len(ours) == 0 {
		l.t.Skip("nothing of ours is there")
	}
	do(h, rapid.SampledFrom(ours).Draw(l.t, "file"))
	h.version++
	l.byHand[h] = true
}

func (l *life) editFile() {
	l.byHandOn(func(h *livesHost, p string) { h.write(p, h.read(p)+"# by hand\n", 0o644) })
}

func (l *life) deleteFile() {
	l.byHandOn(func(h *livesHost, p string) { _ = os.Remove(h.path(p)) })
}

// putForeign puts a file of the admin's beside ours.
func (l *life) putForeign() {
	h := l.host()
	p := rapid.SampledFrom([]string{"/etc/sysctl.d/50-mine.conf", "/etc/ipsec.d/mine.conf", "/etc/strongswan.d/mine.conf", "/etc/ppp/ip-up.d/mine"}).Draw(l.t, "file")
	if l.foreign[h] == nil {
		l.foreign[h] = map[string]string{}
	}
	l.foreign[h][p] = "# mine, not vpnpush's\n"
	h.write(p, l.foreign[h][p], 0o644)
	h.version++
}

func (l *life) reboot() { l.host().boot() }

func changed(cs []tasks.Change) []string {
	var out []string
	for _, c := range cs {
		out = append(out, string(c.Action)+" "+c.Task)
	}
	return out
}

// lives is how many TestLives tries where VPNPUSH_E2E is set, and where it is not; what
// -rapid.checks says counts more. They have five actions on average, and are the same each
// time but for make chaos, or where -rapid.seed says which.
const lives, fewLives = 300, 30

// Whatever an admin does, in any order and whatever happens in the middle of it, a host that
// is told as changed is as the inventory says, with nothing of what went and nothing else
// touched, one that is not is as before, and tunnels stay.
func TestLives(t *testing.T) {
	t.Parallel() // of what is in the flags of rapid, this package has no other use
	skeleton := newSkeleton(t)
	set := func(name, value string) {
		f := flag.Lookup(name)
		was := f.Value.String()
		_ = f.Value.Set(value)
		t.Cleanup(func() { _ = f.Value.Set(was) })
	}
	if flag.Lookup("rapid.checks").Value.String() == flag.Lookup("rapid.checks").DefValue {
		n := fewLives
		if os.Getenv("VPNPUSH_E2E") != "" {
			n = lives
		}
		set("rapid.checks", strconv.Itoa(n))
	}
	set("rapid.steps", "5")
	if flag.Lookup("rapid.seed").Value.String() == flag.Lookup("rapid.seed").DefValue && os.Getenv("CHAOS_ROUNDS") == "" {
		set("rapid.seed", "20261128")
	}
	rapid.Check(t, func(rt *rapid.T) {
		l := newLife(rt, t, skeleton)
		defer os.RemoveAll(l.dir)
		do := map[string]func(){"add": l.add, "remove": l.remove, "rename": l.rename, "renumber": l.renumber, "rotate": l.rotate, "l2tp": l.l2tp, "user": l.user,
			"filter": l.filter, "apply": l.full, "apply again": l.full, "apply some": l.some, "apply in trouble": l.hurt, "apply in trouble again": l.hurt, "roll back": l.back,
			"take off": l.clear, "edit by hand": l.editFile, "delete by hand": l.deleteFile, "foreign file": l.putForeign, "reboot": l.reboot, "lose": l.lost}
		actions := map[string]func(*rapid.T){}
		for name, f := range do {
			actions[name] = func(rt *rapid.T) { l.t = rt; f(); l.note() }
		}
		rt.Repeat(actions)
	})
}
