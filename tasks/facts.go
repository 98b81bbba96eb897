package tasks

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// ErrUnknown is what Facts answer for something the probe did not bring, or
// could not read. It never means "absent".
var ErrUnknown = errors.New("not known")

// Facts is what a probe brought from one host. The accessors tell three cases
// apart: there, absent (Exists/Installed false), and unknown (an error).
type Facts struct {
	Host Platform

	files    map[string]FileState
	globs    map[string]bool
	packages map[string]PackageState
	units    map[string]UnitState
	sysctls  map[string]SysctlState
	commands map[string]CommandState
	// manifest and charonLog parse what they tell once, however many tasks and tunnels
	// ask for it; nil in facts that no probe brought.
	manifest  func() (*Manifest, error)
	charonLog func() *strongswan.Log
}

// Known is what a probe brought, while its answer is parsed.
type Known struct {
	Host     Platform
	Files    map[string]FileState // by path
	Globs    map[string]bool      // patterns that were read
	Packages map[string]PackageState
	Units    map[string]UnitState
	Sysctls  map[string]SysctlState
	Commands map[string]CommandState
}

// NewFacts returns k as facts, which keep its maps.
func NewFacts(k Known) Facts {
	f := Facts{Host: k.Host, files: k.Files, globs: k.Globs, packages: k.Packages, units: k.Units, sysctls: k.Sysctls, commands: k.Commands}
	f.manifest = sync.OnceValues(func() (*Manifest, error) { return readManifest(f) })
	f.charonLog = sync.OnceValue(func() *strongswan.Log { return readCharonLog(f) })
	return f
}

// Only returns the facts of one file, which keep nothing else alive.
func (f Facts) Only(path string) Facts {
	k := Known{Files: map[string]FileState{}}
	if s, ok := f.files[path]; ok {
		k.Files[path] = s
	}
	return NewFacts(k)
}

// Platform is what every probe brings of the host itself.
type Platform struct {
	OS     map[string]string // /etc/os-release
	Kernel string            // uname -r
	Arch   string            // dpkg --print-architecture
	BootID string
	UID    int
	Now    time.Time // the host's clock
	Boot   time.Time // when it booted, from the host's clock
	// ReadOnly are the directories among those we write to that cannot be
	// written (a read-only file system), and FreeKiB the room left below a path.
	ReadOnly []string
	FreeKiB  map[string]int64
	// PPP reports, where that was read, whether the kernel has PPP: /dev/ppp, or a module for it.
	PPP bool
	// Gzip reports whether it has gzip: the answer came packed.
	Gzip bool
	// Systemd reports whether systemd is running.
	Systemd bool
}

// Debian returns the release number ("12"), or "" when the host is no Debian.
// Testing and unstable, which have no VERSION_ID, give their codename.
func (p Platform) Debian() string {
	if p.OS["ID"] != "debian" {
		return ""
	}
	if v := p.OS["VERSION_ID"]; v != "" {
		return v
	}
	return p.OS["VERSION_CODENAME"]
}

// Root returns an error where a probe did not run as root: what it was not let in to it
// took for absent.
func (p Platform) Root() error {
	if p.UID == 0 {
		return nil
	}
	return transport.WithHint(fmt.Errorf("not root on the host, but uid %d", p.UID),
		`log in as root, or set ssh.become = "auto" for a user who may use sudo`)
}

// FileState is a file as it stands on the host.
type FileState struct {
	Path    string
	Exists  bool
	Type    byte // archive/tar type flag; '0' is a regular file
	Content []byte
	Mode    fs.FileMode // permission bits
	Owner   string      // "root:root"
	ModTime time.Time
	Err     string // why it could not be read
}

// Format keeps file contents, which may be secrets, out of any print.
func (f FileState) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "{%s exists=%t}", f.Path, f.Exists) }

// SHA256 is the content's digest in hex, "" for an absent file.
func (f FileState) SHA256() string {
	if !f.Exists {
		return ""
	}
	return SHA256(f.Content)
}

