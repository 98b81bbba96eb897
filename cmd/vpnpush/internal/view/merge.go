package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

// ReportFile is a file that a run with --json has written.
type ReportFile struct {
	Name string
	Text []byte
	Err  error // it could not be read
}

// Merged is the documents of several runs of one verb as one.
type Merged struct {
	Command string
	Codes   []int // the exit codes of the runs
	// Missing is what is not in it and should be, a sentence each.
	Missing []string
	// Notes are what else is good to know.
	Notes []string

	inventory   string
	first, last time.Time // when the runs of a drift were begun
	files       int
	shard       *Shard
	hosts       []mergedHost
	summary     driftSummary
}

// mergedHost is a host of a document: as it stands there, and what is read of it.
type mergedHost struct {
	raw                       json.RawMessage
	from                      string // the file
	Name, Role, Result, Error string
	Changes                   []mergedChange
}

type mergedChange struct{ Task, Action, State, Ignored, Diff string }

// mergeable is what is read of a document.
type mergeable struct {
	file string
	head
	Inventory string
	Time      time.Time
	Shard     *Shard
	Hosts     []json.RawMessage
	Summary   driftSummary
	ExitCode  *int `json:"exit_code"`
}

// mergeableCommands are those whose documents have the shape of a plan's.
var mergeableCommands = []string{"plan", "apply", "drift"}

// MergeReports makes one of what several runs have reported. What one of them has left
// out, because it died, is told in the result, and so is one that was begun before oldest;
// an error is what cannot be one report.
func MergeReports(files []ReportFile, oldest time.Time) (*Merged, error) {
	m := &Merged{}
	var docs []*mergeable
	for _, f := range files {
		d, err := readReport(f, oldest)
		switch {
		case errors.Is(err, errHalf):
			m.Missing = append(m.Missing, fmt.Sprintf("%s: %v", f.Name, err))
		case err != nil:
			return nil, fmt.Errorf("merge %s: %w", f.Name, err)
		default:
			docs = append(docs, d)
		}
	}
	if len(docs) == 0 {
		return nil, transport.WithHint(fmt.Errorf("merge: none of %s is a report: %s", words.Count(len(files), "file"), strings.Join(m.Missing, "; ")),
			"a report is what plan, apply or drift print with --json")
	}
	if err := m.fit(docs); err != nil {
		return nil, err
	}
	if err := m.gather(docs); err != nil {
		return nil, err
	}
	return m, m.shards(docs)
}

// errHalf is why a file counts as missing.
var errHalf = errors.New("no report of this run")

// readReport returns the document of a file.
func readReport(f ReportFile, oldest time.Time) (*mergeable, error) {
	d := &mergeable{file: f.Name}
	switch {
	case f.Err != nil:
		return nil, fmt.Errorf("%w: %w", errHalf, f.Err)
	case len(f.Text) == 0:
		return nil, fmt.Errorf("%w: it is empty, as where the run has died, or is at work yet", errHalf)
	case json.Unmarshal(f.Text, d) != nil || d.Command == "":
		return nil, fmt.Errorf("%w: it is cut short, or something else", errHalf)
	case d.FormatVersion != heading("").FormatVersion:
		return nil, transport.WithHint(fmt.Errorf("its format_version is %q, this vpnpush knows %q", d.FormatVersion, heading("").FormatVersion), "merge with the version that wrote it")
	case !slices.Contains(mergeableCommands, d.Command):
		return nil, transport.WithHint(fmt.Errorf("it is a report of %s", d.Command), "merge takes those of %s", strings.Join(mergeableCommands, ", "))
	case d.ExitCode == nil || d.Shard != nil && (d.Shard.Of < 1 || len(d.Shard.Numbers) == 0):
		return nil, transport.WithHint(errors.New("it lacks keys that a report has"), "let this version of vpnpush write it anew")
	case !d.begun().IsZero() && d.begun().Before(oldest):
		return nil, fmt.Errorf("%w: it is an old one, of %s", errHalf, minute(d.begun()))
	}
	return d, nil
}

// fit refuses reports that are not of one and the same thing.
func (m *Merged) fit(docs []*mergeable) error {
	differ := func(a, b *mergeable, what, is, other string) error {
		return transport.WithHint(fmt.Errorf("merge: %s is of %s %s, and %s of %s", a.file, what, is, b.file, other), "merge the reports of one fan-out alone")
	}
	var named, part *mergeable
	in := map[int]string{} // the file that a shard is in
	for _, d := range docs {
		if d.Command != docs[0].Command {
			return differ(docs[0], d, "the verb", docs[0].Command, d.Command)
		}
		switch {
		case d.id() == "":
		case named == nil:
			named = d
		case d.id() != named.id():
			return differ(named, d, "the inventory", named.id(), d.id())
		}
		switch {
		case d.Shard == nil:
		case part == nil:
			part = d
		case d.Shard.Of != part.Shard.Of:
			return differ(part, d, "a run over", words.Count(part.Shard.Of, "shard"), words.Count(d.Shard.Of, "shard"))
		case d.Shard.SitesDigest != part.Shard.SitesDigest:
			return transport.WithHint(fmt.Errorf("merge: the runs of %s and %s did not have the same sites to share: %d and %d", part.file, d.file, part.Shard.AllSites, d.Shard.AllSites),
				"give all shards one inventory and the same --limit, and run them again: a site may be in none of them")
		case d.Shard.Version != part.Shard.Version:
			m.note("%s is of vpnpush %s, and %s of %s", part.file, part.Shard.Version, d.file, d.Shard.Version)
		}
		for _, n := range d.numbers() {
			if other := in[n]; other != "" {
				return twice(inventory.Shard{Number: n, Of: d.Shard.Of}.String(), other, d.file)
			}
			in[n] = d.file
		}
	}
	return nil
}

