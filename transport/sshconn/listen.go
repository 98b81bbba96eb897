package sshconn

import (
	"bytes"
	"io"
)

// listen returns where a program's stderr goes, which passes it on to w, and what
// its stdin begins with: nothing, or the password, twice. That comes once stderr
// tells that root's shell runs, or that sudo asks; from a host that says neither
// it never comes.
func (b *become) listen(w io.Writer) (stderr io.Writer, begins <-chan string) {
	c := make(chan string, 1)
	if b.direct() || b.password == nil {
		c <- ""
		return w, c
	}
	return &listener{w: w, become: b, begins: c}, c
}

// listener hears on stderr whether the password is wanted.
type listener struct {
	w      io.Writer
	become *become
	begins chan<- string
	heard  bool   // the rest is the script's, or sudo's
	line   []byte // the beginning of the one that has not ended
}

// longestLine is more than a line has that is listened for.
const longestLine = 64

// Write implements io.Writer.
func (l *listener) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0 && !l.heard; {
		text, after, ends := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, text[:min(len(text), longestLine-len(l.line))]...)
		if ends {
			l.hear(string(l.line))
			l.line = l.line[:0]
		}
		rest = after
	}
	return l.w.Write(p)
}

func (l *listener) hear(line string) {
	switch line {
	case mark:
		l.heard = true
		l.begins <- ""
	case asks:
		l.heard = true
		p := l.become.password() + "\n"
		l.begins <- p + p
	}
}
