package tasks

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

//go:embed apply.sh
var applyPrelude string

// Txn is one apply on one host.
type Txn struct {
	ID      string // sorts by time; letters, digits, "-"
	Host    string
	By      string // user@machine, for the lock's holder and the history
	Summary string // one line for the history
	Changes []Change
	// Manifest is written with the changes, and reverted with them; nil: there
	// is to be none.
	Manifest []byte
	// ManifestSHA is the digest of the manifest that the changes were planned
	// against, "" for none: an apply that came in between makes this one stale.
	ManifestSHA string
	// Before names the apply that this one takes back, if it is a rollback.
	Before string
	// ConfirmTimeout is how long the host waits for a confirmation before it
	// puts everything back; whole seconds.
	ConfirmTimeout time.Duration
}

// heredocEnd ends the here-documents of a script. No content may hold it as a
// line of its own.
const heredocEnd = "VPNPUSH_END_OF_TEXT"

// Script makes the apply script of a host: POSIX sh, whole in itself. It holds
// secrets, and therefore is one.
func (x Txn) Script() (secret.Value, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# vpnpush %s on %s\n", x.ID, x.Host)
	for _, kv := range [][2]string{{"id", x.ID}, {"by", oneLine(x.By)}, {"summary", oneLine(x.Summary)}, {"did", x.did()}} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], quoteAlways(kv[1]))
	}
	fmt.Fprintf(&b, "confirm_timeout=%d\n", int(x.ConfirmTimeout.Seconds()))
	leave := 0
	if x.Manifest == nil {
		leave = 1
	}
	fmt.Fprintf(&b, "leave=%d\n", leave)
	b.WriteString(applyPrelude)

	function := func(name string, body func() error) error {
		fmt.Fprintf(&b, "\n%s() {\n:\n", name)
		if err := body(); err != nil {
			return err
		}
		b.WriteString("}\n")
		return nil
	}
	phase := func(p Phase) error {
		for _, c := range x.Changes {
			if err := steps(&b, c.Task, c.Do, p); err != nil {
				return err
			}
		}
		return nil
	}
	// undo takes back what was done last first. One that fails does not keep the
	// others from being tried.
	undo := func(p Phase) error {
		for _, c := range slices.Backward(x.Changes) {
			if !slices.ContainsFunc(c.Undo, func(s Step) bool { return s.Phase == p }) {
				continue
			}
			b.WriteString("(set -e\n")
			if err := steps(&b, c.Task, c.Undo, p); err != nil {
				return err
			}
			b.WriteString(")\n# shellcheck disable=SC2181\n[ $? -eq 0 ] || rc=1\n")
		}
		return nil
	}
	backs := map[string]bool{}
	var order []string
	for _, c := range append(x.Changes[:len(x.Changes):len(x.Changes)], Change{Backs: []string{ManifestPath}}) {
		for _, p := range c.Backs {
			if !backs[p] {
				backs[p] = true
				order = append(order, p)
			}
		}
	}
	for _, f := range []struct {
		name string
		body func() error
	}{
		{"preconditions", func() error {
			fmt.Fprintf(&b, "pre %s %s\n", transport.Quote(ManifestPath), x.ManifestSHA)
			for _, c := range x.Changes {
				for _, p := range c.Pre {
					fmt.Fprintf(&b, "pre %s %s\n", transport.Quote(p.Path), p.SHA256)
				}
			}
			return nil
		}},
		{"want_packages", func() error { return phase(PhasePackages) }},
		{"backups", func() error {
			for _, p := range order {
				fmt.Fprintf(&b, "back %s\n", transport.Quote(p))
			}
			return nil
		}},
		{"write", func() error {
			if err := phase(PhaseFiles); err != nil {
				return err
			}
			last := put(ManifestPath, 0o600, x.Manifest)
			if x.Manifest == nil {
				last = Step{Phase: PhaseFiles, Shell: "rm -f -- " + transport.Quote(ManifestPath)}
			}
			return steps(&b, "manifest", []Step{last}, PhaseFiles)
		}},
		{"live", func() error { return phase(PhaseLive) }},
		{"services", func() error { return phase(PhaseServices) }},
		{"after", func() error { return phase(PhaseAfter) }},
		{"verify", func() error { return phase(PhaseVerify) }},
		// what lasts over a boot: it is put back at a boot, too
		{"undo_files", func() error { return undo(PhaseFiles) }},
		{"undo_live", func() error {
			// the phases keep their order: files are back already, then live
			// state, then services
			for p := PhaseLive; p <= PhaseVerify; p++ {
				if err := undo(p); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		if err := function(f.name, f.body); err != nil {
			return secret.Value{}, fmt.Errorf("script for %s: %w", x.Host, err)
		}
	}
	// A script that was cut on the way lacks the last line, and does nothing.
	fmt.Fprintf(&b, "\nmain \"$@\"\n# end of %s\n", x.ID)
	return secret.New(b.String()), nil
}

func steps(b *strings.Builder, task string, ss []Step, p Phase) error {
	for _, s := range ss {
		if s.Phase != p {
			continue
		}
		fmt.Fprintf(b, "at %s\n", transport.Quote(task))
		text := s.Stdin.Reveal()
		switch {
		case s.Stdin.IsZero():
			fmt.Fprintf(b, "%s\n", s.Shell)
			continue
		case strings.ContainsRune(text, 0):
			return fmt.Errorf("%s: its text holds a zero byte", task)
		case text != "" && !strings.HasSuffix(text, "\n"):
			return fmt.Errorf("%s: its text does not end in a newline", task)
		case strings.Contains("\n"+text, "\n"+heredocEnd+"\n"):
			return fmt.Errorf("%s: its text holds the line %s", task, heredocEnd)
		case strings.Contains(s.Shell, "\n"):
			return fmt.Errorf("%s: a step that reads text is one command", task)
		}
		fmt.Fprintf(b, "%s <<'%s'\n%s%s\n", s.Shell, heredocEnd, text, heredocEnd)
	}
	return nil
}

// Launch is the script that receives an apply script on its standard input,
// starts it as a systemd unit, and tells what it says: first "event" lines,
// then the lines of its result. Cut off, it leaves the unit running.
func (x Txn) Launch() string {
	return fmt.Sprintf(`export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
id=%s
t=/var/lib/vpnpush/txn/$id
mkdir -p "$t" || exit 74
cat >"$t/apply.sh" || { rm -rf "$t"; exit 74; }
case $(tail -n 1 "$t/apply.sh") in "# end of $id") ;; *) rm -rf "$t"; echo "the script did not arrive whole" >&2; exit 74;; esac
if ! mkdir -p /run/vpnpush || ! mkdir "/run/vpnpush/start-$id"; then rm -rf "$t"; echo "it came too late" >&2; exit 74; fi
systemd-run --quiet --collect --unit="vpnpush-apply-$id" -p RuntimeMaxSec=30min -p StandardOutput="file:$t/log" -p StandardError="file:$t/log" /bin/sh "$t/apply.sh" run || { rm -rf "$t"; exit 71; }
%s`, transport.Quote(x.ID), followScript)
}

// Follow is the script that takes up a run that Launch has started. A run that
// has not begun yet never will: what the network holds back of Launch may still
// come when the client has long told that nothing was done.
func (x Txn) Follow() string {
	return fmt.Sprintf(`export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
id=%s
t=/var/lib/vpnpush/txn/$id
if [ ! -e "$t/events" ] && mkdir -p /run/vpnpush && mkdir "/run/vpnpush/start-$id" 2>/dev/null; then
    rm -rf "$t"
    printf 'status\tnever-started\n'
    exit 0
fi
%s`, transport.Quote(x.ID), followScript)
}

const followScript = `n=0 dead=0
tell() { [ -e "$t/events" ] || return 0; m=$(wc -l <"$t/events"); [ "$m" -le "$n" ] || sed -n "$((n + 1)),${m}s/^/event	/p" "$t/events"; n=$m; }
until [ -e "$t/result" ]; do
    tell
    if ! systemctl --quiet is-active "vpnpush-apply-$id.service"; then dead=$((dead + 1)); [ "$dead" -lt 10 ] || break; fi
    sleep 0.1
done
tell
if [ -e "$t/result" ]; then cat "$t/result"; else printf 'status\tdied\n'; fi
[ ! -e "$t/outcome" ] || { printf 'outcome\t'; cat "$t/outcome"; }
printf 'log\n'
[ ! -e "$t/log" ] || tail -c 8000 "$t/log"
`

// Confirm is the script that keeps what was applied. It exits with 0 when it
// did; otherwise its output tells what happened instead.
func (x Txn) Confirm() string {
	return fmt.Sprintf("t=/var/lib/vpnpush/txn/%s/apply.sh; [ -e \"$t\" ] || { cat \"${t%%/*}/outcome\" 2>/dev/null || echo unknown; exit 1; }\nexec /bin/sh \"$t\" confirm", transport.Quote(x.ID))
}

// did is the history's word for a confirmed apply.
func (x Txn) did() string {
	if x.Before != "" {
		return RolledBackBefore + oneLine(x.Before)
	}
	return "applied"
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// Extend is the script that gives the client d again to confirm, from now on.
// It exits with 0 when the host is armed for that long.
func (x Txn) Extend(d time.Duration) string {
	return fmt.Sprintf("exec /bin/sh /var/lib/vpnpush/txn/%s/apply.sh extend %d", transport.Quote(x.ID), int(d.Seconds()))
}

// Revert is the script that puts back what was there, at once. The history
// gives why as the reason.
func (x Txn) Revert(why string) string {
	return fmt.Sprintf("exec /bin/sh /var/lib/vpnpush/txn/%s/apply.sh undo %s", transport.Quote(x.ID), quoteAlways(oneLine(why)))
}

// Outcome is the script that tells how an apply ended: "pending", "confirmed",
// "reverted\tWHY", "revert-failed\tWHY", or "untouched", when it ended before
// it changed anything.
func (x Txn) Outcome() string {
	return fmt.Sprintf(`t=/var/lib/vpnpush/txn/%[1]s
if [ -e "$t/outcome" ]; then cat "$t/outcome"
elif [ -e "$t/confirmed" ]; then echo confirmed
elif [ "$(cat /var/lib/vpnpush/pending 2>/dev/null)" = %[1]s ]; then echo pending
elif [ -e "$t/armed" ]; then echo unknown
else echo untouched; fi
`, transport.Quote(x.ID))
}

// Dial is the script that starts an auto=start conn that is not up, as charon
// does when it loads it. How that ends is seen in the SAs.
func Dial(conn string) string {
	return "timeout 10 ipsec up " + transport.Quote(conn) + " >/dev/null 2>&1; :"
}
