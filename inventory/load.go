package inventory

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// maxInventory bounds what is read for an inventory; 100,000 sites take 10 MiB.
const maxInventory = 64 << 20

// Load reads the inventory at path and checks it. The secrets that are kept
// elsewhere are unset until Resolve. The Inventory is nil when there are errors.
func Load(ctx context.Context, path string) (*Inventory, Diagnostics) {
	inv, diags := read(ctx, path)
	return inv.good(diags)
}

// Check is Load and Resolve of all secrets: it returns every fault at once.
// Commands that print secrets run, and a passphrase is asked for, only when there is
// no other. Without an identity encrypted secrets are left out, with a warning.
func Check(ctx context.Context, path string, unlock Unlock) (*Inventory, Diagnostics) {
	inv, diags := read(ctx, path)
	if inv != nil {
		inv.Unlock = unlock
		diags = append(diags, inv.resolve(ctx, nil, resolving{asking: len(diags.Errors()) == 0, without: true})...)
	}
	return inv.good(diags)
}

// good returns inv with what was found in it, and no inv where that has errors.
func (inv *Inventory) good(diags Diagnostics) (*Inventory, Diagnostics) {
	if len(diags.Errors()) > 0 {
		inv = nil
	}
	return inv, diags.sorted()
}

// Text returns what stands in the inventory at path.
func Text(ctx context.Context, path string) ([]byte, error) {
	text, _, err := secret.ReadFile(ctx, path, maxInventory)
	return text, err
}

// read also returns an inventory that has faults, as parse does.
func read(ctx context.Context, path string) (*Inventory, Diagnostics) {
	data, info, err := secret.ReadFile(ctx, path, maxInventory)
	if err != nil {
		return nil, unread(path, err)
	}
	inv, diags := parse(path, data)
	if inv != nil {
		diags = append(diags, inv.aboutFile(info)...)
	}
	return inv, diags
}

// unread returns why an inventory was not read.
func unread(path string, err error) Diagnostics {
	d := Diagnostic{File: path, Summary: "read inventory: " + err.Error(), Mend: "name a file with --inventory that you can read"}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Mend = "name one with --inventory, or write one with vpnpush init"
	case errors.Is(err, secret.ErrSlow):
		d.Mend = "see that something writes to it, or that the server it is on answers"
	}
	return Diagnostics{d}
}

// aboutFile returns what is to be said of the file that holds an inventory.
func (inv *Inventory) aboutFile(info fs.FileInfo) Diagnostics {
	return append(inv.modeWarning(info.Mode()), inv.writers(currentCaller(), info)...)
}

// writers refuses an inventory that others can write where they would run
// commands with it, or steer what root does, and else warns of it.
func (inv *Inventory) writers(c caller, info fs.FileInfo) Diagnostics {
	why := "its commands run as you"
	fault := slices.ContainsFunc(inv.refs, func(ref *secretRef) bool { return ref.source != nil && len(ref.source.Command) > 0 })
	if c.root {
		fault, why = true, "root does as it says"
	}
	diags := c.check(inv.Path, info, "this inventory", fault, why)
	for i := range diags {
		diags[i].File = inv.Path
	}
	return diags
}

// modeWarning warns of secrets in a file that other users can read. One
// warning is enough, as chmod mends them all.
func (inv *Inventory) modeWarning(mode fs.FileMode) Diagnostics {
	if mode.Perm()&0o044 == 0 {
		return nil
	}
	for _, ref := range inv.refs {
		if ref.source == nil && ref.sealed == nil {
			return Diagnostics{{
				File: inv.Path, Line: ref.line, Severity: Warning,
				Summary: fmt.Sprintf("%s stands in a file that other users can read (mode %04o)", ref.name(), mode.Perm()),
				Mend:    "chmod 600 " + inv.Path + ", encrypt it (vpnpush secret encrypt), or keep the secret elsewhere (env, file, command)",
			}}
		}
	}
	return nil
}

// fileWarnings warns of a secret's file that others can read, and refuses one
// that they can write where root takes it.
func (inv *Inventory) fileWarnings(c caller, ref *secretRef) Diagnostics {
	return inv.secretFile(c, ref.source.File, ref.line, ref.name(), false)
}

// secretFile looks at who else can read and write a file of secrets. locked says that
// reading it is not enough.
func (inv *Inventory) secretFile(c caller, path string, line int, key string, locked bool) Diagnostics {
	info, err := os.Stat(path)
	if err != nil {
		return nil // it was read a moment ago: what it gave is checked
	}
	var diags Diagnostics
	if mode := info.Mode(); mode.IsRegular() && mode.Perm()&0o044 != 0 && !locked {
		diags = append(diags, Diagnostic{
			Severity: Warning, Summary: fmt.Sprintf("other users can read its file (mode %04o)", mode.Perm()), Mend: "chmod 600 " + path,
		})
	}
	diags = append(diags, c.check(path, info, "its file", c.root, "root takes a secret from it")...)
	for i := range diags {
		diags[i].File, diags[i].Line = inv.Path, line
		diags[i].Summary = key + ": " + diags[i].Summary
	}
	return diags
}

// expandPaths makes the paths of inv absolute, but for that of the identity, which may
// not be wanted.
func (inv *Inventory) expandPaths() error {
	paths := []*string{&inv.SSH.IdentityFile, &inv.SSH.KnownHosts, &inv.Hub.SSH.IdentityFile, &inv.Hub.SSH.KnownHosts}
	for i := range inv.Sites {
		paths = append(paths, &inv.Sites[i].SSH.IdentityFile, &inv.Sites[i].SSH.KnownHosts)
	}
	for _, ref := range inv.refs {
		if ref.source != nil {
			paths = append(paths, &ref.source.File)
		}
	}
	for _, p := range paths {
		abs, err := inv.abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// abs makes a path of inv absolute.
func (inv *Inventory) abs(path string) (string, error) {
	if path == "" || filepath.IsAbs(path) {
		return path, nil
	}
	rest, home := strings.CutPrefix(path, "~/")
	dir, err := filepath.Abs(filepath.Dir(inv.Path))
	if home {
		dir, err = os.UserHomeDir()
	}
	if err != nil {
		return "", fmt.Errorf("find path %s: %w", path, err)
	}
	return filepath.Join(dir, rest), nil
}
