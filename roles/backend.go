package roles

import (
	"fmt"
	"slices"
	"strconv"
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
	word inventory.Backend // backend, of a host or of all
	// dialShell are the functions NAME_state and NAME_redial, for the service that
	// watches a site's tunnel:
	//
	//	NAME_state CONN    prints "up", "bare" (no child SA), "none" or "other"
	//	NAME_redial CONN   its IKE SAs end, and it is dialled
	dialShell string
	// carriesShell is the function NAME_carries of a tasks.BareHost, and supposed what it wants of
	// a host for this backend alone.
	carriesShell string
	supposed     []tasks.Supposed
	// files returns the tasks that put the conns of a host down, and what is to be
	// loaded of them. It refuses what its files cannot carry.
	files func(owner string, cs conns) ([]tasks.Task, []tasks.Conn, error)
	// place returns a conn by its name, with where its files are.
	place func(conn string) tasks.Conn
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
	// handmade returns the lines of conns of the admin's that ours replace, but for those
	// that lead to a peer which keep names, and all peers that those lead to, in kept. Nil: it
	// takes out none.
	handmade func(cs conns, keep func(peer string) bool, f tasks.Facts) (out []tasks.OutLines, kept []string, err error)
	// others returns the conns in its files that are not ours, as "PATH:LINE: conn NAME":
	// they would be lost if another backend took its place. Nil without besideReads.
	others func(f tasks.Facts) ([]string, error)
}

// backends are all there are, the one that "auto" means first.
var backends = []backend{starter, swanctl}

// backendsOf returns the backends of which the facts of a host tell one.
func backendsOf(inv *inventory.Inventory, host string) ([]backend, error) {
	word := inv.Backend(host)
	if word == "" || word == inventory.BackendAuto {
		return backends, nil
	}
	i := slices.IndexFunc(backends, func(b backend) bool { return b.word == word })
	if i < 0 {
		words := []string{fmt.Sprintf("%q", inventory.BackendAuto)}
		for _, b := range backends {
			words = append(words, fmt.Sprintf("%q", b.word))
		}
		return nil, transport.WithHint(fmt.Errorf("backend %q is not built", word), "set it to %s", strings.Join(words, " or "))
	}
	return backends[i : i+1], nil
}

// second is the first release of Debian on which a bare host gets the second backend:
// there it is what the package strongswan brings.
const second = 13

// backend returns what is to run strongSwan on a host of these facts: what an apply has
// told it before, else what runs there, is to run, or is installed, else what its release
// is made for. Where the facts tell nothing, as for a host that is not looked at, it is
// the first that may.
func (h Host) backend(f tasks.Facts) backend {
	if len(h.backends) == 1 {
		return h.backends[0]
	}
	m, _ := tasks.ReadManifest(f) // one that cannot be read is told by who needs it
	for _, is := range []func(backend) bool{
		func(b backend) bool { return m.Daemon() == b.Name },
		func(b backend) bool { u, err := f.Unit(b.Unit); return err == nil && u.Active == "active" },
		func(b backend) bool { u, err := f.Unit(b.Unit); return err == nil && u.Enabled },
		func(b backend) bool { p, err := f.Package(b.Package); return err == nil && p.Installed },
	} {
		if i := slices.IndexFunc(h.backends, is); i >= 0 {
			return h.backends[i]
		}
	}
	v := f.Host.Debian()
	if n, err := strconv.Atoi(v); v == "" || err == nil && n < second {
		return h.backends[0]
	}
	return h.backends[1]
}

// unless returns what a package of one backend alone is not asked of apt for: the package of
// the other, where either may run here, and none where its own may not.
func (h Host) unless(pkg string) string {
	other, owners := "", 0
	mine := false
	for _, b := range backends {
		if slices.Contains(b.Packages, pkg) {
			owners++
			mine = slices.ContainsFunc(h.backends, func(o backend) bool { return o.Name == b.Name })
		} else {
			other = b.Package
		}
	}
	switch {
	case owners != 1:
		return ""
	case !mine:
		return tasks.NotAsked
	case len(h.backends) == 1:
		return ""
	}
	return other
}

// confTask and keyTask return the IDs of the tasks that hold a conn and its key.
func (b backend) confTask(conn string) string { return tasks.File{Path: b.place(conn).Conf}.ID() }
func (b backend) keyTask(conn string) string  { return tasks.File{Path: b.place(conn).Secrets}.ID() }

// places returns the conns as far as it is known without what is in their files.
func (b backend) places(cs conns) []tasks.Conn {
	var out []tasks.Conn
	for _, t := range cs.tunnels {
		out = append(out, b.place(t.name))
	}
	if cs.clients != nil {
		out = append(out, b.place(cs.clients.name))
	}
	return out
}

// swaps returns the tasks that let b take the place of each other backend.
func (b backend) swaps() []tasks.Swap {
	var out []tasks.Swap
	for _, o := range backends {
		if o.Name != b.Name {
			out = append(out, tasks.Swap{From: o.Daemon, To: b.Daemon})
		}
	}
	return out
}

// standing refuses to take the place of another backend that has conns of the admin's:
// they would be lost.
func (c *check) standing(b backend) {
	for _, s := range b.swaps() {
		if stands, err := s.Stands(c.facts); c.unknown(err) || !stands {
			continue
		}
		o := backends[slices.IndexFunc(backends, func(o backend) bool { return o.Name == s.From.Name })]
		others, err := o.others(c.facts)
		if c.unknown(err) || len(others) == 0 {
			continue
		}
		c.refuse(fmt.Sprintf("move them to %s, or write down those that are to stay, and take them out; or keep this host as it is: backend = %q", b.word, o.word),
			"%s runs strongSwan here with conns that are not vpnpush's, and would not any more: %s",
			o.Unit, strings.Join(first(others, 3, o.Unit), "; "))
	}
}

// ran returns the backend that has what the manifest says, b where it says nothing.
func (b backend) ran(m *tasks.Manifest) backend {
	for _, o := range backends {
		if o.Name == m.Daemon() {
			return o
		}
	}
	return b
}
