package tasks

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// pastHost answers with a history of applies, oldest first, and their backups.
// A path among files beginning with "N:" is in the backup of apply N.
type pastHost struct {
	outcomes []string // one for each apply: "applied", "reverted", ...
	changes  map[int]string
	backups  map[int]map[string]bool // missing: not kept
	files    map[string]string
	was, now *Manifest // was: in the backup of apply 1
}

func txnID(n int) string { return fmt.Sprintf("2026010%dT000000-00000000", n) }

func (h pastHost) facts(t *testing.T) Facts {
	t.Helper()
	var history, list strings.Builder
	for i, o := range h.outcomes {
		fmt.Fprintf(&history, "2026-01-0%dT00:00:00Z\t%s\t%s\tadmin@desk\t%s\n", i+1, txnID(i+1), o, h.changes[i+1])
		if b, ok := h.backups[i+1]; ok {
			fmt.Fprintf(&list, "txn\t%s\n", txnID(i+1))
			for _, p := range sortedKeys(b) {
				fmt.Fprintf(&list, "%s\t%s\n", map[bool]string{true: "file", false: "absent"}[b[p]], p)
			}
		}
	}
	file := func(p, content string) FileState {
		return FileState{Path: p, Exists: true, Type: '0', Content: []byte(content), Mode: 0o600, Owner: "root:root"}
	}
	fs := []FileState{file(HistoryPath, history.String())}
	for p, c := range h.files {
		if n, rest, ok := strings.Cut(p, ":"); ok {
			var id int
			fmt.Sscan(n, &id)
			p = BackupPath(txnID(id), rest)
		}
		fs = append(fs, file(p, c))
	}
	for m, p := range map[*Manifest]string{h.was: BackupPath(txnID(1), ManifestPath), h.now: ManifestPath} {
		if m != nil {
			m.FormatVersion, m.Owner = 1, "vps"
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			fs = append(fs, file(p, string(b)))
		}
	}
	f := answered(map[string]CommandState{"backups": says(list.String()), "iptables-save": says(""), "ipsec-statusall": {Code: 127}}, fs...)
	for _, b := range h.backups {
		for p := range b {
			if _, ok := f.files[p]; !ok {
				f.files[p] = FileState{Path: p}
			}
		}
	}
	f.units = map[string]UnitState{"ipsec.service": {Name: "ipsec.service", Loaded: true, Active: "active"}, "xl2tpd.service": {Name: "xl2tpd.service", Loaded: true, Active: "active", Enabled: true}}
	f.files[loadedPath("xl2tpd.service")] = FileState{}
	return f
}

