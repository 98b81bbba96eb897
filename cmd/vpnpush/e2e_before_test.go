package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// The hand-made key of a network before vpnpush: whoever knows the old word, and no
// other, poses as a site.
const oldWord = "handmade-canary-0123456789"

// foreigner is a third machine that knows the old word and says that it is tokyo.
const foreigner = `conn pose
    keyexchange=ikev2
    authby=secret
    left=%defaultroute
    leftid=@tokyo
    leftsubnet=192.168.1.0/24
    right=203.0.113.10
    rightid=@vps
    rightsubnet=10.10.0.0/24
    ike=aes256-sha256-modp2048!
    esp=aes256-sha256!
    keyingtries=1
    auto=add
`

// poses lets the foreigner dial, and reports whether the hub takes it for tokyo.
func poses(t *testing.T, l *lab.Lab) bool {
	t.Helper()
	// what it said so far of callers that it took for tokyo, and that it did not
	said := func() (yes, no int) {
		log := l.MustRun("vps", "journalctl", "-q", "--no-pager", "-o", "cat", "-t", "charon", "-t", "charon-systemd")
		return strings.Count(log, "authentication of 'tokyo' with pre-shared key successful"),
			strings.Count(log, "but MAC mismatched") + strings.Count(log, "no shared key found")
	}
	yesBefore, noBefore := said()
	l.Run("mallory", "timeout", "20", "ipsec", "up", "pose")
	l.Run("mallory", "timeout", "5", "ipsec", "down", "pose")
	var yes, no int
	l.Wait(10*time.Second, "the hub tells of the foreigner", func() bool {
		yes, no = said()
		return yes+no > yesBefore+noBefore
	})
	if yes > yesBefore && no > noBefore {
		t.Fatal("the hub has taken the foreigner for tokyo, and has not")
	}
	return yes > yesBefore
}

