package view

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/host"
)

func pastOfVPS() *engine.History {
	at := func(h int) time.Time { return time.Date(2026, 1, 2, h, 4, 5, 0, time.UTC) }
	return &engine.History{Name: "vps", Role: "hub", Entries: []engine.HistoryEntry{
		{Past: host.Past{Time: at(9), Txn: "20260102T090405-00000004", Outcome: "rolled-back", Before: "20260102T060405-00000001", By: "admin@desk", Changes: []string{"update file:/etc/a"}}, Backup: true},
		{Past: host.Past{Time: at(8), Txn: "20260102T080405-00000003", Outcome: "reverted", By: "admin@desk", Why: "not confirmed\a within 60 s"}},
		{Past: host.Past{Time: at(6), Txn: "20260102T060405-00000001", Outcome: "applied", By: "admin@desk", Changes: []string{
			"install package:strongswan-starter", "create file:/etc/ipsec.d/vpnpush/tokyo.conf", "reload ipsec:loaded"}}},
	}}
}

// The table fits 80 columns and says for each entry when, what, who, and
// whether there is a way back.
func TestHistory(t *testing.T) {
	var out bytes.Buffer
	if err := New(Options{Out: &out, Err: &bytes.Buffer{}}).History(pastOfVPS()); err != nil {
		t.Fatal(err)
	}
	want := strings.TrimPrefix(`
WHEN (UTC)         APPLY                     OUTCOME        BACKUP
2026-01-02 09:04   20260102T090405-00000004  rolled back    kept
    admin@desk: 1 change, back to before 20260102T060405-00000001
2026-01-02 08:04   20260102T080405-00000003  reverted
    admin@desk: not confirmed within 60 s
2026-01-02 06:04   20260102T060405-00000001  applied
    admin@desk: 3 changes: install package:strongswan-starter and 2 more

vps: 3 entries, 1 backup kept.
`, "\n")
	got := out.String()
	for l := range strings.Lines(got) {
		if n := columns(strings.TrimSuffix(l, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, l)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// The document has every key, and lists that are lists.
func TestHistoryJSON(t *testing.T) {
	var out bytes.Buffer
	if err := New(Options{Out: &out, Err: &bytes.Buffer{}, JSON: true}).History(pastOfVPS()); err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"time": "2026-01-02T08:04:05Z", "txn": "20260102T080405-00000003", "outcome": "reverted", "before": "", "ends": "", "by": "admin@desk",
		"backup": false, "changes": []any{}, "why": "not confirmed within 60 s",
	}
	if diff := cmp.Diff(want, d["entries"].([]any)[1]); diff != "" {
		t.Errorf("entry (-want +got):\n%s", diff)
	}
}
