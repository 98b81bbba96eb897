package tasks

import (
	"strings"
	"testing"
	"time"
)

// What charon has read of its settings is told by the note or by its age; one that does
// not run reads them when it starts, and needs no change.
func TestSettingsKnowWhatIsLoaded(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	want := Settings{Daemon: testDaemon, Path: "/etc/strongswan.d/x.conf", SHA256: SHA256([]byte("new\n"))}
	facts := func(active, content, note string, started, changed time.Time) Facts {
		f := Bare(want.Reads())
		f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: active, Started: started}
		if content != "" {
			f.files[want.Path] = FileState{Path: want.Path, Exists: true, Type: '0', Content: []byte(content), ModTime: changed}
		}
		if note != "" {
			f.files[settingsNote] = FileState{Path: settingsNote, Exists: true, Type: '0', Content: []byte(SHA256([]byte(note)) + "  " + want.Path + "\n")}
		}
		return f
	}
	for _, c := range []struct {
		what  string
		facts Facts
		do    bool
	}{
		{"noted", facts("active", "new\n", "new\n", then, then.Add(time.Hour)), false},
		{"no note, but started later", facts("active", "new\n", "", then.Add(time.Hour), then), false},
		{"it does not run", facts("inactive", "new\n", "", then, then.Add(time.Hour)), false},
		{"written, not read", facts("active", "new\n", "old\n", then, then.Add(time.Hour)), true},
		{"edited on the host", facts("active", "edited\n", "new\n", then, then.Add(time.Hour)), true},
		{"a bare host, whose package starts it before the file is there", facts("inactive", "", "", time.Time{}, then), true},
	} {
		got := mustCheck(t, want, c.facts)
		if c.do != (got != nil) {
			t.Errorf("%s: %+v", c.what, got)
		} else if c.do && got.Do[0].Shell != "starter_settings strongswan-starter.service /run/vpnpush/loaded/charon-settings /etc/strongswan.d/x.conf" {
			t.Errorf("%s: it does %q", c.what, got.Do[0].Shell)
		}
	}

	// Once nothing wants them, charon reads what is there without ours, also where a
	// reboot took the note; and what stood there before us is not ours to take out.
	gone := want
	gone.Gone = true
	for _, c := range []struct {
		what  string
		facts Facts
		do    bool
	}{
		{"it is there", facts("active", "new\n", "new\n", then, then), true},
		{"no note since a reboot", facts("active", "new\n", "", then, then), true},
		{"the file is gone, charon has it", facts("active", "", "new\n", then, then), true},
		{"gone", facts("active", "", "", then, then), false},
		{"what was there before is back", facts("active", "theirs\n", "", then, then), false},
	} {
		got := mustCheck(t, gone, c.facts)
		if c.do != (got != nil) {
			t.Errorf("gone, %s: %+v", c.what, got)
		} else if c.do && (got.Action != Delete || strings.Contains(got.Do[0].Shell, settingsNote)) {
			t.Errorf("gone, %s: %+v", c.what, got)
		}
	}
}
