package mask

import (
	"regexp"
	"strings"
)

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

func (m *swanctlMasker) line(line string) masked {
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
		l.spans = append(l.spans, span{text: "# "}, span{text: line[note:], hide: hideComment})
		if l.place == "" {
			l.place = "comment " + code
		}
	} else if note >= 0 {
		return hidden(line)
	}
	return l
}

func (m *swanctlMasker) code(code string) masked {
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
	return masked{
		place: "entry " + strings.Join(in, "\x00") + "\x00" + p[2],
		spans: []span{{text: p[1]}, {text: p[3], hide: hideSecret}, {text: p[4]}},
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
