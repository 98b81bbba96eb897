package inventory

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// caller is who runs the program.
type caller struct {
	root bool
	own  []uint32 // whose files are its own: its user's, root's, and of sudo the user's
}

func currentCaller() caller {
	uid := os.Geteuid()
	c := caller{root: uid == 0, own: []uint32{0, uint32(uid)}}
	// Who may become root by sudo has no need of a file to do as root does.
	if n, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32); err == nil && c.root {
		c.own = append(c.own, uint32(n))
	}
	return c
}

// othersWrite returns how users other than the caller and root can change what
// stands at path, "" when they cannot: they may write to the file, or own it, or
// put another in its place, for they may write to a folder on the way or own it,
// or a link on the way is theirs. It is what sshd(8) asks of authorized_keys with
// StrictModes. info is of the file that was read.
func (c caller) othersWrite(path string, info fs.FileInfo) (how, mend string) {
	if t := info.Mode().Type(); t == 0 || t == fs.ModeNamedPipe {
		if how, mend := c.writable(path, "it", info); how != "" {
			return how, mend
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", ""
	}
	dir, rest := "/", strings.Split(abs, "/")
	for links := 0; len(rest) > 0; {
		if info, err = os.Stat(dir); err != nil {
			return "", "" // as what is in /proc, which nobody changes
		}
		if how, mend := c.writable(dir, "the folder "+dir, info); how != "" {
			return how, mend
		}
		part := rest[0]
		rest = rest[1:]
		if part == ".." {
			dir = filepath.Dir(dir)
			continue
		}
		next := filepath.Join(dir, part)
		if info, err = os.Lstat(next); err != nil {
			return "", ""
		}
		if info.Mode().Type() != fs.ModeSymlink {
			dir = next
			continue
		}
		to, err := os.Readlink(next)
		if links++; err != nil || links > 40 {
			return "", ""
		}
		if !c.owns(info) {
			return fmt.Sprintf("the link %s belongs to %s", next, owner(info)), "name the file itself"
		}
		if filepath.IsAbs(to) {
			dir = "/"
		}
		rest = append(strings.Split(to, "/"), rest...)
	}
	return "", ""
}

// writable returns how others can write to one file or folder.
func (c caller) writable(path, what string, info fs.FileInfo) (how, mend string) {
	mode := info.Mode().Perm()
	switch {
	case !c.owns(info):
		return fmt.Sprintf("%s belongs to %s", what, owner(info)), "take it over with chown, or copy the file to a folder of your own"
	case info.IsDir() && info.Mode()&fs.ModeSticky != 0:
		return "", "" // as /tmp: nobody takes away what is another's
	case mode&0o002 != 0 || mode&0o020 != 0 && !c.ownGroup(info):
		return fmt.Sprintf("%s has mode %04o", what, mode), "chmod go-w " + path
	}
	return "", ""
}

func (c caller) owns(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && slices.Contains(c.own, st.Uid)
}

// ownGroup reports whether a file's group is its owner's alone: root's, or the one
// of the owner's name that useradd makes for each user.
func (c caller) ownGroup(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	g, err := user.LookupGroupId(strconv.Itoa(int(st.Gid)))
	return st.Gid == 0 || err == nil && g.Name == owner(info)
}

func owner(info fs.FileInfo) string {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "another user"
	}
	id := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "user " + id
}

// check reports a file that others can write: as a fault, or as a warning. what
// is the file, why is what makes a fault of it.
func (c caller) check(path string, info fs.FileInfo, what string, fault bool, why string) Diagnostics {
	how, mend := c.othersWrite(path, info)
	if how == "" {
		return nil
	}
	d := Diagnostic{Severity: Warning, Summary: "other users can change " + what + ": " + how, Mend: mend}
	if fault {
		d.Severity, d.Summary = Error, d.Summary+", and "+why
	}
	return Diagnostics{d}
}
