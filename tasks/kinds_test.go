package tasks

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

var testDaemon = Daemon{Name: "starter", Unit: "strongswan-starter.service", Ours: "/etc/ipsec.d/vpnpush/", ConfSuffix: ".conf"}

// oneOfEach are tasks of every kind that a manifest records.
func oneOfEach() []Recorder {
	chains := []iptables.Chain{{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p esp -j ACCEPT"}}}
	return []Recorder{
		Package{Name: "xl2tpd"}, Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}, ownedFile(), Line{Path: "/etc/l", Line: "include /x"},
		Block{Path: "/etc/b", Content: []byte("x\n"), Owner: "me"}, RulesV4{Path: "/etc/r", Chains: chains}, Firewall{Chains: chains},
		ForeignKeys{Daemon: testDaemon}, TakeOut{Of: TakeOutConns, Daemon: testDaemon}, Unit{Name: "xl2tpd.service"}, Helper{Unit: "h.service", With: "s.service", Files: map[string]string{"/etc/h": "sum"}},
		Settings{Daemon: testDaemon, Path: "/etc/s", SHA256: "sum"}, IPsec{Daemon: testDaemon, Conns: []Conn{{Name: "tokyo"}}},
	}
}

// A kind without a way out leaves what it made on a host for good, and one without a
// way back is rolled back by a guess.
func TestEveryKindHasBothWays(t *testing.T) {
	var recorded []string
	for _, task := range oneOfEach() {
		recorded = append(recorded, task.Record(nil, Facts{}).Kind)
	}
	for _, k := range kinds {
		if k.back == nil || (k.out == nil) == (k.stays == "") {
			t.Errorf("%s: back %t, out %t, stays %q", k.name, k.back != nil, k.out != nil, k.stays)
		}
		if !slices.Contains(recorded, k.name) {
			t.Errorf("%s: no task is recorded as that", k.name)
		}
	}
	if len(recorded) != len(kinds) {
		t.Errorf("%d kinds are recorded, %d are in the table", len(recorded), len(kinds))
	}
}

// Whatever kind of task nobody wants any more, its way out is planned; and what stays
// is said.
func TestOrphans(t *testing.T) {
	var ts []Task
	for _, task := range oneOfEach() {
		ts = append(ts, task)
	}
	m := NextManifest(nil, "me", "tokyo", "admin@desk", time.Unix(1, 0), ts, Facts{})
	h := Leaving{Owner: "me", Daemons: []Daemon{testDaemon}}
	got, err := Orphans(m, nil, h)
	if err != nil {
		t.Fatal(err)
	}
	file := ownedFile()
	want := []Task{
		Absent{Path: file.Path, SHA256: SHA256(file.Content), Owner: "me"}, NoLine{Path: "/etc/l", Line: "include /x"},
		Block{Path: "/etc/b", Mode: 0o600, Owner: "me"}, RulesV4{Path: "/etc/r"}, Firewall{}, Stopped{Name: "xl2tpd.service"},
		Helper{Unit: "h.service", With: "s.service", Files: map[string]string{"/etc/h": ""}, Gone: true},
		Settings{Daemon: testDaemon, Path: "/etc/s", SHA256: "sum", Gone: true}, IPsec{Daemon: testDaemon},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("nothing is wanted (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"packages stay installed, since others may use them by now: xl2tpd", "kernel parameters stay as they are until the next boot: net.ipv4.ip_forward"}, Stays(m, nil)); d != "" {
		t.Errorf("what stays (-want +got):\n%s", d)
	}
	if got, err := Orphans(m, ts, h); err != nil || len(got) != 0 {
		t.Errorf("all is wanted: %v, %v", got, err)
	}
	if got, err := Orphans(nil, nil, h); err != nil || got != nil {
		t.Errorf("without a manifest: %v, %v", got, err)
	}
	// what wants something gone is not recorded: it would be an orphan for ever
	if next := NextManifest(m, "me", "tokyo", "admin@desk", time.Unix(1, 0), want, Facts{}); len(next.Tasks) != 0 {
		t.Errorf("recorded: %+v", next.Tasks)
	}
}

// A manifest of a newer version is refused by the name of what is not known: to take
// only the rest off would leave half of it, and nobody would know.
func TestUnknownKindIsRefused(t *testing.T) {
	m := &Manifest{Tasks: []Entry{{ID: "nft:table", Kind: "nft"}}}
	if ts, err := Orphans(m, nil, Leaving{}); !errors.Is(err, ErrUnknown) || !strings.Contains(err.Error(), `nft:table is of the kind "nft"`) {
		t.Errorf("%v, %v", ts, err)
	}
	m = &Manifest{Tasks: []Entry{{ID: "ipsec:loaded", Kind: kindIPsec, Daemon: "other"}}}
	if ts, err := Orphans(m, nil, Leaving{Daemons: []Daemon{testDaemon}}); !errors.Is(err, ErrUnknown) {
		t.Errorf("another daemon: %v, %v", ts, err)
	}
	s := FileState{Path: ManifestPath, Exists: true, Content: []byte(`{"format_version": 3}`)}
	if _, err := ParseManifest(s, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("format 3: %v", err)
	}
}

// A service that others may use goes on as it was before vpnpush came, however many
// applies ago that was; one that is ours alone is stopped.
func TestUnitOut(t *testing.T) {
	unit := Unit{Name: "s.service", Shared: true}
	before := func(u UnitState) Facts { return Facts{units: map[string]UnitState{unit.Name: u}} }
	running := before(UnitState{Loaded: true, Active: "active", Enabled: true})
	ours := Unit{Name: "s.service", Config: map[string]string{"/etc/x": "sum"}}
	running.files = map[string]FileState{firstDir + "/etc/x": {Exists: true, Content: []byte("theirs\n")}}
	for _, tt := range []struct {
		name string
		was  UnitState
		want []Task
	}{
		{"ours, it was not there", UnitState{}, []Task{Stopped{Name: unit.Name}}},
		{"ours, it ran", UnitState{Loaded: true, Active: "active", Enabled: true}, []Task{Unit{Name: unit.Name, Config: map[string]string{"/etc/x": SHA256([]byte("theirs\n"))}, AsBefore: &Before{Exists: true, Enabled: true, Active: true}}}},
		{"ours, it ran until the next boot", UnitState{Loaded: true, Active: "active"}, []Task{Unit{Name: unit.Name, Config: map[string]string{"/etc/x": SHA256([]byte("theirs\n"))}, AsBefore: &Before{Exists: true, Active: true}}}},
		{"ours, it was off", UnitState{Loaded: true, Active: "inactive"}, []Task{Stopped{Name: unit.Name}}},
		{"it was not there", UnitState{}, nil},
		{"it ran", UnitState{Loaded: true, Active: "active", Enabled: true}, nil},
		{"it was off", UnitState{Loaded: true, Active: "inactive"}, []Task{Stopped{Name: unit.Name}}},
		{"it ran until the next boot", UnitState{Loaded: true, Active: "active"}, []Task{Stopped{Name: unit.Name, Active: true}}},
	} {
		wanted := unit
		if strings.HasPrefix(tt.name, "ours") {
			wanted = ours
		}
		m := NextManifest(nil, "me", "tokyo", "admin@desk", time.Unix(1, 0), []Task{wanted}, before(tt.was))
		m = NextManifest(m, "me", "tokyo", "admin@desk", time.Unix(2, 0), []Task{wanted}, running)
		if got, err := Orphans(m, nil, Leaving{Facts: running}); err != nil || cmp.Diff(tt.want, got) != "" {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

// A host that a version with format 1 applied to is read, with what that format lacks
// found again in its files, and written in format 2.
func TestManifestFormat1(t *testing.T) {
	line := Line{Path: "/etc/ipsec.conf", Line: "include /etc/ipsec.d/vpnpush/*.conf"}
	forward := Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}
	files := map[string]string{
		"/etc/ipsec.conf":                    "# user's\n" + line.Line + "\n",
		"/etc/sysctl.d/60-vpnpush.conf":      "net.ipv4.ip_forward = 1\n",
		"/etc/ipsec.d/vpnpush/tokyo.conf":    "conn tokyo\n    leftid=@vps\n    leftsubnet=10.2.0.0/24,10.1.0.0/24\n    rightid=@tokyo\n    rightsubnet=192.168.1.0/24\n    auto=add\n",
		"/etc/ipsec.d/vpnpush/l2tp.conf":     "conn l2tp\n    auto=add\n",
		"/etc/ipsec.d/vpnpush/tokyo.secrets": "x\n",
	}
	old := `{"format_version": 1, "owner": "me", "host": "vps", "generation": 7, "by": "admin@desk",
	"files": [{"path": "/etc/sysctl.d/60-vpnpush.conf", "sha256": "a", "mode": 420}, {"path": "/etc/ipsec.d/vpnpush/l2tp.conf", "sha256": "b", "mode": 420},
		{"path": "/etc/ipsec.d/vpnpush/tokyo.conf", "sha256": "c", "mode": 420}, {"path": "/etc/ipsec.d/vpnpush/tokyo.secrets", "sha256": "d", "mode": 384}],
	"tasks": {"file:/etc/ipsec.d/vpnpush/tokyo.conf": "D", "line:/etc/ipsec.conf": "` + line.Digest() + `", "sysctl:net.ipv4.ip_forward": "` + forward.Digest() + `",
		"block:/etc/ppp/chap-secrets": "B", "file:/etc/iptables/rules.v4": "R", "firewall:live": "F", "package:ppp": "P",
		"unit:xl2tpd.service": "X", "unit:netfilter-persistent.service": "N", "ipsec:loaded": "I"}}`
	m, err := ParseManifest(FileState{Path: ManifestPath, Exists: true, Content: []byte(old)}, func(p string) (FileState, error) {
		c, ok := files[p]
		return FileState{Path: p, Exists: ok, Content: []byte(c)}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const dir = "/etc/ipsec.d/vpnpush/"
	want := []Entry{
		{ID: "file:/etc/sysctl.d/60-vpnpush.conf", Kind: kindFile, Path: "/etc/sysctl.d/60-vpnpush.conf", SHA256: "a", Mode: 0o644},
		{ID: "file:" + dir + "l2tp.conf", Kind: kindFile, Path: dir + "l2tp.conf", SHA256: "b", Mode: 0o644},
		{ID: "file:" + dir + "tokyo.conf", Kind: kindFile, Path: dir + "tokyo.conf", SHA256: "c", Mode: 0o644, Digest: "D"},
		{ID: "file:" + dir + "tokyo.secrets", Kind: kindFile, Path: dir + "tokyo.secrets", SHA256: "d", Mode: 0o600, Syntax: mask.IPsecSecrets},
		{ID: "block:/etc/ppp/chap-secrets", Kind: kindBlock, Path: "/etc/ppp/chap-secrets", Syntax: mask.ChapSecrets, Digest: "B"},
		{ID: "file:/etc/iptables/rules.v4", Kind: kindRules, Path: "/etc/iptables/rules.v4", Digest: "R"},
		{ID: "firewall:live", Kind: kindFirewall, Digest: "F"},
		{ID: "ipsec:loaded", Kind: kindIPsec, Unit: "strongswan-starter.service", Daemon: "starter", Digest: "I", Conns: []ConnWas{
			{Name: "l2tp", Conf: dir + "l2tp.conf", Secrets: dir + "l2tp.secrets"},
			{Name: "tokyo", Conf: dir + "tokyo.conf", Secrets: dir + "tokyo.secrets", Tunnel: &strongswan.Tunnel{
				Conn: "tokyo", Peer: "tokyo", LocalID: "vps", PeerID: "tokyo", Local: []string{"10.1.0.0/24", "10.2.0.0/24"}, Remote: []string{"192.168.1.0/24"},
			}},
		}},
		{ID: "line:/etc/ipsec.conf", Kind: kindLine, Path: "/etc/ipsec.conf", Line: line.Line, Digest: line.Digest()},
		{ID: "package:ppp", Kind: kindPackage, Digest: "P"},
		{ID: "sysctl:net.ipv4.ip_forward", Kind: kindSysctl, Key: "net.ipv4.ip_forward", Value: "1", Digest: forward.Digest()},
		{ID: "unit:netfilter-persistent.service", Kind: kindUnit, Unit: "netfilter-persistent.service", BootOnly: true, Shared: true, Digest: "N"},
		{ID: "unit:xl2tpd.service", Kind: kindUnit, Unit: "xl2tpd.service", Config: []string{"/etc/xl2tpd/xl2tpd.conf"}, Digest: "X"},
	}
	if d := cmp.Diff(want, m.Tasks); d != "" {
		t.Errorf("entries (-want +got):\n%s", d)
	}
	if m.Generation != 7 || m.Owner != "me" || !m.Owns(dir+"tokyo.conf") || m.Owns("/etc/iptables/rules.v4") {
		t.Errorf("%+v", m)
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseManifest(FileState{Path: ManifestPath, Exists: true, Content: b}, nil)
	if err != nil || cmp.Diff(m.Tasks, again.Tasks) != "" || again.FormatVersion != 2 {
		t.Errorf("written and read again: %v\n%s", err, cmp.Diff(m.Tasks, again.Tasks))
	}
	// the probe finds what it has to read by these lines (tasks/host)
	for _, p := range []string{dir + "tokyo.conf", "/etc/ipsec.conf", "/etc/ppp/chap-secrets", "/etc/iptables/rules.v4"} {
		if !strings.Contains(string(b), "\n      \"path\": \""+p+"\",\n") {
			t.Errorf("no line of its own for the path %s", p)
		}
	}
}

// A manifest of a host that is not ours any more is not to take the memory: an object is
// three bytes there, and some hundred of ours.
func TestManifestOfNothing(t *testing.T) {
	whole := `{"format_version": 2, "tasks": [` + strings.Repeat(`{},`, 100_000) + `{}]}`
	s := FileState{Path: ManifestPath, Exists: true, Content: []byte(whole)}
	if _, err := ParseManifest(s, nil); !errors.Is(err, ErrUnknown) {
		t.Errorf("100,001 objects in %d bytes: %v", len(whole), err)
	}
	m := &Manifest{FormatVersion: manifestFormat}
	for i := range 1000 { // the shortest that there are
		m.Tasks = append(m.Tasks, Entry{ID: fmt.Sprint(i), Kind: "x", Was: &Before{}})
	}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseManifest(FileState{Path: ManifestPath, Exists: true, Content: b}, nil); err != nil {
		t.Error(err)
	}
}
