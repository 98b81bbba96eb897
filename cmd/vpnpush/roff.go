package main

import (
	"fmt"
	"regexp"
	"strings"
)

// manual is a page of the manual that is being written, in the macros of man(7).
type manual struct{ strings.Builder }

// line adds a line of roff as it stands.
func (m *manual) line(format string, a ...any) { m.WriteString(fmt.Sprintf(format, a...) + "\n") }

func (m *manual) section(title string) { m.line(".SH %s", title) }

// tagged adds an entry of a list: tag in roff, and what it is about.
func (m *manual) tagged(tag, text string) {
	m.line(".TP\n%s\n%s", tag, roff(text))
}

// text adds paragraphs as help has them: an empty line ends one, and lines that are
// indented stay as they are.
func (m *manual) text(help string) {
	for i, para := range strings.Split(strings.TrimSpace(help), "\n\n") {
		if i > 0 {
			m.line(".PP")
		}
		if strings.HasPrefix(para, "  ") {
			m.line(".RS 4\n.EX\n%s\n.EE\n.RE", roff(strings.ReplaceAll(para[2:], "\n  ", "\n")))
			continue
		}
		m.line("%s", roff(para))
	}
}

var (
	escapes = strings.NewReplacer(`\`, `\e`, "-", `\-`, "^", `\(ha`, "~", `\(ti`, "'", `\(aq`)
	command = regexp.MustCompile("`([^`]+)`")
)

// roff returns text so that it is printed as it is, commands in backquotes bold.
func roff(text string) string {
	text = command.ReplaceAllString(escapes.Replace(text), `\fB$1\fR`)
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}

func bold(text string) string { return `\fB` + roff(text) + `\fR` }

func italic(text string) string { return `\fI` + roff(text) + `\fR` }
