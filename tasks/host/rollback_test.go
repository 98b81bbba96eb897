package host

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// pastHost answers with a history of applies, oldest first, and their backups.
// A path among files beginning with "N:" is in the backup of apply N.
type pastHost struct {
	outcomes []string // one for each apply: "applied", "reverted", ...
	changes  map[int]string
	backups  map[int]map[string]bool // missing: not kept
	files    map[string]string
	was, now *tasks.Manifest // was: in the backup of apply 1
}

func txnID(n int) string { return fmt.Sprintf("2026010%dT000000-00000000", n) }

func (h pastHost) facts(t *testing.T) tasks.Facts {
	t.Helper()
	var history, list strings.Builder
	for i, o := range h.outcomes {
		fmt.Fprintf(&history, "2026-01-0%dT00:00:00Z\t%s\t%s\tadmin@desk\t%s\n", i+1, txnID(i+1), o, h.changes[i+1])
		if b, ok := h.backups[i+1]; ok {
			fmt.Fprintf(&list, "txn\t%s\n", txnID(i+1))
			for _, p := range slices.Sorted(maps.Keys(b)) {
				fmt.Fprintf(&list, "%s\t%s\n", map[bool]string{true: "file", false: "absent"}[b[p]], p)
			}
		}
	}
	file := func(p, content string) tasks.FileState {
		return tasks.FileState{Path: p, Exists: true, Type: '0', Content: []byte(content), Mode: 0o600, Owner: "root:root"}
	}
	fs := []tasks.FileState{file(HistoryPath, history.String()), {Path: tasks.ManifestPath}}
	for p, c := range h.files {
		if n, rest, ok := strings.Cut(p, ":"); ok {
			var id int
			fmt.Sscan(n, &id)
			p = BackupPath(txnID(id), rest)
		}
		fs = append(fs, file(p, c))
	}
	for m, p := range map[*tasks.Manifest]string{h.was: BackupPath(txnID(1), tasks.ManifestPath), h.now: tasks.ManifestPath} {
		if m != nil {
			m.FormatVersion, m.Owner = 2, "vps"
			b, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, file(p, string(b)))
		}
	}
	k := tasks.Known{
		Commands: map[string]tasks.CommandState{"backups": says(list.String()), "iptables-save": says(""), "ipsec-statusall": {Code: 127}},
		Units: map[string]tasks.UnitState{
			"ipsec.service":  {Name: "ipsec.service", Loaded: true, Active: "active"},
			"xl2tpd.service": {Name: "xl2tpd.service", Loaded: true, Active: "active", Enabled: true},
		},
		Files: map[string]tasks.FileState{tasks.LoadedDir + "/xl2tpd.service": {}},
	}
	for _, b := range h.backups {
		for p := range b {
			k.Files[p] = tasks.FileState{Path: p}
		}
	}
	for _, s := range fs {
		k.Files[s.Path] = s
	}
	return tasks.NewFacts(k)
}

var testDaemons = []tasks.Daemon{{Name: "test", Unit: "ipsec.service", Ours: "/etc/conns/", ConfSuffix: ".conf"}}