// SHA256 is the hex digest that preconditions and the manifest use.
func SHA256(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// PackageState is a package as dpkg has it.
type PackageState struct {
	Name      string
	Installed bool
	Version   string // installed
	Candidate string // what apt would install; "" when not known or none
	// Conffiles maps the path of each conffile to the MD5 it was shipped with.
	Conffiles map[string]string
}

// UnitState is a systemd unit.
type UnitState struct {
	Name    string
	Loaded  bool   // the unit exists
	Active  string // ActiveState
	Enabled bool   // starts at boot (a SysV script too)
	State   string // UnitFileState, as printed
	Started time.Time
}

// SysctlState is a live kernel parameter.
type SysctlState struct {
	Exists bool
	Value  string
}

// CommandState is what a command answered.
type CommandState struct {
	Stdout []byte
	Stderr []byte
	Code   int // 127: no such command
}

// File returns a file that was read.
func (f Facts) File(p string) (FileState, error) {
	s, ok := f.files[p]
	switch {
	case !ok && InGlob(maps.Keys(f.globs), p):
		return FileState{Path: p}, nil // it would have been among what a pattern matched
	case !ok:
		return FileState{}, fmt.Errorf("file %s: %w: not read", p, ErrUnknown)
	case s.Err != "":
		return FileState{}, fmt.Errorf("file %s: %w: %s", p, ErrUnknown, s.Err)
	}
	return s, nil
}

// InGlob reports whether one of the patterns matches a path, as a shell does it: a name
// that begins with a dot is not matched.
func InGlob(patterns iter.Seq[string], p string) bool {
	for pattern := range patterns {
		if ok, _ := path.Match(pattern, p); ok {
			return !strings.HasPrefix(path.Base(p), ".")
		}
	}
	return false
}

// Glob returns the regular files that a ReadGlob pattern matched, sorted.
func (f Facts) Glob(pattern string) ([]FileState, error) {
	if !f.globs[pattern] {
		return nil, fmt.Errorf("glob %s: %w: not read", pattern, ErrUnknown)
	}
	var out []FileState
	for p, s := range f.files {
		if ok, _ := path.Match(pattern, p); !ok {
			continue
		}
		if s.Err != "" {
			return nil, fmt.Errorf("file %s: %w: %s", p, ErrUnknown, s.Err)
		}
		if s.Exists {
			out = append(out, s)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out, nil
}

// Package returns a package that was asked for.
func (f Facts) Package(name string) (PackageState, error) {
	s, ok := f.packages[name]
	if !ok {
		return s, fmt.Errorf("package %s: %w: not read", name, ErrUnknown)
	}
	return s, nil
}

// Unit returns a unit that was asked for.
func (f Facts) Unit(name string) (UnitState, error) {
	s, ok := f.units[name]
	if !ok {
		return s, fmt.Errorf("unit %s: %w: not read", name, ErrUnknown)
	}
	return s, nil
}

// Sysctl returns a kernel parameter that was asked for.
func (f Facts) Sysctl(key string) (SysctlState, error) {
	s, ok := f.sysctls[key]
	if !ok {
		return s, fmt.Errorf("sysctl %s: %w: not read", key, ErrUnknown)
	}
	return s, nil
}

// Command returns what a command answered, whatever its status.
func (f Facts) Command(name string) (CommandState, error) {
	s, ok := f.commands[name]
	if !ok {
		return s, fmt.Errorf("command %s: %w: not run", name, ErrUnknown)
	}
	return s, nil
}

// Output returns the standard output of a command that exited with 0; any other
// status is an error with its whole stderr.
func (f Facts) Output(name string) ([]byte, error) {
	s, err := f.Command(name)
	if err != nil {
		return nil, err
	}
	if s.Code != 0 {
		return nil, fmt.Errorf("command %s: %w: exit status %d: %s", name, ErrUnknown, s.Code, strings.TrimSpace(string(s.Stderr)))
	}
	return s.Stdout, nil
}
