package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/vpnpush/vpnpush/transport"
)

// livesHost is a Debian on which scripts run in a root of its own. systemd, strongSwan and
// the packet filter are played.
type livesHost struct {
	w       *livesWorld
	name    string
	address string
	root    string
	down    bool // it is not reached

	mu     sync.Mutex
	temps  int
	shells map[*shell]bool
	units  map[string]*livesUnit
	timers map[string]livesTimer
	booted time.Time
	boots  int
	tables map[string]*livesTable
	conns  map[string]livesConn // that charon has loaded, by name
	keys   map[string][]string  // that it has loaded, by the ID of the other end
	calls  []string             // what was asked of systemd and of strongSwan, but for questions

	version int                 // goes up with what changes on it
	answers map[string]answered // of probes, by their scripts

	trouble *livesTrouble // that is to come
	going   bool          // down: the power is cut
	hit     string        // the command before which the trouble came
}

type livesUnit struct {
	enabled, active bool
	since           time.Time
}

type livesTimer struct {
	at   time.Time // by the clock of the engine
	path string
}

type livesTable struct {
	names    []string // of the chains, in their order
	policies map[string]string
	rules    map[string][]string
}

// livesConn is a conn as charon has it.
type livesConn struct {
	left, right, leftID, rightID string
	leftNets, rightNets          []string
	ike                          string
}

// livesTrouble comes before the n-th command of an apply script.
type livesTrouble struct {
	what string // of the script's: "run", "undo", "confirm"
	n    int
	kind string // "fail", "kill", "client", "reboot"
}

const (
	starterUnit = "strongswan-starter.service"
	filterUnit  = "netfilter-persistent.service"
)

