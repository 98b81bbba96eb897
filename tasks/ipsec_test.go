package tasks

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// A reload says which tunnels it takes down for good and which for a moment: a plan ends
// with that. A conn that only answers, or is new, interrupts nothing.
func TestReloadSaysWhatItInterrupts(t *testing.T) {
	conn := func(name string, initiates bool) Conn {
		dir := testDaemon.Ours
		return Conn{Name: name, Conf: dir + name + ".conf", Secrets: dir + name + ".secrets", Initiates: initiates,
			ConfSHA: SHA256([]byte("new\n")), SecretsSHA: SHA256([]byte("keys\n"))}
	}
	task := IPsec{Daemon: testDaemon, Conns: []Conn{conn("answers", false), conn("dials", true), conn("fresh", true)}}
	f := Bare(task.Reads())
	f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: "active", Started: time.Unix(1, 0)}
	f.commands[readStroke.Arg] = says("Connections:\n     answers:  203.0.113.10...%any  IKEv2\n       dials:  192.168.1.10...203.0.113.10  IKEv2\n        gone:  192.168.1.10...203.0.113.10  IKEv2\n" +
		"Security Associations (0 up, 0 connecting):\n  none\n")
	note := ""
	for _, name := range []string{"answers", "dials", "gone"} {
		note += SHA256([]byte("old\n")) + "  " + testDaemon.Ours + name + ".conf\n"
	}
	f.files[loadedPath(testDaemon.Unit)] = FileState{Path: loadedPath(testDaemon.Unit), Exists: true, Type: '0', Content: []byte(note)}
	c := mustCheck(t, task, f)
	if c == nil || !slices.Equal(c.Blinks, []string{"dials"}) || !slices.Equal(c.Ends, []string{"conn gone"}) {
		t.Errorf("%+v", c)
	}
}

// A conn that went is taken out of a strongSwan that read it at a boot, too: there is no note
// of what we have loaded then, but it was applied. A conn of the admin's own stays.
func TestReloadAfterABoot(t *testing.T) {
	task := IPsec{Daemon: testDaemon}
	f := Bare(task.Reads())
	f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: "active", Started: time.Unix(1, 0)}
	f.commands[readStroke.Arg] = says("Connections:\n       tokyo:  203.0.113.10...%any  IKEv2\n       other:  203.0.113.10...%any  IKEv2\nSecurity Associations (0 up, 0 connecting):\n  none\n")
	m := NextManifest(nil, "vps", "vps", "me", time.Unix(1, 0), []Task{IPsec{Daemon: testDaemon, Conns: []Conn{{Name: "tokyo"}, {Name: "nara"}}}}, Facts{})
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.files[ManifestPath] = FileState{Path: ManifestPath, Exists: true, Type: '0', Content: text}
	c := mustCheck(t, task, f)
	if c == nil || !slices.Equal(c.Ends, []string{"conn tokyo"}) {
		t.Errorf("%+v", c)
	}
}

// A new key alone leaves what is up, since both ends have it by then. Where the other end is
// gone, what is up was made with the key that whoever has the box knows: it ends.
func TestReloadEndsWhatIsUpToABoxThatIsGone(t *testing.T) {
	dir := testDaemon.Ours
	conn := Conn{Name: "tokyo", Conf: dir + "tokyo.conf", Secrets: dir + "tokyo.secrets", ConfSHA: SHA256([]byte("same\n")), SecretsSHA: SHA256([]byte("new key\n"))}
	for _, gone := range []bool{false, true} {
		conn.Gone = gone
		task := IPsec{Daemon: testDaemon, Conns: []Conn{conn}}
		f := Bare(task.Reads())
		f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: "active", Started: time.Unix(1, 0)}
		f.commands[readStroke.Arg] = says("Connections:\n       tokyo:  203.0.113.10...%any  IKEv2\nSecurity Associations (0 up, 0 connecting):\n  none\n")
		note := SHA256([]byte("same\n")) + "  " + conn.Conf + "\n" + SHA256([]byte("old key\n")) + "  " + conn.Secrets + "\n"
		f.files[loadedPath(testDaemon.Unit)] = FileState{Path: loadedPath(testDaemon.Unit), Exists: true, Type: '0', Content: []byte(note)}
		c := mustCheck(t, task, f)
		down := slices.ContainsFunc(c.Do, func(s Step) bool { return strings.Contains(s.Shell, "_down tokyo") })
		if says := slices.Equal(c.Ends, []string{"conn tokyo to a box that is gone"}); down != gone || says != gone || len(c.Blinks) > 0 {
			t.Errorf("gone %t: %+v", gone, c)
		}
	}
}
