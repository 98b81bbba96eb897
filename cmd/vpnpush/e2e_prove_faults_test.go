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
	// action is what the command of a run, or of a confirmation, is preceded by.
	action, confirm string
	during          meddler
}

// proveFaults are what can happen.
var proveFaults = []proveFault{
	{name: "power cut", action: "reboot -ff; sleep 60"},
	{name: "apply killed -9", action: "systemctl kill -s KILL 'vpnpush-apply-*.service'; sleep 60", confirm: "pkill -KILL -f 'apply.sh confirm'; exit 1"},
	{name: "a command fails", every: true, action: "exit 1"},
	{name: "client killed -9", action: hold, during: held(func(c *chaos, t *testing.T, host string, cmd *exec.Cmd) []string {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return nil
	})},
	{name: "orderly reboot", action: "systemctl --no-block reboot"},
	{name: "Ctrl-C", action: hold, during: held(func(c *chaos, t *testing.T, host string, cmd *exec.Cmd) []string {
		interrupt(t, cmd)
		return nil
	})},
	{name: "disk full", small: true, action: "cat /dev/zero >/small/fill 2>/dev/null || :", during: func(c *chaos, t *testing.T, host string, _ *exec.Cmd, done <-chan struct{}) []string {
		<-done
		c.l.MustRun(host, "rm", "-f", "/small/fill")
		return nil
	}},
	{name: "line cut for 2 s", action: hold, harmless: true, during: cutFor(2 * time.Second)},
	{name: "second apply", action: hold, harmless: true, during: held(secondApply)},
	{name: "drift", action: hold, harmless: true, during: held(driftBeside)},
	{name: "strongSwan restarted", action: `systemctl --quiet is-active strongswan-starter && systemctl restart strongswan-starter || systemctl restart strongswan`},
	{name: "line cut for 15 s", action: hold, during: cutFor(15 * time.Second)},
	{name: "packages upgraded", later: true, action: `systemd-run --quiet --unit=chaos-upgrade --collect --setenv=DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=60 ` +
		`-o Dpkg::Options::=--force-confold install --reinstall strongswan-libcharon libstrongswan $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' strongswan-starter charon-systemd 2>/dev/null | sed -n 's/ installed$//p')`},
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
func held(do func(c *chaos, t *testing.T, host string, cmd *exec.Cmd) []string) meddler {
	return func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, done <-chan struct{}) []string {
		if !fired(c.l, host, done) {
			return nil
		}
		wrong := do(c, t, host, cmd)
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
func cutFor(d time.Duration) meddler {
	return func(c *chaos, t *testing.T, host string, cmd *exec.Cmd, done <-chan struct{}) []string {
		if fired(c.l, host, done) {
			mend := cut(t, c.l, host)
			release(t, c.l, host)
			time.Sleep(d)
			mend()
		}
		return nil
	}
}

// secondApply starts a second apply, which is to end at once and to say why. Before the
// first has its lock the second may be the one that does the work.
func secondApply(c *chaos, t *testing.T, host string, cmd *exec.Cmd) []string {
	r := c.l.Vpnpush("apply", "--yes", "--limit", "vps,tokyo")
	if r.Code != 7 || !strings.Contains(r.Stdout, "another run is at work there: root@") {
		return []string{fmt.Sprintf("the second apply exits with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)}
	}
	return nil
}

// driftBeside asks for drift, which must not take what an apply is about to do for one.
func driftBeside(c *chaos, t *testing.T, host string, cmd *exec.Cmd) []string {
	r := c.l.Vpnpush("drift", "vps", "tokyo")
	if r.Code != 4 && r.Code != 6 || !strings.Contains(r.Stdout, "a run is at work there") {
		return []string{fmt.Sprintf("drift exits with %d:\n%s%s", r.Code, r.Stdout, r.Stderr)}
	}
	return nil
}
