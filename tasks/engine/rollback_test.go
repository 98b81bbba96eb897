package engine

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
)

const firstApply = "20260102T030405-00000001"

// once is a host that was applied to once, with what it keeps of it.
func once(t *testing.T) answer {
	t.Helper()
	m := applied(conf("a\n"))
	return answer{
		manifest: m,
		files: map[string]string{
			"/etc/f":         marker + "a\n",
			host.HistoryPath: "2026-01-02T03:04:05Z\t" + firstApply + "\tapplied\tme@desk\tcreate file:/etc/f\n",
			host.PendingPath: "",
		},
		commands: map[string]string{
			"backups": "txn\t" + firstApply + "\nabsent\t/etc/f\nabsent\t" + tasks.ManifestPath + "\n",
			// the tunnels of a rollback are those of then
			"ipsec-statusall": "127", "swanctl-list-sas": "127", "swanctl-list-conns": "127",
		},
	}
}

// A rollback puts back what stood before, and its manifest is that of then as a new
// generation: an apply that was planned on the old one must not go on, and what was not
// there then is not looked for.
func TestRollback(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		after := once(t)
		after.files = map[string]string{"/etc/f": "", host.HistoryPath: after.files[host.HistoryPath], host.PendingPath: ""}
		m := &machine{before: once(t), after: after}
		w := newWorld(t, map[string]*machine{"tokyo": m})
		back, res, err := w.e.Rollback(context.Background(), wanting("tokyo", "site"), "")
		if err != nil || res != OK || back.Rollback.Before != firstApply {
			t.Fatalf("%s, %v, %+v", res, err, back.Rollback)
		}
		w.hosts = []Host{back}
		p := w.plan()
		if !p.Rollback || len(p.Hosts[0].Changes) != 1 || p.Hosts[0].Changes[0].Action != tasks.Delete {
			t.Fatalf("plan %+v", p.Hosts[0].Changes)
		}
		r, _ := w.e.Apply(context.Background(), p, w.hosts)
		if h := r.Hosts[0]; h.Result != Changed {
			t.Fatalf("%s, %v", h.Result, h.Err)
		}
		if !strings.Contains(m.script, "did='rolled-back to before "+firstApply+"'\n") {
			t.Errorf("the history would not tell it as a rollback")
		}
		var left tasks.Manifest
		_, text, _ := strings.Cut(m.script, "put "+tasks.ManifestPath)
		_, text, _ = strings.Cut(text, "\n")
		if err := json.NewDecoder(strings.NewReader(text)).Decode(&left); err != nil {
			t.Fatalf("no manifest in the script: %v", err)
		}
		if left.Generation != 2 || len(left.Tasks) != 0 || left.By != "me@desk" || left.Applied.IsZero() {
			t.Errorf("manifest %+v", left)
		}
	})
}

// What was applied between the plan of a rollback and its apply must not be lost.
func TestRollbackIsOvertaken(t *testing.T) {
	inBubble(t, "", func(t *testing.T) {
		m := &machine{before: once(t)}
		w := newWorld(t, map[string]*machine{"tokyo": m})
		back, _, err := w.e.Rollback(context.Background(), wanting("tokyo", "site"), firstApply)
		if err != nil {
			t.Fatal(err)
		}
		m.before.manifest = tasks.NextManifest(m.before.manifest, "vps", "tokyo", "you", m.before.manifest.Applied, []tasks.Task{conf("a\n")}, tasks.Facts{})
		w.hosts = []Host{back}
		r := w.apply(context.Background())
		if h := r.Hosts[0]; h.Result != Failed || !says(h.Err, "applied to while the rollback was being planned") || len(w.did) > 0 {
			t.Errorf("%s, %v; did %v", h.Result, h.Err, w.did)
		}
	})
}

