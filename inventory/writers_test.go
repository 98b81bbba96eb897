package inventory

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who can write to a file, to a folder on the way or to a link there can put what
// they like in its place: a user who does not exist stands for them here. What is
// root's, the caller's own, or its group's alone is as it should be.
func TestOthersWrite(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	const stranger = 54321
	for name, tt := range map[string]struct {
		prepare    func(dir string) error // of DIR/a/b/net.toml, whose link is DIR/link
		sudo       string
		path       string
		want, mend string
	}{
		"root's":           {},
		"others":           {prepare: func(d string) error { return os.Chmod(d+"/a/b/net.toml", 0o606) }, want: "it has mode 0606", mend: "chmod go-w DIR/a/b/net.toml"},
		"group of root":    {prepare: func(d string) error { return os.Chmod(d+"/a/b/net.toml", 0o660) }},
		"group":            {prepare: func(d string) error { return chmodChown(d+"/a/b/net.toml", 0o660, 0, stranger) }, want: "it has mode 0660", mend: "chmod go-w DIR/a/b/net.toml"},
		"a stranger's":     {prepare: func(d string) error { return os.Chown(d+"/a/b/net.toml", stranger, 0) }, want: "it belongs to user 54321", mend: "take it over with chown"},
		"sudo's user":      {prepare: func(d string) error { return os.Chown(d+"/a/b/net.toml", stranger, 0) }, sudo: "54321"},
		"not sudo's user":  {prepare: func(d string) error { return os.Chown(d+"/a/b/net.toml", stranger, 0) }, sudo: "54322", want: "it belongs to user 54321"},
		"folder":           {prepare: func(d string) error { return os.Chmod(d+"/a", 0o777) }, want: "the folder DIR/a has mode 0777", mend: "chmod go-w DIR/a"},
		"sticky folder":    {prepare: func(d string) error { return os.Chmod(d+"/a", 0o777|os.ModeSticky) }},
		"stranger's /tmp":  {prepare: func(d string) error { return chmodChown(d+"/a", 0o777|os.ModeSticky, stranger, 0) }, want: "the folder DIR/a belongs to user 54321"},
		"stranger's home":  {prepare: func(d string) error { return os.Chown(d+"/a/b", stranger, 0) }, want: "the folder DIR/a/b belongs to user 54321"},
		"link":             {path: "link"},
		"stranger's link":  {path: "link", prepare: func(d string) error { return os.Lchown(d+"/link", stranger, 0) }, want: "the link DIR/link belongs to user 54321", mend: "name the file itself"},
		"folder of a link": {path: "c/link", prepare: func(d string) error { return os.Chmod(d+"/c", 0o777) }, want: "the folder DIR/c has mode 0777"},
		"behind a link":    {path: "c/link", prepare: func(d string) error { return os.Chmod(d+"/a", 0o777) }, want: "the folder DIR/a has mode 0777"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("SUDO_UID", tt.sudo)
			for _, err := range []error{
				os.MkdirAll(dir+"/a/b", 0o700), os.Mkdir(dir+"/c", 0o700), os.WriteFile(dir+"/a/b/net.toml", nil, 0o600),
				os.Symlink(dir+"/a/b/net.toml", dir+"/link"), os.Symlink("../a/b/../b/net.toml", dir+"/c/link"),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if tt.prepare != nil {
				if err := tt.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, "a/b/net.toml")
			if tt.path != "" {
				path = filepath.Join(dir, tt.path)
			}
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			how, mend := currentCaller().othersWrite(path, info)
			if how = strings.ReplaceAll(how, dir, "DIR"); how != tt.want {
				t.Errorf("%q, want %q", how, tt.want)
			}
			if mend = strings.ReplaceAll(mend, dir, "DIR"); !strings.HasPrefix(mend, tt.mend) {
				t.Errorf("mend %q, want %q", mend, tt.mend)
			}
		})
	}
}

func chmodChown(path string, mode os.FileMode, uid, gid int) error {
	if err := os.Chown(path, uid, gid); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

// An inventory that others can write is refused where they would run commands
// with it, or steer root; elsewhere a warning is enough. So it is with a secret's
// file, which runs nothing.
func TestOthersWriteFault(t *testing.T) {
	const command, file = `{ command = ["echo", "tokyo-Ahquai3ohGhaeXo8"] }`, `{ file = "vpnpush.toml" }`
	for name, tt := range map[string]struct {
		c         caller
		psk       string
		severity  Severity
		inventory string
	}{
		"user":               {caller{}, `"tokyo-Ahquai3ohGhaeXo8"`, Warning, "other users can change this inventory: it has mode 0666"},
		"user with commands": {caller{}, command, Error, "other users can change this inventory: it has mode 0666, and its commands run as you"},
		"root":               {caller{root: true}, `"tokyo-Ahquai3ohGhaeXo8"`, Error, "other users can change this inventory: it has mode 0666, and root does as it says"},
		"user's secret":      {caller{}, file, Warning, "sites.tokyo.psk: other users can change its file: it has mode 0666"},
		"root's secret":      {caller{root: true}, file, Error, "sites.tokyo.psk: other users can change its file: it has mode 0666, and root takes a secret from it"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeInventory(t, `[hub]
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = `+tt.psk+"\n", 0o666)
			tt.c.own = currentCaller().own
			inv, diags := parse(path, must(os.ReadFile(path)))
			if len(diags) > 0 {
				t.Fatal(diags)
			}
			if tt.psk == file {
				ref := inv.refs[0]
				ref.source.File = path
				if diags = inv.fileWarnings(tt.c, ref); len(diags) != 2 || !strings.HasPrefix(diags[0].Summary, "sites.tokyo.psk: other users can read its file (mode 0666)") {
					t.Fatal(diags)
				}
				diags = diags[1:]
			} else {
				diags = inv.writers(tt.c, must(os.Stat(path)))
			}
			if len(diags) != 1 || diags[0].Severity != tt.severity || diags[0].Summary != tt.inventory || diags[0].Mend != "chmod go-w "+path {
				t.Errorf("%+v", diags)
			}
		})
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
