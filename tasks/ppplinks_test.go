package tasks

import (
	"archive/tar"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// links is what `ip -j -s addr show` (iproute2 6.1) prints, cut to what counts:
// two clients, one of them without a note, an uplink by PPP, a link that is
// coming up, and the machine's own.
const links = `[
{"ifindex":1,"ifname":"lo","addr_info":[{"family":"inet","local":"127.0.0.1","prefixlen":8}],"stats64":{"rx":{"bytes":10},"tx":{"bytes":10}}},
{"ifindex":7,"ifname":"ppp0","flags":["POINTOPOINT","UP"],"addr_info":[{"family":"inet","local":"192.168.200.1","address":"192.168.200.10","prefixlen":32}],"stats64":{"rx":{"bytes":1234567,"packets":9},"tx":{"bytes":89,"packets":1}}},
{"ifindex":8,"ifname":"ppp1","addr_info":[{"family":"inet","local":"192.168.200.1","address":"192.168.200.2","prefixlen":32}],"stats64":{"rx":{"bytes":1},"tx":{"bytes":2}}},
{},
{"ifindex":9,"ifname":"ppp2","addr_info":[{"family":"inet","local":"100.64.0.9","address":"100.64.0.1","prefixlen":32}]},
{"ifindex":10,"ifname":"ppp3","addr_info":[]}]`

// A session is told with its user when its own note is there; a note of an
// earlier session on the interface is never taken for its.
func TestSessionsFrom(t *testing.T) {
	note := func(name, content string) FileState {
		return FileState{Path: SessionDir + "/" + name, Exists: true, Type: tar.TypeReg, Content: []byte(content)}
	}
	f := answered(map[string]CommandState{readLinks.Arg: says(links)},
		note("ppp0", "user\talice\naddress\t192.168.200.10\nfrom\t198.51.100.7\npid\t7\nsince\t1700000000\n"),
		note("ppp1", "user\tmallory\naddress\t192.168.200.77\nsince\t1\n"),
		note("ppp9", "user\tgone\naddress\t192.168.200.9\n"))
	f.globs = map[string]bool{SessionDir + "/*": true}
	got, err := SessionsFrom(f, "192.168.200.1")
	if err != nil {
		t.Fatal(err)
	}
	want := []Session{
		{Interface: "ppp1", Local: "192.168.200.1", Address: "192.168.200.2", BytesIn: 1, BytesOut: 2},
		{Interface: "ppp0", Local: "192.168.200.1", Address: "192.168.200.10", User: "alice", From: "198.51.100.7",
			Since: time.Unix(1700000000, 0).UTC(), BytesIn: 1234567, BytesOut: 89},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []CommandState{says("ip: not json"), {Code: 127}} {
		f := answered(map[string]CommandState{readLinks.Arg: bad})
		f.globs = map[string]bool{SessionDir + "/*": true}
		if s, err := SessionsFrom(f, ""); err == nil {
			t.Errorf("%q: %v, and no error", bad.Stdout, s)
		}
	}
}

// What a host prints is never a crash.
func FuzzSessions(f *testing.F) {
	f.Add(links, "user\talice\naddress\t192.168.200.10\nsince\t17\n")
	f.Add("[]", "")
	f.Fuzz(func(t *testing.T, links, note string) {
		facts := answered(map[string]CommandState{readLinks.Arg: says(links)},
			FileState{Path: SessionDir + "/ppp0", Exists: true, Content: []byte(note)})
		facts.globs = map[string]bool{SessionDir + "/*": true}
		ss, err := SessionsFrom(facts, "192.168.200.1")
		if err != nil && len(ss) > 0 {
			t.Error("sessions and an error")
		}
	})
}