func (m *Merged) note(format string, a ...any) { m.Notes = append(m.Notes, fmt.Sprintf(format, a...)) }

// numbers returns the shards that a document is of.
func (d *mergeable) numbers() []int {
	if d.Shard == nil {
		return nil
	}
	return d.Shard.Numbers
}

// id returns the inventory of a document, where that is told.
func (d *mergeable) id() string {
	if d.Inventory == "" && d.Shard != nil {
		return d.Shard.Inventory
	}
	return d.Inventory
}

// begun returns when the run of a document was begun, where that is told.
func (d *mergeable) begun() time.Time {
	if d.Time.IsZero() && d.Shard != nil {
		t, _ := time.Parse(time.RFC3339, d.Shard.Begun)
		return t
	}
	return d.Time
}

// gather puts the hosts of all documents together.
func (m *Merged) gather(docs []*mergeable) error {
	m.Command, m.files = docs[0].Command, len(docs)
	in := map[string]string{} // the file that a host is in
	for _, d := range docs {
		m.Codes = append(m.Codes, *d.ExitCode)
		if m.inventory == "" {
			m.inventory = d.id()
		}
		if b := d.begun(); !b.IsZero() && (m.first.IsZero() || b.Before(m.first)) {
			m.first = b
		}
		if b := d.begun(); b.After(m.last) {
			m.last = b
		}
		for _, raw := range d.Hosts {
			h := mergedHost{raw: raw, from: d.file}
			var read struct {
				Name, Role, Result, Error string
				Changes                   []mergedChange
			}
			if err := json.Unmarshal(raw, &read); err != nil || read.Name == "" {
				return transport.WithHint(fmt.Errorf("merge %s: a host in it is not understood", d.file), "let this version of vpnpush write it anew")
			}
			h.Name, h.Role, h.Result, h.Error, h.Changes = read.Name, read.Role, read.Result, read.Error, read.Changes
			if other := in[h.Name]; other != "" {
				return twice(h.Name, other, d.file)
			}
			in[h.Name] = d.file
			m.hosts = append(m.hosts, h)
		}
		m.summary.add(d.Summary)
	}
	slices.SortStableFunc(m.hosts, func(a, b mergedHost) int {
		if hub := tasks.RoleHub; (a.Role == hub) != (b.Role == hub) {
			if a.Role == hub {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return nil
}

// twice is how reports end that tell of one thing twice.
func twice(what, a, b string) error {
	if a == b {
		return transport.WithHint(fmt.Errorf("merge: %s is in %s twice", what, a), "give each report once")
	}
	return transport.WithHint(fmt.Errorf("merge: %s is in %s and in %s", what, a, b), "leave one of them out: of two runs the earlier")
}

// shards looks whether the shards among the documents are whole.
func (m *Merged) shards(docs []*mergeable) error {
	for _, d := range docs {
		if d.Shard == nil {
			continue
		}
		if m.shard == nil {
			s := *d.Shard
			s.Numbers, s.Sites, s.Begun = nil, 0, stamp(m.first)
			m.shard = &s
		}
		m.shard.Numbers = append(m.shard.Numbers, d.Shard.Numbers...)
		m.shard.Sites += d.Shard.Sites
	}
	if m.shard == nil {
		return nil
	}
	slices.Sort(m.shard.Numbers)
	var gone []string
	for n := 1; n <= m.shard.Of; n++ {
		if !slices.Contains(m.shard.Numbers, n) {
			gone = append(gone, fmt.Sprint(n))
		}
	}
	switch n := m.shard.AllSites - m.shard.Sites; {
	case len(gone) == 1:
		m.Missing = append(m.Missing, fmt.Sprintf("shard %s of %d is missing, and with it %d of %s", gone[0], m.shard.Of, n, words.Count(m.shard.AllSites, "site")))
	case len(gone) > 1:
		m.Missing = append(m.Missing, fmt.Sprintf("shards %s of %d are missing, and with them %d of %s", few(gone, 8), m.shard.Of, n, words.Count(m.shard.AllSites, "site")))
	case m.digest() != m.shard.SitesDigest:
		return transport.WithHint(errors.New("merge: all shards are there, and have not the sites that they say"), "a report was edited: run its shard again")
	}
	if len(m.hosts) == 0 || m.hosts[0].Role != tasks.RoleHub {
		m.note("the hub is in none of the reports: it has a run of its own, --limit hub")
	}
	return nil
}

// digest returns that of the sites in shards, in their order.
func (m *Merged) digest() string {
	var names []string
	for _, h := range m.hosts {
		if h.Role != tasks.RoleHub {
			names = append(names, h.Name)
		}
	}
	return inventory.SitesDigest(names)
}

func (s *driftSummary) add(o driftSummary) {
	s.Hosts, s.OK, s.Changed, s.Drifted, s.Pending = s.Hosts+o.Hosts, s.OK+o.OK, s.Changed+o.Changed, s.Drifted+o.Drifted, s.Pending+o.Pending
	s.Busy, s.Unreachable, s.Failed, s.Changes = s.Busy+o.Busy, s.Unreachable+o.Unreachable, s.Failed+o.Failed, s.Changes+o.Changes
}

// Merged writes the documents of several runs as one, in their format; for people what is
// not as it should be, and of a drift where all is well nothing.
func (v *View) Merged(m *Merged) error {
	for _, s := range m.Notes {
		v.warn("warning", s)
	}
	if v.o.JSON {
		for _, s := range m.Missing {
			v.warn("missing", s)
		}
		return v.encode(v.mergedDocument(m))
	}
	if m.Command == "drift" && m.summary.OK == m.summary.Hosts && len(m.Missing) == 0 && !v.o.Verbose {
		return nil
	}
	return v.print(v.mergedPage(m))
}

func (v *View) mergedDocument(m *Merged) any {
	hosts := []json.RawMessage{}
	for _, h := range m.hosts {
		hosts = append(hosts, h.raw)
	}
	if m.Command == "drift" {
		return struct {
			head
			Inventory string            `json:"inventory"`
			Time      string            `json:"time"`
			Shard     *Shard            `json:"shard"`
			Hosts     []json.RawMessage `json:"hosts"`
			Summary   driftSummary      `json:"summary"`
			ExitCode  int               `json:"exit_code"`
		}{heading(m.Command), m.inventory, stamp(m.first), m.shard, hosts, m.summary, v.code}
	}
	s := m.summary
	return struct {
		head
		Shard    *Shard            `json:"shard"`
		Hosts    []json.RawMessage `json:"hosts"`
		Summary  summary           `json:"summary"`
		ExitCode int               `json:"exit_code"`
	}{heading(m.Command), m.shard, hosts, summary{s.Hosts, s.OK, s.Changed, s.Unreachable, s.Failed, s.Changes}, v.code}
}

func (v *View) mergedPage(m *Merged) *page {
	p := v.page()
	title := "vpnpush " + m.Command
	if m.inventory != "" {
		title += " of " + oneLine(m.inventory)
	}
	title += ", " + words.Count(m.files, "report")
	if !m.first.IsZero() {
		title += ", " + minute(m.first)
	}
	if minute(m.last) != minute(m.first) {
		title += " to " + minute(m.last)
	}
	p.line("", bold, title)
	results := map[engine.Result]int{}
	var quiet []engine.HostPlan // those that may share a line
	for _, h := range m.hosts {
		results[engine.Result(h.Result)]++
		hp := engine.HostPlan{Name: h.Name, Role: h.Role, Result: engine.Result(h.Result)}
		if h.Error != "" && len(h.Changes) == 0 {
			hp.Err = errors.New(h.Error)
		}
		quiet = append(quiet, hp)
	}
	lots, among := gather(quiet)
	if v.o.Verbose {
		lots, among = nil, func(string) bool { return false }
	}
	var parts []string
	for _, r := range append([]engine.Result{engine.Drifted, engine.Pending}, order...) {
		if n := results[r]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, resultWord(r)))
		}
	}
	p.line("", bold, strings.TrimSuffix(words.Count(len(m.hosts), "host")+": "+strings.Join(parts, ", "), ": "))
	for _, s := range m.Missing {
		p.line("", red, "MISSING: "+oneLine(s))
	}
	p.WriteString("\n")
	for _, h := range m.hosts {
		if h.Result != string(engine.OK) && !among(h.Name) {
			p.merged(h)
		}
	}
	for _, a := range lots {
		v.alike(p, a)
	}
	end := v.page()
	end.WriteString(strings.TrimRight(p.String(), "\n") + "\n")
	return end
}

// merged adds what a document has of a host.
func (p *page) merged(h mergedHost) {
	p.line("", bold, clean(fmt.Sprintf("%s (%s): %s", h.Name, h.Role, resultWord(engine.Result(h.Result)))))
	lines := func(indent string, s style, text string) {
		for l := range strings.Lines(text) {
			p.line(indent, s, clean(strings.TrimRight(l, "\n")))
		}
	}
	lines("  ", red, h.Error)
	for _, c := range h.Changes {
		mark, color := sign(tasks.Action(c.Action))
		word := mark + " " + c.Action
		switch engine.FindingState(c.State) {
		case engine.FindingDrifted, engine.FindingPending, engine.FindingDown:
			word = c.State
		case blocked:
			word, color = word+" (blocked)", red
		case "ignored":
			continue
		}
		p.line("  ", color, clean(word+" "+c.Task))
		lines("      ", plain, c.Diff)
	}
	p.WriteString("\n")
}
