package host

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// What a rehearsal prints is read as it comes, in pieces of any size. Which SAs and which
// lines of the hub's log are a site's does not mix, also where there was no NAT and the hub
// has seen the sites' own addresses.
func TestRehearsed(t *testing.T) {
	const sas = "Security Associations (1 up, 0 connecting):"
	of := Rehearsal{Sites: make([]RehearsedSite, 5)}
	of.Sites[4].Twin = tasks.Twin{Address: "192.168.5.10"}
	var text strings.Builder
	text.WriteString("tick\nstage\thas\t\n1\tafter\t42\n1\tabout\tstrongSwan 5.9.8\n1\tstatus\tipsec-statusall\t0\n1\tout\tipsec-statusall\t" + sas + "\n" +
		"1\tstatus\tswanctl-list-sas\t127\n1\terr\tswanctl-list-sas\tnot found\n1\tlog\t01[CFG] of the site\n2\tsaid\tno\tgood\n" +
		"0\tstatus\tipsec-statusall\t0\n0\tout\tipsec-statusall\t" + sas + "\n0\tstatus\tswanctl-list-sas\t127\nstage\tfour\t\n" +
		"9\tafter\t1\nnobody\tafter\t1\n" +
		"0\tlog\t05[NET] received packet: from 169.254.100.1[500] to 203.0.113.10[500] (464 bytes)\n0\tlog\t05[CFG] about the first\n" +
		"0\tlog\t05[NET] received packet: from 192.168.5.10[500] to 203.0.113.10[500] (464 bytes)\n0\tlog\t05[CFG] about the last\nstage\tend\t\n")
	for _, size := range []int{1, 7, text.Len()} {
		r := NewRehearsals(of)
		var found []int
		r.Found = func(n int) { found = append(found, n) }
		for b := []byte(text.String()); len(b) > 0; b = b[min(size, len(b)):] {
			if n, err := r.Write(b[:min(size, len(b))]); err != nil || n != min(size, len(b)) {
				t.Fatal(n, err)
			}
		}
		out := r.Rehearsed()
		if !out.Began || !out.Ended || len(found) != 1 || found[0] != 0 {
			t.Errorf("began %t, ended %t, found %v", out.Began, out.Ended, found)
		}
		if s := out.Sites[0]; !s.Told || s.After != 420*time.Millisecond || s.About != "strongSwan 5.9.8\n" || string(s.Log) != "01[CFG] of the site\n" {
			t.Errorf("the first: %+v", s)
		}
		if s := out.Sites[1]; s.Told || s.Said != "no\tgood\n" {
			t.Errorf("the second: %+v", s)
		}
		if site, hub, err := out.SAs(0); err != nil || len(site) != 0 || len(hub) != 0 {
			t.Errorf("SAs: %v %v %v", site, hub, err)
		}
		for _, n := range []int{1, 4} {
			if _, _, err := out.SAs(n); err == nil {
				t.Errorf("the SAs of twin %d are known", n)
			}
		}
		if got := string(out.From(0)); !strings.HasSuffix(got, "about the first\n") || strings.Contains(got, "last") {
			t.Errorf("heard from the first: %q", got)
		}
		if got := out.From(4); got != nil {
			t.Errorf("behind the NAT the last has another address: %q", got)
		}
		out.NoNAT = "no iptables"
		if got := string(out.From(4)); !strings.HasSuffix(got, "about the last\n") {
			t.Errorf("heard from the last: %q", got)
		}
	}
}
