package host

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks"
)

const historyText = `2026-01-02T03:04:05Z	20260102T030405-00000001	applied	admin@desk	install package:xl2tpd, create file:/etc/x
2026-01-02T04:04:05Z	20260102T040405-00000002	reverted	admin@desk	not confirmed within 60 s
2026-01-02T05:04:05Z	20260102T050405-00000003	rolled-back to before 20260102T030405-00000001	admin@desk	delete file:/etc/x
`

// A history is read as it was written; a line that a full disk cut is left out.
func TestParseHistory(t *testing.T) {
	at := func(h int) time.Time { return time.Date(2026, 1, 2, h, 4, 5, 0, time.UTC) }
	want := []Past{
		{Time: at(3), Txn: "20260102T030405-00000001", Outcome: "applied", By: "admin@desk", Changes: []string{"install package:xl2tpd", "create file:/etc/x"}},
		{Time: at(4), Txn: "20260102T040405-00000002", Outcome: "reverted", By: "admin@desk", Why: "not confirmed within 60 s"},
		{Time: at(5), Txn: "20260102T050405-00000003", Outcome: "rolled-back", Before: "20260102T030405-00000001", By: "admin@desk", Changes: []string{"delete file:/etc/x"}},
	}
	cut := "2026-01-02T05:04:05Z\t2026"
	for _, text := range []string{historyText, historyText + cut, cut + "\n" + historyText, "x\n2026-01-02T03:04:05Z\t../../etc\tapplied\tme\tx\nyesterday\t1\tapplied\tme\tx\n" + historyText} {
		if diff := cmp.Diff(want, ParseHistory([]byte(text))); diff != "" {
			t.Errorf("history (-want +got):\n%s", diff)
		}
	}
}

func FuzzParseHistory(f *testing.F) {
	f.Add(historyText)
	f.Add("2026-01-02T03:04:05Z\t1\tapplied\tme\t, ,\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, p := range ParseHistory([]byte(text)) {
			if strings.ContainsAny(p.Txn, "/.\n") || p.Txn == "" {
				t.Errorf("apply %q", p.Txn)
			}
		}
	})
}

// The listing that a host makes of its backups is the one that is read; an
// apply that never came to its backup has none.
func TestBackups(t *testing.T) {
	state := t.TempDir()
	for path, text := range map[string]string{
		"txn/20260102T030405-00000001/backup.list": "file\t/etc/a b\nabsent\t/etc/x\n", "txn/20260102T030405-00000001/confirmed": "",
		"txn/20260102T040405-00000002/backup.list": "", "txn/20260102T050405-00000003/events": "",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(state, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, path), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]Backup{
		"20260102T030405-00000001": {Txn: "20260102T030405-00000001", Files: map[string]bool{"/etc/a b": true, "/etc/x": false}},
		"20260102T040405-00000002": {Txn: "20260102T040405-00000002", Files: map[string]bool{}},
	}
	for name, argv := range shells(t) {
		for dir, want := range map[string]map[string]Backup{state: want, state + "/none": {}} {
			cmd := exec.Command(argv[0], append(argv[1:], "-c", strings.ReplaceAll(readBackups.Shell, tasks.StateDir, dir))...)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got, err := parseBackups(out)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s: backups (-want +got):\n%s", name, diff)
			}
		}
	}
	for _, bad := range []string{"file\t/x\n", "txn\t../x\n", "txn\t1\nfile\tx\n", "txn\t1\nhuh\n"} {
		if got, err := parseBackups([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func FuzzParseBackups(f *testing.F) {
	f.Add("txn\t20260102T030405-00000001\nfile\t/etc/x\nabsent\t/etc/y\n")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := parseBackups([]byte(text))
		for id, b := range all {
			if err != nil || id != b.Txn || !isTxn(id) || b.Files == nil {
				t.Errorf("backup %q of %+v, %v", id, b, err)
			}
		}
	})
}
