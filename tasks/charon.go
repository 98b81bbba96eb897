package tasks

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// The commands that list SAs; a host has one of them, or both.
var (
	readStroke  = Read{Kind: ReadCommand, Arg: "ipsec-statusall", Shell: strokeShell}
	readStatus  = Read{Kind: ReadCommand, Arg: "swanctl-status", Shell: "swanctl --stats && swanctl --list-conns"}
	readSwanctl = Read{Kind: ReadCommand, Arg: "swanctl-list-sas", Shell: "swanctl --list-sas --raw"}
)

// strokeStatus is what strokeShell runs, as a person would.
const strokeStatus = "ipsec statusall"

// strokeShell runs strokeStatus, and where Debian's strongSwan runs what that script of four
// programs comes to.
const strokeShell = `p=; if [ -x /usr/lib/ipsec/stroke ] && [ -e /var/run/charon.pid ] && [ ! -e /usr/local/sbin/ipsec ] && [ ! -e /usr/local/bin/ipsec ] &&
	{ read -r p </var/run/starter.charon.pid; } 2>/dev/null && [ -n "$p" ] && kill -0 "$p" 2>/dev/null
then /usr/lib/ipsec/stroke statusall; :; else ` + strokeStatus + `; fi`

// SAReads is what SAsFrom and LoadedConns need.
func SAReads() []Read { return []Read{readStroke, readSwanctl, readConns} }

// StatusReads is what CharonStatus needs.
func StatusReads() []Read { return []Read{readStroke, readStatus} }

// CharonStatus returns what charon says of itself, its plugins among it; nil where it does
// not run.
func CharonStatus(f Facts) ([]byte, error) {
	out, err := listing(f, readStroke)
	if err != nil || out != nil {
		return out, err
	}
	return listing(f, readStatus)
}

// SAsFrom returns the IKE SAs of a host. There are none where strongSwan is not
// installed or does not run; any other failure is an error.
func SAsFrom(f Facts) ([]strongswan.SA, error) {
	var sas []strongswan.SA
	out, err := listing(f, readStroke)
	if err != nil {
		return nil, err
	}
	if out != nil {
		if sas, err = strongswan.ParseStatusAll(out); err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", strokeStatus, ErrUnknown, err)
		}
	}
	if out, err = listing(f, readSwanctl); err != nil || out == nil {
		return sas, err
	}
	more, err := strongswan.ParseListSAs(out)
	if err != nil {
		return nil, fmt.Errorf("command %s: %w: %w", readSwanctl.Shell, ErrUnknown, err)
	}
	// swanctl may speak with the same charon: the vici plugin is loaded into
	// a charon of starter, too. It tells more, so its word is taken.
	told := map[string]bool{}
	for _, m := range more {
		told[m.SPIs] = true
	}
	sas = slices.DeleteFunc(sas, func(s strongswan.SA) bool { return told[s.SPIs] })
	return append(sas, more...), nil
}

// listing returns the output of a command that asks charon, nil when there is no
// charon to ask.
func listing(f Facts, r Read) ([]byte, error) {
	c, err := f.Command(r.Arg)
	if err != nil {
		return nil, err
	}
	switch {
	case c.Code == 127, // no such command
		r.Arg == readStroke.Arg && c.Code == 3, // ipsec(8): starter does not run
		r.Arg != readStroke.Arg && noVici.Match(c.Stderr):
		return nil, nil
	}
	out, err := f.Output(r.Arg)
	if err == nil && len(out) == 0 && r.Arg == readStroke.Arg {
		return nil, transport.WithHint(fmt.Errorf("command %s: %w: it says nothing: charon does not answer, though its starter runs", strokeStatus, ErrUnknown),
			"journalctl -u strongswan-starter -n 50, on the host, tells why charon ends; a plugin of another version than strongSwan's is one reason")
	}
	if err == nil && out == nil {
		out = []byte{}
	}
	return out, err
}

// OtherIPsec reports whether the command that lists what charon runs is there, and another
// daemon's: it does not know what it is asked for then.
func OtherIPsec(f Facts) (bool, error) {
	c, err := f.Command(readStroke.Arg)
	return err == nil && unknownStatusall.Match(c.Stderr), err
}

// unknownStatusall is what Libreswan and Openswan say.
var unknownStatusall = regexp.MustCompile("unknown (IPsec )?command [\"'`]statusall")

// noVici is what swanctl says when nobody listens on charon's socket; it exits
// with the errno then.
var noVici = regexp.MustCompile(`(?m)^Error: connecting to .* failed: (Connection refused|No such file or directory)$`)

// readConns brings the connections that vici knows. Those of ipsec.conf are in
// the output of `ipsec statusall`.
var readConns = Read{Kind: ReadCommand, Arg: "swanctl-list-conns", Shell: "swanctl --list-conns --raw"}

// LoadedConns returns the names of the connections that charon has loaded,
// sorted. There are none where strongSwan is not installed or does not run.
func LoadedConns(f Facts) ([]string, error) {
	var names []string
	out, err := listing(f, readStroke)
	if err != nil {
		return nil, err
	}
	if out != nil {
		if names, err = strongswan.ParseStatusConns(out); err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", strokeStatus, ErrUnknown, err)
		}
	}
	if out, err = listing(f, readConns); err != nil {
		return nil, err
	}
	if out != nil {
		more, err := strongswan.ParseListConns(out)
		if err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", readConns.Shell, ErrUnknown, err)
		}
		names = append(names, more...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
