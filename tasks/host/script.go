// Package host is what runs on a host: the probe, which reads it and changes nothing,
// and the apply script, which changes it and puts everything back unless it is told to
// keep it; how both are made, and how what they print is read.
package host

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

//go:embed txn.sh
var txnShell string

// Txn is one apply on one host.
type Txn struct {
	ID      string // sorts by time; letters, digits, "-"
	Host    string
	By      string // user@machine, for the lock's holder and the history
	Summary string // one line for the history
	Changes []tasks.Change
	// Packed says that its script is sent packed: the host has gzip.
	Packed bool
	// Manifest is written with the changes, and reverted with them; nil: there
	// is to be none.
	Manifest []byte
	// ManifestSHA is the digest of the manifest that the changes were planned
	// against, "" for none: an apply that came in between makes this one stale.
	ManifestSHA string
	// Unseen says that nobody has looked at the host: the changes are those of a bare one,
	// where a file that is to be absent may also be as its package brings it, and all of
	// Supposed must be so.
	Unseen   bool
	Supposed []tasks.Supposed
	// Units are the services that a revert at boot comes before.
	Units []string
	// Before names the apply that this one takes back, if it is a rollback.
	Before string
	// Ends names the apply of which this one is the last step, "" for none: they are
	// taken back as one.
	Ends string
	// ConfirmTimeout is how long the host waits for a confirmation before it
	// puts everything back; whole seconds.
	ConfirmTimeout time.Duration
}

// heredocEnd ends the here-documents of a script. No content may hold it as a
// line of its own.
const heredocEnd = "VPNPUSH_END_OF_TEXT"

// cover changes a finished script before it is returned. Only a build with the tag
// shellcover, which make cover makes for the lab, has one.
var cover func(script string) string

