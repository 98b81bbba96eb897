package main

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// Faults at the points where they hurt most, on hosts that an apply has set up.
func TestE2EFaults(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	c := newChaos(t, b, b.between(chaosFrom, chaosTo))
	for _, f := range []struct {
		name string
		fault
		host   string
		during func(t *testing.T, cmd *exec.Cmd, done <-chan struct{})
		code   int
		stands string // host
		say    string // what the host says, a pattern
	}{
		// what has a way in is the old connection: only a new one shows it
		{"a firewall that lets no new SSH in", fault{mode: "run", n: 1, match: "--noflush", action: `
sed '/^\*filter/,/^COMMIT/s/^COMMIT/-A VPNPUSH-IN -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -j DROP\nCOMMIT/' | iptables-restore "$@"; exit`},
			"vps", nil, 5, "before", "no new connection after the apply"},
		{"a conn file that is broken on the way", fault{mode: "run", n: 1, match: b.conf("nagoya"), action: `
[ "$name" = mv ] || { rm /run/chaos/fired; exec "$name" "$@"; }; mv "$@"; echo 'conn } {' >` + b.conf("nagoya") + "; exit 0"},
			// strongSwan keeps all of the old configuration then: it lacks the conn that
			// is new, or the file is not as planned, whichever is seen first
			"vps", nil, 5, "before", "has not loaded osaka|nagoya"},
		{"a power cut between write and confirm", fault{mode: "confirm", n: 1, action: "reboot -ff; sleep 60"},
			"tokyo", nil, 5, "before", "the host was rebooted before it was confirmed"},
		{"a power cut once it is confirmed", fault{mode: "confirm", n: 1, match: " sync --", action: "reboot -ff; sleep 60"},
			"vps", nil, 0, "planned", ""},
		{"a run that hangs", fault{mode: "run", n: 1, match: b.tool + " " + b.rereads, action: "sleep infinity"},
			"vps", func(t *testing.T, _ *exec.Cmd, done <-chan struct{}) {
				// the guard's time is minutes: end it now
				if fired(c.l, "vps", done) {
					c.l.MustRun("vps", "sh", "-c", `systemctl start --no-block "vpnpush-guard-$(cat /var/lib/vpnpush/pending).service"`)
				}
			}, 5, "before", "the host stands as before"},
		{"a line that is cut while the script is on its way", fault{mode: "run", n: 1 << 30}, "tokyo", func(t *testing.T, _ *exec.Cmd, done <-chan struct{}) {
			// as soon as the hub is done
			defer cut(t, c.l, "tokyo")()
			c.l.Wait(40*time.Second, "the hub is done", func() bool {
				_, pending := c.l.Run("vps", "test", "-e", "/var/lib/vpnpush/pending")
				_, run := c.l.Run("vps", "sh", "-c", "[ $(ls /var/lib/vpnpush/txn | wc -l) -gt 3 ]")
				return pending != 0 && run == 0
			})
			time.Sleep(5 * time.Second)
		}, 0, "planned", ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			var during meddler
			if f.during != nil {
				during = func(_ *chaos, t *testing.T, _ string, cmd *exec.Cmd, done <-chan struct{}) []string {
					f.during(t, cmd, done)
					return nil
				}
			}
			r := c.apply(t, f.host, f.fault, during)
			if f.n < 1<<30 && !r.came {
				t.Error("the fault did not come")
			}
			if r.code != f.code || r.stands[f.host] != f.stands || !regexp.MustCompile(f.say).MatchString(r.errors[f.host]) {
				t.Errorf("exit code %d, want %d; %s stands as %s, want %s; it says %q, want %q", r.code, f.code, f.host, r.stands[f.host], f.stands, r.errors[f.host], f.say)
			}
		})
	}
	t.Run("two at once", c.twoAtOnce)
	t.Run("a revert that fails", c.revertFails)
}