// Where there is no way back a rollback changes nothing, and says why.
func TestRollbackRefuses(t *testing.T) {
	lose := func(change func(*answer)) *machine {
		a := once(t)
		change(&a)
		return &machine{before: a}
	}
	for _, tt := range []struct {
		name, txn string
		m         *machine
		want      Result
		says      string
	}{
		{"no such apply", "20260102T030405-0000000f", lose(func(*answer) {}), OK, "no confirmed apply"},
		{"nothing was applied", "", lose(func(a *answer) { a.files[host.HistoryPath] = "" }), OK, "nothing was applied here"},
		{"it is of another inventory", "", lose(func(a *answer) { a.manifest.Owner = "other" }), OK, `belongs to the inventory "other"`},
		{"not ours any more", "", lose(func(a *answer) { a.manifest = nil }), Failed, "not vpnpush's any more"},
		{"the manifest is damaged", "", lose(func(a *answer) { a.manifest.FormatVersion = 99 }), Failed, "manifest"},
		{"the line is cut", "", &machine{before: once(t), cut: at("probe", 1, errCut)}, Unreachable, "connection lost"},
		{"the line is cut later", "", &machine{before: once(t), cut: at("probe", 2, errCut)}, Unreachable, "connection lost"},
		{"nobody is there", "", &machine{fault: at("dial", 1, errors.New("no route"))}, Unreachable, "no route"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			w := newWorld(t, map[string]*machine{"tokyo": tt.m})
			_, res, err := w.e.Rollback(context.Background(), wanting("tokyo", "site"), tt.txn)
			if res != tt.want || !says(err, tt.says) {
				t.Errorf("%s, %v", res, err)
			}
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, res, err := newWorld(t, nil).e.Rollback(ctx, wanting("tokyo", "site"), ""); res != Skipped || err == nil {
		t.Errorf("interrupted: %s, %v", res, err)
	}
}

// The history tells the newest first, what waits, and to which applies there is a way
// back: not to one before an apply whose backup is gone.
func TestHistory(t *testing.T) {
	const second, third = "20260103T030405-00000002", "20260104T030405-00000003"
	a := once(t)
	a.files[host.HistoryPath] += "2026-01-03T03:04:05Z\t" + second + "\tapplied\tme@desk\tupdate file:/etc/f\n" +
		"2026-01-04T03:04:05Z\t" + third + "\treverted\tme@desk\tfailed at write\n"
	a.files[host.PendingPath] = "20260105T030405-00000004\n"
	inBubble(t, "", func(t *testing.T) {
		w := newWorld(t, map[string]*machine{"tokyo": {before: a}})
		h, res, err := w.e.History(context.Background(), wanting("tokyo", "site"))
		if err != nil || res != OK {
			t.Fatalf("%s, %v", res, err)
		}
		var got []string
		for _, e := range h.Entries {
			got = append(got, e.Txn+" "+e.Outcome)
			if e.Backup {
				t.Errorf("there is no way back to before %s", e.Txn)
			}
		}
		if want := third + " reverted, " + second + " applied, " + firstApply + " applied"; strings.Join(got, ", ") != want || h.Pending != "20260105T030405-00000004" {
			t.Errorf("%v, %q waits", got, h.Pending)
		}
		w.all["tokyo"].before.commands["backups"] += "txn\t" + second + "\nfile\t/etc/f\n"
		h, _, err = w.e.History(context.Background(), wanting("tokyo", "site"))
		if err != nil || !h.Entries[1].Backup || !h.Entries[2].Backup || h.Entries[0].Backup {
			t.Errorf("%v, %+v", err, h)
		}
		for _, cmd := range []string{"file\trelative\n", "127"} {
			w.all["tokyo"].before.commands["backups"] = cmd
			if _, res, err := w.e.History(context.Background(), wanting("tokyo", "site")); res != Failed || err == nil {
				t.Errorf("backups %q: %s, %v", cmd, res, err)
			}
		}
		w.all["tokyo"].cut = from("probe", 1, errCut)
		if _, res, err := w.e.History(context.Background(), wanting("tokyo", "site")); res != Unreachable || err == nil {
			t.Errorf("line cut: %s, %v", res, err)
		}
	})
}
