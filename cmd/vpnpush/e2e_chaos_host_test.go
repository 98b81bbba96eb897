package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// snapshot prints how a host stands, in a canonical form: all of /etc with mode
// and owner, the manifest without its dates, and what runs. What an apply leaves
// on purpose, the unit that reverts at boot, is not in it.
const snapshot = `
find /etc ! -name vpnpush-revert.service -printf '%y %m %U:%G %p %l\n' | sort
find /etc -type f ! -name vpnpush-revert.service -print0 | sort -z | xargs -0 sha256sum
grep -v -e '"generation"' -e '"applied"' -e '"by"' /var/lib/vpnpush/manifest.json 2>/dev/null
sysctl -e net.ipv4.ip_forward net.ipv4.conf.all.rp_filter net.ipv4.conf.all.send_redirects net.ipv4.conf.all.accept_redirects \
    net.ipv4.conf.default.rp_filter net.ipv4.conf.default.send_redirects net.ipv4.conf.eth0.rp_filter net.ipv4.conf.eth0.send_redirects
# by table; a table without a rule is as good as none
iptables-save | sed '/^#/d; s/ \[[0-9:]*\]$//' | awk '/^[*]/ { t = $1 } { text[t] = text[t] t " " $0 "\n" } /^-A|^:[^ ]+ -/ { has[t] = 1 }
    END { for (t in has) printf "%s", text[t] }' | sort -s -k 1,1
{ ipsec statusall | sed -n '/^Connections:/,/^[RS][a-z]* .*:/p' | grep '^ '; swanctl --list-conns; } 2>/dev/null | sort
for u in strongswan-starter strongswan vpnpush-redial netfilter-persistent ssh cron; do
    printf '%s: %s, %s\n' "$u" "$(systemctl is-enabled $u 2>&1)" "$(systemctl is-active $u)"
done
`

// litter prints what no apply may leave behind, once it is over.
const litter = `
ls -d /var/lib/vpnpush/pending /var/lib/vpnpush/revert-failed 2>/dev/null
systemctl list-units --all --plain --no-legend 'vpnpush-*' | grep -v -e '^vpnpush-revert\.service' -e '^vpnpush-redial\.service'
find /etc /var/lib/vpnpush -name '.vpnpush.*'
:`

// intercept stands for a command in /usr/local/sbin, which apply.sh has first in
// its PATH. It counts the commands that apply.sh calls in a mode ("run", "undo",
// "confirm"), and does /run/chaos/action before the one that is due; from then
// on /run/chaos/always, if it is there.
const intercept = `#!/bin/sh
name=${0##*/}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ -e /run/chaos/when ]; then
    read -r mode due match </run/chaos/when
    IFS= read -r caller <"/proc/$PPID/cmdline" || :
    case "$caller $name $*" in
    *"/apply.sh$mode"*"$match"*)
        printf '%s\n' "$name $*" | head -n 1 | cut -c 1-70 >>/run/chaos/calls
        if [ "$(wc -l </run/chaos/calls)" -ge "$due" ] && mkdir /run/chaos/fired 2>/dev/null; then
            tail -n 1 /run/chaos/calls >/run/chaos/point
            . /run/chaos/action
        elif [ -e /run/chaos/fired ] && [ -e /run/chaos/always ]; then
            . /run/chaos/always
        fi ;;
    esac
fi
exec "$name" "$@"
`

// intercepted are the commands of apply.sh that a fault can come at.
const intercepted = "mkdir mktemp chown chmod sync mv rm cat sha256sum stat grep awk cp cmp tail head sed systemctl systemd-run ipsec swanctl iptables-restore iptables-save date sleep timeout sort apt-get debconf-set-selections"

// standing is what snapshot prints.
func standing(t *testing.T, l *lab.Lab, host string) string {
	t.Helper()
	return l.MustRun(host, "sh", "-c", snapshot)
}

// bug puts the interception on a host.
func bug(t *testing.T, l *lab.Lab, host string) {
	t.Helper()
	l.Put(host, "/usr/local/sbin/chaos", intercept)
	l.MustRun(host, "sh", "-c", "cd /usr/local/sbin && chmod 755 chaos && for c in "+intercepted+"; do ln -sf chaos $c; done")
}

