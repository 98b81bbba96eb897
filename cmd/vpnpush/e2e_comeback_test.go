package main

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// backWithin is how long a tunnel may be away once both ends are there: dpd_delay, the
// retransmission, and a dial; or two looks of the site's watch at the end of its rest.
const backWithin = 45 * time.Second

// calamity is something that takes tunnels down. Both may be nil.
type calamity struct {
	name   string
	sites  []string // whose tunnels are to come back
	breaks func()   // they are down then
	mends  func()   // both ends are there then, and nobody does anything more
}

const dialled = ", and dialled\\|; dialled"

// returned is a row of docs/tunnels.md.
type returned struct {
	name, site, by string
	after          time.Duration
}

// endure lets each thing happen in turn, and fails the test unless the tunnels are back
// in time, with no hand. It returns how long each took, and who dialled.
func endure(t *testing.T, l *lab.Lab, rows []calamity) (out []returned) {
	t.Helper()
	// watch counts how often a site's watch has dialled anew, and seen it up again
	watch := func(site, what string) string {
		out, _ := l.Run(site, "sh", "-c", "journalctl -q -o cat -u vpnpush-redial | grep -c '"+what+"'; :")
		return out
	}
	passes := func(site string) bool {
		_, code := l.Run(site, "ping", "-n", "-q", "-c", "1", "-W", "1", "10.10.0.1")
		return code == 0
	}
	for _, row := range rows {
		before := map[string]string{}
		for _, s := range row.sites {
			l.Wait(backWithin, s+" is well before: "+row.name, func() bool { return passes(s) && watch(s, dialled) == watch(s, ": up again") })
			before[s] = watch(s, dialled)
		}
		if row.breaks != nil {
			row.breaks()
			for _, s := range row.sites {
				if passes(s) {
					t.Errorf("%s: %s still reaches the hub: this broke nothing", row.name, s)
				}
			}
		}
		if row.mends != nil {
			row.mends()
		}
		since := time.Now()
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, s := range row.sites {
			wg.Go(func() {
				for !passes(s) && time.Since(since) < 3*backWithin {
				}
				took := time.Since(since)
				if took > backWithin {
					status, _ := l.Run(s, "sh", "-c", "swanctl --list-sas || ipsec status")
					t.Errorf("%s: %s was back after %v\n%s", row.name, s, took.Round(time.Second), status)
				}
				by := "charon"
				if watch(s, dialled) != before[s] {
					by = "the watch"
				}
				mu.Lock()
				defer mu.Unlock()
				out = append(out, returned{row.name, s, by, took})
			})
		}
		wg.Wait()
	}
	return out
}

// tell logs the table.
func tell(t *testing.T, rows []returned) {
	t.Helper()
	var b strings.Builder
	for _, r := range rows {
		fmt.Fprintf(&b, "%-64s %-7s %4.0f s  %s\n", r.name, r.site, r.after.Seconds(), r.by)
	}
	t.Logf("\n%s", b.String())
}

// A tunnel comes back by itself from everything that happens to its hub, to its site or
// to one end alone, within 45 s of both ends being there. Most of it is waiting, so two
// labs run side by side.
func TestE2EComeback(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	ofHub, ofSites := comebackOfHub(t, b), comebackOfSites(t, b)
	var hub, sites []returned
	var wg sync.WaitGroup
	wg.Go(func() { hub = ofHub() })
	wg.Go(func() { sites = ofSites() })
	wg.Wait()
	tell(t, append(hub, sites...))
}

