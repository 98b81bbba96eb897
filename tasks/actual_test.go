package tasks

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// A host that is exactly as a task wants it has the task's own digest, whatever
// the kind; after any change by hand it has not. That is what tells "the
// inventory moved on" from "the host moved".
func TestActualDigest(t *testing.T) {
	chains := []iptables.Chain{
		{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p esp -j ACCEPT", "-p udp -m udp --dport 500 -j ACCEPT"}},
		{Table: "nat", From: "POSTROUTING", Name: "VPNPUSH-NAT", Rules: []string{"-d 192.0.2.0/24 -j ACCEPT"}},
		{Table: "mangle", From: "FORWARD", Name: "VPNPUSH-MSS"},
	}
	rules := `*filter
:INPUT ACCEPT [0:0]
:VPNPUSH-IN - [0:0]
-A INPUT -j VPNPUSH-IN
-A VPNPUSH-IN -p esp -j ACCEPT
-A VPNPUSH-IN -p udp -m udp --dport 500 -j ACCEPT
COMMIT
*mangle
:FORWARD ACCEPT [0:0]
:VPNPUSH-MSS - [0:0]
-A FORWARD -j VPNPUSH-MSS
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:VPNPUSH-NAT - [0:0]
-A POSTROUTING -j VPNPUSH-NAT
-A VPNPUSH-NAT -d 192.0.2.0/24 -j ACCEPT
COMMIT
`
	reg := func(path, content string) FileState {
		return FileState{Path: path, Exists: true, Type: tar.TypeReg, Content: []byte(content), Mode: 0o644, Owner: "root:root"}
	}
	live := func(text string) Facts {
		return answered(map[string]CommandState{readLiveRules.Arg: says(text)})
	}
	file := File{Path: "/f", Content: []byte("a\n"), Mode: 0o644}
	block := Block{Path: "/b", Content: []byte("alice\nbob\n"), Owner: "vps"}
	inBlock := "mine\n" + BlockBegin("vps") + "\nalice\nbob\n" + BlockEnd + "\nmine too\n"
	sysctl := Sysctl{Key: "net.ipv4.ip_forward", Value: "1"}
	param := func(v string) Facts {
		return Facts{sysctls: map[string]SysctlState{sysctl.Key: {Exists: true, Value: v}}}
	}
	other := reg("/f", "a\n")
	other.Owner = "bob:bob"
	open := reg("/f", "a\n")
	open.Mode = 0o666
	fw, v4 := Firewall{Chains: chains}, RulesV4{Path: "/r", Chains: chains}
	swap := strings.NewReplacer("-A INPUT -j VPNPUSH-IN", "-A INPUT -s 192.0.2.7/32 -j DROP\n-A INPUT -j VPNPUSH-IN").Replace(rules)
	for _, c := range []struct {
		name string
		task Actual
		same Facts
		not  []Facts
	}{
		{"file", file, answered(nil, reg("/f", "a\n")), []Facts{
			answered(nil, reg("/f", "b\n")), answered(nil, FileState{Path: "/f"}), answered(nil, other), answered(nil, open)}},
		{"sysctl", sysctl, param("1"), []Facts{param("0")}},
		{"block", block, answered(nil, reg("/b", inBlock)), []Facts{
			answered(nil, reg("/b", "mine\n")), answered(nil, FileState{Path: "/b"}),
			answered(nil, reg("/b", strings.Replace(inBlock, "bob", "eve", 1))),
			answered(nil, reg("/b", strings.Replace(inBlock, BlockEnd, "", 1)))}},
		{"no block", Block{Path: "/b", Owner: "vps"}, answered(nil, FileState{Path: "/b"}), []Facts{answered(nil, reg("/b", inBlock))}},
		{"firewall", fw, live(rules), []Facts{
			live(swap), live(""), live(strings.Replace(rules, "-p esp", "-p ah", 1)), live(strings.Replace(rules, "-A FORWARD -j VPNPUSH-MSS\n", "", 1))}},
		{"rules.v4", v4, answered(nil, reg("/r", rules)), []Facts{answered(nil, reg("/r", swap)), answered(nil, FileState{Path: "/r"})}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got, err := c.task.ActualDigest(c.same); err != nil || got != c.task.Digest() {
				t.Errorf("as wanted: %s, want %s (%v)", got, c.task.Digest(), err)
			}
			for i, f := range c.not {
				if got, err := c.task.ActualDigest(f); err != nil || got == c.task.Digest() {
					t.Errorf("changed by hand, case %d: the same digest (%v)", i, err)
				}
			}
			if _, err := c.task.ActualDigest(Facts{}); err == nil {
				t.Error("nothing was read, and that was no error")
			}
		})
	}
}

