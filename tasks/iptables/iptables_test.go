package iptables

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var chains = []Chain{
	{Table: "filter", From: "INPUT", Name: "VPNPUSH-IN", Rules: []string{"-p esp -j ACCEPT", "-s 172.16.0.0/24 -j VPNPUSH-IN-1"}},
	{Table: "filter", Name: "VPNPUSH-IN-1", Rules: []string{"-m policy --dir in --pol ipsec -j ACCEPT"}},
	{Table: "nat", From: "POSTROUTING", Name: "VPNPUSH-NAT", Rules: []string{"-s 192.168.200.0/27 ! -o ppp+ -j MASQUERADE"}},
}

// Whatever stands in a rules file, our chains go in and come out again, and every
// other byte of it stays.
func FuzzParse(f *testing.F) {
	for _, p := range []string{"docker-fail2ban.rules.v4", "docker-fail2ban.golden.v4", "docker-fail2ban-nft.save", "docker-fail2ban-legacy.save"} {
		b, err := os.ReadFile(filepath.Join("../testdata/iptables", p))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add("*filter\n-A INPUT -j ACCEPT\n:INPUT ACCEPT\nCOMMIT")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse([]byte(text))
		if err != nil {
			return
		}
		if strings.Join(s.lines, "") != text {
			t.Fatal("lines were lost")
		}
		s.Settled(chains)
		with, err := WithChains(text, &Save{}, chains)
		if err != nil {
			t.Fatalf("put in: %v", err)
		}
		if after, err := Parse([]byte(with)); err != nil || !after.Settled(chains) {
			t.Errorf("what was put in is not as wanted (%v):\n%q", err, with)
		}
		if strings.Contains(text, Prefix) {
			return // taken out, it is not what it was
		}
		bare, err := withoutChains(with)
		if err != nil {
			t.Fatalf("take out: %v", err)
		}
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n" // a file that is written is text
		}
		if bare != text {
			t.Errorf("in and out again:\n%q\nwas\n%q", bare, text)
		}
	})
}

// What a built-in chain leads to by way of another chain of ours is wanted back with it, in a
// roll back; what nothing leads to is not.
func TestLinked(t *testing.T) {
	text, err := WithChains("", &Save{}, chains)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Parse([]byte(strings.Replace(text, ":VPNPUSH-IN-1", ":VPNPUSH-LOST - [0:0]\n:VPNPUSH-IN-1", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(chains, s.Linked()); d != "" {
		t.Error(d)
	}
}
