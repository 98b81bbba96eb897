package inventory

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// reader collects what is found while a TOML text is turned into a model.
type reader struct {
	file  string
	pos   *positions
	diags Diagnostics
	refs  []*secretRef
	// elems has the paths of the subnets that were understood, by the path of
	// their list.
	elems map[string][]toml.Key
}

func (r *reader) report(sev Severity, at toml.Key, mend, format string, a ...any) {
	r.diags = append(r.diags, Diagnostic{
		File: r.file, Line: r.pos.line(at), Severity: sev, Summary: fmt.Sprintf(format, a...), Mend: mend,
	})
}

func (r *reader) errorf(at toml.Key, mend, format string, a ...any) {
	r.report(Error, at, mend, format, a...)
}

func (r *reader) warnf(at toml.Key, mend, format string, a ...any) {
	r.report(Warning, at, mend, format, a...)
}

// table reads the keys of one TOML table. Each getter notes its key as known,
// reports a value of another type or out of bounds, and then returns what it
// would have returned without the key, so that checking can go on.
type table struct {
	r     *reader
	path  toml.Key
	m     map[string]any
	known []string
}

// at returns the path of a key of t.
func (t *table) at(key ...string) toml.Key {
	return append(t.path[:len(t.path):len(t.path)], key...)
}

// name returns the path of a key of t as people write it.
func (t *table) name(key ...string) string { return t.at(key...).String() }

func (t *table) has(key string) bool {
	_, ok := t.m[key]
	return ok
}

// blank reports whether key is left out or "".
func (t *table) blank(key string) bool { return !t.has(key) || t.m[key] == "" }

// emptyList reports whether key is [].
func (t *table) emptyList(key string) bool {
	l, ok := t.m[key].([]any)
	return ok && len(l) == 0
}

// get returns the value of key, and notes that it is a known key.
func (t *table) get(key string) (any, bool) {
	t.known = append(t.known, key)
	v, ok := t.m[key]
	return v, ok
}

// get reads a key that holds a T.
func get[T any](t *table, key, mend string) (T, bool) {
	v, ok := t.get(key)
	if !ok {
		var zero T
		return zero, false
	}
	x, ok := v.(T)
	if !ok {
		t.r.errorf(t.at(key), mend, "%s is %s", t.name(key), kindOf(v))
	}
	return x, ok
}

func kindOf(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case int64:
		return "a number"
	case float64:
		return "a fraction"
	case bool:
		return "true or false"
	case time.Time:
		return "a date"
	case map[string]any:
		return "a table"
	default: // []any, []map[string]any
		return "a list"
	}
}

func (t *table) str(key, def string) string {
	s, ok := get[string](t, key, "write a string in quotes")
	if !ok {
		return def
	}
	return s
}

func (t *table) flag(key string, def bool) bool {
	b, ok := get[bool](t, key, "write true or false, without quotes")
	if !ok {
		return def
	}
	return b
}

func (t *table) number(key string, def, low, high int) int {
	n, ok := get[int64](t, key, fmt.Sprintf("write a number from %d to %d, without quotes", low, high))
	if !ok {
		return def
	}
	if n < int64(low) || n > int64(high) {
		t.r.errorf(t.at(key), fmt.Sprintf("write a number from %d to %d", low, high), "%s is %d", t.name(key), n)
		return def
	}
	return int(n)
}

// oneOf reads a word; words[0] is the default.
func (t *table) oneOf(key string, words ...string) string {
	s := t.str(key, words[0])
	if !slices.Contains(words, s) {
		t.r.errorf(t.at(key), "write "+alternatives(words), "%s is %q", t.name(key), s)
		return words[0]
	}
	return s
}

func alternatives(words []string) string {
	var quoted []string
	for _, w := range words {
		if w != "" {
			quoted = append(quoted, strconv.Quote(w))
		}
	}
	return strings.Join(quoted, " or ")
}

// duration reads whole seconds from low to high.
func (t *table) duration(key string, def, low, high time.Duration) time.Duration {
	mend := fmt.Sprintf(`write whole seconds from %s to %s, such as "30s"`, shortDuration(low), shortDuration(high))
	s, ok := get[string](t, key, mend)
	if !ok {
		return def
	}
	d, err := time.ParseDuration(s)
	if err != nil || d%time.Second != 0 || d < low || d > high {
		t.r.errorf(t.at(key), mend, "%s is %q", t.name(key), s)
		return def
	}
	return d
}

