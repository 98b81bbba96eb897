package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// record stands in the place of a fault, and keeps the script, and at each command which
// part of the script calls it. With states it keeps also a digest of what stands on the host:
// files with their times, units, the packet filter, kernel parameters, packages and the
// daemon. What is noise is left out: what only tells the client how far it is; the time of
// a folder, whose files are there; of a temporary file all but its place, for whoever comes
// across one takes it away unread; what only the run itself reads, and, as long as nothing
// is pending, its backup.
func record(states bool) fault {
	action := `
for s in /var/lib/vpnpush/txn/*/apply.sh; do
    d=${s%/*}
    [ -e "/run/chaos/script-${d##*/}" ] || cp -- "$s" "/run/chaos/script-${d##*/}" </dev/null
done
case $caller in *apply.shconfirm) echo confirm ;; *) echo run ;; esac >"/run/chaos/state-$n"
`
	if states {
		action += `{
    own='trial|trial\.err|apt|edited|edited2'; [ -e /var/lib/vpnpush/pending ] || own="$own|backup|backup\\.(list|dirs)"
    find /etc /var/lib/vpnpush /run/vpnpush /usr/sbin/policy-rc.d /var/lib/dpkg/status ! -name events ! -name log ! -name result.tmp \
        '(' -name '.vpnpush.??????' -printf '%h a temporary file\n' -o -type d -printf '%p %m %U %i\n' -o -printf '%p %s %m %U %i %T@\n' ')' |
        grep -vE "/txn/[^/]*/($own)(/| )" | sort
    ls /run/systemd/transient
    iptables-save | sed '/^#/d; s/ \[.*//'
    cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/rp_filter /run/charon.pid
} 2>/dev/null </dev/null | cksum >>"/run/chaos/state-$n"
`
	}
	return fault{mode: "[rc]*", n: 1, action: action, always: action}
}

// point is a command that an apply calls on a host.
type point struct {
	Host, Mode string
	Index      int // among those of its mode on that host
	Command    string
	// Last is whether it is the last one in a state of the host: a fault at any earlier
	// one since the state began finds the same.
	Last bool
}

// recall returns what record has noted on a host: the commands, and the scripts.
func recall(t *testing.T, l *lab.Lab, host string) (points []point, scripts string) {
	t.Helper()
	modes, states := []string{}, []string{}
	for line := range strings.Lines(l.MustRun(host, "sh", "-c", `n=1; while [ -e "/run/chaos/calls/$n" ]; do { cat "/run/chaos/state-$n" 2>/dev/null || printf 'run\n'; } | tr '\n' ' '; echo; n=$((n + 1)); done`)) {
		mode, state, _ := strings.Cut(strings.TrimSpace(line), " ")
		modes, states = append(modes, mode), append(states, state)
	}
	count := map[string]int{}
	for i, command := range calls(t, l, host) {
		count[modes[i]]++
		last := i == len(states)-1 || modes[i+1] != modes[i] || states[i+1] != states[i] || !known(command)
		points = append(points, point{Host: host, Mode: modes[i], Index: count[modes[i]], Command: aNumber.ReplaceAllString(command, "*"), Last: last})
	}
	return points, l.MustRun(host, "sh", "-c", "cat /run/chaos/script-*")
}

// known reports whether all that a command changes is in what record has a digest of: it is
// of files, or reads only. A sync changes nothing where a power cut takes no file away, as
// in the fast lab.
func known(command string) bool {
	name, args, _ := strings.Cut(command, " ")
	switch name {
	case "systemctl":
		return strings.Contains(args, "is-active") || strings.Contains(args, "is-enabled") || strings.Contains(args, "is-system-running") || strings.HasPrefix(args, "show")
	case "ipsec":
		return strings.HasPrefix(args, "status") || args == "--piddir"
	case "swanctl":
		return strings.HasPrefix(args, "--list") || strings.HasPrefix(args, "--stats")
	case "apt-get":
		return strings.HasPrefix(args, "-s ")
	}
	return slices.Contains(strings.Fields("mkdir mktemp chown chmod sync mv rm rmdir cat sha256sum stat grep awk cp cmp cut tail head sed du df find journalctl iptables-save date sort sh dpkg-query"), name)
}

var (
	aNumber = regexp.MustCompile(`\d{8}T\d{6}-[0-9a-f]{8}|\.vpnpush\.\w{6}`)
	// what is another in each apply, and each lab
	anApply = regexp.MustCompile(`\d{8}T\d{6}-[0-9a-f]{8}|(?m:^by=.*$)|(?m:^confirm_timeout=.*$)|(?m:^summary=.*$)|"generation": \d+|"by": "[^"]*"|\d{4}-\d\d-\d\dT[0-9:.]+Z|\b[0-9a-f]{64}\b|[A-Za-z0-9+/]{60,}=*|ssh-ed25519 \S+|SHA256:\S+`)
)

// digest is short for the scripts that a change makes: points of the one are none of the
// other's.
func digest(scripts string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(anApply.ReplaceAllString(scripts, "*"))))[:10]
}

// points are those of a change, to the one inventory and to the other.
type points [2][]point

// file is where those of a change and a script are kept.
func (points) file(dir, name string) string { return filepath.Join(dir, "points-"+name+".json") }

// load returns the points that the first lab has found, or those of this one where it is
// the first: how often a script asks whether a service is up is another each time.
func (p points) load(dir, name string) (points, error) {
	file := p.file(dir, name)
	b, err := os.ReadFile(file)
	if err == nil {
		var had points
		err := json.Unmarshal(b, &had)
		return had, err
	}
	if b, err = json.MarshalIndent(p, "", "\t"); err != nil {
		return p, err
	}
	return p, os.WriteFile(file, b, 0o644)
}
