package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/security"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

const marker = "# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.\n"

// answer is what a host's probe prints, made by hand and read by the real
// parser.
type answer struct {
	files    map[string]string // absent: ""
	globs    []string          // patterns that files were looked for by
	mode     map[string]int64
	sysctls  map[string]string
	commands map[string]string // "127": there is no such command
	units    map[string]string // name: ActiveState UnitFileState
	manifest *tasks.Manifest
	// revertFailed is what a revert that failed has left a note of
	revertFailed string
}

func (a answer) print(t *testing.T) []byte {
	t.Helper()
	var b, archive bytes.Buffer
	section := func(body string, head ...string) {
		fmt.Fprintf(&b, "\n\x01%s\n%s", strings.Join(head, "\t"), body)
	}
	b.WriteString("vpnpush-facts 1")
	section("1700000000\n", "host", "now")
	section("1000.0 1.0", "host", "uptime")
	for k, v := range a.sysctls {
		section(v, "sysctl", k)
	}
	if len(a.units) > 0 {
		var blocks, names []string
		for n, s := range a.units {
			active, enabled, _ := strings.Cut(s, " ")
			names = append(names, n)
			blocks = append(blocks, fmt.Sprintf("Id=%s\nLoadState=loaded\nActiveState=%s\nUnitFileState=%s\nActiveEnterTimestampMonotonic=0\n", n, active, enabled))
		}
		section(strings.Join(blocks, "\n"), "command", "units")
		section("", "status", "units", "0")
		section(strings.Join(names, "\n"), "unit-names")
	}
	if a.commands["vpnpush-run"] == "" {
		section("", "command", "vpnpush-run")
		section("", "status", "vpnpush-run", "0")
	}
	for n, out := range a.commands {
		code := "0"
		if out == "127" {
			out, code = "", "127"
		}
		section(out, "command", n)
		section("", "status", n, code)
	}
	for _, pattern := range a.globs {
		section("", "glob", pattern)
	}
	tw := tar.NewWriter(&archive)
	put := func(p, content string, mode int64) {
		h := &tar.Header{Name: p, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(content)), Uname: "root", Gname: "root", ModTime: time.Unix(1600000000, 0)}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		tw.Write([]byte(content))
	}
	section("", "absent", "/etc/os-release")
	if a.revertFailed == "" {
		section("", "absent", tasks.RevertFailedPath)
	} else {
		put(tasks.RevertFailedPath, a.revertFailed, 0o600)
	}
	if a.manifest == nil {
		section("", "absent", tasks.ManifestPath)
	} else {
		m, err := a.manifest.Encode()
		if err != nil {
			t.Fatal(err)
		}
		put(tasks.ManifestPath, string(m), 0o600)
	}
	for p, c := range a.files {
		if c == "" {
			section("", "absent", p)
			continue
		}
		mode := int64(0o644)
		if m, ok := a.mode[p]; ok {
			mode = m
		}
		put(p, c, mode)
	}
	tw.Close()
	return fmt.Appendf(nil, "%s\n\x01files\n%s\n\x01end\t0\n", b.Bytes(), archive.Bytes())
}

// hosts are what each host answers, in turn.
type hosts map[string][]answer

// network is a Dialer of hosts that answer any command with the next of their
// answers, the last one again and again. A host without one cannot be reached.
type network struct {
	t     *testing.T
	mu    sync.Mutex // the engine asks its hosts in parallel
	hosts hosts
	asked []string // the scripts that were run
}

func dial(t *testing.T, h hosts) *network { return &network{t: t, hosts: h} }

func (n *network) Dial(_ context.Context, host string) (transport.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.hosts[host]) == 0 {
		return nil, errors.New("connection refused")
	}
	return &hostConn{n, host}, nil
}

func (n *network) DialAnyWay(ctx context.Context, host string) (transport.Conn, error) {
	return n.Dial(ctx, host)
}

func (n *network) next(host string) answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	as := n.hosts[host]
	if len(as) > 1 {
		n.hosts[host] = as[1:]
	}
	return as[0]
}

type hostConn struct {
	network *network
	name    string
}

func (c *hostConn) Run(_ context.Context, cmd transport.Cmd) (transport.Result, error) {
	c.network.mu.Lock()
	c.network.asked = append(c.network.asked, cmd.Script)
	c.network.mu.Unlock()
	return transport.Result{Stdout: c.network.next(c.name).print(c.network.t)}, nil
}
func (c *hostConn) Close() error { return nil }

func wants(name string, ts ...tasks.Task) Host {
	return Host{Name: name, Role: "site", Tasks: func(tasks.Facts, tasks.Peers) ([]tasks.Task, error) { return ts, nil }}
}

