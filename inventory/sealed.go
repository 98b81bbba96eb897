package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Seal encrypts a new secret to the recipients, and returns it as it is to stand in the
// inventory.
func (c SecretsConfig) Seal(v secret.Value) (string, error) {
	if len(c.Recipients) == 0 {
		return "", &fault{"secrets.recipients names nobody to encrypt to", "write the public keys of those who may open it there, such as `age-keygen` prints; `vpnpush secret encrypt --init` begins with yours"}
	}
	return secret.Seal(v, c.Recipients)
}

// IdentityFile returns where the identity of this inventory is.
func (inv *Inventory) IdentityFile() (string, error) {
	path, err := inv.abs(cmp.Or(inv.Secrets.Identity, DefaultIdentity))
	if err != nil {
		return "", &fault{err.Error(), "set HOME, or write a whole path into secrets.identity"}
	}
	return path, nil
}

// Mine reports whether an identity that is here belongs to one of the recipients, and
// whether that can be told without a question.
func (inv *Inventory) Mine(ctx context.Context) (is, known bool) {
	ids, err := inv.opener()
	if err != nil {
		return false, false
	}
	silent := &secret.Identities{Text: ids.Text, From: ids.From, File: ids.File}
	mine, err := silent.Recipients(ctx)
	for _, r := range mine {
		is = is || slices.ContainsFunc(inv.Secrets.Recipients, r.Same)
	}
	return is, err == nil
}

// opener returns what opens encrypted secrets. Its identities are read when the first
// needs them.
func (inv *Inventory) opener() (*secret.Identities, error) {
	if inv.identities == nil {
		ids := &secret.Identities{Text: inv.Unlock.Identity, From: inv.Unlock.From, Ask: inv.Unlock.Passphrase}
		if ids.Text.IsZero() {
			var err error
			if ids.File, err = inv.IdentityFile(); err != nil {
				return nil, err
			}
		}
		inv.identities = ids
	}
	return inv.identities, nil
}

// asks reports whether somebody is asked for a passphrase before refs are opened.
func (inv *Inventory) asks(ctx context.Context, refs []*secretRef) bool {
	if len(refs) == 0 || inv.Unlock.Passphrase == nil {
		return false
	}
	ids, err := inv.opener()
	return err == nil && ids.Protected(ctx)
}

// open decrypts secrets. without says that they may be left out, with a warning, where
// there is no identity.
func (inv *Inventory) open(ctx context.Context, refs []*secretRef, without bool) Diagnostics {
	if len(refs) == 0 {
		return nil
	}
	slices.SortFunc(refs, func(a, b *secretRef) int { return cmp.Compare(a.line, b.line) })
	ids, err := inv.opener()
	if err != nil {
		return Diagnostics{inv.left(refs, err, without)}
	}
	failed := map[string][]*secretRef{} // those of one reason are told as one
	errs := map[string]error{}
	for _, ref := range refs {
		v, err := ids.Open(ctx, *ref.sealed)
		if err == nil {
			*ref.dst = v
			continue
		}
		errs[err.Error()] = err
		failed[err.Error()] = append(failed[err.Error()], ref)
	}
	diags := inv.identityWarnings(ctx, currentCaller(), ids)
	for text, refs := range failed {
		err := errs[text]
		if errors.Is(err, secret.ErrNoIdentity) {
			diags = append(diags, inv.left(refs, err, without))
			continue
		}
		d := inv.secretFault(refs[0], mendOf(err), "%s: %s", several(refs), printable(text))
		if errors.Is(err, secret.ErrOtherIdentity) {
			d.Mend = "use an identity of one of the recipients (" + inv.recipients() + "); who has one lets another in by a recipient more and vpnpush secret encrypt --all"
		}
		diags = append(diags, d)
	}
	return diags
}

// left tells of secrets that there is no identity for: that they were left out, or that
// nothing goes on without them.
func (inv *Inventory) left(refs []*secretRef, err error, without bool) Diagnostic {
	mend := mendOf(err) + " (" + inv.recipients() + ")"
	if without {
		return Diagnostic{
			File: inv.Path, Severity: Warning, Mend: mend,
			Summary: fmt.Sprintf("%s encrypted and not looked at: %s", areOf(refs), printable(err.Error())),
		}
	}
	return inv.secretFault(refs[0], mend, "%s: %s", several(refs), printable(err.Error()))
}

// IdentityValues returns what must not be seen of the identities that were read, for a
// secret.Redactor.
func (inv *Inventory) IdentityValues() []secret.Value {
	if inv.identities == nil {
		return nil
	}
	return inv.identities.Values()
}

// several names the first of secrets, and how many there are more.
func several(refs []*secretRef) string {
	if len(refs) == 1 {
		return refs[0].name()
	}
	return fmt.Sprintf("%s and %d more", refs[0].name(), len(refs)-1)
}

// areOf names secrets, the first ones of many.
func areOf(refs []*secretRef) string {
	const most = 5
	var names []string
	for _, ref := range refs[:min(len(refs), most)] {
		names = append(names, ref.name())
	}
	if more := len(refs) - most; more > 0 {
		return fmt.Sprintf("%s and %d more are", strings.Join(names, ", "), more)
	}
	if len(names) == 1 {
		return names[0] + " is"
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last] + " are"
}

// recipients names secrets.recipients.
func (inv *Inventory) recipients() string {
	var names []string
	for _, r := range inv.Secrets.Recipients {
		names = append(names, r.Short())
	}
	return cmp.Or(strings.Join(names, ", "), "secrets.recipients names none")
}

// identityWarnings looks at who else can come by the identity's file.
func (inv *Inventory) identityWarnings(ctx context.Context, c caller, ids *secret.Identities) Diagnostics {
	if !ids.Text.IsZero() {
		return nil
	}
	locked := ids.Protected(ctx)
	const key = "secrets.identity"
	diags := inv.secretFile(c, ids.File, inv.identityLine, key, locked)
	if top := repository(inv.Path); top != "" && top == repository(ids.File) && !locked {
		if _, err := os.Stat(ids.File); err == nil {
			diags = append(diags, Diagnostic{
				File: inv.Path, Line: inv.identityLine, Severity: Warning,
				Summary: fmt.Sprintf("%s: its file is in the repository %s, beside what it opens", key, top),
				Mend:    "move it out, to " + DefaultIdentity + " for example: a commit would give it to everybody who reads that",
			})
		}
	}
	return diags
}

// repository returns the folder of the git repository that a file is in, or "".
func repository(path string) string {
	path, err := filepath.Abs(path)
	if real, no := filepath.EvalSymlinks(path); no == nil {
		path = real
	}
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			return ""
		}
	}
}
