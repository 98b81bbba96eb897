package engine

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// PlanLife is how long a saved plan may be applied.
const PlanLife = 24 * time.Hour

// planFormat is the format of plan files that are written. Format 1 has digests
// alone, and can be applied still.
const planFormat = 2

// Saved is a plan in a file: not what to do, but what was shown, in words and as
// digests. An apply of it plans anew, and goes on only when the same comes out.
//
// Every digest is an HMAC-SHA256 under a key made of a salt and all secrets of
// the inventory: whoever has the file alone cannot try out weak passwords on
// it, nor change it unseen.
type Saved struct {
	FormatVersion int         `json:"format_version"`
	Owner         string      `json:"owner"` // Inventory.ID
	By            string      `json:"by"`
	Made          time.Time   `json:"made"`
	Expires       time.Time   `json:"expires"`
	Salt          string      `json:"salt"`
	Key           string      `json:"key"`       // digest of nothing: the secrets are the same
	Inventory     string      `json:"inventory"` // digest of the inventory file
	Hosts         []SavedHost `json:"hosts"`
	Seal          string      `json:"seal"` // digest of all of the above
}

// SavedHost is a host as it was planned. What is left out where it is empty is
// not in files of format 1, whose digests stay what they are.
type SavedHost struct {
	Name     string        `json:"name"`
	Role     string        `json:"role"`
	Result   Result        `json:"result"`
	Manifest SavedManifest `json:"manifest"`
	Changes  []SavedChange `json:"changes"`
	Dials    []SavedChange `json:"dials,omitempty"` // tunnels that were down: no apply compares them
	Errors   []SavedError  `json:"errors,omitempty"`
	Warnings []string      `json:"warnings,omitempty"`
}

// SavedError is what kept a host from being planned.
type SavedError struct {
	Text   string `json:"text"`
	Stderr string `json:"stderr"` // of a remote program, when it has several lines; Text ends in it
	Hint   string `json:"hint"`
}

// SavedManifest is the manifest that was on a host; generation 0 is none.
type SavedManifest struct {
	Generation int    `json:"generation"`
	Digest     string `json:"digest"`
}

// SavedChange is a change that was shown.
type SavedChange struct {
	Task   string       `json:"task"`
	Action tasks.Action `json:"action"`
	Digest string       `json:"digest"` // of what was shown and of what would be done
	Pre    []SavedPre   `json:"pre"`
	// for people, secrets masked
	Diff    string   `json:"diff,omitempty"`
	Note    string   `json:"note,omitempty"`
	Blocked string   `json:"blocked,omitempty"`
	Mend    string   `json:"mend,omitempty"`
	Ends    []string `json:"ends,omitempty"`
	Blinks  []string `json:"blinks,omitempty"`
}

// SavedPre is a file that a change stands on; no digest means: no file there.
type SavedPre struct {
	Path   string `json:"path"`
	Digest string `json:"digest"`
}

// Source is what the hosts' tasks are made of: the inventory file's text, and
// the values of its secrets.
type Source struct {
	Owner   string
	Text    []byte
	Secrets []secret.Value

	rounds int // PBKDF2's; 0 means defaultRounds, fewer are for tests
}

// defaultRounds are PBKDF2's with HMAC-SHA256 (OWASP Password Storage Cheat
// Sheet): some 0.1 s, for an inventory whose only secret is a weak one.
const defaultRounds = 600_000

// sealer makes the digests of one plan file.
type sealer []byte

func (s Source) sealer(salt []byte) (sealer, error) {
	var texts []string
	for _, v := range s.Secrets {
		texts = append(texts, v.Reveal())
	}
	slices.Sort(texts)
	rounds := s.rounds
	if rounds == 0 {
		rounds = defaultRounds
	}
	key, err := pbkdf2.Key(sha256.New, fmt.Sprintf("%q", texts), salt, rounds, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("plan file: %w", err)
	}
	return key, nil
}

