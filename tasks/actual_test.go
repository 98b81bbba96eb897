package tasks

import (
	"archive/tar"
	"strings"
	"testing"

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
