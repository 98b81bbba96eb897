package tasks

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// readConns brings the connections that vici knows. Those of ipsec.conf are in
// the output of `ipsec statusall`.
var readConns = Read{Kind: ReadCommand, Arg: "swanctl-list-conns", Shell: "swanctl --list-conns --raw"}

// LoadedConns gives the names of the connections that charon has loaded,
// sorted. There are none where strongSwan is not installed or does not run.
func LoadedConns(f Facts) ([]string, error) {
	var names []string
	out, err := listing(f, readStroke)
	if err != nil {
		return nil, err
	}
	if out != nil {
		if names, err = parseConnections(out); err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", readStroke.Shell, ErrUnknown, err)
		}
	}
	if out, err = listing(f, readConns); err != nil {
		return nil, err
	}
	if out != nil {
		err = viciEvents(out, "list-conn", func(it viciItem) error {
			names = append(names, it.key)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("command %s: %w: %w", readConns.Shell, ErrUnknown, err)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

var strokeConn = regexp.MustCompile(`^\s*(\S+):  `)

// parseConnections reads the section "Connections:" of `ipsec statusall`. A
// conn that differs from another only in its selectors shares that one's
// lines, and is named on its "child:" line only.
func parseConnections(b []byte) ([]string, error) {
	var names []string
	in, ended := false, false
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n")
		switch {
		case l == "Connections:":
			in = true
		case l != "" && l[0] != ' ' && strings.HasSuffix(l, ":"):
			// "Connections:" is followed by routed and shunted ones, whose lines
			// tell their state and not what was loaded; a long name, too, begins
			// at the margin but goes on behind the colon
			in = false
			ended = ended || strings.HasPrefix(l, "Security Associations (")
		case in:
			if m := strokeConn.FindStringSubmatch(l); m != nil {
				names = append(names, m[1])
			}
		}
	}
	if !ended {
		return nil, errors.New("no Security Associations in it")
	}
	return names, nil
}