// shortDuration formats d without the zero units that Duration.String writes.
func shortDuration(d time.Duration) string {
	s := d.String()
	if t, ok := strings.CutSuffix(s, "m0s"); ok {
		s = t + "m"
	}
	if t, ok := strings.CutSuffix(s, "h0m"); ok {
		s = t + "h"
	}
	return s
}

// list reads a list of strings. Elements of another type are reported and
// become "", so that the others keep their index.
func (t *table) list(key, mend string) ([]string, bool) {
	v, ok := t.get(key)
	if !ok {
		return nil, false
	}
	elems, ok := v.([]any)
	if !ok {
		t.r.errorf(t.at(key), mend, "%s is %s", t.name(key), kindOf(v))
		return nil, false
	}
	out := make([]string, len(elems))
	for i, e := range elems {
		s, ok := e.(string)
		switch {
		case !ok:
			t.r.errorf(t.at(key, strconv.Itoa(i)), mend, "%s holds %s", t.name(key), kindOf(e))
		case s == "":
			t.r.errorf(t.at(key, strconv.Itoa(i)), mend, "%s holds an empty string", t.name(key))
		}
		out[i] = s
	}
	return out, true
}

// addr reads an IPv4 address that a host has in a network. An empty string is the same
// as no key.
func (t *table) addr(key string) netip.Addr {
	mend := `write an IPv4 address, such as "192.0.2.1"`
	s, _ := get[string](t, key, mend)
	if s == "" {
		return netip.Addr{}
	}
	a, fault, m := parseAddr(s)
	if a.IsLinkLocalUnicast() {
		a, fault, m = notOfAHost(s)
	}
	if fault != "" {
		t.r.errorf(t.at(key), m, "%s: %s", t.name(key), fault)
	}
	return a
}

func (t *table) addrs(key string) []netip.Addr {
	elems, _ := t.list(key, `write a list of IPv4 addresses, such as ["192.0.2.1"]`)
	var out []netip.Addr
	for i, s := range elems {
		if s == "" {
			continue
		}
		a, fault, mend := parseAddr(s)
		if fault != "" {
			t.r.errorf(t.at(key, strconv.Itoa(i)), mend, "%s: %s", t.name(key), fault)
			continue
		}
		out = append(out, a)
	}
	return out
}

func notOfAHost(s string) (a netip.Addr, fault, mend string) {
	return netip.Addr{}, fmt.Sprintf("%q is no address of a host in a network", s), `write an IPv4 address, such as "192.0.2.1"`
}

// parseAddr reads one IPv4 address that a host can have, if a link-local one: a cloud's
// DNS server does.
func parseAddr(s string) (a netip.Addr, fault, mend string) {
	mend = `write an IPv4 address, such as "192.0.2.1"`
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, fmt.Sprintf("%q is not an address", s), mend
	case !a.Is4():
		return netip.Addr{}, fmt.Sprintf("%q is an IPv6 address", s), "this version carries IPv4 only"
	case unusableIn(netip.PrefixFrom(a, 32), true) != "":
		return notOfAHost(s)
	}
	return a, "", ""
}

// prefixes reads a list of IPv4 subnets; ok is false when there is no such key.
// reach says that they are what clients may reach, 0.0.0.0/0 too.
func (t *table) prefixes(key string, reach bool) (out []netip.Prefix, ok bool) {
	mend := `write a list of subnets, such as ["192.168.1.0/24"]`
	elems, ok := t.list(key, mend)
	for i, s := range elems {
		if s == "" {
			continue
		}
		at := t.at(key, strconv.Itoa(i))
		p, err := netip.ParsePrefix(s)
		a := p.Addr()
		switch {
		case err != nil:
			mend := `write address/bits, such as "192.168.1.0/24"`
			if _, fault, _ := parseAddr(s); fault == "" {
				mend = fmt.Sprintf("write %q for this one address", s+"/32")
			}
			t.r.errorf(at, mend, "%s: %q is not a subnet", t.name(key), s)
		case !a.Is4():
			t.r.errorf(at, "this version carries IPv4 only", "%s: %q is an IPv6 subnet", t.name(key), s)
		case p.Masked() != p:
			t.r.errorf(at, fmt.Sprintf("write %q", p.Masked().String()), "%s: %q has bits set after its first %d", t.name(key), s, p.Bits())
		case unusableIn(p, reach) != "":
			what := "is no subnet of a site or hub"
			if reach {
				what = "cannot be reached"
			}
			t.r.errorf(at, `write the network of the office, such as "192.168.1.0/24"`, "%s: %q %s: %s", t.name(key), s, what, unusableIn(p, reach))
		default:
			out = append(out, p)
			k := t.name(key)
			t.r.elems[k] = append(t.r.elems[k], at)
		}
	}
	return out, ok
}

