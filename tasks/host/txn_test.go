package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
)

// That an earlier revert failed is not forgotten because a later one did not:
// what that one put back is what the failed one had left.
func TestRevertKeepsWordOfAnEarlierFailure(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `state=`+t.TempDir()+` pending=$state/pending
put_back() { return 0; }
disarm() { :; }
echo test >"$pending"
echo earlier >"$state/revert-failed"
revert why
cat "$state/revert-failed" "$txn/outcome"
[ ! -e "$pending" ] && rm "$txn/outcome"`, "")
		if err != nil || out != "earlier\nreverted\twhy\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// What a file was edited in when the script was killed goes with the revert: there may be
// keys in it, of which no backup tells.
func TestRevertLeavesNoScraps(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `state=`+t.TempDir()+` pending=$state/pending
put_back() { return 0; }
disarm() { :; }
for scrap in block edit edited edited2 renewed renewed2; do : >"$txn/$scrap"; done
revert why
ls "$txn"
rm "$txn/outcome"`, "")
		if err != nil || out != "outcome\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// A revert whose word that it waits cannot be taken away is told as one that failed: every
// later apply would be kept out by it, and nobody would know why.
func TestRevertThatStaysPending(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `state=`+t.TempDir()+` pending=$state/pending
echo test >"$pending"
rm() { case $* in *"$pending"*) return 1 ;; esac; command rm "$@"; }
put_back() { return 0; }
disarm() { :; }
(revert why) || echo "failed: $(cat "$state/revert-failed")"
cut -f 3 "$state/history"
cat "$txn/outcome"
command rm "$txn/outcome"`, "")
		if err != nil || out != "failed: test\nrevert-failed\nrevert-failed\twhy\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// A host that goes down starts no service, and once systemd has stopped all it answers
// nobody: a revert that fails then has not failed, the boot ends it. One that fails on a host
// that stays up is told.
func TestRevertOnTheWayDown(t *testing.T) {
	for name, argv := range shells(t) {
		for state, waits := range map[string]bool{"stopping": true, "offline": true, "unknown": true, "": true, "running": false, "degraded": false, "starting": false} {
			out, err := inScript(t, argv, `state=`+t.TempDir()+` pending=$state/pending
echo test >"$pending"
put_back() { return 1; }
disarm() { :; }
systemctl() { echo '`+state+`'; [ '`+state+`' = running ]; }
(revert why) || echo failed
cat "$pending" 2>/dev/null || echo over
[ ! -e "$txn/outcome" ] || { cat "$txn/outcome"; command rm "$txn/outcome"; }`, "")
			want := "failed\nover\nrevert-failed\twhy\n"
			if waits {
				want = "failed\ntest\n"
			}
			if err != nil || out != want {
				t.Errorf("%s: systemd is %q: %q, want %q, %v", name, state, out, want, err)
			}
		}
	}
}

// A run clears away what applies before it were cut in, but for one that has not begun. Of
// what an earlier version has left the keys go, at least.
func TestRunClearsAwayOthers(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `state=`+t.TempDir()+` txn=$state/txn/now
for x in cut early full now old; do mkdir -p "$state/txn/$x"; : >"$state/txn/$x/events"; done
rm "$state/txn/early/events"
for x in cut early now; do echo 'echo "${0%/*} $1" | sed s,.*/,,; rm "$0"' >"$state/txn/$x/apply.sh"; done
echo 'exit 1' >"$state/txn/full/apply.sh"
echo 'exit 64' >"$state/txn/old/apply.sh"
others
cd "$state/txn"; echo */apply.sh`, "")
		if err != nil || out != "cut over\nearly/apply.sh full/apply.sh now/apply.sh\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// An apply that the host refuses leaves its script there no longer than it runs: there are
// keys in it.
func TestRefusedScriptGoes(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `: >"$txn/apply.sh"
(refuse stale 'it has changed') || ls "$txn"
rm "$txn/result"`, "")
		if err != nil || out != "result\n" {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}

