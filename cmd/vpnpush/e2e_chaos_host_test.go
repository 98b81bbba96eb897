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
systemctl show -p Id,LoadState,UnitFileState,ActiveState strongswan-starter strongswan vpnpush-redial netfilter-persistent ssh cron
`

// litter prints what no apply may leave behind, once it is over, and what its history lacks.
const litter = `
ls -d /var/lib/vpnpush/pending /var/lib/vpnpush/revert-failed /var/lib/vpnpush/txn/*/apply.sh 2>/dev/null
for x in /var/lib/vpnpush/txn/*/confirmed; do
    x=${x%/*} x=${x##*/}
    [ "$x" = '*' ] || grep -q "	$x	[ar][po]" /var/lib/vpnpush/history || echo "the history does not tell of $x"
done
systemctl list-units --all --plain --no-legend 'vpnpush-*' | grep -v -e '^vpnpush-revert\.service' -e '^vpnpush-redial\.service'
find /etc /var/lib/vpnpush -name '.vpnpush.*'
:`

// intercept stands for a command in /usr/local/sbin, which apply.sh has first in
// its PATH. It numbers the commands that apply.sh calls in a mode ("run", "undo",
// "confirm"), each a file in /run/chaos/calls, and does /run/chaos/action before the
// one that is due; from then on /run/chaos/always, if it is there. It starts no
// process of its own: a hundred times in an apply, each would be felt.
const intercept = `#!/bin/sh
name=${0##*/}
PATH=/usr/sbin:/usr/bin:/sbin:/bin
if [ -e /run/chaos/when ]; then
    read -r mode due match </run/chaos/when
    { IFS= read -r caller <"/proc/$PPID/cmdline"; } 2>/dev/null || :
    case "$caller $name $*" in
    *"/apply.sh"$mode*"$match"*)
        said="$name $*"
        said=${said%%
*}
        n=1
        set -C
        # two of a pipe may be at it at once, and disarm takes it all away
        until [ ! -e "/run/chaos/calls/$n" ] && printf '%.200s\n' "$said" >"/run/chaos/calls/$n"; do
            [ -d /run/chaos/calls ] || break
            n=$((n + 1))
        done 2>/dev/null
        if [ "$n" -ge "$due" ] && { printf '%s: %.200s\n' "$n" "$said" >/run/chaos/fired; } 2>/dev/null; then
            set +C
            . /run/chaos/action
        elif [ -e /run/chaos/fired ] && [ -e /run/chaos/always ]; then
            set +C
            . /run/chaos/always
        fi ;;
    esac
fi
exec "$name" "$@"
`

// intercepted are the commands of apply.sh that a fault can come at.
const intercepted = "mkdir mktemp chown chmod sync mv rm rmdir cat sha256sum stat grep awk cp cmp cut tail head sed du df find flock unshare " +
	"systemctl systemd-run journalctl ipsec swanctl sysctl modprobe iptables-restore iptables-save date sleep timeout sort sh " +
	"apt-get dpkg dpkg-query dpkg-deb debconf-set-selections"

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
	mode   string // of apply.sh: "run", "undo", "confirm", or a pattern of these
	n      int
	match  string   // only commands that hold this text count
	action string   // shell, before the command; $name and "$@" are the command
	always string   // shell, before every later command
	notes  []string // files in /run/chaos that tell the action something by being there
	stuck  string   // a folder that it keeps from being taken away once it is empty
}

// arm sets a fault up; calls then count from 0.
func arm(t *testing.T, l *lab.Lab, host string, f fault) {
	t.Helper()
	l.MustRun(host, "sh", "-c", `rm -rf /run/chaos; mkdir -p /run/chaos/calls
printf '%s\n' "$3" >/run/chaos/action
[ -z "$4" ] || printf '%s\n' "$4" >/run/chaos/always
for s in $6; do echo >"/run/chaos/$s"; done
printf '%s %s %s\n' "$1" "$2" "$5" >/run/chaos/when`, "arm", f.mode, strconv.Itoa(f.n), f.action, f.always, f.match, strings.Join(f.notes, " "))
}

// disarm takes a fault back, and tells the command that it came at, "" if none.
func disarm(t *testing.T, l *lab.Lab, host string) string {
	t.Helper()
	out, _ := l.Run(host, "sh", "-c", "cat /run/chaos/fired 2>/dev/null; rm -rf /run/chaos")
	_, command, _ := strings.Cut(strings.TrimSpace(out), ": ")
	return command
}

// calls returns the commands that apply.sh has called since arm.
func calls(t *testing.T, l *lab.Lab, host string) []string {
	t.Helper()
	out := l.MustRun(host, "sh", "-c", `n=1; while [ -e "/run/chaos/calls/$n" ]; do cat "/run/chaos/calls/$n"; n=$((n + 1)); done`)
	return strings.Split(strings.TrimSpace(out), "\n")
}

// fired waits until the fault has come, and tells whether it has.
func fired(l *lab.Lab, host string, done <-chan struct{}) bool {
	for {
		out, _ := l.Run(host, "sh", "-c", "n=0; until [ -e /run/chaos/fired ] || [ $n -ge 20 ]; do sleep 0.05; n=$((n + 1)); done; ls /run/chaos/fired 2>/dev/null")
		if out != "" {
			return true
		}
		select {
		case <-done:
			return false
		default:
		}
	}
}

// hold is an action that waits until release, or disarm, says go on.
const hold = `i=0; while [ -e /run/chaos/when ] && [ ! -e /run/chaos/go ] && [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done`

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

// settled is the script that waits until nothing of an apply is left to happen on a host, for
// $1 seconds at most, and prints what stays behind, a line, and how the host stands. What is
// not over at its first look is looked at again.
const settled = `
left() {
    case $(systemctl is-system-running) in running | degraded) ;; *) echo 'it is not up'; return ;; esac
    [ -z "$(systemctl list-units --plain --no-legend 'chaos-*')" ] || echo 'what was begun beside it'` + litter + `
}
end=$(($(date +%s) + $1))
# what waits for a deadline is asked by what costs least
while [ -e /var/lib/vpnpush/pending ] && [ "$(date +%s)" -lt "$end" ]; do sleep 0.3; done
while out=$(left) && [ -n "$out" ] && [ "$(date +%s)" -lt "$end" ]; do sleep 0.3; done
printf '%s\n' "$out"
echo =====
` + snapshot + `
eval "$2"
echo =====`

// over waits until nothing of an apply is left to happen on a host, and tells what stays
// behind and how the host stands. A host that is booting is asked until it is up.
func over(l *lab.Lab, host, more string, limit time.Duration) (left, stands string) {
	for end := time.Now().Add(limit + 90*time.Second); ; time.Sleep(200 * time.Millisecond) {
		out, code := l.Run(host, "sh", "-c", settled, "settled", fmt.Sprint(int(limit.Seconds())), more)
		if p := strings.Split(out, "=====\n"); code == 0 && len(p) == 3 {
			return strings.TrimSpace(p[0]), p[1]
		}
		if time.Now().After(end) {
			return "it does not come up", ""
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
