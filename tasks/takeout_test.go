package tasks

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var outDaemon = Daemon{Name: "ike", Unit: "ike.service", Keys: keysDaemon.Keys}

// What an admin wrote by hand is touched by consent alone; then exactly those lines become
// comments, after a backup, strongSwan reads its conns anew, and SAs of the old ones end once
// ours is up. The manifest has the files and nothing of the lines.
func TestTakeOut(t *testing.T) {
	conns := TakeOut{Of: TakeOutConns, Daemon: outDaemon, Ours: "tokyo", Lines: []OutLines{
		{Path: "/etc/c", SHA256: "abc", First: 4, Last: 9, Name: "by-hand", Does: "dials vps, too"},
		{Path: "/etc/c", SHA256: "abc", First: 11, Last: 12, Name: "by-hand", Does: "dials vps, too"},
		{Path: "/etc/c", SHA256: "abc", First: 1, Last: 2, Name: "%default", Does: "holds the rest"},
	}}
	f := Bare(conns.Reads())
	if c := mustCheck(t, conns, f); c != nil {
		t.Errorf("without consent: %+v", c)
	}
	ts := []Task{conns, TakeOut{Of: TakeOutUsers, Lines: []OutLines{{Path: "/etc/p", SHA256: "def", First: 3, Last: 3, Name: "alice"}}}}
	Adopt(ts)
	for i, want := range [][]string{
		{"keys_out /etc/c 4,9 11,12 1,2", "if systemctl --quiet is-active ike.service; then ike_load ike.service; fi", "ike_relieve tokyo by-hand"},
		{"keys_out /etc/p 3,3"},
	} {
		c := mustCheck(t, ts[i], f)
		var did []string
		for _, s := range c.Do {
			did = append(did, s.Shell)
		}
		if d := cmp.Diff(want, did); d != "" || c.Blocked != "" || len(c.Pre) != 1 || len(c.Backups) != 1 {
			t.Errorf("%+v (-want +got)\n%s", c, d)
		}
	}
	m := NextManifest(nil, "me", "vps", "admin@desk", time.Unix(1, 0), ts, f)
	// a later apply that finds nothing keeps what was noted
	m = NextManifest(m, "me", "vps", "admin@desk", time.Unix(2, 0), []Task{TakeOut{Of: TakeOutConns, Daemon: outDaemon}, TakeOut{Of: TakeOutUsers}}, f)
	for i, want := range []Entry{
		{ID: "lines:conns", Kind: kindLines, Daemon: "ike", Files: []string{"/etc/c"}, Digest: conns.Digest()},
		{ID: "lines:users", Kind: kindLines, Files: []string{"/etc/p"}, Digest: TakeOut{Of: TakeOutUsers}.Digest()},
	} {
		if d := cmp.Diff(want, m.Tasks[i]); d != "" {
			t.Errorf("entry (-want +got)\n%s", d)
		}
	}
	conns.Lines[0].Stays, conns.Adopt = "conn x takes over from it, and stays", true
	if c := mustCheck(t, conns, f); !strings.Contains(c.Blocked, "/etc/c:4: conn by-hand: conn x takes over") || c.Mend == "" {
		t.Errorf("what cannot be taken out: %+v", c)
	}
}

// What was taken out comes back when vpnpush leaves, and with a rollback to before.
func TestLinesBack(t *testing.T) {
	h := Leaving{Daemons: []Daemon{outDaemon}}
	conns := Entry{ID: "lines:conns", Kind: kindLines, Daemon: "ike", Files: []string{"/etc/c"}}
	users := Entry{ID: "lines:users", Kind: kindLines, Files: []string{"/etc/p"}}
	f := keyFacts("file\t/etc/c\tabc\nout\t3\n", "")
	f.files["/etc/p"] = FileState{Path: "/etc/p", Exists: true, Type: '0', Content: []byte(takenOut + "alice * hush *\n")}
	for _, tt := range []struct {
		e   Entry
		did string
	}{
		{conns, "keys_back /etc/c\nif systemctl --quiet is-active ike.service; then ike_load ike.service; fi"},
		{users, "keys_back /etc/p"},
	} {
		ts, err := linesOut(tt.e, h)
		if err != nil || len(ts) != 1 {
			t.Fatalf("%v, %v", ts, err)
		}
		c := mustCheck(t, ts[0], f)
		var did []string
		for _, s := range c.Do {
			did = append(did, s.Shell)
		}
		if got := strings.Join(did, "\n"); got != tt.did {
			t.Errorf("%s: it does\n%s\nwant\n%s", tt.e.ID, got, tt.did)
		}
		r := Rewind{Daemons: h.Daemons}
		if back, err := linesBack(tt.e, &tt.e, nil, r); err != nil || cmp.Diff(ts, back) != "" {
			t.Errorf("rolled back: %v, %v", back, err)
		}
		if back, err := linesBack(tt.e, &tt.e, &tt.e, r); err != nil || back != nil {
			t.Errorf("it was out then, too: %v, %v", back, err)
		}
	}
	f.files["/etc/p"] = FileState{Path: "/etc/p", Exists: true, Type: '0', Content: []byte("alice * hush *\n")}
	ts, _ := linesOut(users, h)
	if c := mustCheck(t, ts[0], f); c != nil {
		t.Errorf("it is back already: %+v", c)
	}
}

// While a tunnel of the admin's may be needed once more its key stays, by --adopt too; it
// stops a plan all the same without.
func TestForeignKeysLater(t *testing.T) {
	f := keyFacts("file\t/etc/s\tabc\nkey\t3\t: PSK \n", "")
	k := ForeignKeys{Daemon: keysDaemon, Doors: hubDoors(), Later: true}
	if c := mustCheck(t, k, f); c == nil || c.Blocked == "" {
		t.Errorf("without consent: %+v", c)
	}
	k.Adopt = true
	if c := mustCheck(t, k, f); c != nil {
		t.Errorf("%+v", c)
	}
	if e := k.Record(nil, f); len(e.Files) != 0 {
		t.Errorf("noted as taken out: %+v", e)
	}
}
