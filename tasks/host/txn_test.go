package host

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
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
