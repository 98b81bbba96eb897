package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// driftState is what drift remembers between runs, on this machine. Nothing
// depends on it but two conveniences, when a host was last seen and what was
// told already, so that it cannot be read or written is no error.
type driftState struct {
	path  string // "": there is no place for it
	dirty map[string]bool

	FormatVersion int                   `json:"format_version"`
	Hosts         map[string]*hostState `json:"hosts"`
}

type hostState struct {
	Checked time.Time `json:"checked"` // last judged
	OK      time.Time `json:"ok"`      // last as it should be
	Told    string    `json:"told"`    // HostDrift.Fingerprint of what was told last
}

// loadDriftState returns what is remembered of an inventory. Its ID is a plain
// name (inventory.Parse).
func loadDriftState(inventory string) *driftState {
	s := &driftState{path: statePath(inventory + ".json"), dirty: map[string]bool{}}
	s.read()
	return s
}

// statePath returns a file of ours below $XDG_STATE_HOME (XDG Base Directory
// Specification 0.8: a relative path there is to be ignored).
func statePath(name string) string {
	dir := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(dir, "vpnpush", name)
}

func (s *driftState) read() {
	var on driftState
	if b, err := os.ReadFile(s.path); err != nil || json.Unmarshal(b, &on) != nil || on.FormatVersion != 1 {
		on.Hosts = nil
	}
	s.FormatVersion, s.Hosts = 1, map[string]*hostState{}
	for name, h := range on.Hosts {
		if h != nil {
			s.Hosts[name] = h
		}
	}
}

func (s *driftState) last() map[string]view.LastSeen {
	out := map[string]view.LastSeen{}
	for name, h := range s.Hosts {
		out[name] = view.LastSeen{Checked: h.Checked, OK: h.OK}
	}
	return out
}

// add takes in a run, and reports whether it has something to tell that the
// runs before it had not.
func (s *driftState) add(d *engine.Drift) (news bool) {
	for i := range d.Hosts {
		h := &d.Hosts[i]
		hs := s.Hosts[h.Name]
		if hs == nil {
			hs = &hostState{}
			s.Hosts[h.Name] = hs
		}
		if h.Checked() {
			hs.Checked = h.Looked.UTC().Truncate(time.Second)
			if h.Result == engine.OK {
				hs.OK = hs.Checked
			}
		}
		told := h.Fingerprint()
		news = news || told != "" && told != hs.Told
		hs.Told = told
		s.dirty[h.Name] = true
	}
	return news
}

// save writes the hosts of this run over what is there by now: another run, of
// other hosts, may have ended meanwhile, or be at it.
func (s *driftState) save() {
	if s.path == "" || os.MkdirAll(filepath.Dir(s.path), 0o700) != nil {
		return
	}
	defer lockState(filepath.Dir(s.path))()
	mine := s.Hosts
	s.read()
	for name := range s.dirty {
		s.Hosts[name] = mine[name]
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return
	}
	// Whether that went well only the next run would want to know.
	renameio.WriteFile(s.path, append(b, '\n'), 0o600)
}

// stateWait is how long one run waits for another to save. It takes milliseconds, and a
// run that is stopped in it must not hold the others.
const stateWait = 5 * time.Second

// lockState waits until no other run saves in a folder, and returns what lets the next
// one. Where a folder cannot be locked, as on some file servers, it does without.
func lockState(folder string) (unlock func()) {
	dir, err := os.Open(folder)
	if err != nil {
		return func() {}
	}
	for end := time.Now().Add(stateWait); time.Now().Before(end); time.Sleep(time.Millisecond) {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return func() { dir.Close() }
}
