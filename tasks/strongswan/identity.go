package strongswan

import (
	"encoding/hex"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Match is how well an identity matches a selector, in strongSwan's order.
type Match int

// Matches, the weakest first.
const (
	MatchNone Match = iota
	MatchAny
	MatchWildcard
	MatchPerfect
)

// identityKind is the type of an IKE identity, as far as those of our conns are
// concerned: names and addresses. All others match none of them.
type identityKind int

const (
	kindOther identityKind = iota
	kindAny
	kindFQDN
	kindAddress
	kindNet
	kindRange
)

// Identity is an IKE identity, or a selector of identities, as strongSwan reads it from
// text: leftid= and rightid= of a conn, and what a key is found by.
type Identity struct {
	kind identityKind
	text string     // of a name
	from netip.Addr // of an address, and the first of a range
	to   netip.Addr
	net  netip.Prefix
}

// prefixed are the words that name the type of an identity in front of it, and the
// numbers of RFC 7296 section 3.5 that do the same.
var prefixed = []struct {
	word   string
	number uint64
	kind   identityKind
}{
	{"ipv4:", 1, kindAddress}, {"ipv6:", 5, kindAddress}, {"ipv4net:", 4, kindNet}, {"ipv6net:", 6, kindNet},
	{"ipv4range:", 7, kindRange}, {"ipv6range:", 8, kindRange}, {"fqdn:", 2, kindFQDN}, {"dns:", 2, kindFQDN},
	{"rfc822:", 3, kindOther}, {"email:", 3, kindOther}, {"userfqdn:", 3, kindOther},
	{"asn1dn:", 9, kindOther}, {"asn1gn:", 10, kindOther}, {"xmppaddr:", 10, kindOther}, {"keyid:", 11, kindOther},
}

// ParseIdentity parses an identity as strongSwan does
// (identification_create_from_string).
func ParseIdentity(s string) Identity {
	for _, p := range prefixed {
		if len(s) >= len(p.word) && strings.EqualFold(s[:len(p.word)], p.word) {
			return typed(p.kind, s[len(p.word):])
		}
	}
	if rest, ok := strings.CutPrefix(s, "{"); ok {
		number, value, ok := strings.Cut(rest, "}:")
		if n, err := strconv.ParseUint(number, 0, 32); ok && err == nil {
			if n == 0 {
				return Identity{kind: kindAny}
			}
			for _, p := range prefixed {
				if p.number == n {
					return typed(p.kind, value)
				}
			}
			return Identity{}
		}
	}
	switch s {
	case "", "%any", "%any6", "0.0.0.0", "*", "::", "0::0":
		return Identity{kind: kindAny}
	}
	name, at := strings.CutPrefix(s, "@")
	switch {
	case strings.Contains(s, "="):
		return Identity{} // a distinguished name
	case at && (strings.HasPrefix(name, "#") || strings.HasPrefix(name, "@")):
		return Identity{} // a key ID, a mail address
	case at:
		return Identity{kind: kindFQDN, text: name}
	case strings.Contains(s, "@"):
		return Identity{}
	}
	if id := address(s); id.kind != kindOther || strings.Contains(s, ":") {
		return id
	}
	return Identity{kind: kindFQDN, text: s}
}

// typed returns an identity whose type is named. Of a number in hexadecimal digits that
// is an address nothing is read: no version of strongSwan prints one so.
func typed(k identityKind, value string) Identity {
	switch k {
	case kindFQDN:
		if digits, ok := strings.CutPrefix(value, "#"); ok {
			b, err := hex.DecodeString(digits)
			if err != nil {
				return Identity{}
			}
			value = string(b)
		}
		return Identity{kind: kindFQDN, text: value}
	case kindAddress, kindNet, kindRange:
		return address(value)
	}
	return Identity{}
}

// address parses an address, a network or a range of them.
func address(s string) Identity {
	if base, bits, ok := strings.Cut(s, "/"); ok {
		a, err := netip.ParseAddr(base)
		n, err2 := strconv.Atoi(bits)
		if err != nil || err2 != nil {
			return Identity{}
		}
		p, err := a.Prefix(n)
		if err != nil {
			return Identity{}
		}
		return Identity{kind: kindNet, net: p}
	}
	from, to, ok := strings.Cut(s, "-")
	a, err := netip.ParseAddr(from)
	if err != nil {
		return Identity{}
	}
	if !ok {
		return Identity{kind: kindAddress, from: a}
	}
	b, err := netip.ParseAddr(to)
	if err != nil || b.Less(a) {
		return Identity{}
	}
	return Identity{kind: kindRange, from: a, to: b}
}

// Match returns how well id matches a selector (identification_t.matches).
func (id Identity) Match(selector Identity) Match {
	switch {
	case selector.kind == kindAny:
		return MatchAny
	case id.kind == kindFQDN && selector.kind == kindFQDN:
		return matchName(id.text, selector.text)
	case id.kind != kindAddress:
		return MatchNone
	}
	switch selector.kind {
	case kindAddress:
		if id.from == selector.from {
			return MatchPerfect
		}
	case kindNet:
		switch {
		case !selector.net.Contains(id.from):
		case selector.net.IsSingleIP():
			return MatchPerfect
		default:
			return MatchWildcard
		}
	case kindRange:
		switch {
		case id.from.BitLen() != selector.from.BitLen() || id.from.Less(selector.from) || selector.to.Less(id.from):
		case selector.from == selector.to:
			return MatchPerfect
		default:
			return MatchWildcard
		}
	}
	return MatchNone
}

// matchName compares names, whatever their case. A star in front stands for anything,
// and from strongSwan 6.0 on "^...$" is a regular expression: one that is not understood
// here is taken to match.
func matchName(name, selector string) Match {
	switch {
	case strings.EqualFold(name, selector):
		return MatchPerfect
	case selector == "*":
		return MatchAny
	case strings.HasPrefix(selector, "*") && len(name) >= len(selector) && strings.EqualFold(name[len(name)-len(selector)+1:], selector[1:]):
		return MatchWildcard
	case strings.HasPrefix(selector, "^") && strings.HasSuffix(selector, "$"):
		if re, err := regexp.Compile("(?i)" + selector); err != nil || re.MatchString(name) {
			return MatchWildcard
		}
	}
	return MatchNone
}

// Door is a conn of ours, as a key opens it.
type Door struct {
	// Local and Peer are the identities of its two ends; Peer is "%any" where the conn
	// takes any.
	Local, Peer string
	// One says that charon takes the one key that matches best, as it does for IKEv1,
	// which needs the key before it knows who calls. For IKEv2 it tries all of them.
	One bool
}

// OpenedBy reports whether a key with these selectors, beside ours, opens the conn.
//
// For IKEv2 charon tries every key of which either identity matches
// (psk_authenticator.c, mem_cred.c). Of IKEv1 ours matches the local identity perfectly
// and the peer's not at all: what is better is taken in its place, and of two that are
// as good the one that was read last (credential_manager.c, get_shared).
func (d Door) OpenedBy(selectors []string) bool {
	if len(selectors) == 0 {
		selectors = []string{"%any"}
	}
	local, peer := MatchNone, MatchNone
	for _, s := range selectors {
		id := ParseIdentity(s)
		local = max(local, ParseIdentity(d.Local).Match(id))
		peer = max(peer, ParseIdentity(d.Peer).Match(id))
	}
	if d.One {
		return peer > MatchNone || local == MatchPerfect
	}
	return peer > MatchNone || local > MatchNone
}
