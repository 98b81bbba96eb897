package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// breakReload makes the next apply on a host fail once it has reloaded
// strongSwan; its revert goes well. mend undoes it.
func breakReload(l *lab.Lab, host string) (mend func()) {
	l.Put(host, "/usr/local/sbin/sha256sum", `#!/bin/sh
case $* in --*/etc/ipsec.d/* | --*/etc/swanctl/*) echo injected; rm -f "$0"; exit 1;; esac
exec /usr/bin/sha256sum "$@"
`)
	l.MustRun(host, "chmod", "755", "/usr/local/sbin/sha256sum")
	return func() { l.MustRun(host, "rm", "-f", "/usr/local/sbin/sha256sum") }
}

// results gives what the recap of a report says, by host.
func results(out string) map[string]string {
	m := map[string]string{}
	for _, r := range regexp.MustCompile(`(?m)^(\w+) +(?:hub|site) +(rolled back|\w+)`).FindAllStringSubmatch(out, -1) {
		m[r[1]] = r[2]
	}
	return m
}

// The hub comes first, then one site, then the others: what fails stops what
// comes after it, and a site only itself.
func TestE2EOrder(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "nagoya", Place: "3", Layer: b.layer},
		{Name: "osaka", Place: "2", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer},
	}})
	inv := func(dpd int) string {
		return labHub + labTokyo + labOsaka + labNagoya + fmt.Sprintf("[tunnel]\ndpd_delay = \"%ds\"\n", dpd)
	}
	b.write(t, l, inv(30))
	vpnpush(t, l, 0, "apply", "--yes")

	// every step changes dpd_delay, on the hub and on every site
	step := func(dpd, code int, broken string, want map[string]string, args ...string) {
		t.Helper()
		b.write(t, l, inv(dpd))
		mend := breakReload(l, broken)
		defer mend()
		r := l.Vpnpush(append([]string{"apply", "--yes", "--confirm-timeout", "20s"}, args...)...)
		if got := results(r.Stdout); r.Code != code || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s broken: exit code %d, %v, want %d, %v\n%s", broken, r.Code, got, code, want, r.Stderr)
		}
	}
	step(31, 5, "vps", map[string]string{"vps": "rolled back", "nagoya": "skipped", "osaka": "skipped", "tokyo": "skipped"})
	step(32, 5, "nagoya", map[string]string{"vps": "changed", "nagoya": "rolled back", "osaka": "skipped", "tokyo": "skipped"})
	step(33, 5, "osaka", map[string]string{"vps": "changed", "nagoya": "changed", "osaka": "rolled back", "tokyo": "changed"})
	step(34, 5, "nagoya", map[string]string{"vps": "changed", "nagoya": "rolled back", "osaka": "changed", "tokyo": "changed"}, "--no-canary")
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)

	// a site whose line lives and where what follows the apply hangs: it puts everything
	// back by itself, and is asked for that
	b.write(t, l, inv(35))
	l.Put("nagoya", "/usr/local/sbin/systemctl", `#!/bin/sh
case $* in *is-active*vpnpush-apply-*) exec sleep 60;; esac
exec /usr/bin/systemctl "$@"
`)
	l.MustRun("nagoya", "chmod", "755", "/usr/local/sbin/systemctl")
	mend := b.hinder(l, "nagoya", "sleep 3") // what follows it has begun before it ends
	start := time.Now()
	r := l.Vpnpush("apply", "--yes", "--confirm-timeout", "10s")
	mend()
	l.MustRun("nagoya", "rm", "-f", "/usr/local/sbin/systemctl")
	want := map[string]string{"vps": "changed", "nagoya": "rolled back", "osaka": "skipped", "tokyo": "skipped"}
	if got := results(r.Stdout); r.Code != 5 || fmt.Sprint(got) != fmt.Sprint(want) || !strings.Contains(r.Stdout, "not confirmed within 10 s") {
		t.Errorf("nagoya silent: exit code %d, %v, want 5, %v\n%s", r.Code, got, want, r.Stdout)
	}
	if took := time.Since(start); took > 40*time.Second {
		t.Errorf("nagoya silent: the others were held for %v", took)
	} else {
		t.Logf("nagoya silent: over after %v", took)
	}
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)

	// Ctrl-C once: the host at work ends well, no other is begun
	b.write(t, l, inv(36))
	mend = b.hinder(l, "vps", "sleep 3")
	interrupt := func(times int) (string, int) {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		cmd := l.Command(ctx, "apply", "--yes", "-v", "--confirm-timeout", "20s")
		var stdout bytes.Buffer
		stderr := &watched{seen: make(chan struct{}), want: "vps: reload"}
		cmd.Stdout, cmd.Stderr = &stdout, stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-stderr.seen
		for range times {
			syscall.Kill(child(t, cmd.Process.Pid), syscall.SIGINT)
			time.Sleep(300 * time.Millisecond)
		}
		cmd.Wait()
		return stdout.String(), cmd.ProcessState.ExitCode()
	}
	out, code := interrupt(1)
	if got := results(out); code != 130 || fmt.Sprint(got) != fmt.Sprint(map[string]string{"vps": "changed", "nagoya": "skipped", "osaka": "skipped", "tokyo": "skipped"}) {
		t.Errorf("interrupted once: exit code %d, %v\n%s", code, got, out)
	}

	// twice: leave at once; the host puts everything back by itself
	b.write(t, l, inv(37))
	before := l.MustRun("vps", "cat", b.conf("tokyo"))
	interrupt(2)
	l.Wait(60*time.Second, "the hub is as before", func() bool {
		_, pending := l.Run("vps", "test", "-e", "/var/lib/vpnpush/pending")
		return pending == 1 && l.MustRun("vps", "cat", b.conf("tokyo")) == before
	})
	mend()
	if out := l.MustRun("vps", "tail", "-n", "1", "/var/lib/vpnpush/history"); !strings.Contains(out, "reverted") {
		t.Errorf("the last line of the history: %s", out)
	}
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)
}

// child gives the one child of a process: vpnpush itself, below what put it
// into the lab.
func child(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// watched closes seen when want has been written to it.
type watched struct {
	text bytes.Buffer
	want string
	seen chan struct{}
	done bool
}

func (w *watched) Write(b []byte) (int, error) {
	w.text.Write(b)
	if !w.done && strings.Contains(w.text.String(), w.want) {
		w.done = true
		close(w.seen)
	}
	return len(b), nil
}