// The second of two applies ends at once, with 7, and names the first; also
// while the first only waits to be confirmed.
func (c *chaos) twoAtOnce(t *testing.T) {
	second := func(t *testing.T, say string) {
		t.Helper()
		r := c.l.Vpnpush("apply", "--yes", "--limit", "vps,tokyo")
		if r.Code != 7 {
			t.Errorf("the second apply exits with %d", r.Code)
		}
		mustSay(t, r, "root@", say)
	}
	r := c.apply(t, "vps", fault{mode: "run", n: 30, action: hold}, func(_ *chaos, _ *testing.T, _ string, _ *exec.Cmd, done <-chan struct{}) []string {
		if !fired(c.l, "vps", done) {
			return []string{"the first apply is over already"}
		}
		second(t, "another run is at work there")
		release(t, c.l, "vps")
		return nil
	})
	if r.code != 0 {
		t.Errorf("the first apply: exit code %d, %v", r.code, r.errors)
	}
	r = c.apply(t, "vps", fault{mode: "run", n: 30, action: hold}, func(_ *chaos, _ *testing.T, _ string, cmd *exec.Cmd, done <-chan struct{}) []string {
		if !fired(c.l, "vps", done) {
			return []string{"the first apply is over already"}
		}
		if err := cmd.Cancel(); err != nil {
			t.Error(err)
		}
		release(t, c.l, "vps")
		c.l.Wait(20*time.Second, "the apply waits", func() bool {
			_, code := c.l.Run("vps", "sh", "-c", `systemctl --quiet is-active "vpnpush-confirm-$(cat /var/lib/vpnpush/pending).timer"`)
			return code == 0
		})
		second(t, "waits to be confirmed or put back")
		return nil
	})
	if r.stands["vps"] != "before" {
		t.Errorf("nobody confirmed, and vps stands as %s", r.stands["vps"])
	}
}

// A revert that fails is told, by exit code, by name of what is left to mend it
// with, and by every later plan; and the next apply makes it whole.
func (c *chaos) revertFails(t *testing.T) {
	l := c.l
	write(t, l, c.inv[1-c.at])
	arm(t, l, "vps", fault{mode: "run", n: 2, match: "mv -fT -- " + path.Dir(c.ours), action: "exit 1", always: `[ "$name" != mv ] || exit 1`})
	r := vpnpush(t, l, 4, "apply", "--yes", "--limit", "vps,tokyo")
	mustSay(t, r, "and putting back what was there failed too", "/backup", "not tried: the hub vps comes first")
	disarm(t, l, "vps")
	mustSay(t, vpnpush(t, l, 0, "plan", "--limit", "vps"), "revert")
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	c.at = 1 - c.at
	for h, now := range c.look(t) {
		if d := difference(c.state[c.at][h], now); d != "" {
			t.Errorf("%s: an apply after the fault does not make it as planned:\n%s", h, d)
		}
		if left, _ := over(l, h, "", 20*time.Second); left != "" {
			t.Errorf("%s: left behind:\n%s", h, left)
		}
	}
}

