package inventory

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/BurntSushi/toml"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// rule is what a kind of secret must satisfy.
type rule struct {
	kind string
	// shortest in characters; the longest is the same for all: pppd cuts at
	// 256 (MAXSECRETLEN).
	shortest int
	// refused are printable characters that its file cannot carry, and where.
	refused, where string
	unique         bool // no other key may have the same one
}

const longestSecret = 256

var (
	// ipsec.secrets(5): a quoted secret ends at the next quote, whatever is
	// before it, and at the end of the line.
	psk = rule{kind: "psk", shortest: 16, refused: `"`, where: "ipsec.secrets", unique: true}
	// pppd(8), scan_authfile: inside quotes a backslash takes the next
	// character; a secret "@/path" is read from that file.
	pppPassword  = rule{kind: "password", shortest: 8, refused: `"\`, where: "chap-secrets"}
	sudoPassword = rule{kind: "password", shortest: 1, where: "a line for sudo"}
)

// secretRef is a key that holds a secret.
type secretRef struct {
	path    toml.Key // sites.tokyo.psk
	line    int
	rule    rule
	dst     *secret.Value
	source  *secret.Source // nil: it stood in the inventory itself
	sealed  *secret.Sealed // encrypted
	checked bool
}

func (ref *secretRef) name() string { return ref.path.String() }

// Resolve fetches those secrets kept outside of the inventory that hosts need,
// all of them where no host is named, and checks them. A site needs its own, the
// hub all but the sites' sudo passwords. Those that were fetched before stay.
//
// What may ask for a passphrase, which is an identity that has one, and commands, is
// for when nothing else is wrong, so that nobody is asked in vain. A command that
// several keys name runs once. "~/" in the inventory's paths becomes the home
// directory; relative paths, and commands, start from the directory of inv.Path.
func (inv *Inventory) Resolve(ctx context.Context, hosts ...string) Diagnostics {
	return inv.resolve(ctx, hosts, resolving{asking: true})
}

// ResolveLogin is Resolve for what it takes to look at hosts, and no more: the passwords
// for their sudo.
func (inv *Inventory) ResolveLogin(ctx context.Context, hosts ...string) Diagnostics {
	return inv.get(ctx, func(ref *secretRef) bool {
		return ref.path[len(ref.path)-1] == "become_password" && inv.needed(ref, hosts)
	}, resolving{asking: true})
}

// Fetch is Resolve for the secrets of some keys.
func (inv *Inventory) Fetch(ctx context.Context, keys ...Key) Diagnostics {
	of := map[string]bool{}
	for _, k := range keys {
		of[k.String()] = true
	}
	return inv.get(ctx, func(ref *secretRef) bool { return of[dotted(ref.path)] }, resolving{asking: true})
}

// Secret returns what a key holds; it is unset until it was fetched.
func (inv *Inventory) Secret(k Key) secret.Value {
	for _, ref := range inv.refs {
		if slices.Equal(ref.path, k.Path) {
			return *ref.dst
		}
	}
	return secret.Value{}
}

// Try reports what is wrong with a new secret for a key, beside those that are known.
func (inv *Inventory) Try(k Key, v secret.Value) Diagnostics {
	for _, ref := range inv.refs {
		if slices.Equal(ref.path, k.Path) {
			*ref.dst, ref.checked = v, false
		}
	}
	return inv.checkSecrets()
}

// resolving is how secrets are fetched.
type resolving struct {
	asking  bool // also in ways that may ask somebody
	without bool // encrypted ones may be left out where there is no identity
}

func (inv *Inventory) resolve(ctx context.Context, hosts []string, how resolving) Diagnostics {
	return inv.get(ctx, func(ref *secretRef) bool { return inv.needed(ref, hosts) }, how)
}

// get fetches the secrets that are wanted.
func (inv *Inventory) get(ctx context.Context, wanted func(*secretRef) bool, how resolving) Diagnostics {
	if err := inv.expandPaths(); err != nil {
		return Diagnostics{{File: inv.Path, Summary: err.Error(), Mend: "set HOME, or write whole paths"}}
	}
	var still, sealed, running []*secretRef
	for _, ref := range inv.refs {
		switch {
		case !ref.dst.IsZero() || !wanted(ref):
		case ref.sealed != nil:
			sealed = append(sealed, ref)
		case len(ref.source.Command) == 0:
			still = append(still, ref)
		default:
			running = append(running, ref)
		}
	}
	open := func() Diagnostics { return inv.open(ctx, sealed, how.without) }
	run := func() Diagnostics { return inv.fetch(ctx, running) }
	diags := inv.fetch(ctx, still)
	asking := []func() Diagnostics{open, run}
	if !inv.asks(ctx, sealed) {
		diags = append(diags, open()...)
		asking = asking[1:]
	}
	diags = append(diags, inv.checkSecrets()...)
	for _, more := range asking {
		if how.asking && len(diags.Errors()) == 0 {
			diags = append(diags, more()...)
			diags = append(diags, inv.checkSecrets()...)
		}
	}
	return diags.sorted()
}

// needed reports whether any of hosts needs a secret; no hosts are all.
func (inv *Inventory) needed(ref *secretRef, hosts []string) bool {
	if len(hosts) == 0 {
		return true
	}
	for _, h := range hosts {
		switch ref.path[0] {
		case "ssh": // a default
			if !inv.explicit[h]["become_password"] {
				return true
			}
		case "sites":
			if h == ref.path[1] || h == inv.Hub.Name && ref.rule.unique {
				return true
			}
		default: // the hub's own, and what only the hub has
			if h == inv.Hub.Name {
				return true
			}
		}
	}
	return false
}

// fetch fetches secrets, each place once.
func (inv *Inventory) fetch(ctx context.Context, refs []*secretRef) Diagnostics {
	var places [][]*secretRef
	known := map[string]int{}
	for _, ref := range refs {
		key := ref.source.Key()
		if _, ok := known[key]; !ok {
			known[key] = len(places)
			places = append(places, nil)
		}
		i := known[key]
		places[i] = append(places[i], ref)
	}
	whole := ctx
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	errs := make([]error, len(places))
	one := func(i int) {
		v, err := places[i][0].source.Read(ctx, filepath.Dir(inv.Path))
		if err != nil {
			errs[i] = err
			if errors.Is(err, secret.ErrSlow) {
				giveUp() // the others would take as long, one after another
			}
			return
		}
		for _, ref := range places[i] {
			*ref.dst = v
		}
	}
	// The first goes alone: if a password manager has to be unlocked, it asks
	// once. The others need not wait for each other.
	if len(places) > 0 {
		one(0)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := 1; i < len(places); i++ {
		if ctx.Err() != nil {
			errs[i] = context.Cause(ctx)
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one(i)
		})
	}
	wg.Wait()

	var diags Diagnostics
	for i, err := range errs {
		if err == nil && places[i][0].source.File != "" {
			diags = append(diags, inv.fileWarnings(currentCaller(), places[i][0])...)
		}
		if err == nil || errors.Is(err, context.Canceled) && whole.Err() == nil {
			continue // one that was given up says no more than the one that was slow
		}
		text := strings.Join(strings.Fields(printable(err.Error())), " ")
		diags = append(diags, inv.secretFault(places[i][0], mendOf(err), "%s: %s", places[i][0].name(), text))
	}
	return diags
}

// mendOf returns what mends the error of a secret.
func mendOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// printable replaces the control characters of s, which a command may have
// written, by spaces.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func (inv *Inventory) secretFault(ref *secretRef, mend, format string, a ...any) Diagnostic {
	return Diagnostic{File: inv.Path, Line: ref.line, Summary: fmt.Sprintf(format, a...), Mend: mend}
}

// checkSecrets checks the secrets that are known and were not checked before.
func (inv *Inventory) checkSecrets() Diagnostics {
	var diags Diagnostics
	holders := map[string]*secretRef{} // the unique ones, by their text
	for _, done := range []bool{true, false} {
		for _, ref := range inv.refs {
			if ref.dst.IsZero() || ref.checked != done {
				continue
			}
			s := ref.dst.Reveal()
			if !done {
				ref.checked = true
				if fault, mend := ref.rule.check(s); fault != "" {
					diags = append(diags, inv.secretFault(ref, mend, "%s %s", ref.name(), fault))
				}
				if other := holders[s]; ref.rule.unique && s != "" && other != nil {
					if other.line > ref.line {
						ref, other = other, ref
					}
					diags = append(diags, inv.secretFault(ref, "give each its own: who knows one key must not open another tunnel",
						"%s is the same as %s (line %d)", ref.name(), other.name(), other.line))
					continue
				}
			}
			if ref.rule.unique && holders[s] == nil {
				holders[s] = ref
			}
		}
	}
	return diags
}

// check returns what is wrong with s, without showing any of it.
func (r rule) check(s string) (fault, mend string) {
	n := len([]rune(s))
	switch {
	case s == "":
		return "is empty", "write a " + r.kind
	case n < r.shortest:
		return fmt.Sprintf("has %d characters", n), fmt.Sprintf("write %d at least, at random", r.shortest)
	case len(s) > longestSecret:
		return fmt.Sprintf("has %d bytes", len(s)), fmt.Sprintf("write %d at most", longestSecret)
	case r.refused == pppPassword.refused && strings.HasPrefix(s, "@/"):
		return `begins with "@/", which pppd takes for the name of a file`, "choose another " + r.kind
	}
	for _, c := range s {
		var what string
		switch {
		case c == '\n' || c == '\r':
			what = "a line end"
		case c < ' ' || c == 0x7f:
			what = "a control character"
		case c > 0x7f && r.refused != "":
			what = "a character outside of ASCII"
		case strings.ContainsRune(r.refused, c):
			what = map[rune]string{'"': "a double quote", '\\': "a backslash"}[c]
		default:
			continue
		}
		return fmt.Sprintf("has %s, which %s cannot carry", what, r.where), "use letters, digits and other punctuation"
	}
	return "", ""
}

// SecretValues returns every secret that is known, for a secret.Redactor.
func (inv *Inventory) SecretValues() []secret.Value {
	vs := []secret.Value{inv.SSH.BecomePassword, inv.Hub.SSH.BecomePassword}
	for _, s := range inv.Sites {
		vs = append(vs, s.PSK, s.SSH.BecomePassword)
	}
	if inv.L2TP != nil {
		vs = append(vs, inv.L2TP.PSK)
		for _, u := range inv.L2TP.Users {
			vs = append(vs, u.Password)
		}
	}
	var known []secret.Value
	for _, v := range vs {
		if !v.IsZero() {
			known = append(known, v)
		}
	}
	return known
}