// sum returns the digest of parts, none running into the next; what says of what.
func (k sealer) sum(what string, parts ...[]byte) string {
	h := hmac.New(sha256.New, k)
	fmt.Fprintf(h, "%s %d\n", what, len(parts))
	for _, p := range parts {
		fmt.Fprintf(h, "%d\n", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Teller puts what is saved into the words in which it is shown: without secrets
// and control characters.
type Teller interface {
	Text(string) string
	Diffs([]tasks.Change) []string
	Errors(error) []SavedError
}

// tell adds to a host what was shown of it.
func (h *SavedHost) tell(hp *HostPlan, t Teller) {
	texts := func(ss []string) (out []string) {
		for _, s := range ss {
			out = append(out, t.Text(s))
		}
		return out
	}
	if hp.Err != nil {
		h.Errors = t.Errors(hp.Err)
	}
	h.Warnings = texts(hp.Warnings)
	diffs := t.Diffs(hp.Changes)
	at := 0 // in h.Changes, which are those of hp less the dials
	for i, c := range hp.Changes {
		shown := SavedChange{
			Task: c.Task, Action: c.Action, Pre: []SavedPre{}, Diff: diffs[i], Note: t.Text(c.Note),
			Blocked: t.Text(c.Blocked), Mend: t.Text(c.Mend), Ends: texts(c.Ends), Blinks: texts(c.Blinks),
		}
		if c.Action == tasks.DialTunnel {
			h.Dials = append(h.Dials, shown)
			continue
		}
		shown.Digest, shown.Pre = h.Changes[at].Digest, h.Changes[at].Pre
		h.Changes[at] = shown
		at++
	}
}

// Save returns the saved form of a plan, as t tells it. by is user@machine.
func Save(p *Plan, src Source, by string, now time.Time, t Teller) (*Saved, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	k, err := src.sealer(salt)
	if err != nil {
		return nil, err
	}
	now = now.UTC().Truncate(time.Second)
	s := &Saved{
		FormatVersion: planFormat, Owner: src.Owner, By: by, Made: now, Expires: now.Add(PlanLife), Salt: hex.EncodeToString(salt),
		Key: k.sum("key"), Inventory: k.sum("inventory", src.Text), Hosts: []SavedHost{},
	}
	for i := range p.Hosts {
		h, err := k.host(&p.Hosts[i])
		if err != nil {
			return nil, err
		}
		h.tell(&p.Hosts[i], t)
		s.Hosts = append(s.Hosts, h)
	}
	return s, s.seal(k)
}

func (k sealer) host(hp *HostPlan) (SavedHost, error) {
	h := SavedHost{Name: hp.Name, Role: hp.Role, Result: hp.Result, Changes: []SavedChange{}}
	if hp.Result != OK && hp.Result != Changed {
		return h, nil
	}
	m, err := tasks.ReadManifest(hp.Facts)
	if err != nil {
		return h, fmt.Errorf("%s: %w", hp.Name, err)
	}
	if m != nil {
		f, err := hp.Facts.File(tasks.ManifestPath)
		if err != nil {
			return h, fmt.Errorf("%s: %w", hp.Name, err)
		}
		h.Manifest = SavedManifest{m.Generation, k.sum("manifest", f.Content)}
	}
	for _, c := range hp.Changes {
		// A tunnel goes down and comes up by itself: that moves no host. One that is
		// down when the plan is applied is dialled then.
		if c.Action == tasks.DialTunnel {
			continue
		}
		// Undo is left out: it is made of what stands around our things, which
		// may change without a change of what is to be done.
		parts := [][]byte{[]byte(c.Task), []byte(c.Action), []byte(c.Blocked)}
		for _, a := range c.Attrs {
			parts = append(parts, fmt.Appendf(nil, "%q %t %t", a.Name, a.Old == nil, a.New == nil), a.Old, a.New)
		}
		for _, d := range c.Do {
			parts = append(parts, fmt.Appendf(nil, "%d %q", d.Phase, d.Shell), []byte(d.Stdin.Reveal()))
		}
		sc := SavedChange{Task: c.Task, Action: c.Action, Digest: k.sum("change", parts...), Pre: []SavedPre{}}
		for _, p := range c.Pre {
			sp := SavedPre{Path: p.Path}
			if p.SHA256 != "" {
				sp.Digest = k.sum("file", []byte(p.SHA256))
			}
			sc.Pre = append(sc.Pre, sp)
		}
		h.Changes = append(h.Changes, sc)
	}
	return h, nil
}

// seal sets the digest of the whole.
func (s *Saved) seal(k sealer) error {
	sum, err := s.sealed(k)
	s.Seal = sum
	return err
}

func (s *Saved) sealed(k sealer) (string, error) {
	bare := *s
	bare.Seal = ""
	b, err := json.Marshal(bare)
	if err != nil {
		return "", fmt.Errorf("encode plan file: %w", err)
	}
	return k.sum("plan", b), nil
}

// Write writes the plan to a file that only its owner can read, whole or not
// at all.
func (s *Saved) Write(path string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode plan file: %w", err)
	}
	// not renameio.WriteFile: it hands down the mode of a file that stands there
	f, err := renameio.NewPendingFile(path, renameio.WithStaticPermissions(0o600))
	if err != nil {
		return fmt.Errorf("write plan file: %w", err)
	}
	defer f.Cleanup()
	if _, err := f.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("write plan file: %w", err)
	}
	if err := f.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("write plan file: %w", err)
	}
	return nil
}