// comebackOfHub starts a lab, and returns what breaks its hub in turn.
func comebackOfHub(t *testing.T, b backend) func() []returned {
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "osaka", Place: "2", Suite: "trixie", Layer: b.layer},
	}})
	b.write(t, l, labHub, labTokyo, labOsaka)
	both := []string{"tokyo", "osaka"}
	on := func(host, script string) func() { return func() { l.MustRun(host, "sh", "-ec", script) } }
	answers := "; n=0; until " + b.answers + " >/dev/null 2>&1 || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.2; done"
	rows := []calamity{
		{"the hub is rebooted", both, nil, func() { l.Reboot("vps") }},
		{"the hub loses power", both, nil, func() { l.PowerCycle("vps") }},
		{"charon is killed (-9) on the hub", both, on("vps", "kill -9 $("+b.pid+"); sleep 0.5"), on("vps", ":"+answers)},
		{"strongSwan is stopped and started on the hub", both, on("vps", "systemctl stop "+b.unit), on("vps", "systemctl start "+b.unit+answers)},
		{"strongSwan is off on the hub for longer than a site sends", both, func() {
			on("vps", "systemctl stop "+b.unit)()
			for _, s := range both {
				since := strings.TrimSpace(l.MustRun(s, "date", "+%F %T"))
				l.Wait(backWithin, s+" has sent in vain", func() bool {
					return strings.Contains(l.MustRun(s, "journalctl", "-q", "-o", "cat", "-u", b.unit, "--since", since), "giving up after 4 retransmits")
				})
			}
		}, on("vps", "systemctl start "+b.unit+answers)},
		{"somebody ends the tunnels on the hub", both, nil, on("vps", quiet(of(b.down, "tokyo")+"; "+of(b.down, "osaka")))},
		{"the hub ends the IKE SAs", both, nil, on("vps", quiet(of(b.endIKE, "tokyo")+"; "+of(b.endIKE, "osaka")))},
		{"the hub and a site lose power at once", both[:1], nil, func() {
			var wg sync.WaitGroup
			for _, h := range []string{"vps", "tokyo"} {
				wg.Go(func() { l.PowerCycle(h) })
			}
			wg.Wait()
		}},
	}
	return func() []returned {
		vpnpush(t, l, 0, "apply", "--yes")
		out := endure(t, l, rows)
		l.Wait(backWithin, "all is up", func() bool { return vpnpushCode(l, "status") == 0 })
		for _, s := range both {
			if got := sas(t, l, s)[s]; len(got) != 1 {
				t.Errorf("%s has the IKE SAs %v", s, got)
			}
			if n := strings.Count(l.MustRun(s, "journalctl", "-q", "-o", "cat", "-u", "vpnpush-redial"), "\n"); n > 60 {
				t.Errorf("%s: the watch wrote %d lines", s, n)
			}
		}
		unchanged(t, l)
		return out
	}
}

// comebackOfSites starts a lab, and returns what breaks its sites. Rows of different
// sites do not disturb each other, so they run side by side.
func comebackOfSites(t *testing.T, b backend) func() []returned {
	names := []string{"tokyo", "osaka", "nagoya", "sendai"}
	all := []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}
	inv := labHub
	for i, n := range names {
		all = append(all, lab.Host{Name: n, Place: fmt.Sprint(i + 1), Layer: "starter", Suite: []string{"bookworm", "trixie"}[i%2]})
		inv += fmt.Sprintf("\n[sites.%s]\nsubnets = [\"192.168.%d.0/24\"]\npsk = \"%s-canary-0123456789abcdef\"\n", n, i+1, n)
	}
	l := lab.Start(t, lab.Options{Hosts: all})
	b.write(t, l, inv)
	on := func(host, script string) func() { return func() { l.MustRun(host, "bash", "-ec", script) } }
	// change and undo edit a file of ours on a host, and have charon read it
	change := func(host, file, sed, load string) func() {
		return on(host, "cp -a "+file+" /root/; sed -i '"+sed+"' "+file+"; "+quiet(load)+"; sleep 1")
	}
	undo := func(host, file, load string) func() {
		return on(host, "cp -a /root/"+path.Base(file)+" "+file+"; "+quiet(load))
	}
	then := func(fs ...func()) func() {
		return func() {
			for _, f := range fs {
				f()
			}
		}
	}
	until := func(host, regex string, times int) func() {
		return func() {
			since, _ := l.Run(host, "date", "+%F %T")
			l.Wait(2*backWithin, fmt.Sprintf("%s logs %q %d times", host, regex, times), func() bool {
				out, _ := l.Run(host, "sh", "-c", "journalctl -q -o cat -u "+b.unit+" --since='"+strings.TrimSpace(since)+"' | grep -c '"+regex+"'; :")
				var n int
				fmt.Sscan(out, &n)
				return n >= times
			})
		}
	}
	bare := func(site string) func() {
		return func() {
			l.Wait(backWithin, site+" has an IKE SA without a child SA", func() bool {
				return len(status(t, l, site)) > 0 && len(installed(t, l, site, site)) == 0
			})
		}
	}
	// a word without goodbye: what leaves the host for the other end is lost
	cut := "iptables -I OUTPUT -p udp --dport %[1]d -d %[2]s -j DROP; " + quiet(of(b.endIKE, "%[3]s")) + " || :"
	const mended = "iptables -D OUTPUT -p udp --dport %[1]d -d %[2]s -j DROP"
	chains := [][]calamity{
		{
			{"the site is rebooted", []string{"tokyo"}, nil, func() { l.Reboot("tokyo") }},
			{"the site loses power", []string{"tokyo"}, nil, func() { l.PowerCycle("tokyo") }},
			// systemd may have it back before anybody looks
			{"charon is killed (-9) on the site", []string{"tokyo"}, nil, on("tokyo", "kill -9 $("+b.pid+"); sleep 0.5")},
			{"strongSwan is stopped and started on the site", []string{"tokyo"}, then(on("tokyo", "systemctl stop "+b.unit), func() {
				if out, _ := l.Run("tokyo", "systemctl", "is-active", "vpnpush-redial"); strings.TrimSpace(out) != "inactive" {
					t.Errorf("an admin has stopped strongSwan, and the watch is %s", out)
				}
			}), on("tokyo", "systemctl start "+b.unit)},
			{"somebody ends the tunnel on the site", []string{"tokyo"}, on("tokyo", quiet(of(b.down, "tokyo"))), nil},
		},
		{
			{"the hub's conn is changed and changed back (no child SA)", []string{"osaka"}, then(
				change("vps", b.conf("osaka"), "s/192.168.2.0/192.168.77.0/", b.load),
				on("vps", quiet(of(b.endIKE, "osaka")+"; "+of(b.endChild, "osaka"))+" || :"),
				bare("osaka"),
				until("osaka", "received TS_UNACCEPTABLE", 1),
			), undo("vps", b.conf("osaka"), b.load)},
			{"the site's conn is changed and changed back", []string{"osaka"}, then(
				change("osaka", b.conf("osaka"), "s/192.168.2.0.24/192.168.2.128\\/25/;s/10.10.0.0/10.77.0.0/", b.load),
				on("osaka", quiet(of(b.endIKE, "osaka"))+" || :"),
				bare("osaka"),
			), undo("osaka", b.conf("osaka"), b.load)},
			{"the hub ends the child SA", []string{"osaka"}, nil, on("vps", quiet(of(b.endChild, "osaka")))},
		},
		{
			{"the hub has another key for a while (AUTH_FAILED)", []string{"nagoya"}, then(
				change("vps", b.secrets("nagoya"), "s/canary/another/", b.reread),
				on("nagoya", quiet(of(b.endIKE, "nagoya"))+" || :"),
				until("nagoya", "received AUTHENTICATION_FAILED", 3),
			), undo("vps", b.secrets("nagoya"), b.reread)},
			{"the site has another key for a while", []string{"nagoya"}, then(
				change("nagoya", b.secrets("nagoya"), "s/canary/another/", b.reread),
				on("nagoya", quiet(of(b.endIKE, "nagoya"))+" || :"),
				until("nagoya", "received AUTHENTICATION_FAILED", 3),
			), undo("nagoya", b.secrets("nagoya"), b.reread)},
			{"the site ends the IKE SA by hand", []string{"nagoya"}, on("nagoya", quiet(of(b.endIKE, "nagoya"))+" || :"), nil},
		},
		{
			{"the hub's SA is gone, without goodbye", []string{"sendai"}, on("vps", fmt.Sprintf(cut, 4500, "203.0.113.54", "sendai")), on("vps", fmt.Sprintf(mended, 4500, "203.0.113.54"))},
			{"the site's SA is gone, without goodbye", []string{"sendai"}, on("sendai", fmt.Sprintf(cut, 4500, "203.0.113.10", "sendai")), on("sendai", fmt.Sprintf(mended, 4500, "203.0.113.10"))},
		},
	}
	return func() (table []returned) {
		vpnpush(t, l, 0, "apply", "--yes")
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, rows := range chains {
			wg.Go(func() {
				got := endure(t, l, rows)
				mu.Lock()
				defer mu.Unlock()
				table = append(table, got...)
			})
		}
		wg.Wait()
		slices.SortStableFunc(table, func(a, b returned) int { return slices.Index(names, a.site) - slices.Index(names, b.site) })
		return table
	}
}

