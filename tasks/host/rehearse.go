package host

import (
	_ "embed"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

//go:embed rehearse.sh
var rehearseShell string

// Rehearsal is a hub and sites as twins on the hub: each in namespaces of its own, with
// what it is to have, and the internet between them.
type Rehearsal struct {
	Daemon tasks.Daemon // runs all of them
	Hub    RehearsedHub
	Sites  []RehearsedSite
}

// RehearsedHub is the hub's twin: a copy of the hub with the files that Changes write.
type RehearsedHub struct {
	Local, Public string   // the address that it carries, and the one that sites call
	Inside        []string // an address in each network behind it
	Changes       []tasks.Change
}

// RehearsedSite is a site's twin, whose files are Twin's alone.
type RehearsedSite struct {
	Conn   string   // that dials
	Inside []string // an address in each network behind it
	Twin   tasks.Twin
}

// endOfRehearsal ends a script that arrived whole.
const endOfRehearsal = "# end of the rehearsal"

// Launch is the script that receives a rehearsal's script on its standard input, and runs
// it where the host sees nothing of it. That ends with this one, when nobody listens to it
// any more, and when its time is up, whatever it is at.
func (r Rehearsal) Launch() string {
	return fmt.Sprintf(`export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
trap '' PIPE
exec 3<&0 # what runs in the background has no standard input of its own accord
# shellcheck disable=SC2016 # it is run by another shell
setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc -- /bin/sh -c 'mount -t tmpfs -o mode=0700 tmpfs /tmp || exit
cat >/tmp/rehearse.sh
case $(tail -n 1 /tmp/rehearse.sh) in "%s") ;; *) echo "the script did not arrive whole" >&2; exit 74 ;; esac
exec /bin/sh /tmp/rehearse.sh stage' <&3 3<&- &
p=$!
(
    n=0
    while sleep 1 >/dev/null 2>&1 && kill -0 "$p" 2>/dev/null; do
        n=$((n + 1))
        if [ "$n" -gt %d ] || ! echo 2>/dev/null; then kill -KILL "$p"; fi
    done
) </dev/null 3<&- &
wait "$p"
`, endOfRehearsal, int(r.Limit().Seconds()))
}

// Limit is how long a rehearsal may take.
func (r Rehearsal) Limit() time.Duration {
	return 2*time.Minute + time.Duration((len(r.Sites)+fourSites-1)/fourSites)*3*time.Minute
}

// outside returns the address behind which the Nth site calls, and own the one that it has
// where it may have any. Neither can be in an inventory: they are link-local.
func outside(n int) string { return fmt.Sprintf("169.254.%d.%d", 100+n/250, 1+n%250) }

func (s RehearsedSite) own(n int) string {
	if s.Twin.Address != "" {
		return s.Twin.Address
	}
	return fmt.Sprintf("169.254.%d.%d", n/250, 1+n%250)
}

// Script returns the script of a rehearsal: POSIX sh, whole in itself. It holds secrets,
// and therefore is one.
func (r Rehearsal) Script() (secret.Value, error) {
	var b strings.Builder
	b.WriteString("#!/bin/sh\n")
	for _, kv := range [][2]string{
		{"daemon", r.Daemon.Name}, {"hub_local", r.Hub.Local}, {"hub_public", r.Hub.Public},
		{"hub_inside", strings.Join(r.Hub.Inside, " ")}, {"sites", strconv.Itoa(len(r.Sites))},
	} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], transport.Quote(kv[1]))
	}
	b.WriteString(rehearseShell)
	parts := Txn{Changes: r.Hub.Changes}.parts()
	for _, p := range []tasks.Part{tasks.PartUnits, tasks.PartTrial, r.Daemon.Part, r.Daemon.Twin} {
		if !slices.ContainsFunc(parts, func(had tasks.Part) bool { return had.Name == p.Name }) {
			parts = append(parts, p)
		}
	}
	for _, p := range parts {
		fmt.Fprintf(&b, "\n# --- %s\n\n%s", p.Name, p.Text)
	}
	twins := [][]tasks.Change{r.Hub.Changes}
	b.WriteString("\n# site N: what is to be known of it\nsite() {\ncase $1 in\n")
	for i, s := range r.Sites {
		twins = append(twins, []tasks.Change{{Task: s.Conn, Do: s.Twin.Files}})
		fmt.Fprintf(&b, "%d) conn=%s own=%s outside=%s inside=%s ;;\n", i+1, transport.Quote(s.Conn), s.own(i), outside(i), transport.Quote(strings.Join(s.Inside, " ")))
	}
	b.WriteString("esac\n}\n\n# write TWIN: its files\nwrite() {\ncase $1 in\n")
	for n, changes := range twins {
		fmt.Fprintf(&b, "%d)\n:\n", n)
		for _, c := range changes {
			if err := steps(&b, c.Task, c.Do, tasks.PhaseFiles); err != nil {
				return secret.Value{}, fmt.Errorf("script of a rehearsal: %w", err)
			}
		}
		b.WriteString(";;\n")
	}
	b.WriteString("esac\n}\n\n# listing TWIN: how strongSwan stands in it\nlisting() {\n\"${daemon}_about\" | sed \"s/^/$1\tabout\t/\"\n")
	for _, read := range tasks.SAReads() {
		notExpanded(&b, read.Shell)
		fmt.Fprintf(&b, "ask \"$1\" %s %s\n", transport.Quote(read.Arg), transport.Quote(read.Shell))
	}
	b.WriteString("}\n\nmain \"$@\"\n" + endOfRehearsal + "\n")
	script := b.String()
	if cover != nil {
		script = cover(script)
	}
	return secret.New(script), nil
}