func applied(ts ...tasks.Task) *tasks.Manifest {
	return tasks.NextManifest(nil, "vps", "tokyo", "me", time.Unix(1, 0), ts, tasks.Facts{})
}

func conf(content string) tasks.File {
	return tasks.File{Path: "/etc/f", Content: []byte(marker + content), Mode: 0o644, Owner: "vps"}
}

// Who moved: every way in which the inventory (D), the host (A) and the last
// apply (L) can stand to each other, by kind of task.
func TestClassify(t *testing.T) {
	forward := func(v string) tasks.Sysctl { return tasks.Sysctl{Key: "net.ipv4.ip_forward", Value: v} }
	sysctl0 := map[string]string{"net.ipv4.ip_forward": "0", "net.ipv4.conf.all.accept_redirects": "0"}
	users := func(s string) tasks.Block {
		return tasks.Block{Path: "/etc/b", Content: []byte(s), Mode: 0o600, Owner: "vps", Syntax: mask.Syntax("opaque")}
	}
	block := func(s string) string { return tasks.BlockBegin("vps") + "\n" + s + tasks.BlockEnd + "\n" }
	unit := tasks.Unit{Name: "u.service"}
	reads := func(content string) tasks.Unit {
		return tasks.Unit{Name: "u.service", Config: map[string]string{"/etc/f": tasks.SHA256([]byte(marker + content))}}
	}
	file := func(content string) map[string]string { return map[string]string{"/etc/f": content} }
	for _, c := range []struct {
		name string
		want tasks.Task
		last *tasks.Manifest
		host answer
		out  string // "" as desired
	}{
		{"file: A = D", conf("a\n"), applied(conf("a\n")), answer{files: file(marker + "a\n")}, ""},
		{"file: A = D ≠ L", conf("a\n"), applied(conf("b\n")), answer{files: file(marker + "a\n")}, ""},
		{"file: D = L, edited", conf("a\n"), applied(conf("a\n")), answer{files: file(marker + "x\n")}, "drifted"},
		{"file: D = L, gone", conf("a\n"), applied(conf("a\n")), answer{files: file("")}, "drifted"},
		{"file: D = L, mode", conf("a\n"), applied(conf("a\n")), answer{files: file(marker + "a\n"), mode: map[string]int64{"/etc/f": 0o666}}, "drifted"},
		{"file: D ≠ L, A = L", conf("a\n"), applied(conf("b\n")), answer{files: file(marker + "b\n")}, "pending"},
		{"file: D ≠ L, A ≠ L", conf("a\n"), applied(conf("b\n")), answer{files: file(marker + "x\n")}, "drifted too"},
		{"file: D ≠ L, gone", conf("a\n"), applied(conf("b\n")), answer{files: file("")}, "drifted too"},
		{"file: new", conf("a\n"), applied(), answer{files: file("")}, "pending"},
		{"file: never applied", conf("a\n"), nil, answer{files: file("somebody's\n")}, "pending"},
		{"sysctl: D = L", forward("1"), applied(forward("1")), answer{sysctls: sysctl0}, "drifted"},
		{"sysctl: D ≠ L, A = L", forward("1"), applied(forward("0")), answer{sysctls: sysctl0}, "pending"},
		{"sysctl: D ≠ L, A ≠ L", forward("1"), applied(forward("2")), answer{sysctls: sysctl0}, "drifted too"},
		{"block: D = L", users("a\n"), applied(users("a\n")), answer{files: map[string]string{"/etc/b": block("eve\n")}}, "drifted"},
		{"block: D ≠ L, A = L", users("a\n"), applied(users("b\n")), answer{files: map[string]string{"/etc/b": "mine\n" + block("b\n")}}, "pending"},
		{"block: D ≠ L, A ≠ L", users("a\n"), applied(users("b\n")), answer{files: map[string]string{"/etc/b": "mine\n"}}, "drifted too"},
		{"line: D = L", tasks.Line{Path: "/etc/b", Line: "x"}, applied(tasks.Line{Path: "/etc/b", Line: "x"}), answer{files: map[string]string{"/etc/b": "y\n"}}, "drifted"},
		{"line: D ≠ L", tasks.Line{Path: "/etc/b", Line: "x"}, applied(tasks.Line{Path: "/etc/b", Line: "z"}), answer{files: map[string]string{"/etc/b": "y\n"}}, "pending"},
		{"unit: stopped", unit, applied(unit), answer{units: map[string]string{"u.service": "failed enabled"}, files: map[string]string{"/run/vpnpush/loaded/u.service": ""}}, "drifted"},
		{"unit: disabled", unit, applied(unit), answer{units: map[string]string{"u.service": "active disabled"}, files: map[string]string{"/run/vpnpush/loaded/u.service": ""}}, "drifted"},
		{"unit: to read a new file", reads("a\n"), applied(reads("b\n")), answer{units: map[string]string{"u.service": "active enabled"}, files: map[string]string{"/etc/f": marker + "b\n", "/run/vpnpush/loaded/u.service": ""}}, "pending"},
		{"unit: to read a new file, and stopped", reads("a\n"), applied(reads("b\n")), answer{units: map[string]string{"u.service": "inactive enabled"}, files: map[string]string{"/etc/f": marker + "b\n", "/run/vpnpush/loaded/u.service": ""}}, "drifted too"},
		{"no more wanted", nil, applied(conf("a\n")), answer{files: file(marker + "a\n")}, "pending"},
		{"no more wanted, edited", nil, applied(conf("a\n")), answer{files: file(marker + "x\n")}, "drifted too"},
		{"no more wanted, gone", nil, applied(conf("a\n")), answer{files: file("")}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := wants("tokyo")
			if c.want != nil {
				h = wants("tokyo", c.want)
			}
			c.host.manifest = c.last
			f, err := host.ParseFacts(c.host.print(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			hd := HostDrift{Name: "tokyo"}
			(&Engine{Owner: "vps"}).judge(h, f, &hd)
			if hd.Err != nil {
				t.Fatal(hd.Err)
			}
			got := ""
			for _, fi := range hd.Findings {
				got += string(fi.State)
				if fi.Also {
					got += " too"
				}
			}
			if got != c.out {
				t.Errorf("%q, want %q", got, c.out)
			}
		})
	}
}

// What keeps a plan from being applied is no reason not to judge a host that was
// applied to; a host that never was is not taken for one that is pending.
func TestDriftPreflight(t *testing.T) {
	h := wants("tokyo", conf("a\n"))
	h.Preflight = func(tasks.Facts) ([]error, []string) { return []error{errors.New("no room")}, nil }
	for _, c := range []struct {
		last *tasks.Manifest
		want int
		fail bool
	}{{applied(conf("a\n")), 1, false}, {nil, 0, true}} {
		a := answer{manifest: c.last, files: map[string]string{"/etc/f": marker + "x\n"}}
		f, err := host.ParseFacts(a.print(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		hd := HostDrift{}
		(&Engine{Owner: "vps"}).judge(h, f, &hd)
		if len(hd.Findings) != c.want || (hd.Err != nil) != c.fail {
			t.Errorf("applied %t: %d findings, %v", c.last != nil, len(hd.Findings), hd.Err)
		}
	}
}

// That a host's programs have known holes is no drift: cron would mail it until the next
// upgrade. It is counted, for the metrics.
func TestDriftSecurity(t *testing.T) {
	h := wants("tokyo", conf("a\n"))
	h.Security = func(tasks.Facts) []security.Finding { return []security.Finding{{Says: "libike has known holes"}} }
	h.Preflight = func(tasks.Facts) ([]error, []string) { return nil, []string{"libike has known holes"} }
	a := answer{manifest: applied(conf("a\n")), files: map[string]string{"/etc/f": marker + "a\n"}}
	f, err := host.ParseFacts(a.print(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	hd := HostDrift{}
	(&Engine{Owner: "vps"}).judge(h, f, &hd)
	hd.settle()
	if hd.Result != OK || hd.Fingerprint() != "" || hd.Security != 1 || len(hd.Warnings) != 1 {
		t.Errorf("%+v", hd)
	}
}

// A service that has not read a file tells nothing new when the file itself is
// told of; when the file is well, it does.
func TestConsequences(t *testing.T) {
	want := tasks.Unit{Name: "u.service", Config: map[string]string{"/etc/f": tasks.SHA256([]byte(marker + "a\n"))}}
	for stands, tell := range map[string][]string{
		marker + "x\n": {"file:/etc/f"},
		marker + "a\n": {"unit:u.service"},
	} {
		a := answer{
			manifest: applied(conf("a\n"), want), units: map[string]string{"u.service": "active enabled"},
			files: map[string]string{"/etc/f": stands, "/run/vpnpush/loaded/u.service": "0  /etc/f\n"},
		}
		f, err := host.ParseFacts(a.print(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		hd := HostDrift{}
		(&Engine{Owner: "vps"}).judge(wants("tokyo", conf("a\n"), want), f, &hd)
		var got []string
		for _, fi := range hd.Findings {
			got = append(got, fi.Change.Task)
		}
		if d := cmp.Diff(tell, got); d != "" || hd.Err != nil {
			t.Errorf("%q: %s %v", stands, d, hd.Err)
		}
	}
}

// What follows from something else that is told is not told as well: conns that charon
// has not loaded since a file differs, and a tunnel that is down since its conn is not
// there yet or since strongSwan does not run. What does not follow is.
func TestDriftTunnelsAndConns(t *testing.T) {
	const unit = "ike.service"
	file := func(path, content string) tasks.File {
		return tasks.File{Path: path, Content: []byte(marker + content), Mode: 0o644, Owner: "vps"}
	}
	confFile, keyFile := file("/etc/c/tokyo.conf", "conn\n"), file("/etc/c/tokyo.secrets", "key\n")
	daemon := tasks.Daemon{Name: "test", Unit: unit, Ours: "/etc/c/", ConfSuffix: ".conf"}
	loads := tasks.IPsec{Daemon: daemon, Conns: []tasks.Conn{{
		Name: "tokyo", Conf: confFile.Path, Secrets: keyFile.Path, Initiates: true, Tunnel: &tokyoTunnel,
		ConfSHA: tasks.SHA256(confFile.Content), SecretsSHA: tasks.SHA256(keyFile.Content),
	}}}
	runs := tasks.Unit{Name: unit}
	ts := []tasks.Task{confFile, keyFile, runs, loads, tasks.Dial{IPsec: loads, Tunnel: tokyoTunnel}}
	const conns = "Connections:\n       tokyo:  192.168.1.10...203.0.113.10  IKEv2\n"
	sum := func(f tasks.File) string { return tasks.SHA256(f.Content) + "  " + f.Path + "\n" }
	before := []tasks.Task{confFile, file("/etc/c/tokyo.secrets", "old\n"), runs, loads}
	for _, tt := range []struct {
		name string
		last *tasks.Manifest
		host func(a *answer)
		want []string
	}{
		{"all is well", applied(ts...), nil, nil},
		{"the tunnel is down", applied(ts...), func(a *answer) { a.commands["ipsec-statusall"] = conns + noSA }, []string{"down tunnel:tokyo"}},
		{"the conn was edited, and charon has read it", applied(ts...), func(a *answer) {
			a.files[confFile.Path] = marker + "eve\n"
			a.files["/run/vpnpush/loaded/"+unit] = sum(file(confFile.Path, "eve\n")) + sum(keyFile)
		}, []string{"drifted file:/etc/c/tokyo.conf"}},
		{"charon has not read the conn", applied(ts...), func(a *answer) { a.files["/run/vpnpush/loaded/"+unit] = sum(keyFile) },
			[]string{"drifted ipsec:loaded"}},
		{"charon has not read the key, and the conn was edited", applied(ts...), func(a *answer) {
			a.files[confFile.Path] = marker + "eve\n"
			a.files["/run/vpnpush/loaded/"+unit] = ""
		}, []string{"drifted file:/etc/c/tokyo.conf", "drifted ipsec:loaded"}},
		{"the key is new in the inventory, and the tunnel is down", applied(before...), func(a *answer) {
			a.files[keyFile.Path] = marker + "old\n"
			a.commands["ipsec-statusall"] = conns + noSA
		}, []string{"pending file:/etc/c/tokyo.secrets"}},
		{"strongSwan was stopped", applied(ts...), func(a *answer) {
			a.units[unit] = "inactive enabled"
			a.commands["ipsec-statusall"] = "127"
		}, []string{"drifted unit:" + unit}},
		{"what charon lists is not understood", applied(ts...), func(a *answer) {
			a.commands["swanctl-list-sas"] = "?"
		}, []string{"failed"}},
		{"nothing was applied yet", nil, func(a *answer) {
			a.files[confFile.Path], a.files[keyFile.Path], a.files["/run/vpnpush/loaded/"+unit] = "", "", ""
			a.commands["ipsec-statusall"] = conns + noSA
		}, []string{"pending file:/etc/c/tokyo.conf", "pending file:/etc/c/tokyo.secrets"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := answer{
				manifest: tt.last, units: map[string]string{unit: "active enabled"},
				files: map[string]string{
					confFile.Path: string(confFile.Content), keyFile.Path: string(keyFile.Content),
					"/run/vpnpush/loaded/" + unit: sum(confFile) + sum(keyFile),
				},
				commands: map[string]string{"ipsec-statusall": conns + upTokyo(), "swanctl-list-sas": "127", "swanctl-list-conns": "127"},
			}
			if tt.host != nil {
				tt.host(&a)
			}
			f, err := host.ParseFacts(a.print(t), nil)
			if err != nil {
				t.Fatal(err)
			}
			h := wants("tokyo", ts...)
			h.Tunnels = []strongswan.Tunnel{tokyoTunnel}
			h.Daemon = func(tasks.Facts) tasks.Daemon { return daemon }
			hd := HostDrift{Name: "tokyo"}
			(&Engine{Owner: "vps"}).judge(h, f, &hd)
			if hd.Daemon.Unit != unit {
				t.Errorf("what mends a tunnel is told of the daemon %q", hd.Daemon.Unit)
			}
			var got []string
			for _, fi := range hd.Findings {
				got = append(got, string(fi.State)+" "+fi.Change.Task)
			}
			if hd.Err != nil {
				got = append(got, string(hd.Result))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("findings (-want +got): %s%v", d, hd.Err)
			}
		})
	}
}

const (
	noSA = "Security Associations (0 up, 0 connecting):\n  none\n"
	upSA = `Security Associations (1 up, 0 connecting):
       tokyo[4]: ESTABLISHED 11 minutes ago, 203.0.113.10[vps]...203.0.113.51[tokyo]
       tokyo{4}:  INSTALLED, TUNNEL, reqid 2, ESP in UDP SPIs: 59804d65_i 43744da0_o
       tokyo{4}:   10.10.0.0/24 === %s
`
)

// The whole run: a host that is well, one where another run is at work, one that
// cannot be reached, one of another inventory, and a tunnel that is down at both
// ends, which is told once.
func TestDrift(t *testing.T) {
	sas := func(s string) answer {
		return answer{manifest: applied(conf("a\n")), files: map[string]string{"/etc/f": marker + "a\n"},
			commands: map[string]string{"ipsec-statusall": s, "swanctl-list-sas": "127"}}
	}
	busy := sas(noSA)
	busy.commands["vpnpush-run"] = "working\nholder\t1700000000\tme, apply 7\n"
	foreign := sas(noSA)
	foreign.manifest = tasks.NextManifest(nil, "other", "tokyo", "me", time.Unix(1, 0), nil, tasks.Facts{})
	tunnel := func(h Host, local, remote, peer string) Host {
		h.Tunnels = []strongswan.Tunnel{{Conn: "tokyo", Peer: peer, Local: []string{local}, Remote: []string{remote}}}
		return h
	}
	hub := tunnel(wants("vps", conf("a\n")), "10.10.0.0/24", "192.168.1.0/24", "tokyo")
	hub.Role = "hub"
	tokyo := tunnel(wants("tokyo", conf("a\n")), "192.168.1.0/24", "10.10.0.0/24", "vps")
	e := &Engine{Owner: "vps", secondLook: time.Nanosecond, Dialer: dial(t, hosts{
		"vps": {sas(noSA)}, "tokyo": {sas(noSA)}, "busy": {busy}, "foreign": {foreign}, "well": {sas(noSA)},
	})}
	d := e.Drift(context.Background(), []Host{wants("well", conf("a\n")), wants("gone"), tokyo, wants("foreign"), wants("busy"), hub}, nil)
	got := map[string]string{}
	for i := range d.Hosts {
		h := &d.Hosts[i]
		s := string(h.Result)
		for _, f := range h.Findings {
			s += " " + string(f.State) + " " + f.Change.Task
		}
		got[h.Name] = s
		if (h.Err != nil) != (h.Result == Unreachable || h.Result == Failed) {
			t.Errorf("%s: %s, error %v", h.Name, h.Result, h.Err)
		}
		if (h.Fingerprint() == "") != (h.Result == OK) {
			t.Errorf("%s: %s, fingerprint %q", h.Name, h.Result, h.Fingerprint())
		}
	}
	want := map[string]string{
		"vps": "ok", "tokyo": "drifted down tunnel:tokyo", "busy": "locked", "foreign": "failed", "gone": "unreachable", "well": "ok",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if d.Hosts[0].Name != "vps" {
		t.Errorf("%s comes first", d.Hosts[0].Name)
	}
	if b := d.Hosts[1].Busy; b.Holder != "me, apply 7" {
		t.Errorf("busy: %+v", b)
	}
}

// While the hub moves, a site that waits for its turn is pending, with its tunnel up to the
// hub before; that the new hub has none to it yet is no drift of that one. A hub that has
// lost the tunnel of a site which was to have it has drifted.
func TestDriftWhileTheHubMoves(t *testing.T) {
	ends := func(peer, finding string, state FindingState) string {
		down := Finding{State: FindingDown, Change: &tasks.Change{Task: tasks.TunnelTask("tokyo")}}
		end := strongswan.Tunnel{Conn: "tokyo", Peer: "vps", Hub: "203.0.113.20"}
		d := &Drift{Hosts: []HostDrift{
			{Name: "vps", Role: tasks.RoleHub, Result: OK, Findings: []Finding{down}},
			{Name: "tokyo", Role: tasks.RoleSite, Result: OK, Tunnels: []strongswan.TunnelState{{Tunnel: end, Up: true, Peer: peer}}},
		}}
		if finding != "" {
			d.Hosts[1].Findings = []Finding{{State: state, Change: &tasks.Change{Task: finding}}}
		}
		d.leaveTunnelsToSites()
		var out []string
		for i := range d.Hosts {
			d.Hosts[i].settle()
			out = append(out, string(d.Hosts[i].Result))
		}
		return strings.Join(out, " ")
	}
	for _, tt := range []struct{ name, peer, finding, want string }{
		{"it waits for its turn", "203.0.113.10", "file:/etc/tokyo.conf", "ok pending"},
		{"it waits for its turn, by swanctl", "203.0.113.10:4500", "file:/etc/tokyo.conf", "ok pending"},
		{"it has moved", "203.0.113.20:4500", "file:/etc/other", "drifted pending"},
		{"it is elsewhere, and nothing says why", "203.0.113.10", "", "drifted ok"},
	} {
		if got := ends(tt.peer, tt.finding, FindingPending); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// What is found is looked at twice, 2 s apart: a tunnel that is back, and an apply
// that was just about to begin, are no drift.
func TestDriftLooksAgain(t *testing.T) { synctest.Test(t, testDriftLooksAgain) }

func testDriftLooksAgain(t *testing.T) {
	well := answer{manifest: applied(conf("a\n")), files: map[string]string{"/etc/f": marker + "a\n"}}
	edited := well
	edited.files = map[string]string{"/etc/f": marker + "x\n"}
	begun := edited
	begun.commands = map[string]string{"vpnpush-run": "pending\t1700000000\t7\n"}
	e := &Engine{Owner: "vps", Dialer: dial(t, hosts{"back": {edited, well}, "begun": {edited, begun}, "tokyo": {edited, edited}})}
	d := e.Drift(context.Background(), []Host{wants("back", conf("a\n")), wants("begun", conf("a\n")), wants("tokyo", conf("a\n"))}, nil)
	for i, want := range []Result{OK, Locked, Drifted} {
		if h := d.Hosts[i]; h.Result != want || h.Took != 2*time.Second {
			t.Errorf("%s: %s after %v, want %s after 2s", h.Name, h.Result, h.Took, want)
		}
	}
}

// Charon's log is read in a second look at a host with a tunnel that is down, and told
// with it. A host that is well, or merely edited, pays nothing for it.
func TestDriftReadsCharonsLog(t *testing.T) { synctest.Test(t, testDriftReadsCharonsLog) }

func testDriftReadsCharonsLog(t *testing.T) {
	edited := answer{manifest: applied(conf("a\n")), files: map[string]string{"/etc/f": marker + "x\n"},
		commands: map[string]string{"ipsec-statusall": upTokyo(), "swanctl-list-sas": "127", "swanctl-list-conns": "127"}}
	down := edited
	down.files = map[string]string{"/etc/f": marker + "a\n"}
	down.commands = map[string]string{"ipsec-statusall": noSA, "swanctl-list-sas": "127", "swanctl-list-conns": "127"}
	again := down
	again.commands = maps.Clone(down.commands)
	again.commands[tasks.CharonLog.Arg] = "10[IKE] received AUTHENTICATION_FAILED notify error\n"
	for _, tt := range []struct {
		name    string
		answers []answer
		reads   []bool // of each look: the log
		want    string
	}{
		{"edited", []answer{edited, edited}, []bool{false, false}, "content: "},
		{"down", []answer{down, again}, []bool{false, true},
			"state: down, no IKE SA; the other end refuses this end's key or name (charon: received AUTHENTICATION_FAILED notify error)"},
	} {
		h := wants("tokyo", conf("a\n"))
		h.Tunnels = []strongswan.Tunnel{tokyoTunnel}
		n := dial(t, hosts{"tokyo": tt.answers})
		d := (&Engine{Owner: "vps", Dialer: n}).Drift(context.Background(), []Host{h}, nil)
		var reads []bool
		for _, script := range n.asked {
			reads = append(reads, strings.Contains(script, "journalctl"))
		}
		if !slices.Equal(reads, tt.reads) || len(d.Hosts[0].Findings) != 1 {
			t.Fatalf("%s: the log was read %v, want %v; %+v", tt.name, reads, tt.reads, d.Hosts[0])
		}
		a := d.Hosts[0].Findings[0].Change.Attrs[0]
		if got := a.Name + ": " + string(a.Old); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// The time for the whole run ends it; hosts that did not answer are not checked,
// and say why.
func TestDriftTimeout(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrTime)
	d := (&Engine{Owner: "vps", Dialer: dial(t, hosts{})}).Drift(ctx, []Host{wants("tokyo")}, nil)
	if h := d.Hosts[0]; h.Result != Skipped || !errors.Is(h.Err, ErrTime) || h.Checked() {
		t.Errorf("%s, %v", h.Result, h.Err)
	}
}

// An ignored finding makes no drift until its day has passed; then it is told,
// with the rule.
func TestDriftIgnore(t *testing.T) {
	now := time.Date(2027, 1, 31, 12, 0, 0, 0, time.UTC)
	rule := func(until time.Time) []Ignore {
		return []Ignore{{Matches: func(h, task string) bool { return h == "tokyo" && task == "file:/etc/f" }, Until: until}}
	}
	for _, c := range []struct {
		host    string
		rules   []Ignore
		want    Result
		expired bool
	}{
		{"tokyo", rule(now.Add(time.Hour)), OK, false},
		{"tokyo", rule(now), Drifted, true},
		{"osaka", rule(now.Add(time.Hour)), Drifted, false},
	} {
		h := HostDrift{Name: c.host, Result: OK, Findings: []Finding{{State: FindingDrifted, Change: &tasks.Change{Task: "file:/etc/f"}}}}
		h.ignore(c.rules, now)
		h.settle()
		if h.Result != c.want || (h.Findings[0].Expired != nil) != c.expired {
			t.Errorf("%s, %d rules: %s, expired %v", c.host, len(c.rules), h.Result, h.Findings[0].Expired)
		}
	}
}

// The fingerprint, which keeps the same drift from being mailed every hour,
// changes with what is told and with nothing else.
func TestFingerprint(t *testing.T) {
	down := func(why string) HostDrift {
		return HostDrift{Result: Drifted, Findings: []Finding{{State: FindingDown, Change: &tasks.Change{Task: "tunnel:a", Attrs: []tasks.Attr{{Name: "state", Old: []byte(why)}}}}}}
	}
	file := func(content string) HostDrift {
		return HostDrift{Result: Drifted, Findings: []Finding{{State: FindingDrifted, Change: &tasks.Change{Task: "file:/f", Attrs: []tasks.Attr{{Name: "content", Old: []byte(content)}}}}}}
	}
	lost := func(why string) HostDrift { return HostDrift{Result: Unreachable, Err: errors.New(why)} }
	a, b := down("no IKE SA"), down("IKE SA CONNECTING")
	c, d, c2 := file("x"), file("y"), file("x")
	e, f := lost("timeout"), lost("refused")
	if a.Fingerprint() != b.Fingerprint() || c.Fingerprint() != c2.Fingerprint() || e.Fingerprint() != f.Fingerprint() {
		t.Error("the same is told anew")
	}
	seen := map[string]bool{}
	for _, h := range []HostDrift{a, c, d, e, {Result: OK}} {
		if seen[h.Fingerprint()] {
			t.Errorf("not told apart: %+v", h)
		}
		seen[h.Fingerprint()] = true
	}
}

// The hub's word on a tunnel, with both ends in their places; and the site's,
// where the hub cannot be asked.
func TestStatus(t *testing.T) {
	hubSees := answer{commands: map[string]string{"ipsec-statusall": fmt.Sprintf(upSA, "192.168.1.0/24"), "swanctl-list-sas": "127"}}
	siteSees := answer{commands: map[string]string{"swanctl-list-sas": "127", "ipsec-statusall": `Security Associations (1 up, 0 connecting):
       tokyo[1]: ESTABLISHED 11 minutes ago, 192.168.1.10[tokyo]...203.0.113.10[vps]
       tokyo{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: 59804d65_i 43744da0_o
       tokyo{1}:  AES_CBC_256/HMAC_SHA2_256_128, 10 bytes_i (1 pkt, 5s ago), 20 bytes_o (2 pkts, 5s ago), rekeying in 37 minutes
       tokyo{1}:   192.168.1.0/24 === 10.10.0.0/24
`}}
	one := func(conn, local, remote string) strongswan.Tunnel {
		return strongswan.Tunnel{Conn: conn, Local: []string{local}, Remote: []string{remote}}
	}
	ask := StatusAsk{
		Hub: Host{Name: "vps", Role: "hub", Tunnels: []strongswan.Tunnel{one("tokyo", "10.10.0.0/24", "192.168.1.0/24"), one("osaka", "10.10.0.0/24", "192.168.2.0/24")}},
		Sites: []Host{
			{Name: "osaka", Role: "site", Tunnels: []strongswan.Tunnel{one("osaka", "192.168.2.0/24", "10.10.0.0/24")}},
			{Name: "tokyo", Role: "site", Tunnels: []strongswan.Tunnel{one("tokyo", "192.168.1.0/24", "10.10.0.0/24")}},
		},
	}
	s := (&Engine{Dialer: dial(t, hosts{"vps": {hubSees}})}).Status(context.Background(), ask)
	up, known := s.AllUp()
	osaka, tokyo := s.Tunnels[0], s.Tunnels[1]
	if up || !known || osaka.Up || osaka.Why == "" || !tokyo.Up || tokyo.Peer != "203.0.113.51" || s.At.Sub(tokyo.Since) != 11*time.Minute || len(s.Asked) != 1 {
		t.Errorf("asked at the hub: up %t known %t\n%+v\n%+v", up, known, osaka, tokyo)
	}

	s = (&Engine{Dialer: dial(t, hosts{"tokyo": {siteSees}})}).Status(context.Background(), ask)
	up, known = s.AllUp()
	osaka, tokyo = s.Tunnels[0], s.Tunnels[1]
	if !up || known || osaka.Known() || !tokyo.Up || tokyo.Asked != "tokyo" || tokyo.BytesUp != 20 || tokyo.BytesDown != 10 || tokyo.SiteSubnets[0] != "192.168.1.0/24" {
		t.Errorf("asked at the sites: up %t known %t\n%+v\n%+v", up, known, osaka, tokyo)
	}
}

// Since when somebody is on is by this machine's clock, whatever the hub's says.
func TestStatusSessions(t *testing.T) {
	hub := answer{
		commands: map[string]string{"ipsec-statusall": noSA, "swanctl-list-sas": "127",
			"ip-addr": `[{"ifname":"ppp0","addr_info":[{"family":"inet","local":"192.168.200.1","address":"192.168.200.2"}]}]`},
		// five minutes before what the host calls now
		globs: []string{tasks.SessionDir + "/*"},
		files: map[string]string{tasks.SessionDir + "/ppp0": "user\talice\naddress\t192.168.200.2\nsince\t1699999700\n"},
	}
	s := (&Engine{Dialer: dial(t, hosts{"vps": {hub}})}).Status(context.Background(), StatusAsk{Hub: Host{Name: "vps", Role: "hub"}, L2TPLocal: "192.168.200.1"})
	if len(s.Sessions) != 1 || s.Sessions[0].User != "alice" || s.At.Sub(s.Sessions[0].Since) != 5*time.Minute {
		t.Errorf("at %v: %+v, %+v", s.At, s.Sessions, s.Asked)
	}
}

// A drift keeps no connection to a host that it is done with: of a thousand they take more
// memory than all else.
func TestDriftDropsConnections(t *testing.T) {
	n := dial(t, hosts{"tokyo": {noConf}, "osaka": {goodConf}})
	e := Engine{Dialer: n, Owner: "vps", secondLook: time.Millisecond}
	e.Drift(context.Background(), []Host{wants("tokyo", conf("a\n")), wants("osaka", conf("a\n")), wants("nara", conf("a\n"))}, nil)
	if len(e.conns) > 0 {
		t.Errorf("%d connections are open", len(e.conns))
	}
}

// Where nothing but tunnels is down a drift looks again at those alone, and believes what
// it sees then: a tunnel that is up, or another run at work. It reads no manifest again.
func TestDriftLooksAgainAtTunnels(t *testing.T) {
	sas := func(s, run string) answer {
		return answer{manifest: applied(conf("a\n")), files: map[string]string{"/etc/f": marker + "a\n"},
			commands: map[string]string{"ipsec-statusall": s, "swanctl-list-sas": "127", "vpnpush-run": run}}
	}
	down := sas(noSA, "")
	for _, tt := range []struct {
		again answer
		want  Result
	}{
		{down, Drifted}, {sas(fmt.Sprintf(upSA, "192.168.1.0/24"), ""), OK}, {sas(noSA, "working\nholder\t1700000000\tme, apply 7\n"), Locked},
	} {
		n := dial(t, hosts{"tokyo": {down, tt.again}})
		h := wants("tokyo", conf("a\n"))
		h.Tunnels = []strongswan.Tunnel{{Conn: "tokyo", Peer: "vps", Local: []string{"10.10.0.0/24"}, Remote: []string{"192.168.1.0/24"}}}
		d := (&Engine{Owner: "vps", secondLook: time.Nanosecond, Dialer: n}).Drift(context.Background(), []Host{h}, nil)
		if got := d.Hosts[0]; got.Result != tt.want || got.Err != nil || (len(got.Findings) > 0) != (tt.want == Drifted) {
			t.Errorf("%+v, want %s", got, tt.want)
		}
		if len(n.asked) != 2 || strings.Contains(n.asked[1], tasks.ManifestPath) || !strings.Contains(n.asked[0], tasks.ManifestPath) {
			t.Errorf("it asked %d times:\n%s", len(n.asked), strings.Join(n.asked, "\n----\n"))
		}
	}
}
