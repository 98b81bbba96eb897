package mask

import (
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
)

// chapMasker reads pppd's secrets files (pppd(8), AUTHENTICATION): words in
// quotes or with backslashes, "#" begins a comment, the third word is secret.
type chapMasker struct {
	quote  byte // a quoted word goes on from the line above
	escape bool // the line above ended in a backslash
}

// chapWord is a word's place in its line.
type chapWord struct{ from, to int }

func (m *chapMasker) line(line string) masked {
	goesOn := m.quote != 0 || m.escape
	words, note, clear := m.words(line)
	switch {
	case goesOn || m.quote != 0 || m.escape || !clear:
		return hidden(line)
	case blank(line):
		return shown(line)
	case len(words) == 0:
		return maskComment(line)
	case len(words) < 3:
		return hidden(line)
	}
	word := func(i int) string { return line[words[i].from:words[i].to] }
	if !chapName(word(0)) || !chapName(word(1)) || chapAddress(word(2)) {
		// An address in the third column: a secret may stand in the second.
		return hidden(line)
	}
	for i := 3; i < len(words); i++ {
		if !chapAddress(word(i)) {
			return hidden(line) // a secret with a space in it
		}
	}
	l := masked{
		place: "entry " + unquote(word(0)) + "\x00" + unquote(word(1)),
		spans: []span{{text: line[:words[2].from]}, {text: word(2), hide: hideSecret}},
	}
	if note < 0 {
		l.spans = append(l.spans, span{text: line[words[2].to:]})
	} else {
		l.spans = append(l.spans, span{text: line[words[2].to:note] + "# "}, span{text: line[note:], hide: hideComment})
	}
	return l
}

// words splits a line; note is where its comment begins, or -1. It is not clear
// where versions of pppd differ: quotes and "#" inside of a word.
func (m *chapMasker) words(line string) (words []chapWord, note int, clear bool) {
	clear = true
	in := m.quote != 0 || m.escape
	m.escape = false // it escaped the newline
	start := 0
	end := func(i int) {
		if in {
			words = append(words, chapWord{start, i})
		}
		in = false
	}
	closed := false // the quote that began the word is closed
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case m.escape:
			m.escape = false
		case c == '\\':
			if !in {
				in, start, closed = true, i, false
			} else if closed {
				clear = false
			}
			m.escape = true
		case m.quote != 0:
			if c == m.quote {
				m.quote, closed = 0, true
			}
		case c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f':
			clear = clear && (c == ' ' || c == '\t')
			end(i)
		case c == '#':
			clear = clear && !in
			end(i)
			return words, i, clear
		case c == '"' || c == '\'':
			clear = clear && !in
			if !in {
				in, start = true, i
			}
			m.quote, closed = c, false
		default:
			if !in {
				in, start, closed = true, i, false
			} else if closed {
				clear = false
			}
		}
	}
	end(len(line))
	return words, -1, clear
}

// chapName reports whether a client or server can be shown.
func chapName(w string) bool {
	for _, r := range w {
		if r == utf8.RuneError || !unicode.IsPrint(r) || r == '(' || r == ')' {
			return false
		}
	}
	return true
}

func chapAddress(w string) bool {
	w = strings.TrimPrefix(unquote(w), "!")
	if w == "*" || w == "-" {
		return true
	}
	if _, err := netip.ParsePrefix(w); err == nil {
		return true
	}
	a, err := netip.ParseAddr(w)
	return err == nil && a.Zone() == ""
}

func unquote(w string) string {
	if len(w) >= 2 && (w[0] == '"' || w[0] == '\'') && w[len(w)-1] == w[0] {
		return w[1 : len(w)-1]
	}
	return w
}