// A script is ours by its second line; a file that only speaks of us is not.
func TestMarkedBy(t *testing.T) {
	for content, want := range map[string]string{
		Marker("#", "vps") + "x\n":                     "vps",
		Marker(";", "a.b") + "x\n":                     "a.b",
		"#!/bin/sh\n" + Marker("#", "vps") + "exit\n":  "vps",
		"#!/bin/sh\n\n" + Marker("#", "vps"):           "",
		"# mine\n" + Marker("#", "vps"):                "",
		"#!/bin/sh\necho vpnpush owner=vps. Written\n": "",
		"": "", "#!/bin/sh": "",
	} {
		if got := markedBy([]byte(content)); got != want {
			t.Errorf("%q: owner %q, want %q", content, got, want)
		}
	}
}

// What drift says of a host that is being worked on.
func TestRunFrom(t *testing.T) {
	at := time.Unix(1700000000, 0).UTC()
	for out, want := range map[string]Run{
		"":                               {},
		"working\n":                      {Working: true},
		"pending\t1700000000\t2026-ab\n": {Pending: "2026-ab", Since: at},
		"pending\t\t\n":                  {},
		"working\nholder\t1700000000\troot@x, apply 2026-ab\n": {Working: true, Holder: "root@x, apply 2026-ab", Since: at},
	} {
		got, err := RunFrom(answered(map[string]CommandState{RunRead.Arg: says(out)}))
		if err != nil || got != want {
			t.Errorf("%q: %+v, want %+v (%v)", out, got, want, err)
		}
	}
	for _, bad := range []CommandState{says("nonsense\n"), says("a\tb\n"), {Code: 2}} {
		if r, err := RunFrom(answered(map[string]CommandState{RunRead.Arg: bad})); err == nil {
			t.Errorf("%q: %+v", bad.Stdout, r)
		}
	}
}

// The lock is seen while somebody holds it and not after, and looking does not
// take it.
func TestRunRead(t *testing.T) {
	if _, err := exec.LookPath("flock"); err != nil {
		t.Skip("no flock here: ", err)
	}
	dir := t.TempDir()
	lock, holder := filepath.Join(dir, "lock"), filepath.Join(dir, "holder")
	if err := os.WriteFile(holder, []byte("me, apply 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read := RunRead
	read.Shell = strings.NewReplacer("/run/vpnpush", dir, "/var/lib/vpnpush", dir).Replace(read.Shell)
	look := func() Run {
		t.Helper()
		_, f := probe(t, []string{"sh"}, []Read{read})
		r, err := RunFrom(f)
		if err != nil {
			t.Fatal(err)
		}
		r.Since = time.Time{}
		return r
	}
	if r := look(); r.Busy() {
		t.Errorf("nobody is there: %+v", r)
	}
	// the process that called flock has ended, as in apply.sh
	cmd := exec.Command("sh", "-c", `exec 9>"$0"; flock -n 9; echo; cat >/dev/null`, lock)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if r := look(); r != (Run{Working: true, Holder: "me, apply 7"}) {
		t.Errorf("held: %+v", r)
	}
	in.Close()
	cmd.Wait()
	if r := look(); r.Busy() {
		t.Errorf("let go: %+v", r)
	}
	if err := os.WriteFile(filepath.Join(dir, "pending"), []byte("7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := look(); r != (Run{Pending: "7", Holder: "me, apply 7"}) {
		t.Errorf("waiting: %+v", r)
	}
	if b, _ := os.ReadFile(holder); !bytes.Equal(b, []byte("me, apply 7\n")) {
		t.Errorf("looking changed the holder: %q", b)
	}
}