// newLivesHost returns a host on which the packages are installed, and nothing else.
func (w *livesWorld) newHost(name, address string) *livesHost {
	h := &livesHost{w: w, name: name, address: address, shells: map[*shell]bool{}, answers: map[string]answered{}, timers: map[string]livesTimer{}, units: map[string]*livesUnit{}}
	var err error
	if h.root, err = os.MkdirTemp(w.dir, "host"); err == nil {
		err = errors.Join(os.Chmod(h.root, 0o755), copySkeleton(w.skeleton, h.root))
	}
	for _, d := range []string{"dev", "etc/ipsec.d", "etc/iptables", "etc/ppp/ip-up.d", "etc/ppp/ip-down.d", "etc/ppp/ip-pre-up.d", "etc/strongswan.d", "etc/sysctl.d",
		"etc/systemd/system", "etc/xl2tpd", "proc/sys/kernel/random", "proc/sys/net/ipv4/conf/all", "proc/sys/net/ipv4/conf/default", "run/systemd/system", "usr", "var/lib"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(h.root, d), 0o755))
	}
	err = errors.Join(err, unix.Mknod(h.path("/dev/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))), os.WriteFile(h.path("/dev/ppp"), nil, 0o600))
	if err != nil {
		w.fault("%s: %v", name, err)
		return h
	}
	for path, text := range map[string]string{
		"/etc/os-release": "ID=debian\nVERSION_ID=\"12\"\n", "/etc/ipsec.conf": "# ipsec.conf - strongSwan IPsec configuration file\nconfig setup\n",
		"/etc/ipsec.secrets": "# the admin's own\n", "/proc/sys/kernel/osrelease": "6.1.0\n", "/etc/strongswan.conf": "charon {\n}\n",
		"/etc/xl2tpd/xl2tpd.conf": "; as the package brings it\n", "/etc/ppp/options.xl2tpd": "# as the package brings it\n", "/etc/ppp/chap-secrets": "# Secrets for authentication using CHAP\n",
		"/etc/iptables/rules.v4": "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A INPUT -i lo -j ACCEPT\nCOMMIT\n",
	} {
		h.write(path, text, 0o644)
	}
	for _, u := range []string{starterUnit, filterUnit, "xl2tpd.service"} {
		h.units[u] = &livesUnit{enabled: true}
	}
	h.boot()
	return h
}

func (h *livesHost) path(p string) string { return h.root + p }

func (h *livesHost) read(p string) string {
	b, _ := os.ReadFile(h.path(p))
	return string(b)
}

func (h *livesHost) write(p, text string, mode os.FileMode) {
	if err := errors.Join(os.MkdirAll(filepath.Dir(h.path(p)), 0o755), os.WriteFile(h.path(p), []byte(text), mode)); err != nil {
		h.w.fault("%s: %v", h.name, err)
	}
}

var livesSysctls = map[string]string{"ip_forward": "0", "conf/all/accept_redirects": "1", "conf/default/accept_redirects": "1",
	"conf/all/send_redirects": "1", "conf/default/send_redirects": "1", "conf/all/rp_filter": "0", "conf/default/rp_filter": "0"}

// boot begins the host anew.
func (h *livesHost) boot() {
	h.mu.Lock()
	h.going = false
	clear(h.timers)
	h.boots++
	h.booted = realNow()
	for _, u := range h.units {
		u.active = false
	}
	h.conns, h.keys, h.tables = nil, nil, map[string]*livesTable{}
	h.mu.Unlock()
	h.write("/proc/sys/kernel/random/boot_id", fmt.Sprintf("%08d-0000-4000-8000-000000000000\n", h.boots), 0o644)
	os.RemoveAll(h.path("/run/vpnpush"))
	// a boot takes a minute: what is on the disk is older than what starts now
	_ = filepath.WalkDir(h.path("/etc"), func(p string, d os.DirEntry, err error) error {
		if i, err := d.Info(); err == nil && i.Mode().IsRegular() {
			_ = os.Chtimes(p, time.Time{}, i.ModTime().Add(-time.Minute))
		}
		return err
	})
	h.uptime()
	h.write("/run/charon.pid", "1\n", 0o644)
	guard := h.units["vpnpush-revert.service"]
	if left, _ := filepath.Glob(h.path("/var/lib/vpnpush/txn/*/apply.sh")); len(left) > 0 && guard != nil && guard.enabled {
		h.guarded()
	}
	for key, value := range livesSysctls {
		h.write("/proc/sys/net/ipv4/"+key, value+"\n", 0o644)
	}
	for l := range strings.Lines(h.read("/etc/sysctl.d/60-vpnpush.conf")) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), " = "); ok && k[0] != '#' {
			h.write("/proc/sys/"+strings.ReplaceAll(k, ".", "/"), v+"\n", 0o644)
		}
	}
	h.mu.Lock()
	for name, u := range h.units {
		if u.enabled {
			h.start(name)
		}
	}
	h.mu.Unlock()
	if h.units[filterUnit].active {
		if why := h.restore(h.read("/etc/iptables/rules.v4"), true, false); why != "" {
			h.w.fault("%s: the rules of the next boot: %s", h.name, why)
		}
	}
}

// guarded is the boot guard at work.
func (h *livesHost) guarded() {
	out := &bytes.Buffer{}
	script := strings.ReplaceAll(h.read("/var/lib/vpnpush/revert.sh"), "exec /bin/sh ", "run_sh ")
	if status, err := h.shell("undo", script, nil, nil, out, out); err != nil || status != 0 {
		h.w.fault("%s: the boot guard: %d, %v: %s", h.name, status, err, out)
	}
}

// uptime writes what the kernel tells of it.
func (h *livesHost) uptime() {
	h.write("/proc/uptime", fmt.Sprintf("%.2f 0.00\n", realNow().Sub(h.booted).Seconds()+5), 0o644)
}

// fault is what happens before a command: its exit status, unless it is 0, and whether the
// script lives on.
func (h *livesHost) fault(s *shell, argv []string) (status int, lives bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t := h.trouble
	if h.going {
		return 0, false
	}
	if t == nil || s.what != t.what || s.n < t.n {
		return 0, true
	}
	h.trouble, h.hit = nil, fmt.Sprintf("%s, at command %d of %s: %s", t.kind, s.n, s.what, strings.Join(argv, " "))
	switch t.kind {
	case "fail":
		return 1, true
	case "client":
		h.w.cancel()
		return 0, true
	case "reboot":
		h.going = true
		for other := range h.shells {
			other.kill()
		}
	}
	return 0, false
}

