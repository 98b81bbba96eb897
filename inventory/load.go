package inventory

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// Load reads the inventory at path, checks it, fetches its secrets and checks
// those (see Resolve). Commands that print secrets run only when nothing else
// is wrong, so that nobody is asked for a passphrase in vain. The Inventory is
// nil when there are errors.
func Load(ctx context.Context, path string) (*Inventory, Diagnostics) {
	data, mode, err := readFile(path)
	if err != nil {
		d := Diagnostic{File: path, Summary: "read inventory: " + err.Error()}
		if os.IsNotExist(err) {
			d.Mend = "name one with --inventory, or write one with vpnpush init"
		}
		return nil, Diagnostics{d}
	}
	inv, diags := parse(path, data)
	if inv == nil {
		return nil, diags
	}
	diags = append(diags, inv.modeWarning(mode)...)
	diags = append(diags, inv.resolve(ctx, func(ref *secretRef) bool { return len(ref.source.Command) == 0 })...)
	if len(diags.Errors()) == 0 {
		diags = append(diags, inv.Resolve(ctx)...)
	}
	diags = diags.sorted()
	if len(diags.Errors()) > 0 {
		return nil, diags
	}
	return inv, diags
}

// readFile returns the content and the mode of one and the same file: it is
// opened once, so that nothing can be put in its place in between.
func readFile(path string) ([]byte, os.FileMode, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err := io.ReadAll(f)
	return data, fi.Mode(), err
}

// modeWarning warns of secrets in a file that other users can read. One
// warning is enough, as chmod mends them all.
func (inv *Inventory) modeWarning(mode os.FileMode) Diagnostics {
	if mode.Perm()&0o044 == 0 {
		return nil
	}
	for _, ref := range inv.refs {
		if ref.source == nil {
			return Diagnostics{{
				File: inv.Path, Line: ref.line, Severity: Warning,
				Summary: fmt.Sprintf("%s stands in a file that other users can read (mode %04o)", ref.name, mode.Perm()),
				Mend:    "chmod 600 " + inv.Path + ", or keep the secret elsewhere (env, file, command)",
			}}
		}
	}
	return nil
}

// expandPaths makes every path of inv absolute.
func (inv *Inventory) expandPaths() error {
	paths := []*string{&inv.SSH.IdentityFile, &inv.SSH.KnownHosts, &inv.Hub.SSH.IdentityFile, &inv.Hub.SSH.KnownHosts, &inv.Secrets.Identity}
	for i := range inv.Sites {
		paths = append(paths, &inv.Sites[i].SSH.IdentityFile, &inv.Sites[i].SSH.KnownHosts)
	}
	for _, ref := range inv.refs {
		if ref.source != nil {
			paths = append(paths, &ref.source.File)
		}
	}
	for _, p := range paths {
		if *p == "" || filepath.IsAbs(*p) {
			continue
		}
		rest, home := strings.CutPrefix(*p, "~/")
		if !home {
			abs, err := filepath.Abs(filepath.Join(filepath.Dir(inv.Path), *p))
			if err != nil {
				return fmt.Errorf("find path %s: %w", *p, err)
			}
			*p = abs
			continue
		}
		dir, err := os.UserHomeDir()
		if err != nil {
			return fmt.Errorf("find path %s: %w", *p, err)
		}
		*p = filepath.Join(dir, rest)
	}
	return nil
}