// fault is what happens on a host when apply.sh calls its n-th command.
type fault struct {
	mode   string // of apply.sh: "run", "undo", "confirm"
	n      int
	match  string // only commands that hold this text count
	action string // shell, before the command; $name and "$@" are the command
	always string // shell, before every later command
}

// arm sets a fault up; calls then counts from 0.
func arm(t *testing.T, l *lab.Lab, host string, f fault) {
	t.Helper()
	l.MustRun(host, "sh", "-c", `rm -rf /run/chaos; mkdir -p /run/chaos
printf '%s\n' "$3" >/run/chaos/action
[ -z "$4" ] || printf '%s\n' "$4" >/run/chaos/always
printf '%s %s %s\n' "$1" "$2" "$5" >/run/chaos/when`, "arm", f.mode, strconv.Itoa(f.n), f.action, f.always, f.match)
}

// disarm takes a fault back, and tells the command that it came at, "" if none.
func disarm(t *testing.T, l *lab.Lab, host string) string {
	t.Helper()
	out, _ := l.Run(host, "sh", "-c", "cat /run/chaos/point 2>/dev/null; rm -rf /run/chaos")
	return strings.TrimSpace(out)
}

// calls counts what apply.sh has called since arm.
func calls(t *testing.T, l *lab.Lab, host string) int {
	t.Helper()
	out := l.MustRun(host, "sh", "-c", "cat /run/chaos/calls 2>/dev/null | wc -l")
	n, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fired waits until the fault has come, and tells whether it has.
func fired(l *lab.Lab, host string, done <-chan struct{}) bool {
	for {
		if _, code := l.Run(host, "test", "-e", "/run/chaos/fired"); code == 0 {
			return true
		}
		select {
		case <-done:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hold is an action that waits until release, or disarm, says go on.
const hold = `n=0; while [ -e /run/chaos/when ] && [ ! -e /run/chaos/go ] && [ $n -lt 300 ]; do n=$((n + 1)); sleep 0.1; done`

func release(t *testing.T, l *lab.Lab, host string) {
	t.Helper()
	l.MustRun(host, "sh", "-c", "touch /run/chaos/go")
}

// cut drops all SSH packets between the operator and a host, until the returned
// function is called.
func cut(t *testing.T, l *lab.Lab, host string) (mend func()) {
	t.Helper()
	addr := map[string]string{"vps": "203.0.113.10", "tokyo": "192.168.1.10"}[host]
	rule := func(verb string) {
		t.Helper()
		for _, r := range []string{"INPUT -p tcp -s " + addr + " --sport 22 -j DROP", "OUTPUT -p tcp -d " + addr + " --dport 22 -j DROP"} {
			if out, code := l.Control(append([]string{"iptables", "-w", verb}, strings.Fields(r)...)...); code != 0 {
				t.Fatalf("iptables %s %s: %s", verb, r, out)
			}
		}
	}
	rule("-I")
	return func() { t.Helper(); rule("-D") }
}

// over waits until nothing of an apply is left to happen on a host, and tells
// what stays behind.
func over(t *testing.T, l *lab.Lab, host string, limit time.Duration) string {
	t.Helper()
	var out string
	for end := time.Now().Add(limit); ; time.Sleep(300 * time.Millisecond) {
		var code int
		out, code = l.Run(host, "sh", "-c", litter)
		if code == 0 && out == "" || time.Now().After(end) {
			return out
		}
	}
}

// difference shows where two snapshots differ, short.
func difference(a, b string) string {
	in := func(s string) map[string]bool {
		m := map[string]bool{}
		for line := range strings.Lines(s) {
			m[line] = true
		}
		return m
	}
	var out strings.Builder
	had, has := in(a), in(b)
	for line := range strings.Lines(a) {
		if !has[line] {
			fmt.Fprintf(&out, "- %s", line)
		}
	}
	for line := range strings.Lines(b) {
		if !had[line] {
			fmt.Fprintf(&out, "+ %s", line)
		}
	}
	if out.Len() == 0 && a != b {
		return "the same lines in another order\n"
	}
	return out.String()
}
