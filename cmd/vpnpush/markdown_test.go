package main

import (
	"go/ast"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// document is one of the project, taken apart.
type document struct {
	path   string   // from the module's folder, with slashes
	blocks []string // code, with its fences, or as far indented as it is
	links  []string // where its links lead to, as they are written
	slugs  []string // by which others link to its headings
	rows   []string // of its tables
}

var (
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inlineCode = regexp.MustCompile("`[^`]+`")
)

// readPage takes a document apart. It knows as much of Markdown as the documents here use.
func readPage(t *testing.T, at string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(at)))
	if err != nil {
		t.Fatal(err)
	}
	p := document{path: at}
	var code []string // the block that the line is in
	fenced, blank := false, true
	end := func() {
		if s := strings.TrimRight(strings.Join(code, "\n"), "\n"); s != "" {
			p.blocks = append(p.blocks, s)
		}
		code = nil
	}
	for _, l := range strings.Split(string(text), "\n") {
		fence := strings.HasPrefix(strings.TrimSpace(l), "```")
		indented := strings.HasPrefix(l, "    ") && (blank || code != nil)
		wasBlank := l == ""
		switch {
		case fenced:
			code = append(code, l)
			if fence {
				end()
				fenced = false
			}
		case fence:
			end()
			code, fenced = []string{l}, true
		case indented, wasBlank && code != nil:
			code = append(code, l)
		default:
			end()
			if strings.HasPrefix(l, "#") {
				p.slugs = append(p.slugs, slug(strings.TrimLeft(l, "# ")))
			}
			if strings.HasPrefix(l, "|") {
				p.rows = append(p.rows, l)
			}
			for _, m := range linkTarget.FindAllStringSubmatch(inlineCode.ReplaceAllString(l, ""), -1) {
				p.links = append(p.links, m[1])
			}
		}
		blank = wasBlank
	}
	end()
	return p
}

// slug returns by what name a heading is linked to.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsNumber(r), unicode.IsMark(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// to returns the document or file that a link of p leads to, from the module's folder, and
// the heading there; "" for another site's.
func (p document) to(link string) (file, heading string) {
	if strings.Contains(link, ":") {
		return "", ""
	}
	file, heading, _ = strings.Cut(link, "#")
	if file == "" {
		return p.path, heading
	}
	return path.Join(path.Dir(p.path), file), heading
}

// pages returns all documents of the project.
func pages(t *testing.T) []document {
	t.Helper()
	var out []document
	root := os.DirFS(filepath.Join("..", ".."))
	err := fs.WalkDir(root, ".", func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(d.Name(), ".") && at != "." {
			return fs.SkipDir
		}
		if err == nil && path.Ext(at) == ".md" {
			out = append(out, readPage(t, at))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A link that leads nowhere sends off a reader at the worst moment.
func TestLinksInDocs(t *testing.T) {
	all := map[string]document{}
	for _, p := range pages(t) {
		all[p.path] = p
	}
	for _, p := range all {
		for _, link := range p.links {
			file, heading := p.to(link)
			if file == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(file))); err != nil {
				t.Errorf("%s: %s: there is no %s", p.path, link, file)
			} else if heading != "" && !slices.Contains(all[file].slugs, heading) {
				t.Errorf("%s: %s: %s has no such heading; it has %q", p.path, link, file, all[file].slugs)
			}
		}
	}
}

// A command that a document shows after a $ is one: its verb and its flags are there.
func TestCommandsInDocs(t *testing.T) {
	for _, p := range pages(t) {
		for _, block := range p.blocks {
			for _, l := range strings.Split(block, "\n") {
				typed, ok := strings.CutPrefix(strings.TrimSpace(l), "$ vpnpush ")
				if !ok {
					continue
				}
				for _, part := range strings.Split("vpnpush "+typed, "&&") {
					words := strings.Fields(part)
					if i := slices.IndexFunc(words, func(w string) bool { return slices.Contains([]string{"|", "#", ";", ">"}, w) }); i >= 0 {
						words = words[:i]
					}
					if len(words) == 0 || words[0] != "vpnpush" {
						continue
					}
					cmd, args, err := (&app{}).root().Find(words[1:])
					if err == nil {
						err = cmd.ParseFlags(args)
					}
					if err != nil || !cmd.HasParent() {
						t.Errorf("%s: %s: %v", p.path, strings.Join(words, " "), err)
					}
				}
			}
		}
	}
}

// Who looks for what the screen says finds it in the runbook's tables: their first column
// has the program's own words. What differs from case to case is … there.
func TestWordsInRunbook(t *testing.T) {
	var said strings.Builder
	eachSource(t, func(_ string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, _ := strconv.Unquote(lit.Value)
				said.WriteString(s + "\n")
			}
			return true
		})
	})
	words := said.String()
	rows := 0
	for _, row := range readPage(t, "docs/runbook.md").rows {
		rows++
		for _, quoted := range inlineCode.FindAllString(strings.Split(row, "|")[1], -1) {
			quoted = strings.Trim(quoted, "`")
			for _, part := range strings.Split(quoted, "…") {
				if !strings.Contains(words, strings.TrimSpace(part)) {
					t.Errorf("docs/runbook.md: %q: nothing says %q any more", quoted, part)
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("the tables have %d rows", rows)
	}
}
