package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// proveFault is something that can happen at any point of an apply.
type proveFault struct {
	name  string
	every bool // at every command of the first tier, not only once in each state of the host
	later bool // in the second tier
	small bool // it takes hosts with a small disk
	// What an apply comes to that only waits meanwhile: all is as planned.
	harmless bool
	// An apply may be over before, if it says this of why.
	says string
	// on is 0 where the command waits until it is over. Of those where the host works on one
	// goes with the others into one apply, by this number.
	on int
	// action is what the command of a run, or of a confirmation, is preceded by.
	action, confirm string
	during          meddler
	beside          meddling // in the place of during, where action is hold
}

// A meddling does something while a command of the apply waits, until release lets it go on:
// it is let go on at the end at the latest. It tells what must not have been.
type meddling func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, release func()) (wrong []string)

// meddler returns what happens beside the apply, nil for nothing.
func (f proveFault) meddler() meddler {
	if f.beside != nil {
		return held(f.beside)
	}
	return f.during
}

// proveFaults are what can happen.
var proveFaults = []proveFault{
	{name: "power cut", action: "reboot -ff; sleep 60"},
	{name: "apply killed -9", action: "systemctl kill -s KILL 'vpnpush-apply-*.service'; sleep 60", confirm: "pkill -KILL -f 'apply.sh confirm'; exit 1"},
	{name: "a command fails", every: true, action: "exit 1"},
	{name: "client killed -9", action: hold, beside: func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, _ func()) []string {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return nil
	}},
	{name: "orderly reboot", action: "systemctl --no-block reboot"},
	{name: "Ctrl-C", action: hold, beside: func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, _ func()) []string {
		interrupt(t, cmd)
		return nil
	}},
	{name: "disk full", small: true, action: "cat /dev/zero >/small/fill 2>/dev/null || :", during: func(c *chaos, t *testing.T, host string, _ *exec.Cmd, done <-chan struct{}) []string {
		<-done
		c.l.MustRun(host, "rm", "-f", "/small/fill")
		return nil
	}},
	{name: "line cut for 2 s", action: hold, harmless: true, on: 1, beside: cutFor(2 * time.Second)},
	{name: "second apply", action: hold, harmless: true, beside: secondApply},
	{name: "drift", action: hold, harmless: true, beside: driftBeside},
	{name: "apt holds its lock", action: hold, harmless: true, says: "lock", on: 2, beside: aptLocked},
	{name: "strongSwan restarted", action: `systemctl --quiet is-active strongswan-starter && systemctl restart strongswan-starter || systemctl restart strongswan`},
	{name: "line cut for 15 s", action: hold, beside: cutFor(15 * time.Second)},
	{name: "packages upgraded", later: true, action: `systemd-run --quiet --unit=chaos-upgrade --collect --setenv=DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=60 ` +
		`-o Dpkg::Options::=--force-confold install --reinstall strongswan-libcharon libstrongswan $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' strongswan-starter charon-systemd 2>/dev/null | sed -n 's/ installed$//p')`},
}

// said reports whether an apply that is over before has said why.
func (f proveFault) said(d chaosRun) bool {
	for _, h := range chaosHosts {
		if f.says != "" && strings.Contains(d.errors[h], f.says) {
			return true
		}
	}
	return false
}

// of returns the fault at the n-th command of a mode.
func (f proveFault) of(mode string, n int) fault {
	action := f.action
	if mode == "confirm" && f.confirm != "" {
		action = f.confirm
	}
	return fault{mode: mode, n: n, action: action}
}

// held returns a meddler that does something while the command of the fault waits.
func held(do meddling) meddler {
	return func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, done <-chan struct{}) []string {
		if !fired(c.l, host, done) {
			return nil
		}
		wrong := do(c, t, host, cmd, func() { release(t, c.l, host) })
		release(t, c.l, host)
		return wrong
	}
}

// interrupt sends vpnpush a Ctrl-C, and not the nsenter that waits for it.
func interrupt(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

// cutFor cuts the line for a while, in which the host works on.
func cutFor(d time.Duration) meddling {
	return func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, release func()) []string {
		mend := cut(t, c.l, host)
		release()
		time.Sleep(d)
		mend()
		return nil
	}
}

// aptLocked holds the locks that apt takes for 3 s, in which the host works on.
func aptLocked(c *chaos, t *testing.T, host string, _ *exec.Cmd, release func()) []string {
	// a lock of fcntl, of a whole file
	const lock = `for (@ARGV) { open(my $f, ">>", $_) or die "$_: $!"; my $l = pack("s!s!x4qqix4", 1, 0, 0, 0, 0); fcntl($f, 6, $l) or die "$_: $!"; push @f, $f }
open(my $f, ">", "/run/chaos/locked"); sleep 3`
	_, code := c.l.Run(host, "sh", "-c", `rm -f /run/chaos/locked; printf '%s\n' "$1" >/run/chaos/lock
systemd-run --quiet --collect --unit=chaos-apt perl /run/chaos/lock /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/cache/apt/archives/lock
until [ -e /run/chaos/locked ]; do systemctl --quiet is-active chaos-apt || exit 1; sleep 0.1; done`, "lock", lock)
	release()
	if code != 0 {
		return []string{"apt's locks are not to be had"}
	}
	c.l.MustRun(host, "sh", "-c", "while systemctl --quiet is-active chaos-apt; do sleep 0.2; done")
	return nil
}

// unlocked reports whether a point comes before the apply has its lock.
func (p point) unlocked() bool {
	return p.Mode == "run" && (p.Command == "mkdir -p /run/vpnpush" || strings.HasPrefix(p.Command, "flock "))
}

// secondApply starts a second apply, which is to end at once and to say why. Before the
// first has its lock the second may be the one that does the work, and the first is told so.
func secondApply(c *chaos, t *testing.T, host string, cmd *exec.Cmd, _ func()) []string {
	_, free := c.l.Run(host, "flock", "-n", "/run/vpnpush/lock", "true")
	r := c.l.Vpnpush("apply", "--yes", "--limit", "vps,tokyo")
	if c.raced = free == 0 && r.Code == 0; c.raced {
		return nil
	}
	// A free lock is that of an apply that has yet to note itself, or of one that waits
	// to be confirmed and has.
	locked := func(who string) bool {
		return strings.Contains(r.Stdout, "another run is at work there: "+who)
	}
	if r.Code != 7 || !locked("root@") && !(free == 0 && locked("one that has just begun")) {
		return []string{fmt.Sprintf("the second apply exits with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)}
	}
	return nil
}

// driftBeside asks for drift, which must not take what an apply is about to do for one.
func driftBeside(c *chaos, t *testing.T, host string, cmd *exec.Cmd, _ func()) []string {
	_, free := c.l.Run(host, "flock", "-n", "/run/vpnpush/lock", "true")
	r := c.l.Vpnpush("drift", "vps", "tokyo")
	if free == 0 && r.Code == 2 {
		return nil // nothing has begun there: what is about to be done is pending
	}
	if r.Code != 4 && r.Code != 6 || !strings.Contains(r.Stdout, "a run is at work there") {
		return []string{fmt.Sprintf("drift exits with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)}
	}
	return nil
}
