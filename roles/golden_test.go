package roles

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files; the run fails all the same")

// TestGolden pins every file of every kind of network, the order of the tasks.
// What lands on a host must not change unseen.
func TestGolden(t *testing.T) {
	for name, inv := range inventories {
		for _, h := range hosts(inv()) {
			t.Run(name+"/"+h, func(t *testing.T) {
				host := of(t, inv(), h)
				files, err := host.Render()
				if err != nil {
					t.Fatal(err)
				}
				ts, err := host.Tasks(bare(host), nil)
				if err != nil {
					t.Fatal(err)
				}
				var b bytes.Buffer
				b.WriteString("== tasks\n")
				for _, task := range ts {
					fmt.Fprintln(&b, task.ID())
				}
				for _, f := range files {
					fmt.Fprintf(&b, "== %s %04o\n%s", f.Path, f.Mode, f.Content)
				}
				compare(t, filepath.Join("testdata", name, h+".golden"), b.Bytes())
			})
		}
	}
}

// compare never lets a run that rewrites a golden file pass: CI could otherwise
// bless anything.
func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if err == nil && bytes.Equal(want, got) {
		return
	}
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Fatalf("%s rewritten: look at it, and run again without -update", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Errorf("%s (-want +got):\n%s", path, cmp.Diff(string(want), string(got)))
}
