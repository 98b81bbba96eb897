package main

import (
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// inJapanese are the documents that there are in Japanese too, by the English one.
var inJapanese = map[string]string{
	"README.md":        "docs/ja/README.md",
	"docs/tutorial.md": "docs/ja/tutorial.md",
}

// Who reads Japanese gets the same commands, blocks of code and links as who reads English:
// what is in one language alone is named. Comments in a block may be translated.
func TestJapanese(t *testing.T) {
	for en, ja := range inJapanese {
		a, b := readPage(t, en), readPage(t, ja)
		differ(t, en, ja, "block", bareBlocks(a), bareBlocks(b))
		differ(t, en, ja, "row of a table with the code", codeInTables(a), codeInTables(b))

		to, from := leadsTo(a), leadsTo(b)
		slices.Sort(to)
		slices.Sort(from)
		differ(t, en, ja, "link to", slices.Compact(to), slices.Compact(from))

		for _, p := range []document{a, b} { // each is found from the other
			other := map[string]string{en: ja, ja: en}[p.path]
			if !slices.ContainsFunc(p.links, func(l string) bool { file, _ := p.to(l); return file == other }) {
				t.Errorf("%s does not link to %s", p.path, other)
			}
		}
	}
}

// differ tells what is in one of two lists alone, or where their order differs.
func differ(t *testing.T, en, ja, what string, a, b []string) {
	t.Helper()
	missing := false
	lacks := func(file string, has, other []string) {
		for _, s := range other {
			if !slices.Contains(has, s) {
				t.Errorf("%s lacks the %s\n%s", file, what, s)
				missing = true
			}
		}
	}
	lacks(ja, b, a)
	lacks(en, a, b)
	if !missing && !slices.Equal(a, b) {
		t.Errorf("%s and %s have each %s, but not in the same order, or not as often", en, ja, what)
	}
}

// comment is what stands behind code in a block: in TOML also a line of its own, elsewhere
// a # at a distance, since one that begins a line there is root's prompt.
var (
	comment     = regexp.MustCompile(`\s{2,}# .*`)
	commentTOML = regexp.MustCompile(`(^|\s+)#\s.*`)
)

// bareBlocks returns the blocks of a page without their comments.
func bareBlocks(p document) []string {
	var out []string
	for _, block := range p.blocks {
		re := comment
		if strings.HasPrefix(block, "```toml") {
			re = commentTOML
		}
		lines := strings.Split(block, "\n")
		for i, l := range lines {
			lines[i] = re.ReplaceAllString(l, "")
		}
		out = append(out, strings.Join(lines, "\n"))
	}
	return out
}

// codeInTables returns the code in the first cell of each row that has some.
func codeInTables(p document) []string {
	var out []string
	for _, row := range p.rows {
		if code := inlineCode.FindAllString(strings.Split(row, "|")[1], -1); len(code) > 0 {
			out = append(out, strings.Join(code, ", "))
		}
	}
	return out
}

// leadsTo returns where the links of a page lead to, in English, but for those within it and
// to itself in the other language.
func leadsTo(p document) []string {
	var out []string
	for _, link := range p.links {
		file, heading := p.to(link)
		if file == "" {
			out = append(out, link)
			continue
		}
		if strings.HasPrefix(file, "docs/ja/") {
			heading = "" // it is in Japanese
		}
		for en, ja := range inJapanese {
			if file == ja {
				file = en
			}
			if file == en {
				heading = ""
			}
		}
		if file == p.path || inJapanese[file] == p.path {
			continue
		}
		if heading != "" {
			file += "#" + heading
		}
		out = append(out, path.Clean(file))
	}
	return out
}