// What stood before an apply is, for each path, in the oldest backup since; and
// where one of those is gone there is no way back.
func TestNewRollback(t *testing.T) {
	h := pastHost{
		outcomes: []string{"applied", "reverted", "applied", "rolled-back to before x"},
		changes:  map[int]string{1: "install package:a", 3: "install package:b, create file:/etc/y", 4: "delete file:/etc/y"},
		backups: map[int]map[string]bool{
			1: {"/etc/x": false}, 2: {"/etc/reverted": true}, 3: {"/etc/x": true, "/etc/y": false}, 4: {"/etc/y": true},
		},
	}
	for _, tt := range []struct {
		txn    string
		lose   int
		before string
		after  []string
		copies map[string]string
		err    string
	}{
		{"", 0, txnID(4), nil, map[string]string{"/etc/y": BackupPath(txnID(4), "/etc/y")}, ""},
		{txnID(3), 0, txnID(3), []string{txnID(4)}, map[string]string{"/etc/x": BackupPath(txnID(3), "/etc/x"), "/etc/y": ""}, ""},
		{txnID(1), 0, txnID(1), []string{txnID(3), txnID(4)}, map[string]string{"/etc/x": "", "/etc/y": ""}, ""},
		{txnID(1), 2, txnID(1), []string{txnID(3), txnID(4)}, map[string]string{"/etc/x": "", "/etc/y": ""}, ""},
		{txnID(1), 3, "", nil, nil, "the backup of apply " + txnID(3) + " is not kept any more"},
		{txnID(2), 0, "", nil, nil, "no confirmed apply " + txnID(2)},
		{"../x", 0, "", nil, nil, "no confirmed apply ../x"},
	} {
		t.Run(fmt.Sprintf("%s without %d", tt.txn, tt.lose), func(t *testing.T) {
			h := h
			h.backups = maps.Clone(h.backups)
			delete(h.backups, tt.lose)
			r, err := NewRollback(h.facts(t), tt.txn, testDaemons)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.Before != tt.before || !slices.Equal(r.After, tt.after) {
				t.Errorf("before %s, after %v", r.Before, r.After)
			}
			if diff := cmp.Diff(tt.copies, r.copies); diff != "" {
				t.Errorf("copies (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := NewRollback((pastHost{outcomes: []string{"reverted"}}).facts(t), "", testDaemons); err == nil {
		t.Error("a host to which nothing was applied can be rolled back")
	}
}

// A hub with a thousand sites can be rolled back: what has to be read fits into
// one probe, and the probe's answer has every backup.
func TestRollbackOfManySites(t *testing.T) {
	h := pastHost{outcomes: []string{"applied"}, backups: map[int]map[string]bool{1: {"/etc/.hidden": true}}, files: map[string]string{}}
	for i := range 1000 {
		for _, ext := range []string{"conf", "secrets"} {
			h.backups[1][fmt.Sprintf("/etc/ipsec.d/vpnpush/site-%04d.%s", i, ext)] = true
		}
	}
	r, err := NewRollback(h.facts(t), "", testDaemons)
	if err != nil {
		t.Fatal(err)
	}
	reads := r.Reads()
	script, err := Probe(append(reads, tasks.SAReads()...), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{BackupPath(txnID(1), "/etc/ipsec.d/vpnpush") + "/*", BackupPath(txnID(1), "/etc/.hidden")} {
		if !strings.Contains(script, want) {
			t.Errorf("%s is not read", want)
		}
	}
}

// Each kind of path goes back in its own way: ours whole, of shared files only
// our part, so that what others did since stays. A path that no kind answers for is
// refused, and so is a kind that nobody knows: neither is written over by a guess.
func TestRollbackPaths(t *testing.T) {
	const line = "include /x"
	block := func(s string) string { return tasks.BlockBegin("vps") + "\n" + s + tasks.BlockEnd + "\n" }
	tables := "*filter\n:INPUT ACCEPT [0:0]\n%sCOMMIT\n"
	own := ":VPNPUSH-IN - [0:0]\n-A INPUT -j VPNPUSH-IN\n-A VPNPUSH-IN -p esp -j ACCEPT\n"
	file := tasks.Entry{ID: "file:/etc/p", Kind: "file", Path: "/etc/p"}
	lined := tasks.Entry{ID: "line:/etc/p", Kind: "line", Path: "/etc/p", Line: line}
	blocked := tasks.Entry{ID: "block:/etc/p", Kind: "block", Path: "/etc/p"}
	rules := tasks.Entry{ID: "file:/etc/p", Kind: "rules", Path: "/etc/p"}
	strange := tasks.Entry{ID: "hosts:/etc/p", Kind: "hosts", Path: "/etc/p"}
	none := tasks.Entry{}
	for _, tt := range []struct {
		name     string
		then     string // in the backup; "-" is no file
		now      string
		was, is  tasks.Entry
		ids      []string
		contains string // in the new side of the diff
		lacks    string
		err      string
	}{
		{"ours", "old\n", "new\n", none, file, []string{"update file:/etc/p"}, "old", "new", ""},
		{"ours, created", "-", "new\n", none, file, []string{"delete file:/etc/p"}, "", "new", ""},
		{"ours, deleted", "old\n", "-", file, none, []string{"create file:/etc/p"}, "old", "", ""},
		{"ours, the same", "old\n", "old\n", file, file, nil, "", "", ""},
		{"line, added", "a\n", "a\n" + line + "\nuser's\n", none, lined, []string{"delete line:/etc/p"}, "user's", line, ""},
		{"line, removed", "a\n" + line + "\n", "a\nuser's\n", lined, none, []string{"update line:/etc/p"}, "user's\n" + line, "", ""},
		{"line, both", line + "\n", line + "\nb\n", lined, lined, nil, "", "", ""},
		{"block, added", "a\n", "a\n" + block("ours\n") + "user's\n", none, blocked, []string{"delete block:/etc/p"}, "user's", "ours", ""},
		{"block, changed", block("before\n"), block("after\n") + "user's\n", blocked, blocked, []string{"update block:/etc/p"}, "before\n" + tasks.BlockEnd + "\nuser's", "after", ""},
		{"block, without its end", strings.TrimSuffix(block("before\n"), tasks.BlockEnd+"\n"), block("after\n"), blocked, blocked, nil, "", "", "does not end"},
		{"rules", fmt.Sprintf(tables, ""), fmt.Sprintf(tables, own+"-A INPUT -j LOG\n"), none, rules, []string{"delete file:/etc/p"}, "-j LOG", "VPNPUSH", ""},
		{"a path of nobody's", "old\n", "new\n", none, none, nil, "", "", "no task that this host's manifests have answers for it"},
		{"a kind of nobody's", "old\n", "new\n", none, strange, nil, "", "", `of the kind "hosts"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const path = "/etc/p"
			h := pastHost{outcomes: []string{"applied"}, backups: map[int]map[string]bool{1: {path: tt.then != "-", tasks.ManifestPath: true}}, files: map[string]string{}}
			h.was, h.now = &tasks.Manifest{}, &tasks.Manifest{Generation: 7}
			if tt.was.ID != "" {
				h.was.Tasks = []tasks.Entry{tt.was}
			}
			if tt.is.ID != "" {
				h.now.Tasks = []tasks.Entry{tt.is}
			}
			if tt.then != "-" {
				h.files["1:"+path] = tt.then
			}
			if tt.now != "-" {
				h.files[path] = tt.now
			}
			f := h.facts(t)
			r, err := NewRollback(f, "", testDaemons)
			if err != nil {
				t.Fatal(err)
			}
			p, err := r.Plan(f)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("got %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.On != 7 {
				t.Errorf("on generation %d", p.On)
			}
			var ids []string
			for _, task := range p.Tasks {
				c := mustCheck(t, task, f)
				if c == nil {
					continue
				}
				ids = append(ids, string(c.Action)+" "+c.Task)
				if !slices.Contains(c.Backups, path) {
					t.Errorf("%s is not backed up: %v", path, c.Backups)
				}
				if got := string(c.Attrs[0].New); !strings.Contains(got, tt.contains) || tt.lacks != "" && strings.Contains(got, tt.lacks) {
					t.Errorf("it becomes %q", got)
				}
			}
			if diff := cmp.Diff(tt.ids, ids); diff != "" {
				t.Errorf("changes (-want +got):\n%s", diff)
			}
		})
	}
}

// A file that an apply in between made and a later one took away again is answered for
// by the manifest of its time: nothing is to be done for it, and it stops nothing.
func TestRollbackOverWhatCameAndWent(t *testing.T) {
	h := pastHost{
		outcomes: []string{"applied", "applied"}, files: map[string]string{},
		backups: map[int]map[string]bool{1: {tasks.ManifestPath: true, "/etc/p": false}, 2: {tasks.ManifestPath: true, "/etc/p": true}},
		was:     &tasks.Manifest{}, now: &tasks.Manifest{Generation: 3},
	}
	between := &tasks.Manifest{FormatVersion: 2, Owner: "vps", Tasks: []tasks.Entry{{ID: "file:/etc/p", Kind: "file", Path: "/etc/p"}}}
	b, err := between.Encode()
	if err != nil {
		t.Fatal(err)
	}
	h.files["2:"+tasks.ManifestPath] = string(b)
	f := h.facts(t)
	r, err := NewRollback(f, txnID(1), testDaemons)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range p.Tasks {
		if c := mustCheck(t, task, f); c != nil {
			t.Errorf("%s %s", c.Action, c.Task)
		}
	}
}

// An old secret, which no inventory knows any more, is masked; and it is put
// back from the copy on the host, not sent there again.
func TestRestoreHidesSecrets(t *testing.T) {
	const canary, backup = "canary-Iej9ohngeiW2", "/b/x.secrets"
	f := answered(nil,
		tasks.FileState{Path: "/etc/x.secrets", Exists: true, Type: '0', Content: []byte("@a : PSK \"new-" + canary + "\"\n"), Mode: 0o600, Owner: "root:root"},
		tasks.FileState{Path: backup, Exists: true, Type: '0', Content: []byte("@a : PSK \"" + canary + "\"\n"), Mode: 0o640, Owner: "root:adm"})
	c := mustCheck(t, tasks.Restore{Path: "/etc/x.secrets", Backup: backup, Syntax: mask.IPsecSecrets}, f)
	if text := fmt.Sprintf("%q %+v", c.Attrs, c); strings.Contains(text, canary) {
		t.Error("the secret shows")
	}
	for _, d := range c.Do {
		if !d.Stdin.IsZero() || strings.Contains(d.Shell, canary) {
			t.Error("the secret is sent")
		}
	}
	if want := "put /etc/x.secrets 0640 root:adm <" + backup; c.Do[0].Shell != want {
		t.Errorf("it does %q", c.Do[0].Shell)
	}
	if len(c.Pre) != 2 || c.Pre[1].Path != backup || c.Pre[1].SHA256 == "" {
		t.Errorf("the backup may have changed since it was shown: %+v", c.Pre)
	}
}

// A file comes back byte for byte: one without a last newline too, and one that
// is no text.
func TestRestoreIsExact(t *testing.T) {
	for name, argv := range shells(t) {
		for _, text := range []string{"", "no end", "a\x00b\n", "a\r\n"} {
			dir := t.TempDir()
			path, backup := filepath.Join(dir, "it's x"), filepath.Join(dir, "back up")
			if err := os.WriteFile(backup, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			f := answered(nil, tasks.FileState{Path: path}, tasks.FileState{Path: backup, Exists: true, Type: '0', Content: []byte(text), Mode: 0o640, Owner: "root:root"})
			c := mustCheck(t, tasks.Restore{Path: path, Backup: backup}, f)
			if out, err := inScript(t, argv, c.Do[0].Shell, ""); err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			if got, err := os.ReadFile(path); err != nil || string(got) != text {
				t.Errorf("%s: %q became %q, %v", name, text, got, err)
			}
		}
	}
}

// What runs follows the files: the conns of then are loaded, the service whose
// configuration comes back is restarted, one that came with what is taken back
// is stopped, and what cannot be put back is said.
func TestRollbackServices(t *testing.T) {
	conf := "conn tokyo\n"
	tunnel := strongswan.Tunnel{Conn: "tokyo", Peer: "tokyo", LocalID: "vps", PeerID: "tokyo", Local: []string{"10.1.0.0/24", "10.2.0.0/24"}, Remote: []string{"192.168.1.0/24"}}
	file := func(p string) tasks.Entry { return tasks.Entry{ID: "file:" + p, Kind: "file", Path: p} }
	unit := func(e tasks.Entry) tasks.Entry {
		e.ID, e.Kind = "unit:"+e.Unit, "unit"
		return e
	}
	xl2tpd := unit(tasks.Entry{Unit: "xl2tpd.service", Config: []string{"/etc/xl2tpd.conf"}})
	h := pastHost{
		outcomes: []string{"applied"}, changes: map[int]string{1: "install package:new, update file:/etc/conns/tokyo.conf"},
		backups: map[int]map[string]bool{1: {tasks.ManifestPath: true, "/etc/conns/tokyo.conf": true, "/etc/conns/osaka.conf": false, "/etc/xl2tpd.conf": true}},
		files: map[string]string{
			"1:/etc/conns/tokyo.conf": conf, "/etc/conns/tokyo.conf": "changed\n", "/etc/conns/tokyo.secrets": "key\n", "/etc/conns/osaka.conf": "x\n",
			"1:/etc/xl2tpd.conf": "old\n", "/etc/xl2tpd.conf": "new\n",
		},
		was: &tasks.Manifest{Tasks: []tasks.Entry{
			file("/etc/conns/tokyo.conf"), file("/etc/xl2tpd.conf"), {ID: "sysctl:net.x", Kind: "sysctl", Key: "net.x", Value: "1"},
			unit(tasks.Entry{Unit: "fw.service", BootOnly: true}), unit(tasks.Entry{Unit: "ran.service"}), xl2tpd,
			{ID: "ipsec:loaded", Kind: "ipsec", Daemon: "test", Conns: []tasks.ConnWas{{Name: "tokyo", Conf: "/etc/conns/tokyo.conf", Secrets: "/etc/conns/tokyo.secrets", Tunnel: &tunnel}}},
		}},
		now: &tasks.Manifest{Tasks: []tasks.Entry{
			file("/etc/conns/osaka.conf"), {ID: "package:new", Kind: "package"}, {ID: "sysctl:net.y", Kind: "sysctl", Key: "net.y", Value: "1"}, unit(tasks.Entry{Unit: "new.service"}), xl2tpd,
		}},
	}
	f := h.facts(t)
	r, err := NewRollback(f, "", testDaemons)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(f)
	if err != nil {
		t.Fatal(err)
	}
	var services []tasks.Task
	for _, task := range p.Tasks {
		if _, ok := task.(tasks.Restore); !ok {
			services = append(services, task)
		}
	}
	want := []tasks.Task{
		tasks.Sysctl{Key: "net.x", Value: "1"},
		tasks.Unit{Name: "fw.service", BootOnly: true}, tasks.Stopped{Name: "new.service"}, tasks.Unit{Name: "ran.service"},
		tasks.Unit{Name: "xl2tpd.service", Config: map[string]string{"/etc/xl2tpd.conf": tasks.SHA256([]byte("old\n"))}},
		tasks.IPsec{Daemon: testDaemons[0], Conns: []tasks.Conn{{
			Name: "tokyo", Conf: "/etc/conns/tokyo.conf", Secrets: "/etc/conns/tokyo.secrets", Tunnel: &tunnel,
			ConfSHA: tasks.SHA256([]byte(conf)), SecretsSHA: tasks.SHA256([]byte("key\n")),
		}}},
	}
	if diff := cmp.Diff(want, services); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]strongswan.Tunnel{tunnel}, p.Tunnels); diff != "" {
		t.Errorf("tunnels (-want +got):\n%s", diff)
	}
	text := strings.Join(p.Warnings, "\n")
	for _, w := range []string{"by now: new", "until the next boot: net.y"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %q", w, text)
		}
	}
}

// strongSwan that came with the apply that is taken back stops again, also where its
// package is not called as its service.
func TestRollbackStopsTheDaemonThatCame(t *testing.T) {
	d := tasks.Daemon{Name: "vici", Unit: "swan.service", Package: "charond", Packages: []string{"charond", "swanctl"}}
	h := pastHost{
		outcomes: []string{"applied"}, changes: map[int]string{1: "install package:charond, install package:swanctl"},
		backups: map[int]map[string]bool{1: {tasks.ManifestPath: false}},
		now: &tasks.Manifest{Tasks: []tasks.Entry{
			{ID: "package:charond", Kind: "package"}, {ID: "unit:swan.service", Kind: "unit", Unit: "swan.service", Shared: true, Was: &tasks.Before{}},
			{ID: "ipsec:loaded", Kind: "ipsec", Daemon: "vici", Unit: "swan.service", Conns: []tasks.ConnWas{{Name: "tokyo", Conf: "/etc/conns/tokyo.conf", Secrets: "/etc/conns/tokyo.secrets"}}},
		}},
	}
	f := h.facts(t)
	r, err := NewRollback(f, "", []tasks.Daemon{d})
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(f)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]tasks.Task{tasks.Stopped{Name: "swan.service"}}, p.Tasks); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}

// What stood where ours goes comes back when ours goes; a rollback that brings ours back
// keeps it for the next time, where the apply that is taken back had used it up.
func TestRollbackKeepsWhatStoodThere(t *testing.T) {
	const path, first = "/etc/p", tasks.StateDir + "/first/etc/p"
	h := pastHost{
		outcomes: []string{"applied"},
		backups:  map[int]map[string]bool{1: {tasks.ManifestPath: true, path: true, first: true}},
		files:    map[string]string{"1:" + path: "ours\n", "1:" + first: "theirs\n", path: "theirs\n"},
		was:      &tasks.Manifest{Tasks: []tasks.Entry{{ID: "file:" + path, Kind: "file", Path: path, First: first}}},
		now:      &tasks.Manifest{Generation: 2},
	}
	f := h.facts(t)
	r, err := NewRollback(f, "", testDaemons)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(f)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, task := range p.Tasks {
		if c := mustCheck(t, task, f); c != nil {
			ids = append(ids, string(c.Action)+" "+c.Task)
		}
	}
	if d := cmp.Diff([]string{"update file:" + path, "create file:" + first}, ids); d != "" {
		t.Errorf("changes (-want +got):\n%s", d)
	}
}
