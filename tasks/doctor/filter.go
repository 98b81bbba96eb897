package doctor

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/vpnpush/vpnpush/tasks"
)

var (
	nftTable = regexp.MustCompile(`^table (\S+ \S+) \{`)
	nftChain = regexp.MustCompile(`^\s+chain (\S+) \{`)
	nftHook  = regexp.MustCompile(`hook (input|forward|output) .*policy drop;`)
)

// closed is a chain whose policy is to drop.
type closed struct{ table, chain, hook string }

// parseChains parses `nft list chains`: what drops, and which tables hold a chain
// of ours. Rules of iptables stand there too, as Debian's iptables is nft.
func parseChains(b []byte) (drops []closed, ours map[string]bool) {
	ours = map[string]bool{}
	var table, chain string
	for l := range strings.Lines(string(b)) {
		if m := nftTable.FindStringSubmatch(l); m != nil {
			table = m[1]
		} else if m := nftChain.FindStringSubmatch(l); m != nil {
			chain = m[1]
			if strings.HasPrefix(chain, "VPNPUSH-") {
				ours[table] = true
			}
		} else if m := nftHook.FindStringSubmatch(l); m != nil {
			drops = append(drops, closed{table, chain, m[1]})
		}
	}
	return drops, ours
}

// filters looks for packet filters that drop what ours lets in: a packet must be
// accepted in every base chain (nft(8)).
func (x *hostChecks) filters() {
	c, err := x.Facts.Command(readChains)
	if err != nil {
		x.skip("other packet filters", err)
		return
	}
	if c.Code != 0 {
		if c.Code != 127 {
			x.output(readChains, "other packet filters")
		}
		return
	}
	drops, ours := parseChains(c.Stdout)
	for _, d := range drops {
		if ours[d.table] || strings.HasPrefix(d.table, "ip6 ") {
			continue
		}
		x.find("filter", Warning, "a packet must be accepted by every filter: another's accept does not help",
			"see that it lets UDP 500 and 4500 in and forwards between the tunnels and the LANs: nft list chain "+d.table+" "+d.chain,
			"the packet filter %s drops what no rule of its own accepts (%s)", d.table, d.hook)
	}
}

// before looks for what drops packets before our own rules are asked, which a plan and a
// drift see as a jump that is not where it should be.
func (x *hostChecks) before() {
	if x.Filter == nil {
		return
	}
	if m, err := tasks.ReadManifest(x.Facts); err != nil || m == nil {
		return // the rules are not to be there yet; ports tells of a manifest that was not read
	}
	drops, err := x.Filter.DropsBefore(x.Facts)
	if err != nil {
		x.skip("the rules before vpnpush's own", err)
		return
	}
	for _, d := range drops {
		what := fmt.Sprintf("rule %d of %s, %s, stands before vpnpush's own", d.Num, d.Chain.From, d.Rule)
		if d.Rule == "" {
			what = fmt.Sprintf("nothing leads to %s, and the policy of %s drops", d.Chain.Name, d.Chain.From)
		}
		ike := d.Chain.From == "INPUT" && (d.Takes("udp", 500, 4500) || d.Takes("esp"))
		s := Problem
		switch {
		case d.Chain.From == "INPUT" && !ike:
			continue // it is not a tunnel's
		case d.Narrow():
			s = Warning
		case ike:
			x.dropsIKE = true
		}
		x.find("filter", s, "the first rule that decides counts: what vpnpush's rules let through may not get to them",
			"vpnpush apply --limit "+x.Name+" puts vpnpush's rules first; what belongs to nobody is better taken out", "%s", what)
	}
}
