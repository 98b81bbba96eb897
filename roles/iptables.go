package roles

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
)

// The packet filter by iptables, and iptables-persistent for the next boot.
const (
	unitFirewall = "netfilter-persistent.service"
	rulesV4      = "/etc/iptables/rules.v4"
	rulesV6      = "/etc/iptables/rules.v6" // read only
)

// The own chains.
const (
	chainIn  = "VPNPUSH-IN"
	chainOut = "VPNPUSH-OUT"
	chainFwd = "VPNPUSH-FWD"
	chainNAT = "VPNPUSH-NAT"
	chainMSS = "VPNPUSH-MSS"
	chainSrc = "VPNPUSH-SRC"
)

// iptablesFilter keeps chains of its own. iptables-persistent comes without
// iptables; the preseed keeps its installation from writing the rules of the
// moment, fail2ban's and Docker's too, into rules.v4.
var iptablesFilter = filter{
	word: inventory.FilterIptables,
	packages: []tasks.Package{
		{Name: "iptables"},
		{Name: "iptables-persistent", Preseed: []string{
			"iptables-persistent iptables-persistent/autosave_v4 boolean false",
			"iptables-persistent iptables-persistent/autosave_v6 boolean false",
		}},
	},
	units: []tasks.Unit{{Name: unitFirewall, BootOnly: true, Shared: true}},
	tasks: func(p policy) []tasks.Task {
		chains := chainsOf(p)
		return []tasks.Task{tasks.RulesV4{Path: rulesV4, Chains: chains}, tasks.Firewall{Chains: chains}}
	},
	render: func(p policy) []RenderedFile {
		return []RenderedFile{{Path: rulesV4, Mode: 0o644, Content: restorable(chainsOf(p))}}
	},
	leaves: append([]tasks.Read{
		{Kind: tasks.ReadUnit, Arg: unitFirewall},
		{Kind: tasks.ReadFile, Arg: rulesV4},
	}, tasks.Firewall{}.Reads()...),
	// They keep the whole packet filter, or, as ufw, break iptables-persistent's
	// package.
	rivals: []rival{filterRival("ufw"), filterRival("firewalld"), filterRival("nftables")},
	reads: []tasks.Read{
		{Kind: tasks.ReadPackage, Arg: "iptables-persistent"},
		{Kind: tasks.ReadFile, Arg: rulesV6},
	},
	preflight: iptablesPreflight,
	supposed:  iptablesBare,
}

// iptablesBare: the rules file of a bare host is made with the policies of one, and nobody
// has chains of ours.
var iptablesBare = []tasks.Supposed{
	{Mend: mendBare, Shell: `if command -v iptables-save >/dev/null; then iptables-save 2>/dev/null | awk '
/^[*]/ { table = substr($1, 2) }
/^:` + iptables.Prefix + `/ { print "its packet filter has the chain " substr($1, 2) }
/^:/ && $2 != "ACCEPT" && $2 != "-" { print "the policy of " substr($1, 2) " in its packet filter (" table ") is " $2 }'; fi`},
	{Mend: "compare it with ip6tables-save, then start netfilter-persistent yourself, or move it away", Shell: "if [ -e " + rulesV6 + " ] && ! systemctl --quiet is-active " + unitFirewall + "; then echo '" + rulesV6 + " is there but not loaded'; fi"},
}

func filterRival(name string) rival {
	return rival{
		unit: name + ".service",
		says: name + ".service keeps the packet filter of the host",
		mend: fmt.Sprintf(`disable %s, or set firewall.backend = "none" and let it pass UDP 500, 4500 and the forwarded subnets`, name),
	}
}

// chainsOf returns the own chains that a policy makes.
func chainsOf(p policy) []iptables.Chain {
	return slices.Concat(
		chainOf("filter", "INPUT", chainIn, p.input),
		chainOf("filter", "FORWARD", chainFwd, p.forward),
		chainOf("filter", "OUTPUT", chainOut, p.output),
		chainOf("nat", "POSTROUTING", chainNAT, p.nat),
		chainOf("mangle", "PREROUTING", chainSrc, p.source),
		chainOf("mangle", "POSTROUTING", chainMSS, p.mss),
	)
}

// chainOf returns the chain of a list of rules, and those that it leads to.
func chainOf(table, from, name string, rules []rule) []iptables.Chain {
	if len(rules) == 0 {
		return nil
	}
	c := iptables.Chain{Table: table, From: from, Name: name}
	var under []iptables.Chain
	groups := 0
	for len(rules) > 0 {
		r, n := rules[0], 1
		if !r.grouped() {
			c.Rules = append(c.Rules, ruleText(r))
		} else {
			groups++
			for n < len(rules) && rules[n].sameGroup(r) {
				n++
			}
			t := groupChains(table, fmt.Sprintf("%s-%d", name, groups), rules[:n])
			c.Rules = append(c.Rules, t.root...)
			under = append(under, t.chains...)
		}
		rules = rules[n:]
	}
	return append([]iptables.Chain{c}, under...)
}

