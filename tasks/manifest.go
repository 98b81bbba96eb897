package tasks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Where vpnpush keeps its own things on a host.
const (
	StateDir     = "/var/lib/vpnpush"
	ManifestPath = StateDir + "/manifest.json"
	// RevertFailedPath is there when a host could not put back what an apply
	// had changed.
	RevertFailedPath = StateDir + "/revert-failed"
	// LoadedDir is where it is noted what services have read. It is gone after a
	// reboot, as what was loaded is.
	LoadedDir = "/run/vpnpush/loaded"
)

// firstDir holds what stood where a file of ours went, until vpnpush leaves the host.
const firstDir = StateDir + "/first"

// manifestFormat is the format that is written. Format 1, without what a way out
// needs, is still read (manifest1.go).
const manifestFormat = 2

// Manifest is what the last apply left on a host: whose it is, and for each task what
// it wanted, as a digest, and what takes it off again. It holds no secret.
type Manifest struct {
	FormatVersion int       `json:"format_version"`
	Owner         string    `json:"owner"` // Inventory.ID
	Host          string    `json:"host"`  // its name in the inventory
	Generation    int       `json:"generation"`
	Applied       time.Time `json:"applied"`
	By            string    `json:"by"` // user@machine that applied
	Tasks         []Entry   `json:"tasks"`

	// made when it is parsed
	index map[string]int // of Tasks, by ID
	conns map[string]*ConnWas
}

