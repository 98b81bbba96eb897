package host

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

// Launch is the script that receives an apply script on its standard input,
// starts it as a systemd unit, and tells what it says: first "event" lines,
// then the lines of its result. Cut off, it leaves the unit running.
func (x Txn) Launch() string {
	receive := "cat"
	if x.Packed {
		receive = "gzip -dc"
	}
	return fmt.Sprintf(`export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
id=%[1]s
t=/var/lib/vpnpush/txn/$id
mkdir -p "$t" || exit %[2]d
%[5]s >"$t/apply.sh" || { rm -rf "$t"; exit %[2]d; }
case $(tail -n 1 "$t/apply.sh") in "# end of $id") ;; *) rm -rf "$t"; echo "the script did not arrive whole" >&2; exit %[2]d;; esac
if ! mkdir -p /run/vpnpush || ! mkdir "/run/vpnpush/start-$id"; then rm -rf "$t"; echo "the start came after its client had given up" >&2; exit %[2]d; fi
systemd-run --quiet --collect --unit="vpnpush-apply-$id" -p RuntimeMaxSec=30min -p StandardOutput="file:$t/log" -p StandardError="file:$t/log" /bin/sh "$t/apply.sh" run || { rm -rf "$t"; exit %[3]d; }
%[4]s`, transport.Quote(x.ID), exitIO, exitStart, followScript, receive)
}

// Sent returns the apply script as Launch receives it.
func (x Txn) Sent(script secret.Value) io.Reader {
	if !x.Packed {
		return strings.NewReader(script.Reveal())
	}
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, script.Reveal()) // a buffer takes all
	z.Close()
	return &b
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

// Revert is the script that puts back what was there, at once. The history
// gives why as the reason.
func (x Txn) Revert(why string) string {
	return fmt.Sprintf("exec /bin/sh /var/lib/vpnpush/txn/%s/apply.sh undo %s", transport.Quote(x.ID), transport.Quote(oneLine(why)))
}

// Outcome is the script that tells how an apply ended: "pending", "confirmed",
// "reverted\tWHY", "revert-failed\tWHY", or "untouched", when it ended before
// it changed anything. What it tells as confirmed outlasts a power cut, and is ended where
// the confirmation was cut.
func (x Txn) Outcome() string {
	return fmt.Sprintf(`t=/var/lib/vpnpush/txn/%[1]s
if [ -e "$t/outcome" ]; then cat "$t/outcome"
elif [ -e "$t/confirmed" ]; then
    if [ -e "$t/apply.sh" ]; then (exec /bin/sh "$t/apply.sh" confirm 5) >/dev/null 2>&1; else sync -- "$t"; fi
    echo confirmed
elif [ "$(cat /var/lib/vpnpush/pending 2>/dev/null)" = %[1]s ]; then echo pending
elif [ -e "$t/armed" ]; then echo unknown
else echo untouched; fi
`, transport.Quote(x.ID))
}
