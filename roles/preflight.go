package roles

import (
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

// rivals are services that keep the whole packet filter, or, as ufw, break
// iptables-persistent's package.
var rivals = []string{"ufw.service", "firewalld.service", "nftables.service"}

// Room that must be free, in KiB.
const (
	roomPackages = 50 << 10
	roomFiles    = 1 << 10
)

// preflightReads is what Preflight looks at beside what the tasks read.
func preflightReads() []tasks.Read {
	reads := []tasks.Read{
		{Kind: tasks.ReadPackage, Arg: "libstrongswan"},
		{Kind: tasks.ReadPackage, Arg: "iptables-persistent"},
		{Kind: tasks.ReadUnit, Arg: unitCharon},
		{Kind: tasks.ReadUnit, Arg: unitFirewall},
		// what a host had and has no more is looked for, too
		{Kind: tasks.ReadUnit, Arg: unitXL2TPD},
		{Kind: tasks.ReadFile, Arg: chapSecrets},
		{Kind: tasks.ReadFile, Arg: rulesV4},
		{Kind: tasks.ReadFile, Arg: rulesV6},
		{Kind: tasks.ReadFile, Arg: ipsecConf},
		{Kind: tasks.ReadGlob, Arg: confDir + "*"},
	}
	reads = append(reads, tasks.Firewall{}.Reads()...)
	for _, u := range rivals {
		reads = append(reads, tasks.Read{Kind: tasks.ReadUnit, Arg: u})
	}
	return reads
}

// Preflight tells what a host cannot carry, before anything is touched: every
// refusal at once, each with its mend as a transport.Hinter, and warnings. What
// the facts do not tell is a refusal too.
func Preflight(inv *inventory.Inventory, host string, f tasks.Facts) (refusals []error, warnings []string) {
	p, err := place(inv, host)
	if err != nil {
		return []error{err}, nil
	}
	c := check{placed: p, facts: f}
	if !c.platform() {
		return c.refusals, nil // nothing else could be told of such a host
	}
	c.room()
	c.strongswan()
	c.conf()
	c.strays()
	if p.filtered() {
		c.filter()
	} else {
		c.unfiltered()
	}
	if p.l2tp() != nil {
		c.ppp()
	}
	c.nat()
	return c.refusals, c.warnings
}

type check struct {
	placed
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
func (c *check) platform() bool {
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
		if n, err := strconv.Atoi(v); err == nil && n < 11 {
			c.refuse("upgrade the host to Debian 12 or later", "the host runs Debian %d; strongswan-starter.service came with 11", n)
		}
	}
	if !h.Systemd {
		c.refuse("boot the host with systemd", "systemd does not run on the host")
	}
	if h.UID != 0 {
		c.refuse(`log in as root, or set ssh.become = "auto" for a user who may use sudo`, "not root on the host, but uid %d", h.UID)
	}
	for _, d := range h.ReadOnly {
		c.refuse("remount it read-write, and look for the disk error that made it so (dmesg)", "%s cannot be written", d)
	}
	return h.Debian() != "" && h.Systemd
}

func (c *check) room() {
	needVar, why := int64(roomFiles), "the backups"
	for _, pkg := range c.packages() {
		st, err := c.facts.Package(pkg.Name)
		if c.unknown(err) {
			return
		}
		if !st.Installed {
			needVar, why = roomPackages, "the packages"
		}
	}
	for _, d := range []struct {
		path string
		need int64
		why  string
	}{{"/var", needVar, why}, {"/etc", roomFiles, "the files"}} {
		if free, ok := freeKiB(c.facts.Host.FreeKiB, d.path); ok && free < d.need {
			c.refuse("free some room (apt-get clean, journalctl --vacuum-size=50M)",
				"%d KiB are free for %s, %s take %d KiB", free, d.path, d.why, d.need)
		}
	}
}

// freeKiB is the room of the file system a path is on: the longest mount point
// above it.
func freeKiB(mounts map[string]int64, path string) (free int64, ok bool) {
	best := -1
	for m, n := range mounts {
		if m == path || m == "/" || strings.HasPrefix(path, m+"/") {
			if len(m) > best {
				best, free, ok = len(m), n, true
			}
		}
	}
	return free, ok
}

func (c *check) strongswan() {
	if u, err := c.facts.Unit(unitCharon); !c.unknown(err) && u.Active == "active" {
		c.refuse("move its connections to ipsec.conf, then: systemctl disable --now strongswan.service; apt-get remove charon-systemd",
			"strongswan.service (charon-systemd) runs on the host; it and strongswan-starter both want UDP 500 and 4500")
	}
	lib, err := c.facts.Package("libstrongswan")
	if c.unknown(err) {
		return
	}
	version := lib.Candidate
	if lib.Installed {
		version = lib.Version
	}
	if fixed := fixedIn(version); fixed != "" {
		c.warn("strongSwan %s has known holes (CVE-2026-78135: a tunnel before the peer is authenticated), %s has not: apt-get update && apt-get install --only-upgrade libstrongswan", version, fixed)
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

// conf looks for conns of the user's that would be merged into ours: starter
// takes two sections of one name for one.
func (c *check) conf() {
	s, err := c.facts.File(ipsecConf)
	if c.unknown(err) {
		return
	}
	ours := map[string]bool{}
	pairs, err := c.pairs()
	if c.unknown(err) {
		return
	}
	for _, p := range pairs {
		ours[p.name] = true
	}
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
		case ours[w[1]]:
			c.refuse("rename or remove that conn on the host, or give the site another name",
				"%s has a conn %s of its own, which strongSwan would merge with vpnpush's", ipsecConf, w[1])
		}
	}
}

// strays warns of what somebody put among our files: strongSwan reads it with
// them, and it is not ours to take away.
func (c *check) strays() {
	found, err := c.facts.Glob(confDir + "*")
	if c.unknown(err) {
		return
	}
	m, err := tasks.ReadManifest(c.facts)
	if c.unknown(err) {
		return
	}
	pairs, err := c.pairs()
	if c.unknown(err) {
		return
	}
	ours := map[string]bool{}
	for _, p := range pairs {
		ours[confDir+p.name+".conf"], ours[confDir+p.name+".secrets"] = true, true
	}
	for _, f := range found {
		if !m.Owns(f.Path) && !ours[f.Path] {
			c.warn("%s is not vpnpush's, and strongSwan reads it with the rest", f.Path)
		}
	}
}

func (c *check) filter() {
	for _, name := range rivals {
		if u, err := c.facts.Unit(name); !c.unknown(err) && u.Active == "active" {
			c.refuse(fmt.Sprintf(`disable %s, or set firewall.backend = "none" and let it pass UDP 500, 4500 and the forwarded subnets`, strings.TrimSuffix(name, ".service")),
				"%s keeps the packet filter of the host", name)
		}
	}
	u, err := c.facts.Unit(unitFirewall)
	if c.unknown(err) {
		return
	}
	// To start it, which its package does too, is to load both files over the
	// live tables.
	for _, r := range []struct{ path, save string }{{rulesV4, "iptables-save"}, {rulesV6, "ip6tables-save"}} {
		rules, err := c.facts.File(r.path)
		if c.unknown(err) {
			return
		}
		if !rules.Exists || u.Active == "active" {
			continue
		}
		p, err := c.facts.Package("iptables-persistent")
		if c.unknown(err) {
			return
		}
		if p.Installed {
			// it is only enabled, for the next boot
			c.warn("%s is there but not loaded: the next boot will load it", r.path)
		} else {
			c.refuse("compare it with "+r.save+", then start netfilter-persistent yourself, or move "+r.path+" away",
				"%s is there but not loaded: to start netfilter-persistent would put it in place of the live rules", r.path)
		}
	}
}

// unfiltered warns of what vpnpush's own chains would have seen to.
func (c *check) unfiltered() {
	switch forgotten, err := forgottenChains(c.facts); {
	case c.unknown(err):
	case len(forgotten) > 0:
		c.warn("chains of vpnpush stand here that no manifest has, left by an earlier version: this plan takes them away")
	}
	if live, err := c.facts.Command(readLive); !c.unknown(err) && live.Code != 0 && live.Code != 127 {
		c.warn("whether chains of vpnpush are still live is not known: %s: exit status %d: %s", readLive, live.Code, strings.TrimSpace(string(live.Stderr)))
	}
	if c.l2tp() != nil {
		c.warn(`firewall.backend is "none": see to it that UDP 1701 is let in from inside IPsec only (-m policy --dir in --pol ipsec) and dropped otherwise, or L2TP is served in the clear`)
	}
}

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

// nat warns where the provider maps the public address to the hub's own: what
// comes out of a tunnel for the public address then has nowhere to go.
func (c *check) nat() {
	hub := c.inv.Hub
	if c.role != inventory.RoleHub || !hub.LocalAddress.IsValid() || hub.LocalAddress == hub.Address {
		return
	}
	if slices.Contains(hub.Subnets, netip.PrefixFrom(hub.Address, hub.Address.BitLen())) {
		c.warn("hub.subnets has %s, which the hub behind NAT does not carry: packets for it leave the tunnel and find nobody; set hub.subnets to [%q], say", hub.Address, hub.LocalAddress.String()+"/32")
	}
}

// atLeast compares the upstream part of a Debian version, "6.0.1-6+deb13u7" or
// "1:6.1", with major.minor. A version that is none is not at least anything.
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

// securityRelease is a version of Debian's security team.
var securityRelease = regexp.MustCompile(`^(.*\+deb\d+u)(\d+)$`)

// fixedIn gives the version that mends CVE-2026-78135 where version is an
// earlier one of Debian 12 or 13.
func fixedIn(version string) string {
	fixes := []struct{ base, line string }{
		{"5.9.8-5", "5.9.8-5+deb12u6"},
		{"6.0.1-6", "6.0.1-6+deb13u7"},
	}
	for _, fix := range fixes {
		if version == fix.base {
			return fix.line
		}
		have, want := securityRelease.FindStringSubmatch(version), securityRelease.FindStringSubmatch(fix.line)
		if have == nil || have[1] != want[1] {
			continue
		}
		h, _ := strconv.Atoi(have[2])
		if w, _ := strconv.Atoi(want[2]); h < w {
			return fix.line
		}
	}
	return ""
}