// A first apply that is taken back leaves what ran before, too: strongSwan was
// installed and off.
func TestE2EFaultsFirstApply(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	l.MustRun("vps", "systemctl", "disable", "--now", b.unit)
	bug(t, l, "vps")
	before := standing(t, l, "vps")
	as := func(t *testing.T) {
		t.Helper()
		if left, _ := over(l, "vps", "", 40*time.Second); left != "" {
			t.Errorf("left behind:\n%s", left)
		}
		if d := difference(before, standing(t, l, "vps")); d != "" {
			t.Errorf("not as before:\n%s", d)
		}
	}
	apply := func(t *testing.T, code int, say ...string) {
		t.Helper()
		mustSay(t, vpnpush(t, l, code, "apply", "--yes", "--limit", "vps", "--confirm-timeout", "10s"), say...)
	}

	t.Run("a service that does not start", func(t *testing.T) {
		l.MustRun("vps", "sh", "-ec", `mkdir /run/systemd/system/`+b.unit+`.service.d
printf '[Service]\nExecStartPre=/bin/false\n' >/run/systemd/system/`+b.unit+`.service.d/chaos.conf; systemctl daemon-reload`)
		apply(t, 5, b.unit+".service (reload)", "Failed to start", "the host stands as before")
		l.MustRun("vps", "sh", "-ec", "rm -r /run/systemd/system/"+b.unit+".service.d; systemctl daemon-reload; systemctl reset-failed")
		as(t)
	})
	t.Run("a power cut between write and confirm", func(t *testing.T) {
		arm(t, l, "vps", fault{mode: "confirm", n: 1, action: "reboot -ff; sleep 60"})
		apply(t, 5, "the host was rebooted before it was confirmed")
		as(t)
	})
	t.Run("an orderly reboot between write and confirm", func(t *testing.T) {
		arm(t, l, "vps", fault{mode: "confirm", n: 1, action: "systemctl --no-block reboot; sleep 60"})
		apply(t, 5, "the host was rebooted before it was confirmed")
		as(t)
	})

	t.Run("what is left is taken off", func(t *testing.T) {
		mustSay(t, vpnpush(t, l, 0, "remove", "vps", "--yes"), "- delete remains:/var/lib/vpnpush")
		l.MustRun("vps", "sh", "-c", "! ls -d /var/lib/vpnpush /run/vpnpush /etc/systemd/system/vpnpush-revert.service /etc/systemd/system/*/vpnpush-revert.service")
		as(t)
	})

	// A disk of its own for what an apply writes to, small enough to fill.
	l.MustRun("vps", "sh", "-ec", `mkdir /small /var/lib/vpnpush -p; mount -t tmpfs -o size=4m tmpfs /small
cp -a /etc /var/lib/vpnpush /small; mount --bind /small/etc /etc; mount --bind /small/vpnpush /var/lib/vpnpush`)
	for _, n := range []int{1, 15, 30, 40, 50} {
		t.Run(fmt.Sprintf("a disk that is full, %d", n), func(t *testing.T) {
			arm(t, l, "vps", fault{mode: "run", n: n, action: "cat /dev/zero >/small/fill 2>/dev/null || :"})
			r := l.Vpnpush("apply", "--yes", "--limit", "vps", "--confirm-timeout", "10s")
			if r.Code != 4 && r.Code != 5 {
				t.Errorf("exit code %d\n%s\n%s", r.Code, r.Stdout, r.Stderr)
			}
			mustSay(t, r, map[int]string{4: "nothing was changed", 5: "the host stands as before"}[r.Code])
			// where it comes before anything is told, as the 15th does, it is cut short
			if n > 1 && !(n == 15 && strings.Contains(r.Stdout, "was cut short on the host; nothing was changed")) {
				mustSay(t, r, "is full")
			}
			disarm(t, l, "vps")
			l.MustRun("vps", "rm", "-f", "/small/fill")
			as(t)
		})
	}
	t.Run("a disk that was full before", func(t *testing.T) {
		l.MustRun("vps", "sh", "-c", "cat /dev/zero >/small/fill 2>/dev/null || :")
		apply(t, 4, "0 KiB are free for /etc")
		l.MustRun("vps", "rm", "-f", "/small/fill")
		as(t)
	})
	apply(t, 0, "1 changed")
}

