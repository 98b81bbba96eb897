package roles

import (
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
)

// otherIPsecs are the packages of another IPsec than strongSwan's.
var otherIPsecs = []string{"libreswan", "openswan"}

// readOtherIPsec prints "pluto" where their daemon runs.
var readOtherIPsec = tasks.Read{Kind: tasks.ReadCommand, Arg: "other-ipsec", Shell: `for c in /proc/[0-9]*/comm; do
	n=; { IFS= read -r n <"$c"; } 2>/dev/null
	[ "$n" != pluto ] || { echo pluto; break; }
done`}

// otherIPsecReads is what otherIPsec looks at.
func otherIPsecReads() []tasks.Read {
	reads := []tasks.Read{readOtherIPsec}
	for _, p := range otherIPsecs {
		reads = append(reads, tasks.Read{Kind: tasks.ReadPackage, Arg: p, Unless: tasks.NotAsked})
	}
	return reads
}

// noOtherIPsec is what otherIPsec wants of a host that is supposed to be bare.
var noOtherIPsec = tasks.Supposed{
	Mend: "take it off first, the way it was installed",
	Shell: "{\n" + `dpkg-query -W -f '${Package} ${db:Status-Status} ${Version}\n' ` + strings.Join(otherIPsecs, " ") + " 2>/dev/null\n" + readOtherIPsec.Shell +
		"\n} | awk '$2 == \"installed\" { print \"the package \" $1 \" has its IPsec\" } $1 == \"pluto\" { print \"pluto, the daemon of Libreswan and Openswan, runs\" }'",
}

// otherIPsec refuses a host whose IPsec is another's than strongSwan's, installed from
// Debian or from its source. Debian's Libreswan has the command and the files of starter,
// and conflicts with it.
func (c *check) otherIPsec() {
	other, err := tasks.OtherIPsec(c.facts)
	if c.unknown(err) {
		return
	}
	found, err := c.facts.Output(readOtherIPsec.Arg)
	if c.unknown(err) {
		return
	}
	pluto := len(found) > 0
	installed, version := "", ""
	for _, name := range otherIPsecs {
		p, err := c.facts.Package(name)
		if c.unknown(err) {
			return
		}
		if p.Installed {
			installed, version = p.Name, p.Version
		}
	}
	running := ""
	if pluto {
		running = ", and its pluto runs"
	}
	switch {
	case installed != "":
		c.refuse("take its connections to the inventory, or write down those that are to stay; then: systemctl disable --now ipsec.service; apt-get remove "+installed,
			"the package %s %s has the host's IPsec%s; it conflicts with strongswan-starter", installed, version, running)
	case other:
		c.refuse("remove what `command -v ipsec` names, the way it was installed, and stop its pluto",
			"the host's command ipsec is not strongSwan's, but of Libreswan or Openswan%s", running)
	case pluto:
		c.refuse("stop it, and keep it from starting again", "pluto, the daemon of Libreswan and Openswan, runs on the host; it and charon both want UDP 500 and 4500")
	}
}

// starterPreflight looks for conns of the user's that would be merged into ours,
// since starter takes two sections of one name for one; and for files that somebody
// put among ours: strongSwan reads them too, and they are not ours to take away.
func starterPreflight(c *check, conns []tasks.Conn) {
	c.otherIPsec()
	names := map[string]bool{}
	for _, n := range conns {
		names[n.Name] = true
	}
	if s, err := c.facts.File(ipsecConf); !c.unknown(err) {
		for l := range strings.Lines(string(s.Content)) {
			w := strings.Fields(l)
			if c.role == inventory.RoleHub && strings.HasPrefix(strings.TrimSpace(l), "uniqueids") {
				c.warn("%s sets uniqueids: vpnpush's own uniqueids=no comes after it, and holds for all conns of the host", ipsecConf)
			}
			if len(w) < 2 || w[0] != "conn" || l[0] != 'c' {
				continue
			}
			switch {
			case w[1] == "%default":
				c.warn("%s has a `conn %%default`: what it sets also holds for vpnpush's conns where they say nothing", ipsecConf)
			case names[w[1]]:
				c.refuse("rename or remove that conn on the host, or give the site another name",
					"%s has a conn %s of its own, which strongSwan would merge with vpnpush's", ipsecConf, w[1])
			}
		}
	}
	c.strays(confDir+"*", confDir, conns)
}

// strays warns of files whose paths begin as those of ours do and that are not ours.
// pattern brings them.
func (c *check) strays(pattern, ours string, conns []tasks.Conn) {
	found, err := c.facts.Glob(pattern)
	if c.unknown(err) {
		return
	}
	m, err := tasks.ReadManifest(c.facts)
	if c.unknown(err) {
		return
	}
	for _, f := range found {
		if !strings.HasPrefix(f.Path, ours) || m.Owns(f.Path) {
			continue
		}
		if !slices.ContainsFunc(conns, func(n tasks.Conn) bool { return f.Path == n.Conf || f.Path == n.Secrets }) {
			c.warn("%s is not vpnpush's, and strongSwan reads it with the rest", f.Path)
		}
	}
}
