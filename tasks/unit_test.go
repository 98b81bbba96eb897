package tasks

import (
	"strings"
	"testing"
	"time"
)

var xl2tpd = Unit{Name: "xl2tpd.service", Config: map[string]string{"/etc/x": SHA256([]byte("new\n"))}}

// unitFacts are a host's with a running service and its one file.
func unitFacts(content, note string, started, changed time.Time) Facts {
	f := Bare(xl2tpd.Reads())
	f.units[xl2tpd.Name] = UnitState{Name: xl2tpd.Name, Loaded: true, Active: "active", Enabled: true, Started: started}
	f.files["/etc/x"] = FileState{Path: "/etc/x", Exists: true, Type: '0', Content: []byte(content), ModTime: changed}
	if note != "" {
		p := loadedPath(xl2tpd.Name)
		f.files[p] = FileState{Path: p, Exists: true, Type: '0', Content: []byte(SHA256([]byte(note)) + "  /etc/x\n")}
	}
	return f
}

// A restart is a state, not an event: what the service runs with is told by the
// note of what it has read or by its age, so that a crash between the write and
// the restart is found by the next plan, and a second plan restarts nothing.
func TestUnitKnowsWhatIsLoaded(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		what             string
		facts            Facts
		restart, nothing bool
	}{
		{"noted", unitFacts("new\n", "new\n", then, then.Add(time.Hour)), false, true},
		{"no note, but started later", unitFacts("new\n", "", then.Add(time.Hour), then), false, true},
		{"written, not restarted", unitFacts("new\n", "old\n", then, then.Add(time.Hour)), true, false},
		{"written within the second it was started in", unitFacts("new\n", "", then.Add(500*time.Millisecond), then), true, false},
		{"another content", unitFacts("other\n", "other\n", then.Add(time.Hour), then), true, false},
	} {
		got, err := xl2tpd.Check(c.facts)
		switch {
		case err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.nothing != (got == nil):
			t.Errorf("%s: %+v", c.what, got)
		case c.restart && (got.Action != Restart || !strings.Contains(got.Do[0].Shell, "restart_unit")):
			t.Errorf("%s: %+v", c.what, got)
		}
	}
}

// A service that may only be enabled is never started: netfilter-persistent
// would flush the live tables.
func TestUnitBootOnly(t *testing.T) {
	u := Unit{Name: "n.service", BootOnly: true}
	f := Bare(u.Reads())
	f.units[u.Name] = UnitState{Name: u.Name, Loaded: true, Active: "inactive"}
	c, err := u.Check(f)
	if err != nil || c == nil || len(c.Do) != 1 || !strings.Contains(c.Do[0].Shell, "enable") || strings.Contains(c.Do[0].Shell, "--now") {
		t.Errorf("%+v, %v", c, err)
	}
	f.units[u.Name] = UnitState{Name: u.Name, Loaded: true, Active: "inactive", Enabled: true}
	if c, err := u.Check(f); err != nil || c != nil {
		t.Errorf("%+v, %v", c, err)
	}
}

// What an admin has masked is not unmasked.
func TestUnitMasked(t *testing.T) {
	f := unitFacts("new\n", "new\n", time.Time{}, time.Time{})
	f.units[xl2tpd.Name] = UnitState{Name: xl2tpd.Name, Active: "inactive", State: "masked"}
	if c, err := xl2tpd.Check(f); err != nil || c == nil || c.Blocked == "" {
		t.Errorf("%+v, %v", c, err)
	}
}

// A unit, a conn, a kernel parameter that was not read is unknown.
func TestChecksNeverGuess(t *testing.T) {
	for _, task := range []Task{
		xl2tpd, Stopped{Name: "x.service"}, Sysctl{Key: "a.b", Value: "1"}, Package{Name: "x"}, Line{Path: "/x", Line: "y"},
		NoLine{Path: "/x", Line: "y"}, Block{Path: "/x", Owner: "me"}, IPsec{Daemon: Daemon{Unit: "s.service"}}, Firewall{}, RulesV4{Path: "/x"}, Absent{Path: "/x"},
		ForeignKeys{Daemon: keysDaemon}, KeysBack{Daemon: keysDaemon},
	} {
		if c, err := task.Check(Facts{}); err == nil {
			t.Errorf("%s: %+v", task.ID(), c)
		}
	}
}

// What is not loaded is stopped already; what runs is stopped and disabled.
func TestStopped(t *testing.T) {
	s := Stopped{Name: xl2tpd.Name}
	f := Bare(s.Reads())
	if c, err := s.Check(f); err != nil || c != nil {
		t.Errorf("%+v, %v", c, err)
	}
	f.units[s.Name] = UnitState{Name: s.Name, Loaded: true, Enabled: true, Active: "active"}
	if c, err := s.Check(f); err != nil || c == nil || len(c.Attrs) != 2 || len(c.Undo) != 2 {
		t.Errorf("%+v, %v", c, err)
	}
}

// A service that ran before vpnpush came, and was not to start at boot, is that again,
// with the configuration of then: it must not go on serving what it has read of ours.
func TestUnitAsBefore(t *testing.T) {
	then := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	u := xl2tpd
	u.AsBefore = &Before{Exists: true, Active: true}
	c, err := u.Check(unitFacts("ours\n", "ours\n", then, then))
	if err != nil || c == nil || c.Action != Restart || len(c.Do) != 3 || !strings.Contains(c.Do[0].Shell, "disable") || !strings.Contains(c.Do[1].Shell, "restart_unit") {
		t.Fatalf("%+v, %v", c, err)
	}
	if len(c.Undo) != 2 || !strings.HasPrefix(c.Undo[0].Shell, "enabled ") {
		t.Errorf("a revert leaves it off at boot: %+v", c.Undo)
	}
	if e := u.Record(nil, Facts{}); e.Kind != "" {
		t.Errorf("it is recorded as wanted: %+v", e)
	}
}