// An installation that ends half-way, or that a power cut ends, changes nothing
// of vpnpush's; the packages that came stay, and the next apply goes on from
// there.
func TestE2EFaultsApt(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub"}, {Name: "tokyo", Place: "1"}}})
	b.write(t, l, labHub, labTokyo)
	dpkg := func(host, configure string) {
		t.Helper()
		l.MustRun(host, "dpkg-divert", "--quiet", "--local", "--rename", "--divert", "/usr/bin/dpkg.real", "--add", "/usr/bin/dpkg")
		l.Put(host, "/usr/bin/dpkg", "#!/bin/sh\nfor a; do [ \"$a\" != --configure ] || { "+configure+"; }; done\nexec /usr/bin/dpkg.real \"$@\"\n")
		l.MustRun(host, "chmod", "755", "/usr/bin/dpkg")
	}
	mend := func(host string) {
		t.Helper()
		l.MustRun(host, "sh", "-ec", "rm /usr/bin/dpkg; dpkg-divert --quiet --local --rename --remove /usr/bin/dpkg")
	}
	untouched := func(host string) {
		t.Helper()
		if out, _ := l.Run(host, "sh", "-c", "ls -d "+strings.TrimSuffix(b.ours, "/")+"* /etc/sysctl.d/60-vpnpush.conf /var/lib/vpnpush/manifest.json 2>/dev/null; iptables-save | grep VPNPUSH"+litter); out != "" {
			t.Errorf("%s: apt failed, and there is\n%s", host, out)
		}
	}
	mirror := func(from, to string) {
		l.MustRun("vps", "sed", "-i", "s,"+from+" ,"+to+" ,", "/etc/apt/sources.list.d/lab.list")
	}
	mirror("/srv/aptrepo", "/srv/is-down")
	mustSay(t, vpnpush(t, l, 4, "apply", "--yes"), "install packages "+b.needs, "hint: see what apt says: `apt-get update`", "not tried: the hub vps comes first")
	untouched("vps")
	mirror("/srv/is-down", "/srv/aptrepo")

	dpkg("vps", "echo 'dpkg: no, not today' >&2; exit 1")
	mustSay(t, vpnpush(t, l, 4, "apply", "--yes"), "packages may have come", "not today", "not tried: the hub vps comes first")
	untouched("vps")
	mend("vps")

	dpkg("tokyo", "reboot -ff; sleep 60")
	mustSay(t, vpnpush(t, l, 4, "apply", "--yes"), "the apply was cut short on the host; nothing was changed")
	untouched("tokyo")
	mend("tokyo")
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)
	if l.Ping("tokyo", "10.10.0.1", 3) == 0 {
		t.Error("the tunnel carries nothing")
	}
}

// A clock that jumps by a year, forth and back, neither hastens nor hinders the
// revert, and an apply under it is confirmed. The hosts of the fast lab share
// this machine's clock, so it takes a true one.
func TestE2EFaultsClock(t *testing.T) {
	b := chosen(t)
	if os.Getenv("CHAOS_ROUNDS") == "" {
		t.Skip("takes a minute, on a true lab: run make chaos")
	}
	t.Parallel()
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	bug(t, l, "vps")
	for i, jump := range []string{"+1 year", "-1 year"} {
		arm(t, l, "vps", fault{mode: "run", n: 30, action: "date -s '" + jump + "'"})
		b.write(t, l, labHub, labTokyo, fmt.Sprintf("[tunnel]\ndpd_delay = \"%ds\"\n", 40+i))
		vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
		before := standing(t, l, "vps")

		// and while nobody confirms
		arm(t, l, "vps", fault{mode: "run", n: 1, match: "vpnpush-confirm-", action: "touch /run/chaos/armed"})
		b.write(t, l, labHub, labTokyo, labOsaka)
		cmd := l.Command(t.Context(), "apply", "--yes", "--limit", "vps", "--confirm-timeout", "30s")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		if !fired(l, "vps", done) {
			t.Fatal("it was over before it was cut")
		}
		if err := cmd.Cancel(); err != nil {
			t.Error(err)
		}
		<-done
		l.MustRun("vps", "date", "-s", jump)
		if _, code := l.Run("vps", "test", "-e", "/var/lib/vpnpush/pending"); code != 0 {
			t.Errorf("%s: the revert did not wait for its time", jump)
		}
		if left, _ := over(l, "vps", "", 90*time.Second); left != "" {
			t.Errorf("%s: left behind:\n%s", jump, left)
		}
		if d := difference(before, standing(t, l, "vps")); d != "" {
			t.Errorf("%s: not as before:\n%s", jump, d)
		}
		disarm(t, l, "vps")
	}
}