// settle lets come what comes by itself: the end of a power cut, and timers.
func (h *livesHost) settle(until time.Time) {
	for {
		h.mu.Lock()
		going := h.going && len(h.shells) == 0
		due := ""
		for name, t := range h.timers {
			if !t.at.After(until) && (due == "" || t.at.Before(h.timers[due].at)) {
				due = name
			}
		}
		timer := h.timers[due]
		if !going {
			delete(h.timers, due)
		}
		h.mu.Unlock()
		switch {
		case going:
			h.boot()
		case due != "":
			out := &bytes.Buffer{}
			if _, err := os.Stat(h.path(timer.path)); err != nil {
				continue
			}
			// what it is killed in is begun again: Restart=on-abnormal
			h.version++
			for range 3 {
				if _, err := h.shell("undo", ". "+timer.path, []string{"undo"}, nil, out, out); err != errKilled || h.going {
					break
				}
			}
		default:
			return
		}
	}
}

// --- systemd ---------------------------------------------------------------

// unit returns a unit that is loaded, else nil.
func (h *livesHost) unit(name string) *livesUnit {
	if u := h.units[name]; u != nil {
		return u
	}
	if i, err := os.Stat(h.path("/etc/systemd/system/" + name)); err == nil && i.Mode().IsRegular() {
		h.units[name] = &livesUnit{}
		return h.units[name]
	}
	return nil
}

// start starts a unit.
func (h *livesHost) start(name string) {
	u := h.unit(name)
	if u == nil || u.active || name == "vpnpush-revert.service" {
		return
	}
	u.active, u.since = true, realNow()
	if name == starterUnit {
		h.loadConns()
		h.loadKeys()
		if _, err := os.Stat(h.path("/etc/systemd/system/" + starterUnit + ".d/vpnpush.conf")); err == nil {
			h.start("vpnpush-redial.service")
		}
	}
}

func (h *livesHost) stop(name string) {
	if u := h.units[name]; u != nil {
		u.active = false
	}
	if name == starterUnit {
		h.conns, h.keys = nil, nil
		h.stop("vpnpush-redial.service") // PartOf
	}
}

func toolSystemctl(h *livesHost, s *stdio, args []string) int {
	options, words := toolWords(args)
	h.mu.Lock()
	defer h.mu.Unlock()
	name := ""
	if len(words) > 1 {
		name = words[1]
	}
	u := h.unit(name)
	if words[0] != "is-active" && words[0] != "is-enabled" && words[0] != "show" && words[0] != "is-system-running" && !strings.HasSuffix(name, ".timer") {
		h.calls = append(h.calls, strings.Join(words, " "))
	}
	known := func(do func()) int {
		if u == nil {
			return s.say("Unit %s not found.", name)
		}
		do()
		return 0
	}
	switch words[0] {
	case "show":
		for i, n := range words[2-1:] {
			if strings.Contains(n, ",") {
				continue
			}
			if i > 1 {
				fmt.Fprintln(s)
			}
			u, since := h.unit(n), int64(0)
			load, active, state := "not-found", "inactive", ""
			if u != nil {
				load, state = "loaded", "disabled"
				if u.enabled {
					state = "enabled"
				}
				if u.active {
					active = "active"
					since = (u.since.Sub(h.booted) + 5*time.Second).Microseconds()
				}
			}
			fmt.Fprintf(s, "Id=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\nActiveEnterTimestampMonotonic=%d\n", n, load, active, state, since)
		}
	case "is-active":
		if _, ok := h.timers[strings.TrimSuffix(name, ".timer")]; ok || u != nil && u.active {
			if !strings.Contains(options, "quiet") {
				fmt.Fprintln(s, "active")
			}
			return 0
		}
		return 3
	case "is-enabled":
		if u != nil && u.enabled {
			return 0
		}
		return 1
	case "is-system-running":
		fmt.Fprintln(s, "running")
	case "daemon-reload", "reset-failed":
		for n, u := range h.units {
			if _, err := os.Stat(h.path("/etc/systemd/system/" + n)); err != nil && strings.HasPrefix(n, "vpnpush-") && !u.active && !u.enabled {
				delete(h.units, n)
			}
		}
	case "enable":
		return known(func() { u.enabled = true })
	case "disable":
		return known(func() { u.enabled = false })
	case "start":
		return known(func() { h.start(name) })
	case "restart":
		return known(func() { h.stop(name); h.start(name) })
	case "stop":
		if timer, ok := strings.CutSuffix(name, ".timer"); ok {
			delete(h.timers, timer)
			return 0
		}
		if strings.HasPrefix(name, "vpnpush-apply-") {
			return 0
		}
		return known(func() { h.stop(name) })
	default:
		h.w.fault("%s: systemctl %q is not played", h.name, args)
		return 1
	}
	return 0
}

