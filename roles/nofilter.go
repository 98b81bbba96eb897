package roles

import (
	"bytes"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// noFilter leaves the packet filter to the user.
var noFilter = filter{
	word:      inventory.FilterNone,
	leftovers: forgottenChains,
	preflight: noFilterPreflight,
}

// noFilterPreflight warns of what vpnpush's own chains would have seen to.
func noFilterPreflight(c *check) {
	switch forgotten, err := forgottenChains(c.facts); {
	case c.unknown(err):
	case len(forgotten) > 0:
		c.warn("chains of vpnpush stand here that no manifest has, left by an earlier version: this plan takes them away")
	}
	if live, err := c.facts.Command(readLive); !c.unknown(err) && live.Code != 0 && live.Code != 127 {
		c.warn("whether chains of vpnpush are still live is not known: %s: exit status %d: %s",
			readLive, live.Code, strings.TrimSpace(string(live.Stderr)))
	}
	if c.l2tp() != nil {
		c.warn(`firewall.backend is "none": see to it that UDP 1701 is let in from inside IPsec only ` +
			`(-m policy --dir in --pol ipsec) and dropped otherwise, or L2TP is served in the clear`)
	}
}

// forgottenChains returns the tasks that take away our chains where no manifest has
// them: earlier versions lost sight of them when firewall.backend became "none", and
// left them live, and in the rules for the next boot, for good. Every chain of this
// name is ours.
func forgottenChains(f tasks.Facts) ([]tasks.Task, error) {
	m, err := tasks.ReadManifest(f)
	if err != nil {
		return nil, err
	}
	var out []tasks.Task
	if t := (tasks.RulesV4{Path: rulesV4}); m.Digest(t.ID()) == "" {
		s, err := f.File(rulesV4)
		if err != nil {
			return nil, err
		}
		if holdsChains(s.Content) {
			out = append(out, t)
		}
	}
	if t := (tasks.Firewall{}); m.Digest(t.ID()) == "" {
		// a host that cannot say what runs is told of in the preflight
		if live, err := f.Output(readLive); err == nil && holdsChains(live) {
			out = append(out, t)
		}
	}
	return out, nil
}

// readLive is the name of what lists the live rules (tasks.Firewall).
var readLive = tasks.Firewall{}.Reads()[0].Arg

func holdsChains(save []byte) bool { return bytes.Contains(save, []byte("\n:"+iptables.Prefix)) }
