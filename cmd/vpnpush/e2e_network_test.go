package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// The inventory of the fast lab: its hosts do ESP in user space, so the hub's
// own LAN stands for what is behind it, and there is no PPP.
const labHub = `
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"
subnets = ["10.10.0.0/24"]
`

const labTokyo = `
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-canary-0123456789abcdef"
`

const labOsaka = `
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "osaka-canary-0123456789abcdef"
`

const labNagoya = `
[sites.nagoya]
subnets = ["192.168.3.0/24"]
psk = "nagoya-canary-0123456789abcdef"
`

func write(t *testing.T, l *lab.Lab, parts ...string) {
	t.Helper()
	l.Inventory = l.Dir + "/vpnpush.toml"
	if err := os.WriteFile(l.Inventory, []byte(strings.Join(parts, "")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// vpnpush runs it, and fails the test unless it exits with code.
func vpnpush(t *testing.T, l *lab.Lab, code int, args ...string) lab.Result {
	t.Helper()
	r := l.Vpnpush(args...)
	if r.Code != code {
		t.Fatalf("vpnpush %s: exit code %d, want %d\n%s\n%s", strings.Join(args, " "), r.Code, code, r.Stdout, r.Stderr)
	}
	if strings.Contains(r.Stdout+r.Stderr, "could not be tried first") {
		t.Errorf("vpnpush %s: a host of the lab allows no trial\n%s\n%s", strings.Join(args, " "), r.Stdout, r.Stderr)
	}
	if strings.Contains(r.Stdout+r.Stderr, "canary") {
		t.Errorf("vpnpush %s: a secret is in what it prints\n%s\n%s", strings.Join(args, " "), r.Stdout, r.Stderr)
	}
	return r
}

// labs are the labs that applied has kept, by what was applied to them.
var labs sync.Map

type keptLab struct {
	sync.Mutex
	*lab.Kept
}

// applied returns a lab of the hub vps and the sites tokyo and osaka that an inventory was
// applied to, with their tunnels up. The first test that asks for it applies; the hosts of
// the others boot with the disks that this left.
func applied(t *testing.T, b backend, parts ...string) *lab.Lab {
	t.Helper()
	v, _ := labs.LoadOrStore(b.inventory(parts...), &keptLab{})
	k := v.(*keptLab)
	wait := func(l *lab.Lab) *lab.Lab {
		l.Wait(30*time.Second, "the tunnels are up", func() bool { return up(l, "tokyo", "tokyo") && up(l, "osaka", "osaka") })
		return l
	}
	k.Lock()
	if k.Kept == nil {
		defer k.Unlock()
		l := lab.Start(t, lab.Options{Layer: b.layer})
		b.write(t, l, parts...)
		vpnpush(t, l, 0, "apply", "--yes")
		k.Kept = wait(l).Keep()
		return l
	}
	k.Unlock()
	l := lab.Start(t, lab.Options{Layer: b.layer, From: k.Kept})
	b.write(t, l, parts...)
	return wait(l)
}

// unchanged plans, and fails the test unless there is nothing to change.
func unchanged(t *testing.T, l *lab.Lab) {
	t.Helper()
	if r := vpnpush(t, l, 0, "plan", "--detailed-exitcode"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a second plan is not empty:\n%s", r.Stdout)
	}
}

// planned gives the tasks that a plan or report names for a host.
func planned(out, host string) []string {
	var tasks []string
	in := false
	for l := range strings.Lines(out) {
		if !strings.HasPrefix(l, " ") {
			in = strings.HasPrefix(l, host+" (")
			continue
		}
		if m := regexp.MustCompile(`^  [+~!-] \w+ (\S+)`).FindStringSubmatch(l); in && m != nil {
			tasks = append(tasks, m[1])
		}
	}
	return tasks
}

// The main job, on Debian 12 and 13 hosts that had nothing but sshd: apply,
// tunnels through NAT, an empty second plan; then a third site, which changes
// its own files on the hub and nothing else, and costs the others no packet.
func TestE2ENetwork(t *testing.T) { both(t, testNetwork) }

func testNetwork(t *testing.T, b backend) {
	for _, suites := range [][4]string{
		{"bookworm", "bookworm", "trixie", "trixie"},
		{"trixie", "bookworm", "trixie", "bookworm"},
	} {
		t.Run(suites[0]+" hub", func(t *testing.T) {
			t.Parallel()
			l := lab.Start(t, lab.Options{Hosts: []lab.Host{
				{Name: "vps", Place: "hub", Suite: suites[0]}, {Name: "tokyo", Place: "1", Suite: suites[1]}, {Name: "osaka", Place: "2", Suite: suites[2]},
			}})
			b.write(t, l, labHub, labTokyo, labOsaka)
			if r := vpnpush(t, l, 2, "plan", "--detailed-exitcode"); !strings.Contains(r.Stdout, "+ install package:"+b.needs) {
				t.Errorf("the plan of bare hosts installs nothing:\n%s", r.Stdout)
			}
			r := vpnpush(t, l, 0, "apply", "--yes")
			if !strings.Contains(r.Stdout, "Apply: 3 hosts, 3 changed.") {
				t.Errorf("apply:\n%s", r.Stdout)
			}
			for host, to := range map[string]string{"tokyo": "10.10.0.1", "osaka": "10.10.0.1", "vps": "192.168.1.10"} {
				if got := l.Ping(host, to, 3); got == 0 {
					t.Errorf("%s does not reach %s through the tunnel", host, to)
				}
			}
			before := sas(t, l, "vps")
			if len(before["tokyo"]) != 1 || len(before["osaka"]) != 1 {
				t.Errorf("SAs on the hub: %v", before)
			}
			unchanged(t, l)
			if r := vpnpush(t, l, 0, "apply", "--yes"); !strings.Contains(r.Stdout, "3 ok.") {
				t.Errorf("a second apply did something:\n%s", r.Stdout)
			}
			if after := sas(t, l, "vps"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("a second apply changed the SAs: %v, then %v", before, after)
			}

			l.Add(lab.Host{Name: "nagoya", Place: "3", Suite: suites[3]})
			b.write(t, l, labHub, labTokyo, labOsaka, labNagoya)
			stop := l.StartPing("tokyo", "10.10.0.1", 50*time.Millisecond)
			r = vpnpush(t, l, 0, "apply", "--yes")
			if sent, lost := stop(); sent < 10 || lost > 0 {
				t.Errorf("tokyo lost %d of %d packets while nagoya was added", lost, sent)
			}
			if got, want := fmt.Sprint(planned(r.Stdout, "vps")), "[file:"+b.conf("nagoya")+" file:"+b.secrets("nagoya")+" file:/etc/iptables/rules.v4 firewall:live ipsec:loaded]"; got != want {
				t.Errorf("on the hub changed\n%s, want\n%s", got, want)
			}
			for _, h := range []string{"tokyo", "osaka"} {
				if got := planned(r.Stdout, h); len(got) > 0 {
					t.Errorf("on %s changed %v", h, got)
				}
			}
			after := sas(t, l, "vps")
			if len(after["nagoya"]) != 1 {
				t.Errorf("nagoya has no SA: %v", after)
			}
			delete(after, "nagoya")
			if fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("adding nagoya changed other SAs: %v, then %v", before, after)
			}
			if l.Ping("nagoya", "10.10.0.1", 3) == 0 {
				t.Error("nagoya does not reach the hub's LAN")
			}
			unchanged(t, l)
		})
	}
}

// With relay, sites reach each other through the hub. The fast lab's ESP is in
// user space, where netfilter's policy match sees nothing, so its packet filter
// is left out here; the true lab has both.
func TestE2ERelay(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Layer: b.layer})
	filter := "[firewall]\nbackend = \"none\"\n"
	b.write(t, l, labHub, labTokyo, labOsaka, filter, "[tunnel]\nrelay = true\n")
	vpnpush(t, l, 0, "apply", "--yes")
	for _, p := range [][2]string{{"tokyo", "192.168.2.10"}, {"osaka", "192.168.1.10"}, {"tokyo", "10.10.0.1"}} {
		if l.Ping(p[0], p[1], 3) == 0 {
			t.Errorf("%s does not reach %s", p[0], p[1])
		}
	}
	unchanged(t, l)
}

