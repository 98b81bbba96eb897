package inventory

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"

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
	name    string // "sites.tokyo.psk"
	line    int
	rule    rule
	dst     *secret.Value
	source  *secret.Source // nil: it stood in the inventory itself
	checked bool
}

// Resolve fetches the secrets that are kept outside of the inventory and
// checks them. A command runs once for each key that names it. "~/" in the
// inventory's paths becomes the home directory; relative paths, and commands,
// start from the directory of inv.Path.
func (inv *Inventory) Resolve(ctx context.Context) Diagnostics {
	return inv.resolve(ctx, func(*secretRef) bool { return true })
}

func (inv *Inventory) resolve(ctx context.Context, want func(*secretRef) bool) Diagnostics {
	if err := inv.expandPaths(); err != nil {
		return Diagnostics{{File: inv.Path, Summary: err.Error()}}
	}
	var todo []*secretRef
	for _, ref := range inv.refs {
		if ref.source != nil && ref.dst.IsZero() && want(ref) {
			todo = append(todo, ref)
		}
	}
	errs := make([]error, len(todo))
	fetch := func(i int) {
		v, err := todo[i].source.Read(ctx, filepath.Dir(inv.Path))
		if err != nil {
			errs[i] = err
			return
		}
		*todo[i].dst = v
	}
	// The first goes alone: if a password manager has to be unlocked, it asks
	// once. The others need not wait for each other.
	if len(todo) > 0 {
		fetch(0)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 8)
	for i := 1; i < len(todo); i++ {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			fetch(i)
		})
	}
	wg.Wait()

	var diags Diagnostics
	for i, err := range errs {
		if err != nil {
			text := strings.Join(strings.Fields(printable(err.Error())), " ")
			diags = append(diags, inv.secretFault(todo[i], "", "%s: %s", todo[i].name, text))
		}
	}
	return append(diags, inv.checkSecrets()...).sorted()
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
					diags = append(diags, inv.secretFault(ref, mend, "%s %s", ref.name, fault))
				}
				if other := holders[s]; ref.rule.unique && s != "" && other != nil {
					if other.line > ref.line {
						ref, other = other, ref
					}
					diags = append(diags, inv.secretFault(ref, "give each its own: who knows one key must not open another tunnel",
						"%s is the same as %s (line %d)", ref.name, other.name, other.line))
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