// sub reads a table. It is nil when there is none.
func (t *table) sub(key string) *table {
	m, ok := get[map[string]any](t, key, fmt.Sprintf("write a table, [%s]", t.name(key)))
	if !ok {
		return nil
	}
	return &table{r: t.r, path: t.at(key), m: m}
}

// subs reads a table of named tables, and returns them sorted by name.
func (t *table) subs(key string) []*table {
	all := t.sub(key)
	if all == nil {
		return nil
	}
	var out []*table
	for _, name := range slices.Sorted(maps.Keys(all.m)) {
		if s := all.sub(name); s != nil {
			out = append(out, s)
		}
	}
	return out
}

// base returns the last part of t's path.
func (t *table) base() string { return t.path[len(t.path)-1] }

// secret reads a secret into dst: now if it stands here, else it is noted for
// Resolve. It reports whether the key is there.
func (t *table) secret(key string, rule rule, dst *secret.Value) bool {
	const mend = `write a string, { env = "NAME" }, { file = "path" } or { command = ["program", "argument"] }`
	v, ok := t.get(key)
	if !ok {
		return false
	}
	ref := &secretRef{path: t.at(key), line: t.r.pos.line(t.at(key)), rule: rule, dst: dst}
	switch v := v.(type) {
	case string:
		if !secret.IsSealed(v) {
			*dst = secret.New(v)
			break
		}
		s, err := secret.ParseSealed(v)
		if err != nil {
			t.r.errorf(t.at(key), mendOf(err), "%s %s", t.name(key), err)
			return true
		}
		ref.sealed = &s
	case map[string]any:
		src := &table{r: t.r, path: t.at(key), m: v}
		before := len(t.r.diags)
		ref.source = &secret.Source{Env: src.str("env", ""), File: src.str("file", "")}
		ref.source.Command, _ = src.list("command", `write a list of strings, such as ["pass", "show", "name"]`)
		src.done()
		empty := ref.source.Env == "" && ref.source.File == "" && (len(ref.source.Command) == 0 || ref.source.Command[0] == "")
		switch {
		case len(v) != 1 && len(t.r.diags) == before:
			t.r.errorf(t.at(key), mend, "%s names %d sources, not one", t.name(key), len(v))
			return true
		case empty:
			if len(t.r.diags) == before {
				t.r.errorf(t.at(key), mend, "%s names no source", t.name(key))
			}
			return true
		}
	default:
		t.r.errorf(t.at(key), mend, "%s is %s", t.name(key), kindOf(v))
		return true
	}
	t.r.refs = append(t.r.refs, ref)
	return true
}

// done reports the keys that no getter asked for. One that may be a secret in the
// wrong place is not named: the line leads to it.
func (t *table) done() {
	for _, key := range slices.Sorted(maps.Keys(t.m)) {
		if slices.Contains(t.known, key) {
			continue
		}
		if n := nearest(key, t.known); n != "" {
			t.r.errorf(t.at(key), fmt.Sprintf("did you mean %s?", n), "unknown key %s", t.name(key))
			continue
		}
		what := "key " + shownKey(t.at(key))
		if slices.Contains(t.known, "command") { // the table is a secret's
			what = "key in " + t.name()
		}
		mend := "known here: " + strings.Join(slices.Compact(slices.Sorted(slices.Values(t.known))), ", ")
		t.r.errorf(t.at(key), mend, "unknown %s", what)
	}
}
