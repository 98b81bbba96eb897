package view

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// parts is what was written, each time; from the one on that fails nothing is.
type parts struct {
	written []string
	fails   int
}

var errFull = errors.New("no space left on device")

func (p *parts) Write(b []byte) (int, error) {
	if p.fails > 0 && len(p.written)+1 >= p.fails {
		return 0, errFull
	}
	p.written = append(p.written, string(b))
	return len(b), nil
}

// A long plan is printed in parts, each of whole hosts and without secrets, and lacks
// nothing; one that could not be printed to its end is an error.
func TestPlanInParts(t *testing.T) {
	plan := &engine.Plan{}
	for i := range 400 {
		plan.Hosts = append(plan.Hosts, engine.HostPlan{Name: fmt.Sprintf("site%03d", i), Role: tasks.RoleSite, Result: engine.Changed, Changes: []tasks.Change{{
			Task: "file:/etc/f", Action: tasks.Create, Attrs: []tasks.Attr{{Name: "content", New: []byte(strings.Repeat("hunter2 is the key\n", 100))}}}}})
	}
	hide := func(b []byte) []byte { return []byte(strings.ReplaceAll(string(b), "hunter2", "********")) }
	var out parts
	if err := New(Options{Out: &out, Err: &out, Redact: hide}).Plan(plan); err != nil || len(out.written) < 3 {
		t.Fatalf("%v, in %d parts", err, len(out.written))
	}
	for _, p := range out.written[:len(out.written)-1] {
		if !strings.HasPrefix(p, "site") || !strings.HasSuffix(p, "\n\n") {
			t.Errorf("a part begins %.40q and ends %q", p, p[len(p)-10:])
		}
	}
	text := strings.Join(out.written, "")
	if n := strings.Count(text, "(site): 1 change"); n != 400 || strings.Contains(text, "hunter2") || !strings.Contains(text, "Plan: 400 hosts") {
		t.Errorf("%d hosts, and at the end %q", n, text[len(text)-80:])
	}
	for _, at := range []int{1, 2} {
		if err := New(Options{Out: &parts{fails: at}, Err: &out}).Plan(plan); !errors.Is(err, errFull) {
			t.Errorf("the disk is full at part %d: %v", at, err)
		}
	}
}
