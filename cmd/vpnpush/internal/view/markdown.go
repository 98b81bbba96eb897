package view

import (
	"fmt"
	"html"
	"strings"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// markdownRoom is how long a plan in Markdown may be, in bytes. GitHub takes 65,536
// characters in a comment, and a pipeline may add words of its own.
const markdownRoom = 60_000

// PlanMarkdown writes a plan of the inventory owner as a comment of a pull request.
func (v *View) PlanMarkdown(owner string, plan *engine.Plan) error {
	all := make([][]string, len(plan.Hosts))
	for i, h := range plan.Hosts {
		all[i] = attrTexts(h.Changes)
	}
	return v.markdown("vpnpush plan of "+owner, "", plan, all)
}

// ShowMarkdown writes a saved plan as a comment of a pull request.
func (v *View) ShowMarkdown(s SavedPlan) error {
	plan, diffs := s.plan()
	return v.markdown("vpnpush plan of "+s.Owner, s.until(), plan, diffs)
}

// markdown writes a plan and the diffs of each host's changes. Nothing that a host sent
// stands outside of code, where neither Markdown, HTML, @names nor /commands work.
func (v *View) markdown(title, until string, plan *engine.Plan, diffs [][]string) error {
	var t tally
	var fine []string
	var hosts []*foldedHost
	lots, among := gather(plan.Hosts)
	for i, h := range plan.Hosts {
		t.add(h)
		switch {
		case h.Result == engine.OK && len(h.Changes)+len(h.Warnings) == 0:
			fine = append(fine, h.Name)
		case !among(h.Name):
			hosts = append(hosts, v.foldedHost(h, toldOnce(h.Changes, diffs[i])))
		}
	}

	var head, tail strings.Builder
	fmt.Fprintf(&head, "### %s\n\n**%s**\n\n", codeSpan(v.text(title)), t.planLine())
	if until != "" {
		head.WriteString(until + "\n\n")
	}
	losses := v.page()
	losses.color = false
	v.losses(losses, plan)
	if losses.Len() > 0 {
		head.WriteString(fence("", v.text(strings.TrimSpace(losses.String()))))
	}
	for _, a := range lots {
		text := fmt.Sprintf("%d hosts %s: %s: %s", len(a.hosts), resultWord(a.result), oneLine(a.reason), few(a.hosts, 2*fewHosts))
		if a.hint != "" {
			text += "\nhint: " + a.hint
		}
		tail.WriteString(fence("", v.text(text)))
	}
	if len(fine) > 0 && !t.clean() {
		tail.WriteString("Match the inventory: " + codeSpan(v.text(few(fine, 4*fewHosts))) + "\n\n")
	}
	if t.install > 0 {
		tail.WriteString("Packages stay once they are installed, also where an apply is reverted.\n")
	}

	const note = 200 // what may be said of what is left out
	left := fit(hosts, markdownRoom-head.Len()-tail.Len()-note)
	if left != "" {
		head.WriteString(left + "\n\n")
	}
	for _, h := range hosts {
		head.WriteString(h.text())
	}
	return v.result(v.o.Redact([]byte(strings.TrimRight(head.String()+tail.String(), "\n") + "\n")))
}

// foldedHost is a host in Markdown: its title, what is always told with it, and its
// changes, each of them with its diff or without.
type foldedHost struct {
	title   string // in HTML
	open    bool   // it needs to be looked at
	trouble string
	changes []foldedChange
	depth   depth
}

type foldedChange struct {
	title string
	diff  string // fenced
	shown bool
}

// depth is how much of a host there is room for.
type depth int

const (
	nothing depth = iota
	itsName
	itsChanges
)

func (v *View) foldedHost(h engine.HostPlan, diffs []string) *foldedHost {
	name, what, _ := strings.Cut(hostTitle(h), " ")
	var t tally
	if t.add(h); len(h.Changes) > 0 {
		what += ": " + t.changes()
	}
	f := &foldedHost{title: "<code>" + html.EscapeString(v.text(name)) + "</code> " + html.EscapeString(v.text(what)), open: h.Err != nil}
	if h.Err != nil {
		p := &page{}
		p.trouble(h.Err)
		f.trouble = fence("", v.text(strings.TrimSpace(p.String())))
	}
	for _, w := range h.Warnings {
		f.trouble += "warning: " + codeSpan(v.text(oneLine(w))) + "\n\n"
	}
	for i, c := range h.Changes {
		title, _ := changeTitle(c)
		lines := []string{codeSpan(v.text(title))}
		for _, said := range []struct{ before, text string }{{"blocked: ", c.Blocked}, {"hint: ", c.Mend}, {"", c.Note}} {
			if said.text != "" {
				lines = append(lines, said.before+codeSpan(v.text(oneLine(said.text))))
			}
		}
		one := foldedChange{title: strings.Join(lines, "\\\n") + "\n\n"}
		if diffs[i] != "" {
			one.diff = fence("diff", v.text(strings.TrimRight(diffs[i], "\n")))
		}
		f.changes = append(f.changes, one)
		f.open = f.open || c.Blocked != ""
	}
	return f
}

const leftOut = "_(too long: left out)_\n\n"

// text returns the host as deep as there is room for.
func (h *foldedHost) text() string {
	switch h.depth {
	case nothing:
		return ""
	case itsName:
		return "<p>" + h.title + " <em>(too long: left out)</em></p>\n\n"
	}
	var b strings.Builder
	open := ""
	if h.open {
		open = " open"
	}
	b.WriteString("<details" + open + "><summary>" + h.title + "</summary>\n\n" + h.trouble)
	for _, c := range h.changes {
		b.WriteString(c.title)
		switch {
		case c.shown:
			b.WriteString(c.diff)
		case c.diff != "":
			b.WriteString(leftOut)
		}
	}
	b.WriteString("</details>\n\n")
	return b.String()
}

// fit gives each host its name, then its changes, then the diffs, whole ones, as far as
// there is room, and returns what is said of the rest; "" where all is there.
func fit(hosts []*foldedHost, room int) string {
	deepen := func(to depth) (missed int) {
		for _, h := range hosts {
			was, size := h.depth, len(h.text())
			h.depth = to
			if size = len(h.text()) - size; size > room {
				h.depth = was
				missed++
				continue
			}
			room -= size
		}
		return missed
	}
	unnamed, unfolded, diffs := deepen(itsName), deepen(itsChanges), 0
	for _, h := range hosts {
		for i := range h.changes {
			c := &h.changes[i]
			size := len(c.diff) - len(leftOut)
			switch {
			case h.depth < itsChanges || c.diff == "":
			case size > room:
				diffs++
			default:
				c.shown = true
				room -= size
			}
		}
	}
	var parts []string
	if unnamed > 0 {
		parts = append(parts, words.Count(unnamed, "host")+" altogether")
	}
	if n := unfolded - unnamed; n > 0 {
		parts = append(parts, "the changes of "+words.Count(n, "host"))
	}
	if diffs > 0 {
		parts = append(parts, words.Count(diffs, "diff"))
	}
	if len(parts) == 0 {
		return ""
	}
	return "**Cut, to fit into a comment:** left out are " + strings.Join(parts, ", ") + "."
}

// codeSpan returns text of one line as code within a line of Markdown.
func codeSpan(s string) string {
	if s == "" {
		return ""
	}
	mark := strings.Repeat("`", longestRun(s)+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return mark + s + mark
}

// fence returns lines as a block of code, which nothing in them ends.
func fence(language, text string) string {
	mark := strings.Repeat("`", max(3, longestRun(text)+1))
	return mark + language + "\n" + text + "\n" + mark + "\n\n"
}

// longestRun returns how many backquotes stand in a row at most.
func longestRun(s string) (longest int) {
	run := 0
	for _, r := range s {
		if run++; r != '`' {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}
