package view

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/text"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// markdown returns a plan as a comment of a pull request.
func markdown(t *testing.T, p *engine.Plan) string {
	t.Helper()
	out, stderr := show(Options{Color: "always", OutIsTerminal: true}, func(v *View) {
		if err := v.PlanMarkdown("vps", p); err != nil {
			t.Error(err)
		}
	})
	if stderr != "" {
		t.Errorf("on stderr: %q", stderr)
	}
	return out
}

// A comment, byte for byte: changes, what is blocked, hosts that were not reached, many
// for one reason, and nothing at all.
func TestPlanMarkdown(t *testing.T) {
	for name, p := range map[string]*engine.Plan{
		"mixed": mixed(), "trouble": trouble(), "losing": losing(), "cut_short": cutShort(),
		"no_changes": {Hosts: []engine.HostPlan{okHost("vps", "hub"), okHost("tokyo", "site")}},
	} {
		out := markdown(t, p)
		golden(t, "markdown_"+name+".md", out)
		if strings.Contains(out, "hush") || strings.ContainsAny(out, "\x1b\r") {
			t.Errorf("%s: a secret or a control character is shown:\n%q", name, out)
		}
	}
}

// ours is the HTML that a comment has.
var ours = regexp.MustCompile(`^(</?details>|<details( open)?><summary><code>[a-z0-9&;#-]*</code> [^<>]*</summary>|<p><code>[a-z0-9-]*</code> [^<>]* <em>\(too long: left out\)</em></p>)\n?$`)

// outsideOfCode returns the text of a Markdown document that is not code, and what is code.
// HTML that is not ours is an error.
func outsideOfCode(t *testing.T, doc string) (outside, code string) {
	t.Helper()
	src := []byte(doc)
	lines := func(n ast.Node) (s string) {
		for i := range n.Lines().Len() {
			at := n.Lines().At(i)
			s += string(at.Value(src))
		}
		return s
	}
	err := ast.Walk(goldmark.DefaultParser().Parse(text.NewReader(src)), func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.FencedCodeBlock:
			code += lines(n)
			return ast.WalkSkipChildren, nil
		case *ast.CodeSpan:
			for c := n.FirstChild(); c != nil; c = c.NextSibling() {
				code += string(c.(*ast.Text).Segment.Value(src))
			}
			code += "\n"
			return ast.WalkSkipChildren, nil
		case *ast.HTMLBlock:
			if !ours.MatchString(lines(n)) {
				t.Errorf("HTML that is not ours: %q", lines(n))
			}
		case *ast.RawHTML, *ast.Link, *ast.Image, *ast.AutoLink, *ast.CodeBlock, *ast.Blockquote:
			t.Errorf("%T is in the comment", n)
		case *ast.Text:
			outside += string(n.Segment.Value(src)) + "\n"
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return outside, code
}

// nasty are lines that a host may send: each would end a block, or be HTML, a mention, a
// command of GitLab's or a link outside of code.
var nasty = []string{
	"```", "    ```", " ~~~", "`````", "</details>", "<script>alert(1)</script>", "<!-- ", "@admin", "/close", "![x](https://example.com/x.png)",
	"`` ` ``", "`", "# head", "| a | b |", "--- /etc/x", "+++ /etc/x", "[x]: https://example.com", "&lt;b&gt;", "\\", "- [ ] task",
}

// What a host sent stays in code, whatever it is: a comment is read by a machine that makes
// links, pings people and closes requests.
func TestMarkdownHoldsWhatHostsSent(t *testing.T) {
	all := strings.Join(nasty, "\n") + "\n"
	for _, n := range append(nasty, strings.Join(nasty, " "), all) {
		one := oneLine(n)
		p := &engine.Plan{Hosts: []engine.HostPlan{
			{Name: "vps", Role: "hub", Result: engine.Changed, Warnings: []string{n}, Changes: []tasks.Change{
				{Task: "file:/etc/" + one, Action: tasks.Update, Attrs: []tasks.Attr{content(mask.Plain, "old\n", n+"\n"), {Name: "mode", Old: []byte(n), New: []byte("0600")}}},
				{Task: "x:" + one, Action: tasks.Delete, Note: n, Ends: []string{n}}, {Task: one, Action: tasks.Create, Blocked: n, Mend: n},
			}},
			{Name: "tokyo", Role: "site", Result: engine.Failed, Err: transport.WithHint(errors.New("it said "+n), "%s", n)},
		}}
		for i := range 9 {
			p.Hosts = append(p.Hosts, engine.HostPlan{Name: fmt.Sprintf("site-%d", i), Role: "site", Result: engine.Unreachable, Err: errors.New("it said " + n)})
		}
		outside, code := outsideOfCode(t, markdown(t, p))
		for _, l := range strings.Split(outside, "\n") {
			if !regexp.MustCompile(`^(Plan: [0-9a-z,; ]*\.|warning: |blocked: |hint: |)$`).MatchString(l) {
				t.Errorf("%q: outside of code stands %q", n, l)
			}
		}
		for _, l := range strings.Split(strings.TrimSuffix(n, "\n"), "\n") {
			if !strings.Contains(code, "+"+l+"\n") && !strings.Contains(code, " "+l+"\n") {
				t.Errorf("%q: the diff has no line %q", n, l)
			}
		}
	}
}

// A comment that is too long is refused as a whole by GitHub: so it is cut, by whole diffs
// and hosts, and says so, and each host is named as long as there is room.
func TestMarkdownIsCut(t *testing.T) {
	big := func(lines int) tasks.Attr {
		return content(mask.Plain, "", strings.Repeat("-A VPNPUSH-IN -s 203.0.113.10/32 -p esp -j ACCEPT\n", lines))
	}
	many := func(hosts, changes, lines int) *engine.Plan {
		p := &engine.Plan{}
		for i := range hosts {
			h := engine.HostPlan{Name: fmt.Sprintf("site-%05d", i), Role: "site", Result: engine.Changed}
			for j := range changes {
				h.Changes = append(h.Changes, tasks.Change{Task: fmt.Sprintf("file:/etc/ipsec.d/vpnpush/%05d", j), Action: tasks.Create, Attrs: []tasks.Attr{big(lines)}})
			}
			p.Hosts = append(p.Hosts, h)
		}
		return p
	}
	one := many(2, 2, 1)
	one.Hosts[0].Changes[0].Attrs[0] = big(5000)
	for _, tt := range []struct {
		name string
		plan *engine.Plan
		says string
	}{
		{"all fits", many(20, 3, 3), ""},
		{"one diff is too long", one, "left out are 1 diff."},
		{"some diffs", many(20, 5, 50), "left out are 8"},
		{"changes of hosts", many(400, 5, 1), "left out are the changes of "},
		{"hosts", many(5000, 1, 1), " hosts altogether, the changes of "},
	} {
		out := markdown(t, tt.plan)
		if len(out) > 64_000 {
			t.Errorf("%s: %d bytes", tt.name, len(out))
		}
		if cut := strings.Contains(out, "Cut, to fit"); cut != (tt.says != "") || !strings.Contains(out, tt.says) {
			t.Errorf("%s: it says\n%.800s", tt.name, out)
		}
		if strings.Count(out, "<details") != strings.Count(out, "</details>") || strings.Count(out, "```")%2 != 0 {
			t.Errorf("%s: a block is not ended", tt.name)
		}
		outsideOfCode(t, out)
	}
	if out := markdown(t, one); !strings.Contains(out, leftOut) || strings.Count(out, "-A VPNPUSH-IN") != 3 {
		t.Errorf("more than the long diff is left out:\n%.2000s", out)
	}
}
