package roles

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// filter is a way to put a policy into the packet filter of a host. A field that
// is not set has nothing to say.
type filter struct {
	word     inventory.FilterBackend // firewall.backend
	packages []tasks.Package
	units    []tasks.Unit
	// tasks returns what makes the host keep to a policy, now and after a boot.
	tasks func(policy) []tasks.Task
	// render returns those files of it that are no tasks.File, on a bare host.
	render func(policy) []RenderedFile
	// leaves is what must be read for it to go off a host that had it: it is read
	// whichever filter is wanted now.
	leaves []tasks.Read
	// leftovers returns the tasks that take away what no manifest has.
	leftovers func(tasks.Facts) ([]tasks.Task, error)
	// supposed is what must be so on a host that is supposed to be bare.
	supposed []tasks.Supposed
	// rivals are services that cannot run beside it.
	rivals []rival
	// preflight looks for what stands in the way of the policy on a host, in what
	// reads and leaves bring.
	reads     []tasks.Read
	preflight func(*check)
}

// filters are all there are, the default first.
var filters = []filter{iptablesFilter, noFilter}

func filterOf(inv *inventory.Inventory) (filter, error) {
	word := inv.Firewall.Backend
	i := slices.IndexFunc(filters, func(f filter) bool { return f.word == word })
	if i < 0 {
		var words []string
		for _, f := range filters {
			words = append(words, fmt.Sprintf("%q", f.word))
		}
		return filter{}, transport.WithHint(fmt.Errorf("firewall.backend %q is not built", word), "set it to %s", strings.Join(words, " or "))
	}
	return filters[i], nil
}