// A key that an admin once wrote by hand opens no tunnel of ours unseen: plan names it
// with file and line and whom it lets in, an apply does not go on, and with --adopt it is
// out of the file, and out of the running charon; remove and rollback give it back. What
// opens what is as charon itself has it.
func TestE2EForeignKeys(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "mallory", Place: "e1", Layer: "starter"},
	}})
	b.write(t, l, labHub, labTokyo)
	l.Put("mallory", "/etc/ipsec.conf", foreigner)
	l.Put("mallory", "/etc/ipsec.secrets", ": PSK \""+oldWord+"\"\n")
	l.MustRun("mallory", "sh", "-ec", "systemctl restart strongswan-starter; until ipsec status >/dev/null 2>&1; do sleep 0.1; done")
	hand := func(host, text string) {
		t.Helper()
		l.Put(host, b.more, text)
		l.Run(host, "sh", "-c", quiet(b.reread))
	}

	// before: the admin's own, by an include
	if b.name == byStarter.name {
		l.MustRun("vps", "sh", "-ec", "printf '# mine\\ninclude ipsec.d/hand*.secrets\\n' >>/etc/ipsec.secrets")
	}
	old := "# old\n" + b.key("other", "@head", "@branch") + strings.TrimSuffix(b.key(oldWord), "\n")
	hand("vps", old)
	before := l.MustRun("vps", "sh", "-c", footprint)
	says := b.place(b.more, old, oldWord) + " has a key for any identity: who knows it can pose as tokyo"
	for _, args := range [][]string{{"plan"}, {"apply", "--yes"}} {
		if r := vpnpush(t, l, 4, args...); !strings.Contains(r.Stdout+r.Stderr, says) || !strings.Contains(r.Stdout+r.Stderr, "--adopt") {
			t.Errorf("%v does not say %q:\n%s%s", args, says, r.Stdout, r.Stderr)
		}
	}
	if after := l.MustRun("vps", "sh", "-c", footprint); after != before {
		t.Errorf("it was refused, and changed:\n%s", lineDiff(before, after))
	}
	if found, out := diagnosed(t, l, 2); !slices.Equal(found, []string{"vps keys problem"}) || !strings.Contains(out, says) {
		t.Errorf("doctor found %q:\n%s", found, out)
	}
	if r := vpnpush(t, l, 0, "plan", "--limit", "tokyo"); strings.Contains(r.Stdout, "blocked") {
		t.Errorf("the site has no such key:\n%s", r.Stdout)
	}
	vpnpush(t, l, 0, "apply", "--yes", "--adopt")
	l.Wait(30*time.Second, "the tunnel is up", func() bool { return vpnpushCode(l, "status") == 0 })
	unchanged(t, l)
	const out = "# taken out by vpnpush: "
	for line := range strings.Lines(l.MustRun("vps", "cat", b.more)) {
		if has := strings.HasPrefix(line, out); has != strings.Contains(line, oldWord) && (!has || strings.Contains(line, "other")) {
			t.Errorf("of the keys by hand this line is wrong: %s", line)
		}
	}
	if got := strings.ReplaceAll(l.MustRun("vps", "cat", b.more), out, ""); got != old {
		t.Errorf("the keys by hand are\n%s\nand were\n%s", got, old)
	}
	if poses(t, l) {
		t.Error("the old word still opens the tunnel")
	}
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	if after := l.MustRun("vps", "sh", "-c", footprint); after != before {
		t.Errorf("removed, and left behind or taken along:\n%s", lineDiff(before, after))
	}

	// later: it comes to a host that is applied to, in the place of the site's own
	hand("vps", "")
	vpnpush(t, l, 0, "apply", "--yes")
	l.Run("tokyo", "sh", "-c", of(b.up, "tokyo")) // it was told that the hub knows it no more
	l.Wait(30*time.Second, "the tunnel is up again", func() bool { return vpnpushCode(l, "status") == 0 })
	silent(t, l)
	l.MustRun("tokyo", "systemctl", "stop", b.unit) // the hub's log is the foreigner's alone
	hub := strongswan.Door{Local: "@vps", Peer: "@tokyo"}
	for _, selectors := range []string{
		"", "%any", "%any6", "203.0.113.10 %any", "@vps", "VPS @osaka", "\"fqdn:vps\"", "@tokyo", "@*", "*okyo", "{2}:vps",
		"203.0.113.10", "0.0.0.0/0", "203.0.113.0/24", "@osaka", "@vps.example.com", "tokyo@vps", "@#767073", "@@vps", "keyid:vps",
	} {
		hand("vps", b.key(oldWord, strings.Fields(selectors)...))
		if got, want := poses(t, l), hub.OpenedBy(strings.Fields(strings.ReplaceAll(selectors, "\"", ""))); got != want {
			t.Errorf("a key for %q: charon lets the foreigner in: %t, and here it is said: %t", selectors, got, want)
		}
	}
	l.MustRun("tokyo", "systemctl", "start", b.unit)
	l.Wait(60*time.Second, "the tunnel is back", func() bool { return vpnpushCode(l, "status") == 0 })
	anybody := b.key(oldWord, "@vps", "%any")
	hand("vps", anybody)
	r := vpnpush(t, l, 2, "drift")
	for _, want := range []string{"drifted", b.place(b.more, anybody, oldWord), "pose as tokyo"} {
		if !strings.Contains(r.Stdout, want) {
			t.Errorf("drift does not say %q:\n%s", want, r.Stdout)
		}
	}
	vpnpush(t, l, 0, "apply", "--yes", "--adopt")
	if poses(t, l) {
		t.Error("the key is out, and still opens the tunnel")
	}
	silent(t, l)
	vpnpush(t, l, 0, "rollback", "vps", "--yes")
	if got := l.MustRun("vps", "cat", b.more); got != anybody {
		t.Errorf("rolled back, and the keys by hand are\n%s", got)
	}
	hand("vps", "")

	// a site's end, and swanctl's file
	l.MustRun("tokyo", "sh", "-ec", fmt.Sprintf("mkdir -p /etc/swanctl/conf.d; printf 'secrets {\\n  ike-old {\\n    id = %%s\\n    secret = %%s\\n  }\\n}\\n' vps %s >/etc/swanctl/conf.d/old.conf", oldWord))
	if r := vpnpush(t, l, 4, "plan"); !strings.Contains(r.Stdout, "/etc/swanctl/conf.d/old.conf:2 has a key for vps: who knows it can pose as vps") {
		t.Errorf("the site's:\n%s", r.Stdout)
	}
	vpnpush(t, l, 0, "apply", "--yes", "--adopt")
	unchanged(t, l)

	// an address that the site has not is told before anything is done
	b.write(t, l, labHub, labTokyo, "address = \"192.168.1.99\"\nssh.host = \"192.168.1.10\"\n")
	if r := vpnpush(t, l, 4, "plan"); !strings.Contains(r.Stdout, "no interface has 192.168.1.99; the host has 192.168.1.10") {
		t.Errorf("the plan of a site without its address:\n%s", r.Stdout)
	}
}

