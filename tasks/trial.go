package tasks

import (
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// trial is the step that has the files loaded by a strongSwan of its own before anything
// is changed. A broken file is no error to strongSwan: it loads what it can, and says so
// to its log.
func (t IPsec) trial() Step {
	var b strings.Builder
	want := func(path string, words ...string) { b.WriteString(strings.Join(words, " ") + "\t" + path + "\n") }
	for _, c := range t.Conns {
		want(c.Conf, "conn", c.Name)
		want(c.Secrets, "keys of", c.Secrets)
		for _, l := range c.Listed {
			want(c.Conf, l)
		}
		var names []string
		for _, p := range c.IKE {
			names = append(names, strongswan.Algorithms(p)...)
		}
		slices.Sort(names)
		for _, n := range slices.Compact(names) {
			want(c.Conf, "algorithm", n)
		}
	}
	d := t.Daemon
	return Step{Phase: PhaseTry, Shell: "tried " + d.Name + "_try " + transport.Quote(d.Ours), Stdin: secret.New(b.String())}
}
