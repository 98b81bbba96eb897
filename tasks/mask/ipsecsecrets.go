package mask

import (
	"regexp"
	"strings"
)

// ipsecMasker reads ipsec.secrets(5) as strongSwan's stroke does (an entry a
// line: "ids : KIND secret"), and lines that only older readers would join to
// the entry above as what they are: not understood.
type ipsecMasker struct {
	quote byte // a secret began with it above and has not ended
	// unended: the entry above has no secret, or one in braces; older readers
	// find it in the indented lines below, whatever these look like.
	unended bool
}

const ipsecKinds = `PSK|RSA|ECDSA|BLISS|PKCS8|PKCS12|P12|PIN|EAP|NTLM|XAUTH|PPK`

// Ids are shown as bare words only: a quoted one may be a secret whose colon
// somebody forgot. No "=", "+" or "/", so that base64 with them is no id.
var (
	ipsecEntry = regexp.MustCompile(`^([ \t]*((?:[A-Za-z0-9@%._:*-]+[ \t]+)*):[ \t]+(` + ipsecKinds + `))(?:[ \t]+(.*)|$)`)
	notAnID    = regexp.MustCompile(`^(?:(?i:` + ipsecKinds + `)|:+|0[sxbSXB].*)$`)
)

func (m *ipsecMasker) line(line string) masked {
	if m.quote != 0 {
		if strings.IndexByte(line, m.quote) >= 0 {
			m.quote = 0
		}
		return hidden(line)
	}
	indented := line != "" && (line[0] == ' ' || line[0] == '\t')
	if m.unended && indented && !blank(line) {
		return hidden(line)
	}
	m.unended = m.unended && (indented || blank(line))
	switch {
	case blank(line) || safeInclude.MatchString(line):
		return shown(line)
	case comment(line):
		return maskComment(line)
	}
	e := ipsecEntry.FindStringSubmatch(line)
	if e == nil {
		m.open(strings.TrimLeft(line, " \t"))
		return hidden(line)
	}
	m.open(e[4])
	m.unended = blank(e[4]) || e[4][0] == '{'
	ids := strings.Fields(e[2])
	for _, id := range ids {
		if notAnID.MatchString(id) {
			return hidden(line)
		}
	}
	return masked{
		place: "entry " + strings.Join(append(ids, e[3]), " "),
		// All that follows: what comes after the secret may be the rest of it.
		spans: []span{{text: e[1] + " "}, {text: line[len(e[1]):], hide: hideSecret}},
	}
}

// open notes a quote that the line does not close.
func (m *ipsecMasker) open(s string) {
	if s != "" && (s[0] == '"' || s[0] == '\'') && strings.IndexByte(s[1:], s[0]) < 0 {
		m.quote = s[0]
	}
}
