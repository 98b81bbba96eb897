package roles

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// libstrongswan is the package that each strongSwan daemon is built on: its version
// is theirs.
const libstrongswan = "libstrongswan"

// rival is a service that cannot run beside one of ours.
type rival struct{ unit, says, mend string }

func readUnits(rs []rival) []tasks.Read {
	var out []tasks.Read
	for _, r := range rs {
		out = append(out, tasks.Read{Kind: tasks.ReadUnit, Arg: r.unit})
	}
	return out
}

// oldestDebian is the first release with what every backend needs.
const oldestDebian = 11

// Room that must be free, in KiB.
const (
	roomPackages = 50 << 10
	roomFiles    = 1 << 10
	roomNotes    = 256
)

// Preflight tells what a host cannot carry, before anything is touched: every
// refusal at once, each with its mend as a transport.Hinter, and warnings. What
// the facts do not tell is a refusal too.
func (h Host) Preflight(f tasks.Facts) (refusals []error, warnings []string) {
	b := h.backend(f)
	c := check{Host: h, facts: f}
	if !c.platform(b) {
		return c.refusals, nil // nothing else could be told of such a host
	}
	c.room(h.packages(b))
	c.standing(b)
	c.strongswan()
	if cs, err := h.conns(h.tunnels()); !c.unknown(err) {
		b.preflight(&c, b.places(cs))
	}
	c.rivals(h.filter.rivals)
	if h.filter.preflight != nil {
		h.filter.preflight(&c)
	}
	if h.l2tp() != nil {
		c.ppp()
	}
	c.networks()
	c.nat()
	c.warnings = append(c.warnings, h.Beside(f)...)
	for _, found := range h.Security(f) {
		c.warn("%s: %s", found.Says, found.Mend)
	}
	return c.refusals, c.warnings
}

// check is a preflight of one host while it is made.
type check struct {
	Host
	facts    tasks.Facts
	refusals []error
	warnings []string
}

func (c *check) refuse(mend, format string, a ...any) {
	c.refusals = append(c.refusals, transport.WithHint(fmt.Errorf(format, a...), "%s", mend))
}

func (c *check) warn(format string, a ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, a...))
}

// unknown refuses where a fact is missing, and reports whether it did.
func (c *check) unknown(err error) bool {
	if err != nil {
		c.refusals = append(c.refusals, err)
	}
	return err != nil
}

// platform reports whether the host is one that the other checks understand.
func (c *check) platform(b backend) bool {
	h := c.facts.Host
	switch v := h.Debian(); {
	case v == "":
		name := h.OS["PRETTY_NAME"]
		if name == "" {
			name = "an unknown system"
		}
		c.refuse("use a host with Debian 11, 12 or 13", "the host runs %s, not Debian", name)
	default:
		// Testing and unstable have a name in place of a number.
		if n, err := strconv.Atoi(v); err == nil && n < oldestDebian {
			c.refuse("upgrade the host to Debian 12 or later", "the host runs Debian %d; %s came with %d", n, b.Unit, oldestDebian)
		}
	}
	if !h.Systemd {
		c.refuse("boot the host with systemd", "systemd does not run on the host")
	}
	for _, d := range h.ReadOnly {
		c.refuse("remount it read-write, and look for the disk error that made it so (dmesg)", "%s cannot be written", d)
	}
	return h.Debian() != "" && h.Systemd
}

// room refuses where a file system is too full for what an apply writes there. One that
// several of the paths are on is told once, by the one that takes the most.
func (c *check) room(packages []tasks.Package) {
	type want struct {
		path, what string
		kib        int64
	}
	wants := []want{
		{"/var", "the backups", roomFiles}, {tasks.StateDir, "the backups", roomFiles},
		{"/etc", "the files", roomFiles}, {"/run", "the notes of what is loaded", roomNotes},
	}
	for _, pkg := range packages {
		st, err := c.facts.Package(pkg.Name)
		if c.unknown(err) {
			return
		}
		if !st.Installed {
			wants = append(wants, want{"/var", "the packages", roomPackages}, want{"/usr", "the packages", roomPackages})
			break
		}
	}
	slices.SortStableFunc(wants, func(a, b want) int { return cmp.Compare(b.kib, a.kib) })
	told := map[string]bool{}
	for _, w := range wants {
		mount, free, ok := mountOf(c.facts.Host.FreeKiB, w.path)
		if !ok || free >= w.kib || told[mount] {
			continue
		}
		told[mount] = true
		c.refuse(fmt.Sprintf("free some room there: `du -xm %s | sort -n | tail` shows what takes it; apt-get clean and journalctl --vacuum-size=50M often help", mount),
			"%d KiB are free for %s, %s take %d KiB", free, w.path, w.what, w.kib)
	}
}

