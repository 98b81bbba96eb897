package roles

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// backend is a way to run strongSwan and to tell it which conns are wanted. What
// only one of them knows, its packages, units, paths and languages, is in its own
// file and nowhere else.
type backend struct {
	tasks.Daemon
	word     inventory.Backend // tunnel.backend
	packages []string
	// dialShell are the functions NAME_state and NAME_redial, for the service that
	// watches a site's tunnel:
	//
	//	NAME_state CONN    prints "up", "bare" (no child SA), "none" or "other"
	//	NAME_redial CONN   its IKE SAs end, and it is dialled
	dialShell string
	// rivals are services that cannot run beside it.
	rivals []rival
	// files returns the tasks that put the conns of a host down, and what is to be
	// loaded of them. It refuses what its files cannot carry.
	files func(owner string, cs conns) ([]tasks.Task, []tasks.Conn, error)
	// confTask and keyTask return the IDs of the tasks that hold a conn and its key.
	confTask, keyTask func(conn string) string
	// keysIn returns the keys in the file of a conn's, in their order. The last is the
	// one that this end sends; it takes each of them.
	keysIn func(file []byte) []secret.Value
	// preflight looks for what stands in the way of our conns on a host, in what
	// reads bring.
	reads     []tasks.Read
	preflight func(c *check, conns []tasks.Conn)
	// beside tells of conns of others that get in the way of ours, in what besideReads
	// bring.
	besideReads []tasks.Read
	beside      func(cs conns, f tasks.Facts) ([]string, error)
}

// backends are all there are, the one that "auto" means first.
var backends = []backend{starter}

// backendsOf returns the backends of which a host's facts tell one.
func backendsOf(inv *inventory.Inventory) ([]backend, error) {
	word := inv.Tunnel.Backend
	if word == "" || word == inventory.BackendAuto {
		return backends, nil
	}
	i := slices.IndexFunc(backends, func(b backend) bool { return b.word == word })
	if i < 0 {
		words := []string{fmt.Sprintf("%q", inventory.BackendAuto)}
		for _, b := range backends {
			words = append(words, fmt.Sprintf("%q", b.word))
		}
		return nil, transport.WithHint(fmt.Errorf("tunnel.backend %q is not built", word), "set it to %s", strings.Join(words, " or "))
	}
	return backends[i : i+1], nil
}

// backend returns what is to run strongSwan on a host of these facts. Where they
// tell nothing, as for a host that is not looked at, it is the first that may.
//
// One backend is built, and so there is nothing to choose yet: what runs on the
// host, and its release of Debian, would be asked here and nowhere else.
func (h Host) backend(tasks.Facts) backend { return h.backends[0] }
