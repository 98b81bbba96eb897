package diff

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// go-diff 1.2 to 1.3.1 gave wrong line diffs in two of three random cases
// (sergi/go-diff#115, #123, #140; mended by PR 136 in 1.4.0). A downgrade by
// another module's wish must not pass unseen.
func TestGoDiffFloor(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^\s*(?:require )?github\.com/sergi/go-diff v(\d+)\.(\d+)\.`).FindSubmatch(mod)
	if m == nil {
		t.Fatal("go.mod does not name github.com/sergi/go-diff")
	}
	major, _ := strconv.Atoi(string(m[1]))
	minor, _ := strconv.Atoi(string(m[2]))
	if major < 1 || major == 1 && minor < 4 {
		t.Errorf("go.mod has go-diff v%d.%d, want at least v1.4", major, minor)
	}
}