// Rehearsed is what was found in a rehearsal.
type Rehearsed struct {
	Began  bool   // the host let it begin
	Cannot string // why the host cannot; "": it could
	NoNAT  string // why there was no NAT between the twins; "": there was
	Ended  bool   // it came to its end
	Hub    RehearsedTwin
	Sites  []RehearsedTwin

	of    Rehearsal
	heard map[string][]byte // the hub's log by who called; nil: not looked at
}

// RehearsedTwin is what was found in a twin.
type RehearsedTwin struct {
	Told  bool          // it came so far
	After time.Duration // how long it was looked at, a site
	Said  string        // what its commands printed, where it did not come so far
	About string        // which strongSwan it is, and its plugins
	Log   []byte
	// listings are its SAs, as they were when it was asked: a hub's once for each four
	// of its sites.
	listings []tasks.Facts

	commands map[string]tasks.CommandState
}

// From returns the hub's log of what it heard from the Nth site.
func (r *Rehearsed) From(n int) []byte {
	if r.heard == nil {
		r.heard = tasks.Heard(r.Hub.Log)
	}
	if r.NoNAT != "" {
		return r.heard[r.of.Sites[n].own(n)]
	}
	return r.heard[outside(n)]
}

// SAs returns the SAs of the Nth site and of the hub, as they stood side by side.
func (r *Rehearsed) SAs(n int) (site, hub []strongswan.SA, err error) {
	if len(r.Sites[n].listings) == 0 || n/fourSites >= len(r.Hub.listings) {
		return nil, nil, fmt.Errorf("%w: a twin did not tell how it stands", tasks.ErrUnknown)
	}
	if site, err = tasks.SAsFrom(r.Sites[n].listings[0]); err != nil {
		return nil, nil, err
	}
	hub, err = tasks.SAsFrom(r.Hub.listings[n/fourSites])
	return site, hub, err
}

// fourSites are tried side by side (rehearse.sh).
const fourSites = 4

// Rehearsals reads what a rehearsal prints, as it comes.
type Rehearsals struct {
	// Found, if set, is told of a site that was tried, by its number.
	Found func(n int)

	buf []byte
	out Rehearsed
}

// NewRehearsals returns what reads what a rehearsal prints.
func NewRehearsals(of Rehearsal) *Rehearsals {
	return &Rehearsals{out: Rehearsed{of: of, Sites: make([]RehearsedTwin, len(of.Sites))}}
}

// Write implements io.Writer. It never fails.
func (r *Rehearsals) Write(b []byte) (int, error) {
	r.buf = append(r.buf, b...)
	for {
		i := slices.Index(r.buf, '\n')
		if i < 0 {
			return len(b), nil
		}
		r.line(string(r.buf[:i]))
		r.buf = r.buf[i+1:]
	}
}

// Rehearsed returns what was found until now.
func (r *Rehearsals) Rehearsed() *Rehearsed { return &r.out }

func (r *Rehearsals) line(l string) {
	w := strings.SplitN(l, "\t", 3)
	if len(w) != 3 {
		return // a sign of life
	}
	who, what, text := w[0], w[1], w[2]
	if who == "stage" {
		switch what {
		case "has":
			r.out.Began = true
		case "cannot":
			r.out.Cannot = text
		case "nonat":
			r.out.NoNAT = text
		case "four":
			r.out.Hub.listed()
			for i := range r.out.Sites {
				r.out.Sites[i].listed()
			}
		case "end":
			r.out.Ended = true
		}
		return
	}
	n, err := strconv.Atoi(who)
	if err != nil || n < 0 || n > len(r.out.Sites) {
		return
	}
	t := &r.out.Hub
	if n > 0 {
		t = &r.out.Sites[n-1]
	}
	switch what {
	case "after":
		cs, _ := strconv.Atoi(text)
		t.Told, t.After = true, time.Duration(cs)*10*time.Millisecond
		if r.Found != nil {
			r.Found(n - 1)
		}
	case "said":
		t.Said += text + "\n"
	case "about":
		t.About += text + "\n"
	case "log":
		t.Log = append(t.Log, text+"\n"...)
	default:
		t.command(what, text)
	}
}

// command takes in a line of what a command printed, or how it ended.
func (t *RehearsedTwin) command(what, text string) {
	name, text, _ := strings.Cut(text, "\t")
	if t.commands == nil {
		t.commands = map[string]tasks.CommandState{}
	}
	c := t.commands[name]
	switch what {
	case "status":
		c.Code, _ = strconv.Atoi(text)
	case "out":
		c.Stdout = append(c.Stdout, text+"\n"...)
	case "err":
		c.Stderr = append(c.Stderr, text+"\n"...)
	default:
		return
	}
	t.commands[name] = c
}

// listed keeps what the commands have printed as one listing.
func (t *RehearsedTwin) listed() {
	if t.commands != nil {
		t.listings = append(t.listings, tasks.NewFacts(tasks.Known{Commands: t.commands}))
		t.commands = nil
	}
}