func toolSystemdRun(h *livesHost, s *stdio, args []string) int {
	unit, after, log := "", "", ""
	i := 0
	for ; i < len(args) && strings.HasPrefix(args[i], "-"); i++ {
		a := args[i]
		if a == "-p" {
			i++
			a = args[i]
		}
		if v, ok := strings.CutPrefix(a, "--unit="); ok {
			unit = v
		} else if v, ok := strings.CutPrefix(a, "--on-active="); ok {
			after = v
		} else if v, ok := strings.CutPrefix(a, "StandardOutput=file:"); ok {
			log = v
		}
	}
	argv := args[i:]
	if len(argv) < 2 || argv[0] != "/bin/sh" {
		h.w.fault("%s: systemd-run %q is not played", h.name, args)
		return 1
	}
	if after != "" {
		d, err := time.ParseDuration(after + "s")
		if err != nil {
			return s.say("systemd-run: %v", err)
		}
		h.mu.Lock()
		h.timers[unit] = livesTimer{at: time.Now().Add(d), path: argv[1]}
		h.mu.Unlock()
		return 0
	}
	out, err := os.OpenFile(h.path(log), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return s.say("systemd-run: %v", err)
	}
	defer out.Close()
	_, _ = h.shell(argv[2], ". "+argv[1], argv[2:], nil, out, out)
	return 0
}

// --- strongSwan ------------------------------------------------------------

// included returns the texts of the files that a file of strongSwan's includes.
func (h *livesHost) included(file string) string {
	var b strings.Builder
	for l := range strings.Lines(h.read(file)) {
		if pattern, ok := strings.CutPrefix(strings.TrimSpace(l), "include "); ok {
			paths, _ := filepath.Glob(h.path(pattern))
			for _, p := range paths {
				text, _ := os.ReadFile(p)
				b.Write(text)
			}
		}
	}
	return b.String()
}

func (h *livesHost) loadConns() {
	h.conns = map[string]livesConn{}
	name := ""
	for l := range strings.Lines(h.included("/etc/ipsec.conf")) {
		l = strings.TrimRight(l, "\n")
		if n, ok := strings.CutPrefix(l, "conn "); ok {
			name = n
			h.conns[name] = livesConn{}
			continue
		}
		k, v, ok := strings.Cut(strings.TrimSpace(l), "=")
		if !ok || name == "" || l[0] != ' ' {
			if l != "" && l[0] != ' ' && l[0] != '#' {
				name = ""
			}
			continue
		}
		c := h.conns[name]
		switch k {
		case "left":
			c.left = v
		case "right":
			c.right = v
		case "leftid":
			c.leftID = v
		case "rightid":
			c.rightID = v
		case "leftsubnet":
			c.leftNets = strings.Split(v, ",")
		case "rightsubnet":
			c.rightNets = strings.Split(v, ",")
		case "ike":
			c.ike = strings.TrimSuffix(v, "!")
		}
		h.conns[name] = c
	}
}

func (h *livesHost) loadKeys() {
	h.keys = map[string][]string{}
	for l := range strings.Lines(h.included("/etc/ipsec.secrets")) {
		if id, key, ok := strings.Cut(strings.TrimSpace(l), " : PSK "); ok && id[0] != '#' {
			h.keys[id] = append(h.keys[id], strings.Trim(key, `"`))
		}
	}
}

