package adopt

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// key is a pre-shared key, and what it is found by.
type key struct {
	mask.Key
	file  string
	value secret.Value
}

func (k key) place() string { return fmt.Sprintf("%s:%d", k.file, k.First) }

func (b *box) readKeys() error {
	text, err := b.content(ipsecKeys)
	if err != nil {
		return err
	}
	return b.keysIn(ipsecKeys, text, map[string]bool{})
}

func (b *box) keysIn(file, text string, seen map[string]bool) error {
	if seen[file] {
		return nil
	}
	seen[file] = true
	lines := strings.Split(text, "\n")
	for _, k := range mask.Keys(mask.IPsecSecrets, []byte(text)) {
		b.keys = append(b.keys, key{Key: k, file: file, value: pskOf(lines[k.First-1])})
	}
	for i, l := range lines {
		rest, ok := strings.CutPrefix(strings.TrimLeft(l, " \t"), "include ")
		if !ok {
			continue
		}
		pattern, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if !strings.HasPrefix(pattern, "/") {
			pattern = "/etc/" + pattern
		}
		if strings.HasPrefix(pattern, "/var/lib/strongswan/") {
			continue // of the package
		}
		if in, _ := path.Match(includable, pattern); !in {
			b.note(fmt.Sprintf("%s:%d", file, i+1), "include "+shown(pattern), "what it includes is not read, and stays as it is")
			continue
		}
		files, err := b.Facts.Glob(includable)
		if err != nil {
			return err
		}
		for _, f := range files {
			if ok, _ := path.Match(pattern, f.Path); ok {
				if err := b.keysIn(f.Path, string(f.Content), seen); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// pskOf returns the secret of a line that mask.Keys takes for a key's, as strongSwan reads
// it (extract_secret in stroke_cred.c).
func pskOf(line string) secret.Value {
	at := 1 // of the colon
	if line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t"); !strings.HasPrefix(line, ": ") {
		at = strings.Index(line, " : ") + len(" : ")
	}
	rest := strings.TrimLeft(line[at:], " \t")
	s := strings.TrimSpace(strings.TrimPrefix(rest, "PSK"))
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		s, _, _ = strings.Cut(s[1:], s[:1])
		return secret.New(s)
	}
	s, _, _ = strings.Cut(s, " ")
	decode := map[string]func(string) ([]byte, error){"0x": hex.DecodeString, "0s": base64.StdEncoding.DecodeString}
	if f := decode[s[:min(2, len(s))]]; f != nil {
		if raw, err := f(s[2:]); err == nil {
			return secret.New(string(raw))
		}
	}
	return secret.New(s)
}

// unfit returns why an inventory cannot hold a secret of at least n characters, "" where it
// can.
func unfit(v secret.Value, n int, not string) string {
	s := v.Reveal()
	switch {
	case len(s) < n:
		return fmt.Sprintf("it is shorter than %d characters", n)
	case len(s) > 256:
		return "it is longer than 256 characters"
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(not, r) }):
		return "it has characters that not every file can carry"
	}
	return ""
}

// open reports whether the key is for anybody: it has no identity, or that of any peer.
func (k key) open() bool { return len(k.Selectors) == 0 || slices.ContainsFunc(k.Selectors, anyID) }

// anyID reports whether a selector is that of any peer.
func anyID(s string) bool {
	return strings.HasPrefix(s, "%any") || s == "0.0.0.0" || s == "0.0.0.0/0" || strings.HasSuffix(s, "@*")
}

// find returns the key of a box that is found by the most of these identities, as far as
// they are known; nil for none.
func (b *box) find(ids ...string) *key {
	best, most := (*key)(nil), -1
	for i := range b.keys {
		k := &b.keys[i]
		n := 0
		for _, id := range ids {
			if id != "" && slices.Contains(k.Selectors, id) {
				n += 2
			}
		}
		if n == 0 && !k.open() {
			continue
		}
		if n == 0 && len(k.Selectors) > 0 {
			n = 1
		}
		if n > most {
			best, most = k, n
		}
	}
	return best
}

// joinKeys gives each site the key that the two ends had, where it is theirs alone, and a
// new one else.
func (n *network) joinKeys() {
	taken := map[string]bool{}
	if n.l2tp != nil {
		n.l2tp.psk = n.clientKey()
		taken[n.l2tp.psk.Reveal()] = true
	}
	for _, s := range n.sites {
		k, b := n.keyOf(s)
		why := ""
		switch {
		case k == nil:
		case k.open():
			why = "it opens every tunnel, to whoever knows it"
		case taken[k.value.Reveal()]:
			why = "others have it, too"
		default:
			why = unfit(k.value, 16, `"`)
		}
		if k != nil && why == "" {
			s.psk = k.value
		} else {
			s.psk = secret.GeneratePSK()
		}
		if why != "" {
			b.note(k.place(), "the key of "+s.name, "%s; %s gets a new one, at both ends in one apply", why, s.name)
		}
		taken[s.psk.Reveal()] = true
	}
}

// keyOf returns the key that a site and the hub share, as the hub has it, and the box where
// it stands.
func (n *network) keyOf(s *site) (*key, *box) {
	var hub *key
	if n.hub != nil {
		ids := []string{}
		if s.hubConn != nil {
			ids = append(ids, s.hubConn.Get(s.hubConn.there+"id"))
		}
		if s.address.IsValid() {
			ids = append(ids, s.address.String())
		}
		hub = n.hub.find(ids...)
	}
	if s.box == nil {
		return hub, n.hub
	}
	own := s.box.find(s.conn.Get(s.conn.there+"id"), s.conn.Get(s.conn.there))
	if n.hub == nil || own == nil {
		return nil, nil // who else has it is not known
	}
	for i := range n.hub.keys {
		if k := &n.hub.keys[i]; k.value.Equal(own.value) {
			return k, n.hub
		}
	}
	return hub, n.hub
}

// clientKey returns the key of the L2TP clients.
func (n *network) clientKey() secret.Value {
	ids := []string{n.address.String()}
	if n.local.IsValid() {
		ids = append(ids, n.local.String())
	}
	for _, c := range n.hub.conns {
		if c.l2tp {
			ids = append(ids, c.Get(c.here+"id"), c.Get(c.here))
		}
	}
	// one that names somebody else is of a pair
	pairs := func(k key) bool {
		return slices.ContainsFunc(k.Selectors, func(s string) bool { return !slices.Contains(ids, s) && !anyID(s) })
	}
	clients := box{keys: slices.DeleteFunc(slices.Clone(n.hub.keys), pairs)}
	k := clients.find(ids...)
	if k == nil {
		n.hub.note(ipsecKeys+":1", "", "no key for L2TP clients was found: they get a new one; `vpnpush export` writes what they are to be told")
		return secret.GeneratePSK()
	}
	if why := unfit(k.value, 16, `"`); why != "" {
		n.hub.note(k.place(), "the key of the L2TP clients", "%s: they get a new one; `vpnpush export` writes what they are to be told", why)
		return secret.GeneratePSK()
	}
	if len(k.Selectors) == 0 || k.open() {
		n.hub.note(k.place(), "the key of the L2TP clients", "the clients keep it, but as it stands it opens every tunnel, to whoever knows it: `vpnpush apply --adopt` takes the line out, and vpnpush's own lets it open L2TP alone")
	}
	return k.value
}