// mountOf returns the file system that a path is on, the longest mount point above it,
// and its room.
func mountOf(freeKiB map[string]int64, path string) (mount string, free int64, ok bool) {
	for m, n := range freeKiB {
		if (m == path || m == "/" || strings.HasPrefix(path, m+"/")) && len(m) > len(mount) {
			mount, free, ok = m, n, true
		}
	}
	return mount, free, ok
}

// rivals refuses where one of them runs.
func (c *check) rivals(rs []rival) {
	for _, r := range rs {
		if u, err := c.facts.Unit(r.unit); !c.unknown(err) && u.Active == "active" {
			c.refuse(r.mend, "%s", r.says)
		}
	}
}

// strongswan looks at the version that is there, or would be installed.
func (c *check) strongswan() {
	lib, err := c.facts.Package(libstrongswan)
	if c.unknown(err) {
		return
	}
	if c.l2tp() == nil {
		return
	}
	for _, v := range []string{lib.Version, lib.Candidate} {
		if v != "" && atLeast(v, 6, 1) {
			c.refuse("keep the hub on Debian 13 or earlier, or remove [l2tp] from the inventory",
				"l2tp needs IKEv1, which strongSwan %s is built without", v)
			return
		}
	}
}

// ppp looks for what L2TP needs.
func (c *check) ppp() {
	h := c.facts.Host
	if !h.PPP {
		mend := "install a kernel that has PPP, and reboot"
		if strings.Contains(h.Kernel, "cloud") {
			mend = "apt-get install linux-image-" + h.Arch + ", and reboot into it"
		}
		c.refuse(mend, "l2tp needs PPP, which the kernel %s has not", h.Kernel)
	}
	if len(c.inv.L2TP.DNS) == 0 {
		c.warn("l2tp.dns is empty: clients that send all their traffic here resolve no names")
	}
}

// networks looks for the address that the host's conns are to use, and for a way to what
// is behind the host.
func (c *check) networks() {
	n, err := tasks.NetworksFrom(c.facts)
	if err != nil { // iproute2 comes with strongSwan
		c.warn("whether the host has the addresses of the inventory is not known: %v", err)
		return
	}
	want, behind := hubLocal(c.inv), c.inv.Hub.Subnets
	if c.role == inventory.RoleSite {
		want, behind = c.site.Address, c.site.Subnets
	}
	if want.IsValid() {
		if says, mend := n.Lacks(want, string(c.role)); says != "" {
			c.refuse(mend, "%s", says)
		}
	}
	for _, says := range n.NoWay(behind, string(c.role)) {
		c.warn("%s", says)
	}
	if l := c.l2tp(); l != nil {
		c.clients(l, n)
	}
}

// clients looks whether the network of the L2TP clients is in use already: it is to be
// a new one, and the sites are going to send all of it here.
func (c *check) clients(l *inventory.L2TP, n tasks.Networks) {
	var what []string
	var found string
	for _, r := range []struct {
		key, text string
		inventory.Range
	}{
		{"local_ip", l.LocalIP.String(), inventory.Range{First: l.LocalIP, Last: l.LocalIP}},
		{"pool", fmt.Sprintf("%s-%s", l.PoolFrom, l.PoolTo), inventory.Range{First: l.PoolFrom, Last: l.PoolTo}},
	} {
		if says := n.InUse(r.Prefixes()); says != "" {
			what, found = append(what, "l2tp."+r.key+" "+r.text), says
		}
	}
	if found == "" {
		return
	}
	verb := "is"
	if len(what) > 1 {
		verb = "are"
	}
	c.refuse(c.inv.OtherClientNet(n.All()...), "%s %s in use at the hub: %s", strings.Join(what, " and "), verb, found)
}

// nat warns where the provider maps the public address to the hub's own: what
// comes out of a tunnel for the public address then has nowhere to go.
func (c *check) nat() {
	hub := c.inv.Hub
	if c.role != inventory.RoleHub || !hub.LocalAddress.IsValid() || hub.LocalAddress == hub.Address {
		return
	}
	if slices.Contains(hub.Subnets, netip.PrefixFrom(hub.Address, hub.Address.BitLen())) {
		c.warn("hub.subnets has %s, which the hub behind NAT does not carry: packets for it leave the tunnel and find nobody; "+
			"set hub.subnets to [%q], say", hub.Address, hub.LocalAddress.String()+"/32")
	}
}

// atLeast reports whether the upstream part of a Debian version, "6.0.1-6+deb13u7"
// or "1:6.1", is major.minor or later. A version that is none is not.
func atLeast(version string, major, minor int) bool {
	if _, v, ok := strings.Cut(version, ":"); ok {
		version = v
	}
	parts := regexp.MustCompile(`^(\d+)\.(\d+)`).FindStringSubmatch(version)
	if parts == nil {
		return false
	}
	a, _ := strconv.Atoi(parts[1]) // digits only: an overflow gives the largest int
	b, _ := strconv.Atoi(parts[2])
	return a > major || a == major && b >= minor
}