// tunnel is a tunnel of a host's that is up.
type livesTunnel struct {
	conn, address, id, peerAddress, peerID string
	local, remote                          []string
}

// fits returns the tunnel that comes up between a conn of a hub's and one of a site's.
func fits(hub *livesHost, hubConn string, site *livesHost, siteConn string) (atHub, atSite livesTunnel, ok bool) {
	a, b := hub.conns[hubConn], site.conns[siteConn]
	common := func(a, b []string) bool {
		return slices.ContainsFunc(a, func(s string) bool { return slices.Contains(b, s) })
	}
	last := func(ks []string) []string { return ks[max(0, len(ks)-1):] }
	hubKeys, siteKeys := hub.keys[a.rightID], site.keys[b.rightID]
	if a.right != "%any" || b.right != a.left || a.leftID != b.rightID || a.rightID != b.leftID || !common(strings.Split(a.ike, ","), strings.Split(b.ike, ",")) ||
		!common(last(hubKeys), siteKeys) || !common(last(siteKeys), hubKeys) {
		return atHub, atSite, false
	}
	both := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
	}
	near, far := both(b.leftNets, a.rightNets), both(b.rightNets, a.leftNets)
	atHub = livesTunnel{hubConn, a.left, a.leftID, site.address, a.rightID, far, near}
	atSite = livesTunnel{siteConn, site.address, b.leftID, b.right, b.rightID, near, far}
	return atHub, atSite, len(near) > 0 && len(far) > 0
}

// tunnels returns those of the host that are up.
func (h *livesHost) tunnels() []livesTunnel {
	var out []livesTunnel
	for _, peer := range h.w.boxes {
		if peer == h {
			continue
		}
		peer.mu.Lock()
		for mine := range h.conns {
			for its := range peer.conns {
				if t, _, ok := fits(h, mine, peer, its); ok && !peer.cutOff() {
					out = append(out, t)
				} else if _, t, ok := fits(peer, its, h, mine); ok && !peer.cutOff() {
					out = append(out, t)
				}
			}
		}
		peer.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b livesTunnel) int { return strings.Compare(a.conn, b.conn) })
	return out
}

// cutOff reports whether the host is off.
func (h *livesHost) cutOff() bool { return h.going }

func toolIPsec(h *livesHost, s *stdio, args []string) int {
	h.w.mu.Lock() // it looks at others
	defer h.w.mu.Unlock()
	h.mu.Lock()
	up := h.units[starterUnit].active
	conns := h.conns
	h.mu.Unlock()
	switch args[0] {
	case "--piddir":
		fmt.Fprintln(s, "/run")
		return 0
	case "stop":
		h.mu.Lock()
		defer h.mu.Unlock()
		h.stop(starterUnit)
		return 0
	}
	if !up {
		return 3
	}
	switch args[0] {
	case "update":
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, "ipsec update")
		h.loadConns()
	case "rereadsecrets":
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, "ipsec rereadsecrets")
		h.loadKeys()
	case "down", "up", "stroke":
	case "status", "statusall":
		ts := h.tunnels()
		if args[0] == "statusall" {
			fmt.Fprintf(s, "Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):\nListening IP addresses:\n  %s\nConnections:\n", h.address)
			for _, name := range slices.Sorted(keysOf(conns)) {
				fmt.Fprintf(s, "%12s:  %s...%s  IKEv2\n", name, conns[name].left, conns[name].right)
			}
		}
		fmt.Fprintf(s, "Security Associations (%d up, 0 connecting):\n", len(ts))
		if len(ts) == 0 {
			fmt.Fprintln(s, "  none")
		}
		for i, t := range ts {
			fmt.Fprintf(s, "%12s[%d]: ESTABLISHED 9 seconds ago, %s[%s]...%s[%s]\n", t.conn, i+1, t.address, strings.TrimPrefix(t.id, "@"), t.peerAddress, strings.TrimPrefix(t.peerID, "@"))
			fmt.Fprintf(s, "%12s{%d}:  INSTALLED, TUNNEL, reqid %d, ESP SPIs: 574ec20f_i 3ce3902d_o\n", t.conn, i+1, i+1)
			fmt.Fprintf(s, "%12s{%d}:   %s === %s\n", t.conn, i+1, strings.Join(t.local, " "), strings.Join(t.remote, " "))
		}
	default:
		h.w.fault("%s: ipsec %q is not played", h.name, args)
		return 1
	}
	return 0
}

