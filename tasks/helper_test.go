package tasks

import (
	"strings"
	"testing"
	"time"
)

// A service of ours runs where the one beside it does: one that an admin has stopped
// takes ours along, and that is no second thing to mend. What it runs with is told as of
// any service, and one that does not run reads it when it starts.
func TestHelper(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := Helper{Unit: "h.service", With: "s.service", Files: map[string]string{"/etc/h": SHA256([]byte("new\n"))}}
	facts := func(with, active, content string, started, changed time.Time) Facts {
		f := Bare(want.Reads())
		f.units["s.service"] = UnitState{Name: "s.service", Loaded: true, Active: with}
		f.units["h.service"] = UnitState{Name: "h.service", Loaded: content != "", Active: active, Started: started}
		if content != "" {
			f.files["/etc/h"] = FileState{Path: "/etc/h", Exists: true, Type: '0', Content: []byte(content), ModTime: changed}
		}
		return f
	}
	for _, c := range []struct {
		what   string
		facts  Facts
		action Action // "" for nothing
	}{
		{"it runs", facts("active", "active", "new\n", then.Add(time.Hour), then), ""},
		{"both are stopped", facts("inactive", "inactive", "new\n", time.Time{}, then), ""},
		{"it is stopped alone", facts("active", "inactive", "new\n", then, then.Add(time.Hour)), Update},
		{"it runs with what was", facts("active", "active", "new\n", then, then.Add(time.Hour)), Update},
		{"its file was edited", facts("inactive", "inactive", "edited\n", then, then), Update},
		{"a bare host", facts("inactive", "inactive", "", time.Time{}, then), Create},
	} {
		got := mustCheck(t, want, c.facts)
		if (got == nil) != (c.action == "") || got != nil && got.Action != c.action {
			t.Errorf("%s: %+v", c.what, got)
		} else if got != nil && got.Do[0].Shell != "run_helper h.service s.service /etc/h" {
			t.Errorf("%s: it does %q", c.what, got.Do[0].Shell)
		}
	}
	// At a boot a revert has systemd read again what it has put back, in the phase that
	// a boot has; and what did not run before is stopped.
	c := mustCheck(t, want, facts("inactive", "inactive", "", time.Time{}, then))
	if c.Undo[0].Phase != PhaseFiles || c.Undo[0].Shell != "systemctl daemon-reload" || !strings.HasPrefix(c.Undo[1].Shell, "systemctl stop h.service") {
		t.Errorf("undo: %+v", c.Undo)
	}

	gone := want
	gone.Gone = true
	if c := mustCheck(t, gone, facts("inactive", "inactive", "", time.Time{}, then)); c != nil {
		t.Errorf("gone already: %+v", c)
	}
	if c := mustCheck(t, gone, facts("active", "active", "new\n", then, then)); c == nil || c.Action != Delete {
		t.Errorf("to go: %+v", c)
	}
}