// maxPlanFile bounds what is read for a plan file; 1,000 bare hosts take some 16 MiB.
const maxPlanFile = 64 << 20

// ReadSaved reads a plan file. Whether it may be applied is for Fresh to say.
func ReadSaved(ctx context.Context, path string) (*Saved, error) {
	b, _, err := secret.ReadFile(ctx, path, maxPlanFile)
	if err != nil {
		return nil, transport.WithHint(fmt.Errorf("plan file %s: %w", path, err), "`vpnpush plan --out %s` makes one", path)
	}
	s, err := parseSaved(b)
	if err != nil {
		return nil, transport.WithHint(fmt.Errorf("plan file %s: %w", path, err), "`vpnpush plan --out %s` makes a new one", path)
	}
	return s, nil
}

// planResults are how hosts come out of a plan.
var planResults = []Result{OK, Changed, Unreachable, Failed, Skipped, Locked}

func parseSaved(b []byte) (*Saved, error) {
	var v struct {
		FormatVersion int `json:"format_version"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, fmt.Errorf("this is no plan file: %w", err)
	}
	if v.FormatVersion < 1 || v.FormatVersion > planFormat {
		return nil, fmt.Errorf("format_version %d, this vpnpush knows those up to %d", v.FormatVersion, planFormat)
	}
	s := &Saved{}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("this is no plan file: %w", err)
	}
	seen := map[string]bool{}
	for _, h := range s.Hosts {
		if h.Name == "" || seen[h.Name] {
			return nil, fmt.Errorf("host %q is in it twice, or has no name", h.Name)
		}
		seen[h.Name] = true
		// these are told as words of ours
		if h.Role != tasks.RoleHub && h.Role != tasks.RoleSite || !slices.Contains(planResults, h.Result) {
			return nil, fmt.Errorf("host %q is a %q that is %q", h.Name, h.Role, h.Result)
		}
	}
	return s, nil
}

// ErrStale is a saved plan that must not be applied any more.
var ErrStale = errors.New("the plan is stale")

// Check reports whether the plan is whole and still of this inventory; the hosts
// are for Compare. An error is ErrStale, or says that the file is damaged.
func (s *Saved) Check(src Source, now time.Time) (*Fresh, error) {
	salt, err := hex.DecodeString(s.Salt)
	if err != nil || len(salt) < 16 {
		return nil, transport.WithHint(errors.New("plan file: it is damaged: no salt"), "plan again")
	}
	stale := func(format string, a ...any) error {
		return transport.WithHint(fmt.Errorf("%w: %s", ErrStale, fmt.Sprintf(format, a...)), "plan again")
	}
	if s.Owner != src.Owner {
		return nil, stale("it is of the inventory %q, this one is %q", s.Owner, src.Owner)
	}
	k, err := src.sealer(salt)
	if err != nil {
		return nil, err
	}
	same := func(a, b string) bool { return hmac.Equal([]byte(a), []byte(b)) }
	if !same(s.Key, k.sum("key")) {
		return nil, stale("a secret of the inventory has changed since %s", s.Made.Format(time.RFC3339))
	}
	sum, err := s.sealed(k)
	if err != nil {
		return nil, err
	}
	switch {
	case !same(s.Seal, sum):
		return nil, transport.WithHint(errors.New("plan file: it was changed after it was written"), "plan again")
	case !same(s.Inventory, k.sum("inventory", src.Text)):
		return nil, stale("the inventory file has changed since %s", s.Made.Format(time.RFC3339))
	case now.After(s.Expires):
		return nil, stale("it expired at %s", s.Expires.Format(time.RFC3339))
	case s.Made.After(now.Add(5 * time.Minute)):
		return nil, stale("it was made at %s, which is yet to come by this machine's clock", s.Made.Format(time.RFC3339))
	}
	return &Fresh{s, k}, nil
}

// Fresh is a saved plan that passed Check.
type Fresh struct {
	saved *Saved
	key   sealer
}

// Hosts returns those of all that the saved plan would change or has found as they
// should be. Those that could not be planned are not looked at.
func (f *Fresh) Hosts(all []Host) []Host {
	var out []Host
	for _, h := range all {
		if i := f.index(h.Name); i >= 0 && planned(f.saved.Hosts[i].Result) {
			out = append(out, h)
		}
	}
	return out
}

func planned(r Result) bool { return r == OK || r == Changed }

func (f *Fresh) index(host string) int {
	return slices.IndexFunc(f.saved.Hosts, func(h SavedHost) bool { return h.Name == host })
}

// Compare compares a new plan of Hosts with the saved one, and returns what may
// be applied. When a host has moved nothing may, on any: that host is Stale, the
// others with changes are Skipped, and fresh is false. A host that cannot be
// reached now did not move; it comes out as in any apply. One that could not be
// planned when the plan was saved comes out as it did then.
func (f *Fresh) Compare(p *Plan) (out *Plan, fresh bool, err error) {
	out = &Plan{Hosts: slices.Clone(p.Hosts)}
	fresh = true
	var first string
	for i := range out.Hosts {
		hp := &out.Hosts[i]
		j := f.index(hp.Name)
		if j < 0 {
			return nil, false, fmt.Errorf("%s is not in the saved plan", hp.Name)
		}
		if !planned(hp.Result) {
			continue
		}
		now, err := f.key.host(hp)
		if err != nil {
			return nil, false, err
		}
		if moved := differences(f.saved.Hosts[j], now); len(moved) > 0 {
			hp.Result, hp.Err = Stale, transport.WithHint(fmt.Errorf("%w: %s", ErrStale, shortList(moved)), "plan again")
			hp.Changes = nil
			if fresh {
				fresh, first = false, hp.Name
			}
		}
	}
	for i := range out.Hosts {
		if hp := &out.Hosts[i]; !fresh && hp.Result == Changed {
			hp.Result, hp.Changes = Skipped, nil
			hp.Err = transport.WithHint(fmt.Errorf("not tried: the plan is stale on %s", first), "plan again")
		}
	}
	for _, h := range f.saved.Hosts {
		if !planned(h.Result) {
			out.Hosts = append(out.Hosts, HostPlan{Name: h.Name, Role: h.Role, Result: h.Result,
				Err: transport.WithHint(fmt.Errorf("it was %s when the plan was made, so there is nothing to apply", h.Result),
					"`vpnpush plan --limit %s`", h.Name)})
		}
	}
	sortHosts(out.Hosts, func(h HostPlan) (string, string) { return h.Role, h.Name })
	return out, fresh, nil
}

// shortList joins what for one line, and counts what has no room on it.
func shortList(what []string) string {
	const most = 4
	if n := len(what) - most; n > 1 {
		what = append(slices.Clone(what[:most]), fmt.Sprintf("and %d more", n))
	}
	return strings.Join(what, "; ")
}

// differences returns what is not on a host as it was when the plan was made, in words.
func differences(was, now SavedHost) []string {
	var out []string
	add := func(format string, a ...any) { out = append(out, fmt.Sprintf(format, a...)) }
	switch {
	case was.Manifest == now.Manifest:
	case now.Manifest.Generation == 0:
		add("its manifest is gone")
	case was.Manifest.Generation != now.Manifest.Generation:
		// what else has moved, that apply has moved
		return []string{fmt.Sprintf("it was applied to since (generation %d, planned on %d)", now.Manifest.Generation, was.Manifest.Generation)}
	default:
		add("its manifest was changed by hand")
	}
	for _, w := range was.Changes {
		i := slices.IndexFunc(now.Changes, func(n SavedChange) bool { return n.Task == w.Task })
		if i < 0 {
			add("%s needs no change any more", w.Task)
			continue
		}
		n := now.Changes[i]
		files := changedFiles(w.Pre, n.Pre)
		switch {
		case len(files) > 0:
			add("%s is not what it was", strings.Join(files, ", "))
		case n.Action != w.Action:
			add("%s: it was %s, and is %s now", w.Task, w.Action, n.Action)
		case n.Digest != w.Digest:
			add("%s: another change than the one that was planned", w.Task)
		}
	}
	for _, n := range now.Changes {
		if !slices.ContainsFunc(was.Changes, func(w SavedChange) bool { return w.Task == n.Task }) {
			add("%s is to change too", n.Task)
		}
	}
	return out
}

// changedFiles returns the paths whose state is not the same in both.
func changedFiles(was, now []SavedPre) []string {
	var out []string
	for _, w := range was {
		if !slices.Contains(now, w) {
			out = append(out, w.Path)
		}
	}
	for _, n := range now {
		if !slices.ContainsFunc(was, func(w SavedPre) bool { return w.Path == n.Path }) {
			out = append(out, n.Path)
		}
	}
	return out
}