// ruleText returns a rule as iptables-save prints it, which is what it is compared
// with (tasks/testdata/iptables/canonical.txt).
func ruleText(r rule) string {
	verdict := "-j ACCEPT"
	switch r.verdict {
	case drop:
		verdict = "-j DROP"
	case masquerade:
		verdict = "-j MASQUERADE"
	case pass:
		verdict = "-j RETURN"
	case clampMSS:
		verdict = fmt.Sprintf("-m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss %d:65535 -j TCPMSS --set-mss %d", r.mss+1, r.mss)
	}
	return strings.TrimPrefix(matchText(r)+" "+verdict, " ")
}

// jumpText returns what sends the packets of a rule to an own chain.
func jumpText(r rule, to string) string { return matchText(r) + " -j " + to }

// matchText returns what a rule looks at.
func matchText(r rule) string {
	var b strings.Builder
	add := func(format string, a ...any) { fmt.Fprintf(&b, " "+format, a...) }
	if r.from.IsValid() {
		add("-s %s", r.from.Masked())
	}
	if r.elsewhere && r.to.IsValid() {
		add("! -s %s", r.to.Masked())
	}
	if r.to.IsValid() && r.to.Bits() > 0 { // every address is not printed
		add("-d %s", r.to.Masked())
	}
	if r.in != anyIface && r.in != clientLink {
		add("%s", ifaceText("-i", r.in))
	}
	if r.out != anyIface {
		add("%s", ifaceText("-o", r.out))
	}
	if r.proto != "" {
		add("-p %s", r.proto)
	}
	if r.sport != 0 {
		add("-m %s --sport %d", r.proto, r.sport)
	}
	switch len(r.dports) {
	case 0:
	case 1:
		add("-m %s --dport %d", r.proto, r.dports[0])
	default:
		add("-m multiport --dports %s", portsText(r.dports))
	}
	if len(r.ports) > 0 {
		add("-m multiport --ports %s", portsText(r.ports))
	}
	if r.redirect {
		add("-m icmp --icmp-type 5")
	}
	if r.fromRange.First.IsValid() || r.toRange.First.IsValid() {
		add("-m iprange")
	}
	if r.fromRange.First.IsValid() {
		add("--src-range %s-%s", r.fromRange.First, r.fromRange.Last)
	}
	if r.toRange.First.IsValid() {
		add("--dst-range %s-%s", r.toRange.First, r.toRange.Last)
	}
	if r.in == clientLink {
		add("-m devgroup --src-group %#x", clientGroup)
	}
	if r.ipsecIn != anyWay {
		add("-m policy --dir in --pol %s", ipsecText(r.ipsecIn))
	}
	if r.ipsecOut != anyWay {
		add("-m policy --dir out --pol %s", ipsecText(r.ipsecOut))
	}
	if r.replies {
		add("-m conntrack --ctstate RELATED,ESTABLISHED")
	}
	if r.spoofed {
		add("-m rpfilter --invert")
	}
	return strings.TrimPrefix(b.String(), " ")
}

func portsText(ports []uint16) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(ports), "[]"), " ", ",")
}

func ifaceText(option string, i iface) string {
	switch i {
	case notPPP:
		return "! " + option + " ppp+"
	case notIPsec:
		return "! " + option + " ipsec+"
	}
	return option + " ppp+"
}

func ipsecText(i ipsec) string {
	if i == inTunnel {
		return "ipsec"
	}
	return "none"
}

// restorable returns the own chains as iptables-restore(8) reads them. It names no
// policy: a host keeps the ones it has.
func restorable(chains []iptables.Chain) []byte {
	var b bytes.Buffer
	for i, c := range chains {
		if i == 0 || chains[i-1].Table != c.Table {
			fmt.Fprintf(&b, "*%s\n", c.Table)
			for _, d := range chains[i:] {
				if d.Table == c.Table {
					fmt.Fprintf(&b, ":%s - [0:0]\n", d.Name)
				}
			}
		}
		if c.From != "" {
			fmt.Fprintf(&b, "-A %s -j %s\n", c.From, c.Name)
		}
		for _, r := range c.Rules {
			fmt.Fprintf(&b, "-A %s %s\n", c.Name, r)
		}
		if i == len(chains)-1 || chains[i+1].Table != c.Table {
			b.WriteString("COMMIT\n")
		}
	}
	return b.Bytes()
}

// iptablesPreflight looks for rules that are kept for the next boot and do not run:
// to start netfilter-persistent, which its package does too, is to load both files
// over the live tables.
func iptablesPreflight(c *check) {
	u, err := c.facts.Unit(unitFirewall)
	if c.unknown(err) {
		return
	}
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
