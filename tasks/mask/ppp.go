package mask

import "regexp"

// pppMasker reads an options file of pppd (pppd(8), OPTIONS FILES): words, of
// which one is a secret, the one after "password". Whatever follows is hidden to
// the end of the line, and of the next where it goes on there; a comment may be
// an option that somebody has put out of use.
type pppMasker struct{ open bool }

var pppPassword = regexp.MustCompile(`^(.*?(?i:password|secret)["']?)(.*)$`)

func (m *pppMasker) line(line string) masked {
	open := m.open
	m.open = false
	if open && !blank(line) {
		m.open = line[len(line)-1] == '\\'
		return hidden(line)
	}
	p := pppPassword.FindStringSubmatch(line)
	if p == nil {
		m.open = open // a blank line does not end it
		return shown(line)
	}
	rest := p[2]
	m.open = blank(rest) || rest[len(rest)-1] == '\\'
	if blank(rest) {
		return shown(line)
	}
	return masked{place: "option " + p[1], spans: []span{{text: p[1] + " "}, {text: rest, hide: hideSecret}}}
}