// Script returns the apply script of a host: POSIX sh, whole in itself. It holds
// secrets, and therefore is one.
func (x Txn) Script() (secret.Value, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "#!/bin/sh\n# vpnpush %s on %s\n", x.ID, x.Host)
	for _, kv := range [][2]string{{"id", x.ID}, {"by", oneLine(x.By)}, {"summary", oneLine(x.Summary)}, {"did", x.did()}, {"units", strings.Join(x.Units, " ")}} {
		fmt.Fprintf(&b, "%s=%s\n", kv[0], transport.Quote(kv[1]))
	}
	fmt.Fprintf(&b, "confirm_timeout=%d\n", int(x.ConfirmTimeout.Seconds()))
	leave := 0
	if x.Manifest == nil {
		leave = 1
	}
	fmt.Fprintf(&b, "leave=%d\n", leave)
	b.WriteString(txnShell)
	parts := x.parts()
	for _, p := range parts {
		fmt.Fprintf(&b, "\n# --- %s\n\n%s", p.Name, p.Text)
	}

	function := func(name string, body func() error) error {
		fmt.Fprintf(&b, "\n%s() {\n:\n", name)
		if err := body(); err != nil {
			return err
		}
		b.WriteString("}\n")
		return nil
	}
	phase := func(p tasks.Phase) error {
		for _, c := range x.Changes {
			if err := steps(&b, c.Task, c.Do, p); err != nil {
				return err
			}
		}
		for _, part := range parts {
			if end := part.End[p]; end != "" {
				b.WriteString(end + "\n")
			}
		}
		return nil
	}
	// undo takes back what was done last first. One that fails does not keep the
	// others from being tried.
	undo := func(p tasks.Phase) error {
		for _, c := range slices.Backward(x.Changes) {
			if !slices.ContainsFunc(c.Undo, func(s tasks.Step) bool { return s.Phase == p }) {
				continue
			}
			b.WriteString("(set -e\n")
			if err := steps(&b, c.Task, c.Undo, p); err != nil {
				return err
			}
			b.WriteString(")\n# shellcheck disable=SC2181\n[ $? -eq 0 ] || rc=1\n")
		}
		return nil
	}
	changed, folders := x.paths()
	for _, f := range []struct {
		name string
		body func() error
	}{
		{"preconditions", func() error {
			if x.Unseen {
				x.suppose(&b)
				return nil
			}
			fmt.Fprintf(&b, "pre %s %s\n", transport.Quote(tasks.ManifestPath), x.ManifestSHA)
			for _, c := range x.Changes {
				for _, p := range c.Pre {
					fmt.Fprintf(&b, "pre %s %s\n", transport.Quote(p.Path), p.SHA256)
				}
			}
			return nil
		}},
		{"want_packages", func() error { return phase(tasks.PhasePackages) }},
		{"try", func() error { return phase(tasks.PhaseTry) }},
		{"backup_all", func() error {
			for _, p := range changed {
				fmt.Fprintf(&b, "backup %s\n", transport.Quote(p))
			}
			return nil
		}},
		{"write", func() error {
			if err := phase(tasks.PhaseFiles); err != nil {
				return err
			}
			last := tasks.Put(tasks.ManifestPath, 0o600, x.Manifest)
			if x.Manifest == nil {
				last = tasks.Step{Phase: tasks.PhaseFiles, Shell: "rm -f -- " + transport.Quote(tasks.ManifestPath)}
			}
			return steps(&b, "manifest", []tasks.Step{last}, tasks.PhaseFiles)
		}},
		{"live", func() error { return phase(tasks.PhaseLive) }},
		{"services", func() error { return phase(tasks.PhaseServices) }},
		{"after", func() error { return phase(tasks.PhaseAfter) }},
		{"verify", func() error { return phase(tasks.PhaseVerify) }},
		// folders of ours that nothing is in any more
		{"folders", func() error {
			for _, p := range folders {
				fmt.Fprintf(&b, "rmdir -- %s 2>/dev/null || :\n", transport.Quote(p))
			}
			return nil
		}},
		// what lasts over a boot: it is put back at a boot, too
		{"undo_files", func() error { return undo(tasks.PhaseFiles) }},
		{"undo_live", func() error {
			// the phases keep their order: files are back already, then live
			// state, then services
			for p := tasks.PhaseLive; p <= tasks.PhaseVerify; p++ {
				if err := undo(p); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		if err := function(f.name, f.body); err != nil {
			return secret.Value{}, fmt.Errorf("script for %s: %w", x.Host, err)
		}
	}
	// A script that was cut on the way lacks the last line, and does nothing.
	fmt.Fprintf(&b, "\nmain \"$@\"\n# end of %s\n", x.ID)
	script := b.String()
	if cover != nil {
		script = cover(script)
	}
	return secret.New(script), nil
}

// suppose writes the preconditions of a host that nobody has looked at: every one that
// does not hold is told.
func (x Txn) suppose(b *strings.Builder) {
	fmt.Fprintf(b, "bare %s\n", transport.Quote(tasks.ManifestPath))
	for _, c := range x.Changes {
		for _, p := range c.Pre {
			fmt.Fprintf(b, "bare %s\n", transport.Quote(p.Path))
		}
	}
	for _, s := range x.Supposed {
		fmt.Fprintf(b, "# shellcheck disable=SC2016 # it is run there\nsuppose %s %s\n", transport.Quote(s.Mend), transport.Quote(s.Shell))
	}
	b.WriteString("as_supposed\n")
}

// parts returns what the steps of the changes call, each once and in the order of their
// names. Files are written in any case: the manifest is one.
func (x Txn) parts() []tasks.Part {
	byName := map[string]tasks.Part{tasks.PartFiles.Name: tasks.PartFiles}
	if x.Unseen {
		byName[tasks.PartBare.Name] = tasks.PartBare
	}
	for _, c := range x.Changes {
		for _, p := range c.Parts {
			byName[p.Name] = p
		}
	}
	var out []tasks.Part
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}

// paths returns the paths that the changes may touch and the folders that may go with
// them, each once.
func (x Txn) paths() (changed, folders []string) {
	seen := map[string]bool{}
	once := func(list, ps []string) []string {
		for _, p := range ps {
			if !seen[p] {
				seen[p] = true
				list = append(list, p)
			}
		}
		return list
	}
	for _, c := range x.Changes {
		changed = once(changed, c.Backups)
	}
	changed = once(changed, []string{tasks.ManifestPath})
	for _, c := range x.Changes {
		folders = once(folders, c.Folders)
	}
	return changed, folders
}

func steps(b *strings.Builder, task string, ss []tasks.Step, p tasks.Phase) error {
	for _, s := range ss {
		if s.Phase != p {
			continue
		}
		fmt.Fprintf(b, "at %s\n", transport.Quote(task))
		text := s.Stdin.Reveal()
		switch {
		case s.Stdin.IsZero():
			fmt.Fprintf(b, "%s\n", s.Shell)
			continue
		case strings.ContainsRune(text, 0):
			return fmt.Errorf("%s: its text holds a zero byte", task)
		case text != "" && !strings.HasSuffix(text, "\n"):
			return fmt.Errorf("%s: its text does not end in a newline", task)
		case strings.Contains("\n"+text, "\n"+heredocEnd+"\n"):
			return fmt.Errorf("%s: its text holds the line %s", task, heredocEnd)
		case strings.Contains(s.Shell, "\n"):
			return fmt.Errorf("%s: a step that reads text is one command", task)
		}
		fmt.Fprintf(b, "%s <<'%s'\n%s%s\n", s.Shell, heredocEnd, text, heredocEnd)
	}
	return nil
}

// did returns the outcome that the history has of x once it is confirmed.
func (x Txn) did() string {
	switch {
	case x.Before != "":
		return RolledBackBefore + oneLine(x.Before)
	case x.Ends != "":
		return AppliedToEnd + oneLine(x.Ends)
	}
	return OutcomeApplied
}

// oneLine returns s with a space in the place of each control character.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