// A network that was made by hand, one key for everybody and no identities, is taken over
// without a gap: what would undo the tunnels is refused until it is taken out, on each end
// by itself. Adopt writes its inventory; the conns by hand go, the hub's after the site's,
// and come back. Of swanctl's they are named, on each end, and not touched.
func TestE2EHandmade(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	files, before := map[string]string{}, map[string]string{}
	l.Put("vps", b.mine, b.handmade("203.0.113.10", "10.10.0.0/24", "%any", "0.0.0.0/0"))
	l.Put("tokyo", b.mine, strings.Replace(b.handmade("", "192.168.1.0/24", "203.0.113.10", "10.10.0.0/24"), b.waits, b.dials, 1))
	for _, h := range []string{"vps", "tokyo"} {
		l.Put(h, b.keys, b.key(oldWord))
		l.MustRun(h, "systemctl", "restart", b.unit)
		files[h], before[h] = l.MustRun(h, "cat", b.mine), l.MustRun(h, "sh", "-c", footprint)
	}
	byHand := func() bool { return l.Ping("tokyo", "10.10.0.1", 1) > 0 }
	l.Wait(30*time.Second, "the hand-made tunnel is up", byHand)
	adopts := b.name == byStarter.name
	mend, word := "", b.key(oldWord)
	if adopts {
		mend = "; `vpnpush apply --adopt` makes it a comment"
		l.Inventory = filepath.Join(l.Dir, "adopted.toml")
		mustSay(t, vpnpush(t, l, 0, "adopt", "vps", "tokyo", "--out", l.Inventory), "the hub vps, 1 site, 0 users",
			"vps: /etc/ipsec.secrets:1: the key of tokyo: it opens every tunnel", "vps: /etc/ipsec.conf:8: rightsubnet=0.0.0.0/0: each site gets")
		for _, h := range []string{"vps", "tokyo"} {
			if after := l.MustRun(h, "sh", "-c", footprint); after != before[h] {
				t.Errorf("adopt has changed %s:\n%s", h, lineDiff(before[h], after))
			}
		}
	}

	key, conn := b.place(b.keys, word, oldWord), b.mine+b.mineLine+": conn ipsec-test"
	r := vpnpush(t, l, 4, "plan")
	for _, want := range []string{
		key + " has a key for any identity: who knows it can pose as tokyo",
		key + " has a key for any identity: who knows it can pose as vps",
		conn + " is not vpnpush's, and answers a caller that says it is tokyo, and leads to networks behind tokyo, too" + mend,
		conn + " is not vpnpush's, and dials vps, too, and leads to networks behind vps, too" + mend,
	} {
		if strings.Count(r.Stdout, want) != 1 {
			t.Errorf("the plan does not say once %q:\n%s", want, r.Stdout)
		}
	}
	if adopts { // the hub alone does not let go of a tunnel that the site has not left
		r := vpnpush(t, l, 0, "plan", "--adopt", "--limit", "vps")
		if mustSay(t, r, "the change of the tunnel to tokyo waits"); strings.Contains(r.Stdout, "lines:conns") || strings.Contains(r.Stdout, "keys:foreign") {
			t.Errorf("the hub lets go of a tunnel that tokyo has not left:\n%s", r.Stdout)
		}
		mustSay(t, vpnpush(t, l, 0, "plan", "--adopt"), "~ update lines:conns", "conn ipsec-test, which dials vps, too", "- delete keys:foreign")
	}
	stop := l.StartPing("tokyo", "10.10.0.1", 100*time.Millisecond)
	vpnpush(t, l, 0, "apply", "--yes", "--adopt")
	sent, lost := stop()
	t.Logf("of %d pings, 0.1 s apart, %d were lost while it was taken over", sent, lost)
	if lost > 5 { // what the hub keeps carries them, until the site has moved: else it is a second and more
		t.Errorf("%d of %d pings were lost while it was taken over", lost, sent)
	}
	l.Wait(30*time.Second, "the tunnel is up", func() bool { return vpnpushCode(l, "status") == 0 })
	r = vpnpush(t, l, 0, "status")
	if named := strings.Count(r.Stdout, "warning: vps: "+conn); adopts != (named == 0) || strings.Contains(r.Stdout, "has a key") {
		t.Errorf("status:\n%s", r.Stdout)
	}
	var want []string
	if !adopts {
		want = []string{"vps beside warning", "tokyo beside warning"}
	}
	if found, out := diagnosed(t, l, 0); !slices.Equal(found, want) {
		t.Errorf("doctor found %q:\n%s", found, out)
	}
	silent(t, l)
	if !adopts {
		for _, h := range []string{"vps", "tokyo"} {
			if out := l.MustRun(h, "cat", b.mine); !strings.HasPrefix(out, files[h]) {
				t.Errorf("%s: the hand-made conn was touched:\n%s", h, out)
			}
		}
		return
	}
	unchanged(t, l)
	for _, h := range []string{"vps", "tokyo"} {
		if out := l.MustRun(h, "ipsec", "statusall"); strings.Contains(out, "ipsec-test") {
			t.Errorf("%s: what was made by hand is loaded still:\n%s", h, out)
		}
		if out := l.MustRun(h, "cat", b.mine); strings.ReplaceAll(strings.TrimSuffix(out, "include /etc/ipsec.d/vpnpush/*.conf\n"), "# taken out by vpnpush: ", "") != files[h] || strings.HasPrefix(out, "conn") {
			t.Errorf("%s: the hand-made conns are now\n%s", h, out)
		}
	}
	// the hub first: a site that dials a hub without its conn gives up
	vpnpush(t, l, 0, "rollback", "vps", "--yes", "--allow-delete", "1")
	vpnpush(t, l, 0, "remove", "tokyo", "--yes")
	for _, h := range []string{"vps", "tokyo"} {
		if out := l.MustRun(h, "cat", b.mine); out != files[h] {
			t.Errorf("%s: it is not as it was made by hand:\n%s", h, lineDiff(files[h], out))
		}
	}
	if after := l.MustRun("tokyo", "sh", "-c", footprint); after != before["tokyo"] {
		t.Errorf("vpnpush has left tokyo, and left behind or taken along:\n%s", lineDiff(before["tokyo"], after))
	}
	l.Wait(60*time.Second, "the hand-made tunnel is back", byHand)
}