// What changes of a site changes that site: its SA is made anew, exactly one,
// and the others keep theirs. What is removed is gone, from charon too.
func TestE2EChangeAndRemove(t *testing.T) { both(t, testChangeAndRemove) }

func testChangeAndRemove(t *testing.T, b backend) {
	l := applied(t, b, labHub, labTokyo, labOsaka)
	before := sas(t, l, "vps")

	// ESP in user space wants an address of the host's in each subnet
	l.MustRun("osaka", "ip", "addr", "add", "192.168.22.1/32", "dev", "lo")
	b.write(t, l, labHub, labTokyo, strings.Replace(labOsaka, "192.168.2.0/24", `192.168.2.0/25", "192.168.22.0/24`, 1))
	vpnpush(t, l, 0, "apply", "--yes")
	after := sas(t, l, "vps")
	if fmt.Sprint(after["tokyo"]) != fmt.Sprint(before["tokyo"]) {
		t.Errorf("osaka was changed, and tokyo's SA with it: %v, then %v", before, after)
	}
	if len(after["osaka"]) != 1 || fmt.Sprint(after["osaka"]) == fmt.Sprint(before["osaka"]) {
		t.Errorf("osaka's SAs: %v, then %v", before, after)
	}
	if got := selectors(t, l, "osaka", "osaka"); strings.Join(got, " ") != "192.168.2.0/25 192.168.22.0/24" {
		t.Errorf("osaka's selectors: %q", got)
	}

	b.write(t, l, labHub, strings.Replace(labTokyo, "tokyo-canary", "new-canary", 1), labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	rotated := sas(t, l, "vps")
	if fmt.Sprint(rotated["tokyo"]) != fmt.Sprint(after["tokyo"]) {
		t.Errorf("a new key took the tunnel down: %v, then %v", after, rotated)
	}
	l.MustRun("tokyo", "systemctl", "restart", b.unit)
	l.Wait(30*time.Second, "tokyo is back with its new key", func() bool { return l.Ping("tokyo", "10.10.0.1", 1) == 1 })

	vpnpush(t, l, 0, "remove", "osaka", "--yes")
	for _, c := range []string{"test ! -e /var/lib/vpnpush", "! ls -d " + strings.TrimSuffix(b.ours, "/") + "*", "! grep -qs vpnpush /etc/ipsec.conf /etc/ipsec.secrets /etc/swanctl/swanctl.conf", "test ! -e /etc/strongswan.d/vpnpush.conf",
		"! iptables-save | grep -q VPNPUSH", "test ! -e /etc/systemd/system/vpnpush-revert.service"} {
		if _, code := l.Run("osaka", "sh", "-c", c); code != 0 {
			t.Errorf("osaka was left, but not %s", c)
		}
	}
	b.write(t, l, labHub, strings.Replace(labTokyo, "tokyo-canary", "new-canary", 1))
	vpnpush(t, l, 0, "apply", "--yes")
	if got := sas(t, l, "vps"); len(got["osaka"]) != 0 || len(got["tokyo"]) != 1 {
		t.Errorf("osaka was removed: %v", got)
	}
	if out := l.MustRun("vps", "sh", "-c", "ls "+b.ours+"*; "+b.conns); strings.Contains(out, "osaka") {
		t.Errorf("the hub still knows osaka:\n%s", out)
	}
	unchanged(t, l)
	b.write(t, l, labHub)
	if r := l.Vpnpush("apply", "--yes"); r.Code != 1 || !strings.Contains(r.Stderr, "--allow-delete 1") {
		t.Errorf("an inventory without sites deleted the last one: %d\n%s", r.Code, r.Stderr)
	}
}

// One site's key opens no other's tunnel.
func TestE2EKeysAreApart(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := applied(t, b, labHub, labTokyo, labOsaka)
	// osaka says it is tokyo, with the key that is its own
	l.MustRun("tokyo", "systemctl", "stop", b.unit)
	l.Wait(20*time.Second, "tokyo is gone from the hub", func() bool { return len(sas(t, l, "vps")["tokyo"]) == 0 })
	l.MustRun("osaka", "sh", "-c", `sed -i 's/@osaka/@tokyo/; s#192.168.2.0/24#192.168.1.0/24#' `+b.conf("osaka")+"; systemctl restart "+b.unit+"; sleep 3; "+of(b.up, "osaka")+"; true")
	if got := sas(t, l, "vps"); len(got["tokyo"]) != 0 {
		t.Fatalf("osaka's key opened tokyo's tunnel: %v", got)
	}
	if out := l.MustRun("vps", "journalctl", "-u", b.unit, "--no-pager", "-o", "cat"); !strings.Contains(out, "MAC mismatched") {
		t.Errorf("the hub did not turn the key down, something else did:\n%s", out)
	}
}

// What is in shared files and is not ours stays byte for byte, through an apply
// and through leaving the host again.
func TestE2EForeignFiles(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	files := map[string]string{
		"/etc/iptables/rules.v4": "# by hand\n*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n" +
			"-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE\n-A DOCKER -i docker0 -j RETURN\nCOMMIT\n" +
			"*filter\n:INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:f2b-sshd - [0:0]\n-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A INPUT -i lo -j ACCEPT\n" +
			"-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A f2b-sshd -j RETURN\nCOMMIT\n",
	}
	for path, text := range b.beside {
		files[path] = text
	}
	for path, text := range files {
		l.Put("vps", path, text)
	}
	l.MustRun("vps", "systemctl", "restart", "netfilter-persistent", b.unit)
	live := func() string {
		// a set of lines without ours, counters and times; the mangle table
		// was not there before, and is nobody else's
		return l.MustRun("vps", "sh", "-c", `iptables-save | grep -v -e VPNPUSH -e '^#' | sed 's/ \[[0-9:]*\]//' | awk '/^\*/ {t = $0} t != "*mangle" {print t, $0}' | sort`)
	}
	rules := live()
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	for path, text := range files {
		got := l.MustRun("vps", "cat", path)
		if path == "/etc/iptables/rules.v4" {
			var kept []string
			for line := range strings.Lines(got) {
				if !strings.Contains(line, "VPNPUSH") {
					kept = append(kept, line)
				}
			}
			if !strings.HasPrefix(strings.Join(kept, ""), text) {
				t.Errorf("%s became\n%s", path, got)
			}
		} else if !strings.HasPrefix(got, text) {
			t.Errorf("%s became\n%s", path, got)
		}
	}
	if now := live(); now != rules {
		t.Errorf("the live rules were\n%s, and are\n%s", rules, now)
	}
	if r := vpnpush(t, l, 0, "plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Errorf("a second plan is not empty:\n%s", r.Stdout)
	}
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	for path, text := range files {
		want := text
		if path == "/etc/ipsec.conf" {
			want += "\n" // its last line had no end until ours was put after it
		}
		if got := l.MustRun("vps", "cat", path); got != want {
			t.Errorf("after leaving, %s is\n%q, was\n%q", path, got, want)
		}
	}
}