func keysOf[V any](m map[string]V) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func toolSwanctl(h *livesHost, s *stdio, _ []string) int {
	s.say("sh: 1: swanctl: not found")
	return 127
}

// --- the packet filter -----------------------------------------------------

var livesBuiltIn = map[string][]string{"filter": {"INPUT", "FORWARD", "OUTPUT"}, "nat": {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}}

func (t *livesTable) clone() *livesTable {
	out := &livesTable{names: slices.Clone(t.names), policies: map[string]string{}, rules: map[string][]string{}}
	for _, n := range t.names {
		out.policies[n], out.rules[n] = t.policies[n], slices.Clone(t.rules[n])
	}
	return out
}

// restore is iptables-restore: it returns what is wrong, "" for nothing.
func (h *livesHost) restore(text string, flush, test bool) string {
	tables := map[string]*livesTable{}
	var t *livesTable
	name := ""
	for l := range strings.Lines(text) {
		l = strings.TrimRight(l, "\n")
		w := strings.SplitN(l, " ", 3)
		switch {
		case l == "" || l[0] == '#':
		case l[0] == '*':
			name = l[1:]
			if h.tables[name] == nil || flush {
				t = &livesTable{policies: map[string]string{}, rules: map[string][]string{}}
				for _, c := range livesBuiltIn[name] {
					t.names, t.policies[c] = append(t.names, c), "ACCEPT"
				}
			} else {
				t = h.tables[name].clone()
			}
		case t == nil:
			return "outside of a table: " + l
		case l == "COMMIT":
			for _, rules := range t.rules {
				for _, r := range rules {
					if _, to, ok := strings.Cut(r, "-j VPNPUSH-"); ok && t.policies["VPNPUSH-"+to] == "" {
						return "there is no chain for " + r
					}
				}
			}
			tables[name], t = t, nil
		case l[0] == ':':
			c := w[0][1:]
			if t.policies[c] == "" {
				t.names = append(t.names, c)
			}
			t.policies[c] = w[1]
			if w[1] == "-" {
				t.rules[c] = nil
			}
		case t.policies[w[1]] == "":
			return "no such chain: " + l
		case w[0] == "-A":
			t.rules[w[1]] = append(t.rules[w[1]], w[2])
		case w[0] == "-I":
			n, rule := 0, ""
			if _, err := fmt.Sscanf(w[2], "%d", &n); err != nil || n < 1 || n > len(t.rules[w[1]])+1 {
				return "no such place: " + l
			}
			_, rule, _ = strings.Cut(w[2], " ")
			t.rules[w[1]] = slices.Insert(t.rules[w[1]], n-1, rule)
		case w[0] == "-D":
			i := slices.Index(t.rules[w[1]], w[2])
			if i < 0 {
				return "no such rule: " + l
			}
			t.rules[w[1]] = slices.Delete(t.rules[w[1]], i, i+1)
		case w[0] == "-X":
			if len(t.rules[w[1]]) > 0 {
				return "the chain is not empty: " + l
			}
			delete(t.policies, w[1])
			t.names = slices.DeleteFunc(t.names, func(n string) bool { return n == w[1] })
		default:
			return "not played: " + l
		}
	}
	if t != nil {
		return "no COMMIT"
	}
	if !test {
		for n, t := range tables {
			h.tables[n] = t
		}
	}
	return ""
}

