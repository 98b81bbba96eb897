package tasks

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Where vpnpush keeps its own things on a host.
const (
	StateDir     = "/var/lib/vpnpush"
	ManifestPath = StateDir + "/manifest.json"
	// RevertFailedPath is there when a host could not put back what an apply
	// had changed.
	RevertFailedPath = StateDir + "/revert-failed"
	loadedDir        = "/run/vpnpush/loaded" // gone after a reboot, as what was loaded is
)

// Manifest is what the last apply left on a host: whose it is, which files are
// ours, and a digest of what each task wanted. It holds no secret.
type Manifest struct {
	FormatVersion int               `json:"format_version"`
	Owner         string            `json:"owner"` // Inventory.ID
	Host          string            `json:"host"`  // its name in the inventory
	Generation    int               `json:"generation"`
	Applied       time.Time         `json:"applied"`
	By            string            `json:"by"` // user@machine that applied
	Files         []OwnedFile       `json:"files"`
	Tasks         map[string]string `json:"tasks"` // task ID -> digest of what it wanted (last applied)
}

// OwnedFile is a file of ours as it was written.
type OwnedFile struct {
	Path   string      `json:"path"`
	SHA256 string      `json:"sha256"`
	Mode   fs.FileMode `json:"mode"`
}

// Owner is a task that owns a whole file.
type Owner interface{ Owns() OwnedFile }

// Digester is a task that can say what it wants as a digest, for last-applied.
type Digester interface{ Digest() string }

// ReadManifest gives the manifest of a host; nil when there is none.
func ReadManifest(f Facts) (*Manifest, error) {
	s, err := f.File(ManifestPath)
	if err != nil || !s.Exists {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(s.Content, &m); err != nil {
		return nil, fmt.Errorf("file %s: %w: %v", ManifestPath, ErrUnknown, err)
	}
	if m.FormatVersion != 1 {
		return nil, fmt.Errorf("file %s: %w: format_version %d, this vpnpush knows 1", ManifestPath, ErrUnknown, m.FormatVersion)
	}
	return &m, nil
}

// File gives the entry of a path.
func (m *Manifest) File(path string) (OwnedFile, bool) {
	if m != nil {
		for _, f := range m.Files {
			if f.Path == path {
				return f, true
			}
		}
	}
	return OwnedFile{}, false
}

// NextManifest is what an apply of ts leaves behind on a host that has old.
func NextManifest(old *Manifest, owner, host, by string, now time.Time, ts []Task) *Manifest {
	m := &Manifest{FormatVersion: 1, Owner: owner, Host: host, Generation: 1, Applied: now.UTC().Truncate(time.Second), By: by, Tasks: map[string]string{}}
	if old != nil {
		m.Generation = old.Generation + 1
	}
	for _, t := range ts {
		if o, ok := t.(Owner); ok {
			m.Files = append(m.Files, o.Owns())
		}
		if d, ok := t.(Digester); ok {
			m.Tasks[t.ID()] = d.Digest()
		}
	}
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Path < m.Files[j].Path })
	return m
}

// Encode gives the manifest as it is written.
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

// markedBy gives the owner in a file's marker, "" for a file without one. In a
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

// Orphans are the files that the manifest has and no task wants any more.
func Orphans(m *Manifest, ts []Task) []Task {
	if m == nil {
		return nil
	}
	wanted := map[string]bool{}
	for _, t := range ts {
		if o, ok := t.(Owner); ok {
			wanted[o.Owns().Path] = true
		}
	}
	var out []Task
	for _, f := range m.Files {
		if !wanted[f.Path] {
			out = append(out, Absent{Path: f.Path, SHA256: f.SHA256, Owner: m.Owner, Syntax: syntaxOf(f.Path)})
		}
	}
	return out
}

// syntaxOf tells how to mask a file of ours of which only the path is known.
func syntaxOf(path string) mask.Syntax {
	switch {
	case strings.HasSuffix(path, ".secrets"):
		return mask.IPsecSecrets
	case strings.HasPrefix(path, "/etc/swanctl/"):
		return mask.Swanctl
	case strings.HasSuffix(path, "chap-secrets"):
		return mask.ChapSecrets
	case strings.HasPrefix(path, "/etc/ppp/options"):
		return mask.PPPOptions
	}
	return mask.Plain
}