// Entry is a task as it was applied. What is not of its kind is empty.
//
// The probe finds the files that are to be read by the lines of Path and First
// (tasks/host), so these must not come last.
type Entry struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`

	Path   string      `json:"path,omitempty"`   // of a file, line, block, rules, settings
	SHA256 string      `json:"sha256,omitempty"` // of a file, settings
	Mode   fs.FileMode `json:"mode,omitempty"`
	First  string      `json:"first,omitempty"`  // the copy of what stood there before vpnpush came
	Syntax mask.Syntax `json:"syntax,omitempty"` // how to mask it
	Line   string      `json:"line,omitempty"`   // of a line
	Files  []string    `json:"files,omitempty"`  // of keys, lines: in which lines were taken out

	Unit     string    `json:"unit,omitempty"`      // of a unit, helper, settings, ipsec
	With     string    `json:"with,omitempty"`      // of a helper: the unit beside which it runs
	Config   []string  `json:"config,omitempty"`    // files that the unit reads when it starts; of a helper
	BootOnly bool      `json:"boot_only,omitempty"` // Unit.BootOnly
	Shared   bool      `json:"shared,omitempty"`    // Unit.Shared
	Was      *Before   `json:"was,omitempty"`       // what was there before vpnpush came
	Daemon   string    `json:"daemon,omitempty"`    // of settings, ipsec, keys, lines: Daemon.Name
	Conns    []ConnWas `json:"conns,omitempty"`     // of ipsec
	Key      string    `json:"key,omitempty"`       // of a sysctl
	Value    string    `json:"value,omitempty"`     // of a sysctl

	Digest string `json:"digest"`
}

// Before is what stood on a host before the first apply that wanted a task.
type Before struct {
	Exists  bool `json:"exists"`            // the service, or the rules file, was there
	Enabled bool `json:"enabled,omitempty"` // the service was
	Active  bool `json:"active,omitempty"`
}

// ConnWas is a conn as it was applied.
type ConnWas struct {
	Name      string             `json:"name"`
	Conf      string             `json:"conf"`
	Secrets   string             `json:"secrets"`
	Initiates bool               `json:"initiates,omitempty"`
	Tunnel    *strongswan.Tunnel `json:"tunnel,omitempty"` // nil: it is for no site
	// Also is what it took besides, while the other end of the tunnel was changed.
	Also *strongswan.Tunnel `json:"also,omitempty"`
}

// Digester is a task that can say what it wants as a digest, for last-applied.
type Digester interface{ Digest() string }

// Actual is a Digester that can also say what stands on a host, as the digest it would
// have if that were wanted. Where it equals what was last applied, the host is as it
// was left.
type Actual interface {
	Digester
	ActualDigest(Facts) (string, error)
}

// ReadManifest returns the manifest of a host; nil when there is none. It is not to be
// changed: all who ask for it get the same one.
func ReadManifest(f Facts) (*Manifest, error) {
	if f.manifest != nil {
		return f.manifest()
	}
	return readManifest(f)
}

func readManifest(f Facts) (*Manifest, error) {
	s, err := f.File(ManifestPath)
	if err != nil || !s.Exists {
		return nil, err
	}
	return ParseManifest(s, f.File)
}

// minObject is less than an object of a manifest has in the file, in bytes, on the average. In
// memory one takes ten times as much: a host that is not ours any more shall not fill it.
const minObject = 32

// ParseManifest parses a manifest's file. Of one in format 1 the rest is found in the
// files of its time, which file returns.
func ParseManifest(s FileState, file func(path string) (FileState, error)) (*Manifest, error) {
	if n := bytes.Count(s.Content, []byte("{")); n > 16+len(s.Content)/minObject {
		return nil, fmt.Errorf("file %s: %w: vpnpush does not write %d objects into %d bytes", s.Path, ErrUnknown, n, len(s.Content))
	}
	// most are of this format: one of a hub is long, and read once
	m := Manifest{Tasks: make([]Entry, 0, bytes.Count(s.Content, []byte(`"kind":`)))}
	err := json.Unmarshal(s.Content, &m)
	if m.FormatVersion != manifestFormat {
		var v struct {
			FormatVersion int `json:"format_version"`
		}
		if err := json.Unmarshal(s.Content, &v); err != nil {
			return nil, fmt.Errorf("file %s: %w: %w", s.Path, ErrUnknown, err)
		}
		if v.FormatVersion != 1 {
			return nil, transport.WithHint(fmt.Errorf("file %s: %w: format_version %d, this vpnpush knows 1 and %d", s.Path, ErrUnknown, v.FormatVersion, manifestFormat),
				"a newer vpnpush has applied here: use that one")
		}
		m, err = parseManifest1(s.Content, file)
	}
	if err != nil {
		return nil, fmt.Errorf("file %s: %w: %w", s.Path, ErrUnknown, err)
	}
	m.index, m.conns = make(map[string]int, len(m.Tasks)), map[string]*ConnWas{}
	for i, e := range m.Tasks {
		m.index[e.ID] = i
		for j := range e.Conns {
			m.conns[e.Conns[j].Name] = &e.Conns[j]
		}
	}
	return &m, nil
}

func (m *Manifest) entries() []Entry {
	if m == nil {
		return nil
	}
	return m.Tasks
}

// find returns the entry of a task, nil when the manifest has none.
func (m *Manifest) find(id string) *Entry {
	es := m.entries()
	if m != nil && m.index != nil {
		if i, ok := m.index[id]; ok {
			return &es[i]
		}
		return nil
	}
	if i := slices.IndexFunc(es, func(e Entry) bool { return e.ID == id }); i >= 0 {
		return &es[i]
	}
	return nil
}

// Digest returns what a task wanted when it was last applied, "" for never.
func (m *Manifest) Digest(id string) string {
	if e := m.find(id); e != nil {
		return e.Digest
	}
	return ""
}

// Conn returns a conn as it was applied, nil where a manifest that was read has none of
// that name.
func (m *Manifest) Conn(name string) *ConnWas {
	if m == nil {
		return nil
	}
	return m.conns[name]
}

// daemon returns the one of ds that ran strongSwan with what the manifest has, nil for
// none.
func (m *Manifest) daemon(ds []Daemon) *Daemon {
	e := m.find(IPsec{}.ID())
	if e == nil {
		return nil
	}
	if d, err := daemonOf(*e, ds); err == nil {
		return &d
	}
	return nil
}

// Daemon returns the name of what ran strongSwan with what the manifest has, "" for
// nothing.
func (m *Manifest) Daemon() string {
	if e := m.find(IPsec{}.ID()); e != nil {
		return e.Daemon
	}
	return ""
}

// Owns reports whether a path is a whole file of ours.
func (m *Manifest) Owns(path string) bool {
	e := m.find(File{Path: path}.ID())
	return e != nil && e.Kind == kindFile
}

// Units returns the services that the manifest has, sorted.
func (m *Manifest) Units() []string {
	var out []string
	for _, e := range m.entries() {
		if e.Unit != "" {
			out = append(out, e.Unit)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Tunnels returns the conns of sites that the manifest has.
func (m *Manifest) Tunnels() []strongswan.Tunnel {
	var out []strongswan.Tunnel
	for _, e := range m.entries() {
		for _, c := range e.Conns {
			if c.Tunnel != nil {
				out = append(out, *c.Tunnel)
			}
		}
	}
	return out
}

// NextManifest returns what an apply of ts leaves behind on a host that had old, and
// that f was read of.
func NextManifest(old *Manifest, owner, host, by string, now time.Time, ts []Task, f Facts) *Manifest {
	m := &Manifest{FormatVersion: manifestFormat, Owner: owner, Host: host, Generation: 1, Applied: now.UTC().Truncate(time.Second), By: by}
	if old != nil {
		m.Generation = old.Generation + 1
	}
	for _, t := range ts {
		if r, ok := t.(Recorder); ok {
			e := r.Record(old.find(t.ID()), f)
			if e.Kind == "" {
				continue
			}
			e.ID, e.Digest = t.ID(), r.Digest()
			m.Tasks = append(m.Tasks, e)
		}
	}
	return m
}

// Encode returns the manifest as it is written.
func (m *Manifest) Encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode manifest: %w", err)
	}
	return append(b, '\n'), nil
}

// Marker is the first line of an owned file: whose it is, and not to edit it.
// comment is the file's comment sign, "#" or ";". A script's comes second.
func Marker(comment, owner string) string {
	return comment + " " + markerOwner(owner) + " Written by vpnpush: change the inventory, not this file.\n"
}

func markerOwner(owner string) string { return "vpnpush owner=" + owner + "." }

// markedBy returns the owner in a file's marker, "" for a file without one. In a
// script the marker is the second line, since "#!" must be the first.
func markedBy(content []byte) string {
	line, rest, _ := strings.Cut(string(content[:min(len(content), 600)]), "\n")
	if strings.HasPrefix(line, "#!") {
		line, _, _ = strings.Cut(rest, "\n")
	}
	_, mark, ok := strings.Cut(line, " vpnpush owner=")
	if !ok || !(strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";")) {
		return ""
	}
	owner, _, ok := strings.Cut(mark, ". Written by vpnpush")
	if !ok {
		return ""
	}
	return owner
}
