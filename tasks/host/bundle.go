package host

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

//go:embed bundle.sh
var bundleShell string

// BundlePatience is how long a bundle waits for the tunnel before it puts everything back.
const BundlePatience = time.Minute

// bundleEnd ends the here-documents of a bundle that hold whole scripts.
const bundleEnd = "VPNPUSH_END_OF_SCRIPT"

// Bundle is the apply of a host that nobody can reach, for somebody who is there: it is
// what that host itself runs, and it does there what the client of an apply does else.
type Bundle struct {
	BundleOptions
	Site    string
	Applies []BundleApply // the last is for releases that none of them names, too
	Tunnel  strongswan.Tunnel
}

// BundleOptions is what its operator says of a bundle.
type BundleOptions struct {
	Made, Expires time.Time
	Login         string   // who logs in there
	Keys          []string // that are to be let in, as authorized_keys has them
	KnownAs       string   // what known_hosts calls the host
}

// BundleApply is the apply of a bare host.
type BundleApply struct {
	tasks.BareHost
	Txn Txn
}

// Script returns the bundle: POSIX sh, whole in itself. It holds the host's secrets.
func (b Bundle) Script() (secret.Value, error) {
	var out strings.Builder
	fmt.Fprintf(&out, `#!/bin/sh
# vpnpush: sets up the box of %[1]s, which then calls %[2]s by itself.
#
# SECRET: in here is the key of the tunnel of %[1]s. Who reads it can pose as %[1]s. Bring
# it to the box by a safe way, run it there as root, and delete it, there and here.
#
# It was made %[3]s, and runs until %[4]s.

`, b.Site, b.Tunnel.Peer, stamp(b.Made), stamp(b.Expires))
	id := b.Applies[0].Txn.ID
	var daemons []string
	for _, a := range b.Applies {
		daemons = append(daemons, a.Daemon.Name)
	}
	for _, kv := range [][2]string{
		{"site", b.Site}, {"hub", b.Tunnel.Peer}, {"made_id", id}, {"conn", b.Tunnel.Conn}, {"wanted", carries(b.Tunnel)},
		{"daemons", strings.Join(daemons, " ")}, {"login", b.Login}, {"keys", strings.Join(b.Keys, "\n")}, {"known_as", b.KnownAs},
	} {
		fmt.Fprintf(&out, "%s=%s\n", kv[0], transport.Quote(kv[1]))
	}
	fmt.Fprintf(&out, "made=%d\nexpires=%d\npatience=%d\nguard=%d\n", b.Made.Unix(), b.Expires.Unix(), int(BundlePatience.Seconds()), int(b.Applies[0].Txn.ConfirmTimeout.Seconds()))
	out.WriteString(bundleShell)

	text := func(name, script string) error {
		if strings.Contains("\n"+script, "\n"+bundleEnd+"\n") {
			return fmt.Errorf("bundle for %s: %s holds the line %s", b.Site, name, bundleEnd)
		}
		fmt.Fprintf(&out, "\n%s() {\ncat <<'%s'\n%s\n%s\n}\n", name, bundleEnd, strings.TrimSuffix(script, "\n"), bundleEnd)
		return nil
	}
	out.WriteString("\nabout() {\ncase $1 in\n")
	for _, a := range b.Applies {
		fmt.Fprintf(&out, "%s) unit=%s package=%s manifest=%s ;;\n", a.Daemon.Name, transport.Quote(a.Daemon.Unit), transport.Quote(a.Daemon.Package), tasks.SHA256(a.Txn.Manifest))
	}
	out.WriteString("esac\n}\n\nby_release() {\ncase $1 in\n")
	for i, a := range b.Applies {
		pattern := strings.Join(a.Releases, "|")
		if i == len(b.Applies)-1 {
			pattern = "*"
		}
		fmt.Fprintf(&out, "%s) echo %s ;;\n", pattern, a.Daemon.Name)
	}
	out.WriteString("esac\n}\n")
	fmt.Fprintf(&out, "\ncharon_log() { %s; }\n", tasks.CharonLog.Shell)
	if err := text("reasons", strongswan.LastWordAwk(b.Tunnel.Conn)); err != nil {
		return secret.Value{}, err
	}
	x := b.Applies[0].Txn
	if err := text("launch", x.Launch()); err != nil {
		return secret.Value{}, err
	}
	for _, a := range b.Applies {
		a.Txn.ID = id // of whichever runs
		script, err := a.Txn.Script()
		if err != nil {
			return secret.Value{}, err
		}
		if err := text("apply_"+a.Daemon.Name, script.Reveal()); err != nil {
			return secret.Value{}, err
		}
		fmt.Fprintf(&out, "\n%s", a.Watch)
	}
	// One that was cut on the way does nothing.
	out.WriteString("\nmain \"$@\"\n")
	return secret.New(out.String()), nil
}

// carries returns what NAME_carries prints of a tunnel that is up.
func carries(t strongswan.Tunnel) string {
	var nets []string
	for _, n := range t.Local {
		nets = append(nets, "local "+n)
	}
	for _, n := range t.Remote {
		nets = append(nets, "remote "+n)
	}
	slices.Sort(nets)
	return strings.Join(slices.Compact(nets), "\n")
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