func toolIPTablesRestore(h *livesHost, s *stdio, args []string) int {
	text, err := io.ReadAll(s)
	if err != nil {
		return s.say("iptables-restore: %v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if why := h.restore(string(text), !slices.Contains(args, "--noflush"), slices.Contains(args, "--test")); why != "" {
		h.w.fault("%s: iptables-restore: %s", h.name, why)
		return s.say("iptables-restore: %s", why)
	}
	return 0
}

// rules returns what iptables-save prints.
func (h *livesHost) rules() string {
	var b strings.Builder
	for _, name := range slices.Sorted(keysOf(h.tables)) {
		t := h.tables[name]
		if len(t.names) == len(livesBuiltIn[name]) && len(slices.Concat(slices.Collect(maps.Values(t.rules))...)) == 0 {
			continue // as if nobody had used it
		}
		fmt.Fprintf(&b, "*%s\n", name)
		for _, c := range t.names {
			fmt.Fprintf(&b, ":%s %s [0:0]\n", c, t.policies[c])
		}
		for _, c := range t.names {
			for _, r := range t.rules[c] {
				fmt.Fprintf(&b, "-A %s %s\n", c, r)
			}
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

func toolIPTablesSave(h *livesHost, s *stdio, _ []string) int {
	h.mu.Lock()
	text := h.rules()
	h.mu.Unlock()
	io.WriteString(s, text)
	return 0
}

// --- how it is reached -----------------------------------------------------

// answered is what a probe has answered, and how the host stood. To run it again would say
// the same, and costs more than all the rest.
type answered struct {
	state string
	text  []byte
}

// state tells whether a host stands as it did, as far as a probe looks at it.
func (h *livesHost) state() string {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return fmt.Sprint(h.boots, h.version, h.tunnels())
}

// livesConnTo is a connection to a host.
type livesConnTo struct {
	h    *livesHost
	boot int
}

func (c *livesConnTo) Close() error { return nil }

func (c *livesConnTo) Run(ctx context.Context, cmd transport.Cmd) (transport.Result, error) {
	h := c.h
	if err := ctx.Err(); err != nil {
		return transport.Result{}, err
	}
	h.settle(time.Now())
	if h.boots != c.boot {
		return transport.Result{}, fmt.Errorf("%w: broken pipe", transport.ErrLost)
	}
	h.uptime()
	what := ""
	if strings.Contains(cmd.Script, `"$t" confirm`) {
		what = "confirm"
	} else if strings.Contains(cmd.Script, "apply.sh undo") {
		what = "undo"
	}
	probe := strings.HasSuffix(cmd.Script, "| gzip -1; else probe; fi\n")
	was := h.answers[cmd.Script]
	if now := h.state(); probe && was.state == now {
		return transport.Result{Stdout: was.text}, nil
	}
	if !probe {
		h.version++
	}
	var out, errs bytes.Buffer
	var to io.Writer = &out
	if cmd.Stdout != nil {
		to = cmd.Stdout
	}
	status, err := h.shell(what, strings.ReplaceAll(cmd.Script, "exec /bin/sh ", "run_sh "), nil, cmd.Stdin, to, &errs)
	if probe && err == nil && status == 0 {
		h.answers[cmd.Script] = answered{h.state(), out.Bytes()}
	}
	h.settle(time.Now())
	switch {
	case ctx.Err() != nil:
		return transport.Result{}, ctx.Err()
	case h.boots == c.boot && err == errKilled:
		return transport.Result{}, &transport.ExitError{Signal: "KILL"}
	case h.boots != c.boot:
		return transport.Result{}, fmt.Errorf("%w: broken pipe", transport.ErrLost)
	case err != nil:
		h.w.fault("%s: %v", h.name, err)
		return transport.Result{}, err
	}
	res := transport.Result{Stdout: out.Bytes()}
	if status != 0 {
		return res, &transport.ExitError{Code: status, Stderr: errs.Bytes()}
	}
	return res, nil
}

// Dial implements engine.Dialer.
func (w *livesWorld) Dial(ctx context.Context, name string) (transport.Conn, error) {
	h := w.hosts[name]
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if h == nil || h.down {
		return nil, fmt.Errorf("dial %s: %w", name, syscall.ECONNREFUSED)
	}
	h.settle(time.Now())
	return &livesConnTo{h: h, boot: h.boots}, nil
}

// DialAnyWay implements engine.Dialer.
func (w *livesWorld) DialAnyWay(ctx context.Context, name string) (transport.Conn, error) {
	return w.Dial(ctx, name)
}
