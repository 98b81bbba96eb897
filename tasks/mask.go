package tasks

import (
	"bytes"
	"net/netip"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaskPair gives two versions of a file as they may be shown: what its syntax
// says is secret stands as "(secret)", and on the new side as "(secret,
// changed)" where the old side has another secret in the same place. What the
// syntax does not explain is hidden by the line, comments too, for a secret may
// stand in them: nothing is shown because it does not look like a secret.
//
// The lines stay as many. nil, an absent file, stays nil. Versions that differ
// differ when masked too; equal ones are equal.
//
// The place of a secret is what else its entry says, such as its ids, so an
// entry that is added or moved does not mark others.
func MaskPair(s Syntax, old, new []byte) (maskedOld, maskedNew []byte) {
	if s == SyntaxPlain {
		return old, new
	}
	o, n := maskParse(s, old), maskParse(s, new)
	maskCompare(o, n)
	maskedOld, maskedNew = maskRender(o, old), maskRender(n, new)
	if bytes.Equal(maskedOld, maskedNew) && !bytes.Equal(old, new) {
		// The same secrets, in another order or with other quotes.
		for i := range n {
			n[i].differs(o[i])
		}
		maskedNew = maskRender(n, new)
	}
	return maskedOld, maskedNew
}

// What stands for hidden text.
const (
	hideSecret  = "secret"
	hideLine    = "line hidden"
	hideComment = "comment hidden"
)

// maskSpan is a part of a line: shown as it is, or hidden.
type maskSpan struct {
	text    string
	hide    string // "" or one of the hide constants
	changed bool
}

// maskLine is a line of a file, without its newline.
type maskLine struct {
	place string // which entry it is; lines of two versions with one place correspond
	spans []maskSpan
}

func shown(text string) maskLine { return maskLine{spans: []maskSpan{{text: text}}} }

func hidden(text string) maskLine {
	return maskLine{place: hideLine, spans: []maskSpan{{text: text, hide: hideLine}}}
}

// hiddenText is everything of the line that is not shown.
func (l maskLine) hiddenText() string {
	var b strings.Builder
	for _, s := range l.spans {
		if s.hide != "" {
			b.WriteString(s.hide + "\x00" + s.text + "\x00")
		}
	}
	return b.String()
}

// differs marks the hidden spans of l that are not so in old.
func (l maskLine) differs(old maskLine) {
	for i := range l.spans {
		s := &l.spans[i]
		s.changed = s.hide != "" && (i >= len(old.spans) || s.text != old.spans[i].text || s.hide != old.spans[i].hide)
	}
}

// maskCompare finds for each line of new the line of old in its place, and
// marks what is hidden in it and differs. Equal lines find each other first.
func maskCompare(old, new []maskLine) {
	type key struct{ place, text string }
	equal := map[key]int{}
	for _, l := range old {
		equal[key{l.place, l.hiddenText()}]++
	}
	var rest []maskLine
	for _, l := range new {
		if k := (key{l.place, l.hiddenText()}); equal[k] > 0 {
			equal[k]--
		} else {
			rest = append(rest, l)
		}
	}
	left := map[string][]maskLine{}
	for i := len(old) - 1; i >= 0; i-- {
		l := old[i]
		if k := (key{l.place, l.hiddenText()}); equal[k] > 0 {
			equal[k]--
			left[l.place] = append(left[l.place], l)
		}
	}
	for _, l := range rest {
		if o := left[l.place]; len(o) > 0 {
			l.differs(o[len(o)-1])
			left[l.place] = o[:len(o)-1]
		}
	}
}

func maskRender(lines []maskLine, raw []byte) []byte {
	if raw == nil {
		return nil
	}
	b := make([]byte, 0, len(raw))
	for i, l := range lines {
		if i > 0 {
			b = append(b, '\n')
		}
		for _, s := range l.spans {
			switch {
			case s.hide == "":
				b = append(b, s.text...)
			case s.changed:
				b = append(b, "("+s.hide+", changed)"...)
			default:
				b = append(b, "("+s.hide+")"...)
			}
		}
	}
	return b
}

// maskParse gives a line for each piece between newlines, so one more than
// there are newlines.
func maskParse(s Syntax, text []byte) []maskLine {
	// next is told each line in turn.
	var next func(line string) maskLine
	switch s {
	case SyntaxIPsecSecrets:
		next = new(ipsecMasker).line
	case SyntaxChapSecrets:
		next = new(chapMasker).line
	case SyntaxPPPOptions:
		next = new(pppMasker).line
	case SyntaxSwanctl:
		next = new(swanctlMasker).line
	default:
		// SyntaxOpaque, and a syntax that nobody taught to this function.
		next = func(line string) maskLine {
			return maskLine{place: hideSecret, spans: []maskSpan{{text: line, hide: hideSecret}}}
		}
	}
	var out []maskLine
	for _, line := range strings.Split(string(text), "\n") {
		if line == "" {
			// Told too: it may end a state.
			next(line)
			out = append(out, shown(""))
			continue
		}
		out = append(out, next(line))
	}
	return out
}

// safeComments are the comments that vpnpush and Debian's packages write. Any
// other may hold a password, or a commented-out entry.
var safeComments = regexp.MustCompile(`^[ \t]*(?:#[# \t=*-]*|` +
	`# vpnpush owner=[A-Za-z0-9._-]+\. Written by vpnpush: change the inventory, not this file\.|` +
	`# vpnpush begin owner=[A-Za-z0-9._-]+|` +
	`# vpnpush end|` +
	`# This file holds shared secrets or RSA private keys for authentication\.|` +
	`# RSA private key for this host, authenticating it to any other host|` +
	`# which knows the public part\.|` +
	`# this file is managed with debconf and will contain the automatically created private key|` +
	`# Secrets for authentication using CHAP|` +
	`# client[ \t]+server[ \t]+secret[ \t]+IP addresses)[ \t]*$`)

// safeInclude is an include of bare path characters.
var safeInclude = regexp.MustCompile(`^[ \t]*include[ \t]+[A-Za-z0-9_*?-]*[./][A-Za-z0-9._*?/-]*[ \t]*$`)

func blank(line string) bool { return strings.Trim(line, " \t") == "" }

func comment(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") }

func maskComment(line string) maskLine {
	if safeComments.MatchString(line) {
		return shown(line)
	}
	return hidden(line)
}

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

func (m *ipsecMasker) line(line string) maskLine {
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
	return maskLine{
		place: "entry " + strings.Join(append(ids, e[3]), " "),
		// All that follows: what comes after the secret may be the rest of it.
		spans: []maskSpan{{text: e[1] + " "}, {text: line[len(e[1]):], hide: hideSecret}},
	}
}

// open notes a quote that the line does not close.
func (m *ipsecMasker) open(s string) {
	if s != "" && (s[0] == '"' || s[0] == '\'') && strings.IndexByte(s[1:], s[0]) < 0 {
		m.quote = s[0]
	}
}

// chapMasker reads pppd's secrets files (pppd(8), AUTHENTICATION): words in
// quotes or with backslashes, "#" begins a comment, the third word is secret.
type chapMasker struct {
	quote  byte // a quoted word goes on from the line above
	escape bool // the line above ended in a backslash
}

// chapWord is a word's place in its line.
type chapWord struct{ from, to int }

func (m *chapMasker) line(line string) maskLine {
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
	l := maskLine{
		place: "entry " + unquote(word(0)) + "\x00" + unquote(word(1)),
		spans: []maskSpan{{text: line[:words[2].from]}, {text: word(2), hide: hideSecret}},
	}
	if note < 0 {
		l.spans = append(l.spans, maskSpan{text: line[words[2].to:]})
	} else {
		l.spans = append(l.spans, maskSpan{text: line[words[2].to:note] + "# "}, maskSpan{text: line[note:], hide: hideComment})
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

// swanctlMasker reads swanctl.conf(5) by the line: "name {", "}", "key = value"
// and include; strings in quotes may go on over lines. A value is shown only
// when its key is known to hold no secret.
type swanctlMasker struct {
	sections []string
	quoted   bool // a string goes on from the line above
	escape   bool // the line above ended in a backslash
}

var (
	swanctlOpen  = regexp.MustCompile(`^[ \t]*([A-Za-z0-9_.@%-]+)[ \t]*\{[ \t]*$`)
	swanctlClose = regexp.MustCompile(`^[ \t]*\}[ \t]*$`)
	swanctlPair  = regexp.MustCompile(`^([ \t]*([A-Za-z0-9_.-]+)[ \t]*=[ \t]*)(.*?)([ \t]*)$`)
	swanctlValue = regexp.MustCompile(`^(?:"[^"\\()]*"|[^"\\(){}=#]*)$`)
	// swanctl.conf(5) of strongSwan 6.0, less secret*, pin*, and updown (a
	// command, which may be given a secret).
	swanctlShown = regexp.MustCompile(`^(?:version|(?:local|remote)_(?:addrs|port|ts)|proposals|vips|aggressive|pull|dscp|encap|mobike|` +
		`dpd_(?:delay|timeout|action)|fragmentation|childless|send_certreq|send_cert|ppk_id|ppk_required|keyingtries|unique|` +
		`(?:reauth|rekey|over|rand|life)_time|(?:rekey|rand|life)_(?:bytes|packets)|pools|if_id_(?:in|out)|mediation|mediated_by|` +
		`mediation_peer|round|certs|cert|cacerts|cacert|pubkeys|file|handle|slot|module|auth|id[0-9]*(?:-[A-Za-z0-9_-]+)?|eap_id|aaa_id|xauth_id|` +
		`ca_id|groups|cert_policy|revocation|(?:ah|esp)_proposals|sha256_96|hostaccess|mode|policies|policies_fwd_out|ipcomp|` +
		`inactivity|reqid|priority|interface|(?:set_)?mark_(?:in|out)|mark_in_sa|tfc_padding|replay_window|hw_offload|` +
		`copy_(?:df|ecn|dscp)|(?:start|close)_action|label|label_mode|addrs|dns|nbns|dhcp|netmask|server|subnet|split_include|` +
		`split_exclude|crl_uris|ocsp_uris|cert_uri_base)$`)
)

func (m *swanctlMasker) line(line string) maskLine {
	goesOn := m.quoted || m.escape
	note := m.scan(line)
	switch {
	case goesOn || m.quoted || m.escape:
		return hidden(line)
	case comment(line):
		return maskComment(line)
	}
	code := line
	if note >= 0 {
		code = line[:note]
	}
	l := m.code(code)
	if note >= 0 && l.place != hideLine {
		l.spans = append(l.spans, maskSpan{text: "# "}, maskSpan{text: line[note:], hide: hideComment})
		if l.place == "" {
			l.place = "comment " + code
		}
	} else if note >= 0 {
		return hidden(line)
	}
	return l
}

func (m *swanctlMasker) code(code string) maskLine {
	if blank(code) || safeInclude.MatchString(code) {
		return shown(code)
	}
	if s := swanctlOpen.FindStringSubmatch(code); s != nil {
		m.sections = append(m.sections, s[1])
		return shown(code)
	}
	if swanctlClose.MatchString(code) {
		m.sections = m.sections[:max(0, len(m.sections)-1)]
		return shown(code)
	}
	p := swanctlPair.FindStringSubmatch(code)
	switch {
	case p == nil:
		return hidden(code)
	case swanctlShown.MatchString(p[2]) && swanctlValue.MatchString(p[3]) && chapName(strings.ReplaceAll(p[3], "\t", " ")):
		return shown(code)
	}
	// Real files nest four deep; a host's file that nests without end must not
	// cost its depth at every line.
	in := m.sections[:min(len(m.sections), 8)]
	return maskLine{
		place: "entry " + strings.Join(in, "\x00") + "\x00" + p[2],
		spans: []maskSpan{{text: p[1]}, {text: p[3], hide: hideSecret}, {text: p[4]}},
	}
}

// scan follows strings through a line and gives where its comment begins, or
// -1.
func (m *swanctlMasker) scan(line string) int {
	m.escape = false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && m.quoted:
			i++
		case c == '\\':
			m.escape = i+1 == len(line)
		case c == '"':
			m.quoted = !m.quoted
		case c == '#' && !m.quoted:
			return i
		}
	}
	return -1
}

// SanitizeText takes out of text that a host sent what would steer a terminal
// or reorder what is read: control characters (ESC, CR, C1; \n and \t stay),
// and Unicode's invisible ones, bidirectional overrides among them. Bytes that
// are not UTF-8 become U+FFFD. nil stays nil.
func SanitizeText(b []byte) []byte {
	if b == nil {
		return nil
	}
	return bytes.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, b)
}