// What hangs on the kernel's IPsec: SAs and policies that outlive charon, and a NAT whose
// other mapping the hub learns from the first packet.
func TestE2EComebackKernel(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes")
	on := func(host, script string) func() { return func() { l.MustRun(host, "sh", "-ec", script) } }
	// the operator's own way to the site leads through the router, too
	router := func(script, address string) func() {
		return func() {
			if out, code := l.Control("ip", "netns", "exec", "r1", "sh", "-ec", script+"\nip addr flush dev wan; ip addr add "+address+"/24 dev wan; ip link set wan up; ip route replace default via 203.0.113.2"); code != 0 {
				t.Errorf("router: %s: %s", script, out)
			}
			l.Control("ip", "route", "replace", "192.168.1.0/24", "via", address)
		}
	}
	tokyo := []string{"tokyo"}
	tell(t, endure(t, l, []calamity{
		{"charon is killed (-9) on the hub", tokyo, nil, on("vps", "kill -9 $("+b.pid+"); n=0; sleep 1; until "+b.answers+" >/dev/null 2>&1 || [ $n -gt 100 ]; do n=$((n + 1)); sleep 0.2; done")},
		{"charon is killed (-9) on the site", tokyo, nil, on("tokyo", "kill -9 $("+b.pid+"); sleep 1")},
		{"the site's SAs are taken out of its kernel", tokyo, on("tokyo", "ip xfrm state flush"), nil},
		{"the router gets another address", tokyo, nil, router("", "203.0.113.61")},
		{"the router is off for 10 s, and comes with another address", tokyo, nil, router("ip link set wan down; sleep 10", "203.0.113.71")},
	}))
}
