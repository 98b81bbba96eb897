package roles

import (
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/security"
)

// Security returns what is known to be wrong with the programs that a host runs, or that an
// apply would install there, and with its release of Debian. What was not read is told by
// others.
func (h Host) Security(f tasks.Facts) []security.Finding {
	names := []string{libstrongswan}
	if h.l2tp() != nil {
		names = append(names, "xl2tpd", "ppp")
	}
	release := f.Host.Debian()
	var out []security.Finding
	if found, ok := security.Release(release, f.Host.Now); ok {
		out = append(out, found)
	}
	for _, name := range names {
		p, err := f.Package(name)
		if err != nil {
			continue
		}
		version := p.Candidate
		if p.Installed {
			version = p.Version
		}
		if version == "" {
			continue
		}
		if found, ok := security.Package(release, name, version, p.Installed); ok {
			out = append(out, found)
		}
	}
	return out
}
