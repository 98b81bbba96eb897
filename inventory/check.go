package inventory

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// nameRule is a pattern for names, and the words for it in a message.
type nameRule struct {
	pattern *regexp.Regexp
	text    string
}

var (
	// A host's name becomes a file's name, a conn's (where "." and "%" mean
	// something to strongSwan) and an IKE identity, which is as long as a DNS label here.
	hostName = nameRule{regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$`), "letters, digits, - and _, beginning with a letter or digit, 63 at most"}
	// A user's name stands in chap-secrets, where "*" and quotes mean something,
	// and in the name of an exported file.
	userName  = nameRule{regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}$`), "letters, digits and . _ @ + -, beginning with a letter or digit, 63 at most"}
	plainName = nameRule{regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`), "letters, digits and . _ -, beginning with a letter or digit, 63 at most"}
)

func (r *reader) checkName(at toml.Key, what, name string, rule nameRule, reserved []string) {
	for _, word := range reserved {
		if strings.EqualFold(word, name) {
			r.errorf(at, "choose another name", "%s: the name %q is reserved", what, name)
			return
		}
	}
	if !rule.pattern.MatchString(name) {
		r.errorf(at, "use "+rule.text, "%s: the name %q cannot be used in file and connection names", what, name)
	}
}

// ValidHostName reports whether a host can have this name.
func ValidHostName(name string) bool { return hostName.pattern.MatchString(name) }

// checkNames refuses names that differ by case only: they share a file on some
// systems, and an identity for some peers.
func (r *reader) checkNames(inv *Inventory) {
	seen := map[string]string{}
	if inv.Hub.Name != "" {
		seen[strings.ToLower(inv.Hub.Name)] = "the hub"
	}
	for _, s := range inv.Sites {
		r.checkUnique(seen, toml.Key{"sites", s.Name}, "site", s.Name)
	}
	if inv.L2TP != nil {
		seen := map[string]string{}
		for _, u := range inv.L2TP.Users {
			r.checkUnique(seen, toml.Key{"l2tp", "users", u.Name}, "user", u.Name)
		}
	}
}

func (r *reader) checkUnique(seen map[string]string, at toml.Key, kind, name string) {
	lower := strings.ToLower(name)
	if other, ok := seen[lower]; ok {
		r.errorf(at, "choose another name", "%s %q has the name of %s", kind, name, other)
		return
	}
	seen[lower] = kind + " " + strconv.Quote(name)
}

// span is a claim in numbers, both ends included, and whether it is a site's.
type span struct {
	claim
	from, to uint32
	site     bool
}

// checkOverlaps refuses a site's subnet that another site, the hub or the L2TP
// layer has as well. It sweeps once over the spans in the order of their first
// addresses: a span overlaps one before it if and only if it begins before the
// furthest end so far. That finds every span that overlaps another, in n log n.
func (r *reader) checkOverlaps(inv *Inventory) {
	var spans []span
	add := func(site bool, ps []claim) {
		for _, p := range ps {
			spans = append(spans, span{p, u32(p.First), u32(p.Last), site})
		}
	}
	for _, s := range inv.Sites {
		add(true, r.claims(s.Subnets, "sites", s.Name, "subnets"))
	}
	add(false, r.claims(inv.Hub.Subnets, "hub", "subnets"))
	add(false, inv.clientClaims())
	slices.SortStableFunc(spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var site, other *span // the one of each kind that reaches furthest
	for i := range spans {
		s := &spans[i]
		if site != nil && s.from <= site.to {
			r.overlap(site, s)
		}
		if s.site && other != nil && s.from <= other.to {
			r.overlap(other, s)
		}
		furthest := &other
		if s.site {
			furthest = &site
		}
		if *furthest == nil || s.to > (*furthest).to {
			*furthest = s
		}
	}
}

// overlap reports a and b, on the line of the one that stands further down.
func (r *reader) overlap(a, b *span) {
	if r.pos.line(a.at) > r.pos.line(b.at) {
		a, b = b, a
	}
	r.errorf(b.at, "give every site a network of its own", "%s overlaps %s (line %d)", b.text, a.text, r.pos.line(a.at))
}

// u32 returns an IPv4 address as a number.
func u32(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// checkJumps refuses a hop that no host is, and hosts that are each reached
// through the other.
func (r *reader) checkJumps(inv *Inventory) {
	hosts := inv.Hosts()
	byName := map[string]Host{}
	var names []string
	for _, h := range hosts {
		byName[h.Name] = h
		names = append(names, h.Name)
	}
	names = append(names, "hub")
	r.checkHops(toml.Key{"ssh", "jump"}, inv.SSH.Jump, names)
	for i, h := range hosts {
		own := inv.Hub.SSH
		if i > 0 { // Hosts: the hub, then the sites
			own = inv.Sites[i-1].SSH
		}
		if own.Jump != "" {
			at := sshAt(h, "jump")
			r.checkHops(at, own.Jump, names)
			if h.SSH.Connection == "local" {
				r.errorf(at, "leave one of them out", `%s: a host with connection = "local" is not reached through another`, at)
			}
		}
	}

	// A host's state: 0 not seen, 1 on the way that is being followed, 2 done.
	state := map[string]int{}
	var follow func(name string, way []string)
	follow = func(name string, way []string) {
		h, ok := byName[name]
		if name == "" || !ok || state[name] == 2 {
			return
		}
		way = append(way, name)
		if state[name] == 1 {
			loop := way[slices.Index(way, name):]
			r.errorf(sshAt(h, "jump"), "let one of them be reached without the others", "ssh jump loop: %s", strings.Join(loop, " -> "))
			return
		}
		state[name] = 1
		for hop := range strings.SplitSeq(h.SSH.Jump, ",") {
			follow(hop, way)
		}
		state[name] = 2
	}
	for _, h := range hosts {
		follow(h.Name, nil)
	}
}

// sshAt returns the path of a key of a host's ssh table.
func sshAt(h Host, key string) toml.Key {
	if h.Role == RoleHub {
		return toml.Key{"hub", "ssh", key}
	}
	return toml.Key{"sites", h.Name, "ssh", key}
}

// checkHops checks a jump list: each hop is a host of the inventory, or the
// address or user@host:port of another.
func (r *reader) checkHops(at toml.Key, jump string, names []string) {
	if jump == "" {
		return
	}
	for hop := range strings.SplitSeq(jump, ",") {
		if slices.Contains(names, hop) {
			continue
		}
		if !strings.ContainsAny(hop, "@:.") {
			mend := `write a host of this inventory, "hub", or user@host:port`
			if n := nearest(hop, names); n != "" {
				mend = fmt.Sprintf("did you mean %q?", n)
			}
			r.errorf(at, mend, "%s: there is no host %q", at, hop)
			continue
		}
		if _, err := ParseLogin(hop); err != nil {
			r.errorf(at, "write user@host:port", "%s: %q %v", at, hop, err)
		}
	}
}