// A package that does not come ends an apply there, before anything is armed: also where
// the mirror is down, so that the lists could not be fetched anew either. Lists of another
// mirror that is down are no reason to end.
func TestPackagesThatDoNotCome(t *testing.T) {
	for _, tt := range []struct {
		what, apt string // the program apt-get, in a folder of its own
		comes     bool
	}{
		{"the mirror is down", "exit 100", false},
		{"the lists are too old", "case $* in *update) : >fresh ;; *) [ -e fresh ] || exit 100 ;; esac", true},
		{"the lists of another mirror are not fetched", "case $* in *update) exit 100 ;; *) [ -e tried ] || { : >tried; exit 100; } ;; esac", true},
	} {
		for name, argv := range shells(t) {
			dir := t.TempDir()
			for program, text := range map[string]string{"apt-get": "cd " + dir + "\n" + tt.apt, "dpkg": ":"} {
				if err := os.WriteFile(filepath.Join(dir, program), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			out, err := inScript(t, argv, "PATH="+dir+":$PATH\nat() { echo \"at $1\"; }\npackages=' xl2tpd'\ninstall_packages\necho \"came:$installed\"", "", tasks.PartPackages)
			want := "at packages: xl2tpd\n"
			if tt.comes {
				want += "came: xl2tpd\n"
			}
			if (err == nil) != tt.comes || out != want {
				t.Errorf("%s, %s: %v, %q", tt.what, name, err, out)
			}
		}
	}
}

// Five backups to go back to are kept, whatever came to nothing in between, and
// the newest whatever the clock of its client says.
func TestConfirmKeepsFiveBackups(t *testing.T) {
	for name, argv := range shells(t) {
		state := t.TempDir()
		make := func(id string, confirmed bool) {
			dir := filepath.Join(state, "txn", id)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if confirmed {
				if err := os.WriteFile(filepath.Join(dir, "confirmed"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		for i := range 7 {
			make(fmt.Sprintf("2026010%d-a", i), true)
			make(fmt.Sprintf("2026020%d-b", i), false)
		}
		make("20250101-now", false)
		out, err := inScript(t, argv, `state=`+state+` pending=$state/pending id=20250101-now leave=0
txn=$state/txn/$id
lock() { :; }
folders() { :; }
disarm() { :; }
echo "$id" >"$pending"
set +e
main_confirm`, "")
		if err != nil || out != "confirmed\n" {
			t.Fatalf("%s: %q, %v", name, out, err)
		}
		dirs, err := os.ReadDir(filepath.Join(state, "txn"))
		if err != nil {
			t.Fatal(err)
		}
		var left []string
		for _, d := range dirs {
			left = append(left, d.Name())
		}
		want := []string{"20250101-now", "20260103-a", "20260104-a", "20260105-a", "20260106-a", "20260202-b", "20260203-b", "20260204-b", "20260205-b", "20260206-b"}
		if !slices.Equal(left, want) {
			t.Errorf("%s: left %q, want %q", name, left, want)
		}
	}
}

// What is not kept is not told as kept, and its timers stay: a rename that fails, and a
// host that was half-way back when its revert was killed.
func TestConfirmKeepsAllOrNothing(t *testing.T) {
	for what, fault := range map[string]string{"the rename fails": "mv() { return 1; }", "a revert has begun": `: >"$txn/reverting"`} {
		for name, argv := range shells(t) {
			state := t.TempDir()
			out, err := inScript(t, argv, `state=`+state+` pending=$state/pending
lock() { :; }
disarm() { echo "disarm $1"; }
record() { echo record; }
echo "$id" >"$pending"
`+fault+`
set +e
main_confirm`, "")
			if _, gone := os.Stat(filepath.Join(state, "pending")); err == nil || gone != nil || out != "" && out != "unknown\n" {
				t.Errorf("%s, %s: %v, %q, pending: %v", what, name, err, out, gone)
			}
		}
	}
}

// A run that is killed once its guard is armed, and before anything was changed, is cleared
// away by its client's undo. The guard goes with it: its script is not there any more.
func TestUndoOfNothingDisarms(t *testing.T) {
	for name, argv := range shells(t) {
		out, err := inScript(t, argv, `state=`+t.TempDir()+` pending=$state/pending boot_guard=$state/unit
lock() { :; }
disarm() { echo "disarm $1"; }
: >"$txn/apply.sh"
(main_undo why)
ls "$txn"`, "")
		if err != nil || out != "disarm guard\n" {
			t.Errorf("%s: %v, %q", name, err, out)
		}
	}
}