// A host on which Libreswan has IPsec is refused with what mends it, and that mends it:
// Debian's two packages cannot both be there, and apt would take the one away.
func TestE2ELibreswan(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub"}}})
	b.write(t, l, labHub, labTokyo)
	l.MustRun("vps", "sh", "-ec", "apt-get update -q; DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends libreswan; systemctl enable --now ipsec.service")
	l.Wait(20*time.Second, "pluto runs", func() bool { _, code := l.Run("vps", "ipsec", "status"); return code == 0 })
	const mend = "systemctl disable --now ipsec.service; apt-get remove libreswan"
	r := vpnpush(t, l, 4, "plan", "--limit", "vps")
	for _, want := range []string{"the package libreswan ", "and its pluto runs", mend} {
		if !strings.Contains(strings.Join(strings.Fields(r.Stdout), " "), want) {
			t.Errorf("the plan does not say %q:\n%s", want, r.Stdout)
		}
	}
	if strings.Contains(r.Stdout, "statusall") {
		t.Errorf("the plan tells of a command that Libreswan does not know:\n%s", r.Stdout)
	}
	vpnpush(t, l, 4, "apply", "--yes", "--limit", "vps")
	if out, code := l.Run("vps", "ipsec", "status"); code != 0 {
		t.Errorf("it was refused, and Libreswan runs no more: %s", out)
	}
	l.MustRun("vps", "sh", "-ec", strings.Replace(mend, "apt-get", "apt-get -q -y", 1))
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	if r := vpnpush(t, l, 0, "plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a second plan is not empty:\n%s", r.Stdout)
	}
}

// A user with a line of the admin's own in chap-secrets logs in through vpnpush's L2TP. He
// is named, and his session is nobody's to end: drift is silent about it, and an apply that
// takes another user out leaves it.
func TestE2EAdminsL2TPUser(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "laptop", Place: "3", Layer: "starter"}}})
	b.write(t, l, trueLab, dave)
	l.MustRun("vps", "sh", "-c", "echo 'olduser * \"old-canary\" *' >>/etc/ppp/chap-secrets")
	line := strings.Count(l.MustRun("vps", "cat", "/etc/ppp/chap-secrets"), "\n")
	says := fmt.Sprintf("/etc/ppp/chap-secrets:%d is not vpnpush's: olduser logs in through its xl2tpd", line)
	if r := vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps"); !strings.Contains(r.Stdout, says) {
		t.Errorf("it does not say %q:\n%s", says, r.Stdout)
	}
	since := strings.TrimSpace(l.MustRun("laptop", "date", "+%s"))
	if out := l.MustRun("laptop", "sh", "-c", dial, "sh", "olduser", "old-canary", since); !strings.HasPrefix(out, "192.168.200.") {
		t.Fatalf("olduser got no address: %s", out)
	}
	l.Wait(20*time.Second, "he is on", func() bool { return strings.Contains(l.Vpnpush("status").Stdout, "\nolduser ") })
	if r := l.Vpnpush("drift", "--limit", "vps"); strings.Contains(r.Stdout, "l2tp:sessions") {
		t.Errorf("drift calls his session something to end:\n%s", r.Stdout)
	}
	b.write(t, l, trueLab) // without dave
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	if r := l.Vpnpush("status"); !strings.Contains(r.Stdout, "\nolduser ") || !strings.Contains(r.Stdout, says) {
		t.Errorf("his session is gone, or he is not named:\n%s", r.Stdout)
	}
}
