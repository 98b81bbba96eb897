package host

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// WorkRead brings whether an apply is at work on the host. It takes no lock, not
// even for a moment: an apply that began in it would be refused. Who holds the
// lock has it open; the holder's file stays behind, and says nothing alone.
// /proc/locks would do on a machine, but in a container it does not show the
// lock of a process that has ended (flock(1) has).
var WorkRead = tasks.Read{Kind: tasks.ReadCommand, Arg: "vpnpush-run", Shell: `p=/var/lib/vpnpush/pending l=/run/vpnpush/lock h=/run/vpnpush/holder
tell() { [ ! -e "$2" ] || printf "%s\t%s\t%s\n" "$1" "$(stat -c %Y "$2")" "$(head -n 1 "$2")"; }
tell pending "$p"
w=; [ ! -e "$l" ] || w=$(find /proc/[0-9]*/fd -maxdepth 1 -lname "$l" -print -quit 2>/dev/null)
[ -z "$w" ] || echo working
[ -z "$w" ] && [ ! -e "$p" ] || tell holder "$h"
:`}

// Work is an apply at work on a host, or one that waits to be confirmed.
type Work struct {
	Pending string    // the ID of the apply that waits; "" for none
	Working bool      // somebody holds the lock
	Holder  string    // who, where it is known: "root@laptop, apply ID"
	Since   time.Time // by the host's clock
}

// Busy reports whether the host is being worked on.
func (r Work) Busy() bool { return r.Working || r.Pending != "" }

// WorkFrom parses what WorkRead brought.
func WorkFrom(f tasks.Facts) (Work, error) {
	out, err := f.Output(WorkRead.Arg)
	if err != nil {
		return Work{}, err
	}
	var r Work
	for l := range strings.Lines(string(out)) {
		w := strings.SplitN(strings.TrimRight(l, "\n"), "\t", 3)
		if len(w) == 1 && w[0] == "working" {
			r.Working = true
			continue
		}
		if len(w) == 1 && w[0] == "" {
			continue
		}
		if len(w) != 3 {
			return Work{}, fmt.Errorf("command %s: %w: it printed %.60q", WorkRead.Arg, tasks.ErrUnknown, l)
		}
		// empty when the file went away while it was read
		if n, err := strconv.ParseInt(w[1], 10, 64); err == nil && r.Since.IsZero() {
			r.Since = time.Unix(n, 0).UTC()
		}
		switch w[0] {
		case "pending":
			r.Pending = w[2]
		case "holder":
			r.Holder = w[2]
		}
	}
	return r, nil
}
