package mask

import "regexp"

// pppMasker reads an options file of pppd (pppd(8), OPTIONS FILES): words, of
// which one is a secret, the one after "password". Whatever follows is hidden to
// the end of the line, and of the next where it goes on there; a comment may be
// an option that somebody has put out of use.
type pppMasker struct{ open bool }

var (
	pppPassword = regexp.MustCompile(`^(.*?(?i:password|secret)["']?)(.*)$`)
	// pppGoesOn is a line whose next one may have its secret, whatever stands
	// before: in "name password password" the first is a name. A comment is no word.
	pppGoesOn = regexp.MustCompile(`((?i:password|secret)["']?\s*(#.*)?|\\)$`)
)

func (m *pppMasker) line(line string) masked {
	if blank(line) {
		return shown(line) // it does not end what is open
	}
	open := m.open
	p := pppPassword.FindStringSubmatch(line)
	m.open = (open || p != nil) && pppGoesOn.MatchString(line) || open && comment(line)
	switch {
	case open:
		return hidden(line)
	case p == nil || blank(p[2]):
		return shown(line)
	}
	rest := p[2]
	return masked{place: "option " + p[1], spans: []span{{text: p[1] + " "}, {text: rest, hide: hideSecret}}}
}