var testLayout = Layout{IPsecUnit: "ipsec.service", ConnDir: "/etc/conns/", Restart: map[string][]string{"xl2tpd.service": {"/etc/xl2tpd.conf"}}, BootOnly: []string{"fw.service"}}

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
			r, err := NewRollback(h.facts(t), tt.txn, testLayout)
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
	if _, err := NewRollback((pastHost{outcomes: []string{"reverted"}}).facts(t), "", testLayout); err == nil {
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
	r, err := NewRollback(h.facts(t), "", testLayout)
	if err != nil {
		t.Fatal(err)
	}
	reads := r.Reads()
	script, err := Probe(append(reads, SAReads()...))
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
// our part, so that what others did since stays.
func TestRollbackPaths(t *testing.T) {
	const line = "include /x"
	block := func(s string) string { return BlockBegin("vps") + "\n" + s + BlockEnd + "\n" }
	lineTask := map[string]string{"line:/etc/l": Line{Path: "/etc/l", Line: line}.Digest()}
	tables := "*filter\n:INPUT ACCEPT [0:0]\n%sCOMMIT\n"
	own := ":VPNPUSH-IN - [0:0]\n-A INPUT -j VPNPUSH-IN\n-A VPNPUSH-IN -p esp -j ACCEPT\n"
	for _, tt := range []struct {
		name     string
		path     string
		then     string // in the backup; "-" is no file
		now      string
		was, is  map[string]string
		owned    bool
		ids      []string
		contains string // in the new side of the diff
		lacks    string
	}{
		{"ours", "/etc/o", "old\n", "new\n", nil, nil, true, []string{"update file:/etc/o"}, "old", "new"},
		{"ours, created", "/etc/o", "-", "new\n", nil, nil, true, []string{"delete file:/etc/o"}, "", "new"},
		{"ours, deleted", "/etc/o", "old\n", "-", nil, nil, true, []string{"create file:/etc/o"}, "old", ""},
		{"ours, the same", "/etc/o", "old\n", "old\n", nil, nil, true, nil, "", ""},
		{"line, added", "/etc/l", "a\n", "a\n" + line + "\nuser's\n", nil, lineTask, false, []string{"update line:/etc/l"}, "user's", line},
		{"line, removed", "/etc/l", "a\n" + line + "\n", "a\nuser's\n", lineTask, nil, false, []string{"update line:/etc/l"}, "user's\n" + line, ""},
		{"line, both", "/etc/l", line + "\n", line + "\nb\n", lineTask, lineTask, false, nil, "", ""},
		{"block, added", "/etc/b", "a\n", "a\n" + block("ours\n") + "user's\n", nil, map[string]string{"block:/etc/b": ""}, false, []string{"update block:/etc/b"}, "user's", "ours"},
		{"block, changed", "/etc/b", block("before\n"), block("after\n") + "user's\n", nil, map[string]string{"block:/etc/b": ""}, false, []string{"update block:/etc/b"}, "before\n" + BlockEnd + "\nuser's", "after"},
		{"rules", "/etc/r", fmt.Sprintf(tables, ""), fmt.Sprintf(tables, own+"-A INPUT -j LOG\n"), nil, map[string]string{"file:/etc/r": ""}, false, []string{"update file:/etc/r"}, "-j LOG", "VPNPUSH"},
		{"a stranger", "/etc/s", "old\n", "new\n", nil, nil, false, []string{"update file:/etc/s"}, "old", "new"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := pastHost{outcomes: []string{"applied"}, backups: map[int]map[string]bool{1: {tt.path: tt.then != "-", ManifestPath: true}}, files: map[string]string{}}
			h.was, h.now = &Manifest{Tasks: tt.was}, &Manifest{Tasks: tt.is, Generation: 7}
			if tt.owned {
				h.now.Files = []OwnedFile{{Path: tt.path}}
			}
			if tt.then != "-" {
				h.files["1:"+tt.path] = tt.then
			}
			if tt.now != "-" {
				h.files[tt.path] = tt.now
			}
			f := h.facts(t)
			r, err := NewRollback(f, "", testLayout)
			if err != nil {
				t.Fatal(err)
			}
			p, err := r.Plan(f)
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
				if !slices.Contains(c.Backs, tt.path) {
					t.Errorf("%s is not backed up: %v", tt.path, c.Backs)
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

// An old secret, which no inventory knows any more, is masked; and it is put
// back from the copy on the host, not sent there again.
func TestRestoreHidesSecrets(t *testing.T) {
	const canary, backup = "canary-Iej9ohngeiW2", "/b/x.secrets"
	f := answered(nil,
		FileState{Path: "/etc/x.secrets", Exists: true, Type: '0', Content: []byte("@a : PSK \"new-" + canary + "\"\n"), Mode: 0o600, Owner: "root:root"},
		FileState{Path: backup, Exists: true, Type: '0', Content: []byte("@a : PSK \"" + canary + "\"\n"), Mode: 0o640, Owner: "root:adm"})
	c := mustCheck(t, Restore{Path: "/etc/x.secrets", Backup: backup, Syntax: syntaxOf("/etc/x.secrets")}, f)
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
			f := answered(nil, FileState{Path: path}, FileState{Path: backup, Exists: true, Type: '0', Content: []byte(text), Mode: 0o640, Owner: "root:root"})
			c := mustCheck(t, Restore{Path: path, Backup: backup}, f)
			if out, err := inPrelude(t, argv, c.Do[0].Shell, ""); err != nil {
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
	conf := "conn tokyo\n    leftid=@vps\n    leftsubnet=10.2.0.0/24,10.1.0.0/24\n    rightid=@tokyo\n    rightsubnet=192.168.1.0/24\n"
	h := pastHost{
		outcomes: []string{"applied"}, changes: map[int]string{1: "install package:new, update file:/etc/conns/tokyo.conf"},
		backups: map[int]map[string]bool{1: {ManifestPath: true, "/etc/conns/tokyo.conf": true, "/etc/conns/osaka.conf": false, "/etc/xl2tpd.conf": true, "/etc/sysctl.d/a.conf": true, "/etc/sysctl.d/b.conf": false}},
		files: map[string]string{
			"1:/etc/conns/tokyo.conf": conf, "/etc/conns/tokyo.conf": "conn tokyo\n", "/etc/conns/tokyo.secrets": "key\n", "/etc/conns/osaka.conf": "x\n",
			"1:/etc/xl2tpd.conf": "old\n", "/etc/xl2tpd.conf": "new\n", "1:/etc/sysctl.d/a.conf": "# c = 1\nnet.x = 1\nnot.ours = 2\n",
		},
		was: &Manifest{Files: []OwnedFile{{Path: "/etc/conns/tokyo.conf"}, {Path: "/etc/conns/tokyo.secrets"}}, Tasks: map[string]string{
			"ipsec:loaded": "", "sysctl:net.x": "", "unit:fw.service": "", "unit:ran.service": ""}},
		now: &Manifest{Tasks: map[string]string{"unit:new.service": "", "unit:xl2tpd.service": ""}},
	}
	f := h.facts(t)
	r, err := NewRollback(f, "", testLayout)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Plan(f)
	if err != nil {
		t.Fatal(err)
	}
	var services []Task
	for _, task := range p.Tasks {
		if _, ok := task.(Restore); !ok {
			services = append(services, task)
		}
	}
	want := []Task{
		Sysctl{Key: "net.x", Value: "1"}, Stopped{Name: "new.service"},
		Unit{Name: "fw.service", BootOnly: true}, Unit{Name: "ran.service"},
		Unit{Name: "xl2tpd.service", Config: map[string]string{"/etc/xl2tpd.conf": SHA256([]byte("old\n"))}},
		IPsec{Unit: "ipsec.service", Conns: []Conn{{
			Name: "tokyo", Conf: "/etc/conns/tokyo.conf", Secrets: "/etc/conns/tokyo.secrets",
			ConfSHA: SHA256([]byte(conf)), SecretsSHA: SHA256([]byte("key\n")),
		}}},
	}
	if diff := cmp.Diff(want, services); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
	tunnel := strongswan.Tunnel{Conn: "tokyo", Peer: "tokyo", LocalID: "vps", PeerID: "tokyo", Local: []string{"10.1.0.0/24", "10.2.0.0/24"}, Remote: []string{"192.168.1.0/24"}}
	if diff := cmp.Diff([]strongswan.Tunnel{tunnel}, p.Tunnels); diff != "" {
		t.Errorf("tunnels (-want +got):\n%s", diff)
	}
	text := strings.Join(p.Warnings, "\n")
	for _, w := range []string{"packages stay installed: new", "/etc/sysctl.d/b.conf stay as they are until the next boot"} {
		if !strings.Contains(text, w) {
			t.Errorf("no %q in %q", w, text)
		}
	}
}
