package roles

import (
	"bytes"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// Leave is what is wanted of a host that vpnpush leaves: nothing. What the manifest has
// goes by itself (tasks.Orphans); what it has forgotten is taken along.
func Leave(f tasks.Facts) ([]tasks.Task, error) { return forgottenChains(f) }

// forgottenChains takes away our chains where no manifest has them: earlier versions
// lost sight of them when firewall.backend became "none", and left them live, and in
// the rules for the next boot, for good. Every chain of this name is ours.
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
