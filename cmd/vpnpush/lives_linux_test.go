package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
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

	n       int // of names and networks that were given
	secrets []string
	names   []string                   // that sites had
	undo    map[*livesHost][]livesSeen // what stood before each apply that was confirmed
	foreign map[*livesHost]map[string]string
	byHand  map[*livesHost]bool // something there is not as the last apply left it
}

const livesHub = "vps"

func newLife(rt *rapid.T, test *testing.T, skeleton string) *life {
	dir, err := os.MkdirTemp(filepath.Dir(skeleton), "life")
	if err != nil {
		rt.Fatal(err)
	}
	l := &life{livesWorld: &livesWorld{dir: dir, skeleton: skeleton, hosts: map[string]*livesHost{}}, t: rt, test: test, path: filepath.Join(dir, "vpnpush.toml"),
		now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), undo: map[*livesHost][]livesSeen{}, foreign: map[*livesHost]map[string]string{}, byHand: map[*livesHost]bool{}}
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
	s.live["rules"] = h.rules()
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
		if w, ok := was.files[p]; !ofItsOwn(p) && (!ok || w.text != f.text || w.mode != f.mode) {
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

func (l *life) leave(name string) {
	hosts := l.chosen(name)
	hosts[0] = leaving(hosts[0])
	l.change("remove "+name, hosts, nil)
}

// change plans and applies, and looks at what became of it.
func (l *life) change(what string, hosts []engine.Host, back func(*engine.Engine)) *engine.Report {
	var p *engine.Plan
	var r *engine.Report
	l.bubble(func(ctx context.Context, e *engine.Engine) {
		e.Adopt = true
		p, _ = e.Plan(ctx, hosts)
		r, _ = e.Apply(ctx, p, hosts)
		for _, h := range l.boxes {
			h.settle(time.Now().Add(24 * time.Hour))
		}
	})
	for _, h := range r.Hosts {
		if h.Result != engine.OK && h.Result != engine.Changed {
			l.fatal("%s: %s: %s: %v", what, h.Name, h.Result, h.Err)
		}
	}
	return r
}

func (l *life) apply() {
	l.change("apply", l.chosen(), nil)
	var p *engine.Plan
	hosts := l.chosen()
	l.bubble(func(ctx context.Context, e *engine.Engine) { p, _ = e.Plan(ctx, hosts) })
	for _, h := range p.Hosts {
		if h.Result != engine.OK {
			l.fatal("plan after an apply: %s: %s, %v: %v", h.Name, h.Result, h.Err, changed(h.Changes))
		}
	}
}

func changed(cs []tasks.Change) []string {
	var out []string
	for _, c := range cs {
		out = append(out, string(c.Action)+" "+c.Task)
	}
	return out
}

// Whatever an admin does, in any order, an apply that worked leaves what the inventory
// says and nothing else.
func TestLives(t *testing.T) {
	skeleton := newSkeleton(t)
	set := func(name, value string) {
		f := flag.Lookup(name)
		was := f.Value.String()
		_ = f.Value.Set(value)
		t.Cleanup(func() { _ = f.Value.Set(was) })
	}
	set("rapid.steps", "8")
	rapid.Check(t, func(rt *rapid.T) {
		l := newLife(rt, t, skeleton)
		defer os.RemoveAll(l.dir)
		do := map[string]func(){"add": l.add, "remove": l.remove, "rename": l.rename, "renumber": l.renumber, "rotate": l.rotate, "l2tp": l.l2tp, "user": l.user,
			"filter": l.filter, "apply": l.apply}
		actions := map[string]func(*rapid.T){}
		for name, f := range do {
			actions[name] = func(rt *rapid.T) { l.t = rt; f() }
		}
		rt.Repeat(actions)
	})
}

var _ = errors.Join
var _ = maps.Keys[map[string]int]
