package view

import (
	"bytes"
	"strings"
)

// style is an SGR sequence (ECMA-48), "" for none.
type style string

const (
	plain  style = ""
	bold   style = "\x1b[1m"
	red    style = "\x1b[31m"
	green  style = "\x1b[32m"
	yellow style = "\x1b[33m"
	purple style = "\x1b[35m"
	cyan   style = "\x1b[36m"
)

// page is text that is being laid out, coloured by the line.
type page struct {
	bytes.Buffer
	color bool
	err   error // of what was printed of it already
}

// line adds a line. The colour begins after the indent and ends with the line,
// so that a line is whole for grep and for the redactor.
func (p *page) line(indent string, s style, text string) {
	if p.color && s != plain && text != "" {
		text = string(s) + text + "\x1b[0m"
	}
	p.WriteString(strings.TrimRight(indent+text, " ") + "\n")
}

// wrapped adds words as lines of at most width columns.
func (p *page) wrapped(width int, words []string) {
	line := ""
	for _, w := range words {
		if line != "" && columns(line)+1+columns(w) > width {
			p.line("", plain, line)
			line = " "
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	if line != "" {
		p.line("", plain, line)
	}
}
