package host

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// The history of a host is a file of lines, each
//
//	TIME \t APPLY \t OUTCOME \t WHO \t WHAT
//
// in the order in which things ended there, by the host's clock. OUTCOME is
// "applied", "applied to end APPLY", of which it is the last step, "rolled-back to
// before APPLY", "reverted" or "revert-failed"; WHAT
// is what changed, and for the last two why.
const HistoryPath = tasks.StateDir + "/history"

// How the outcome of a rollback begins, and that of the last step of an apply.
const (
	RolledBackBefore = "rolled-back to before "
	AppliedToEnd     = "applied to end "
)

// Past is one line of a host's history.
type Past struct {
	Time    time.Time
	Txn     string
	Outcome string // "applied", "rolled-back", "reverted", "revert-failed"
	Before  string // the apply that a rollback took back
	Ends    string // the apply of which this is the last step
	By      string
	Changes []string // "create file:/etc/x"; of an apply and a rollback
	Why     string   // of a revert
}

// Stands reports whether what was done still counts: it was confirmed.
func (p Past) Stands() bool { return p.Outcome == "applied" || p.Outcome == "rolled-back" }

// ParseHistory parses a history file. What is no line of a history is left out: a full
// disk has cut it.
func ParseHistory(b []byte) []Past {
	var out []Past
	for l := range strings.Lines(string(b)) {
		text, ended := strings.CutSuffix(l, "\n")
		if !ended {
			break
		}
		w := strings.SplitN(text, "\t", 5)
		if len(w) != 5 || !isTxn(w[1]) {
			continue // a full disk has cut it
		}
		at, err := time.Parse(time.RFC3339, w[0])
		if err != nil {
			continue
		}
		p := Past{Time: at, Txn: w[1], Outcome: w[2], By: w[3]}
		if before, ok := strings.CutPrefix(w[2], RolledBackBefore); ok {
			p.Outcome, p.Before = "rolled-back", before
		}
		if first, ok := strings.CutPrefix(w[2], AppliedToEnd); ok {
			p.Outcome, p.Ends = "applied", first
		}
		if p.Stands() {
			for _, c := range strings.Split(w[4], ", ") {
				if c != "" {
					p.Changes = append(p.Changes, c)
				}
			}
		} else {
			p.Why = w[4]
		}
		out = append(out, p)
	}
	return out
}

// isTxn reports whether s can be the ID of an apply (Txn.ID), and so a part of a
// path on the host.
func isTxn(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

// Backup is what an apply found before it changed anything: kept on the host
// for the last five.
type Backup struct {
	Txn string
	// Files has a path for everything that could have changed; false: there was
	// no file.
	Files map[string]bool
}

// BackupPath is where a backup keeps a file.
func BackupPath(txn, path string) string { return tasks.StateDir + "/txn/" + txn + "/backup" + path }

// readBackups tells which backups are kept and what is in them, as lines of
// "txn ID", and those of backup.list. What began and did not get
// to its backup has none.
var readBackups = tasks.Read{Kind: tasks.ReadCommand, Arg: "backups", Shell: `cd ` + tasks.StateDir + `/txn 2>/dev/null || exit 0
for x in *; do
[ -e "$x/backup.list" ] || continue
printf 'txn\t%s\n' "$x"
cat "$x/backup.list" || exit 1
done`}

// HistoryReads is what History and Backups need.
func HistoryReads() []tasks.Read {
	return []tasks.Read{{Kind: tasks.ReadFile, Arg: HistoryPath}, {Kind: tasks.ReadFile, Arg: PendingPath}, readBackups}
}

// PendingPath names the apply that waits to be confirmed or put back.
const PendingPath = tasks.StateDir + "/pending"

// History returns what was done on a host, the oldest first.
func History(f tasks.Facts) ([]Past, error) {
	s, err := f.File(HistoryPath)
	if err != nil {
		return nil, err
	}
	return ParseHistory(s.Content), nil
}

// Backups returns the backups that a host keeps.
func Backups(f tasks.Facts) (map[string]Backup, error) {
	out, err := f.Output(readBackups.Arg)
	if err != nil {
		return nil, err
	}
	return parseBackups(out)
}

func parseBackups(out []byte) (map[string]Backup, error) {
	all := map[string]Backup{}
	var id string
	for l := range strings.Lines(string(out)) {
		kind, path, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		b := all[id]
		switch {
		case kind == "txn" && isTxn(path):
			id = path
			b = Backup{Txn: id, Files: map[string]bool{}}
		case id == "":
			return nil, fmt.Errorf("backups: %w: %.80q", tasks.ErrUnknown, l)
		case (kind == "file" || kind == "absent") && strings.HasPrefix(path, "/"):
			b.Files[path] = kind == "file"
		default:
			return nil, fmt.Errorf("backup %s: %w: %.80q", id, tasks.ErrUnknown, l)
		}
		all[id] = b
	}
	return all, nil
}
