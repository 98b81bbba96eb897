package mask

import (
	"regexp"
	"strings"
)

// Key is a pre-shared key in a file: where it stands, and what it is found by. The
// secret is not in it.
type Key struct {
	First, Last int // lines, from 1
	// Name is that of its section, in a syntax where sections of one name, in whatever
	// file, are one; "" where an entry is a line.
	Name      string
	Selectors []string // none: any identity finds it
	// Secret is false of a section that only gives selectors to another of its name.
	Secret bool
	// Alone says that nothing else stands on its lines.
	Alone bool
}

// Keys returns the pre-shared keys for IKE in a file, as strongSwan reads it: keys of
// other kinds, such as EAP's, open no conn that wants a key. A syntax without such keys
// has none.
func Keys(s Syntax, text []byte) []Key {
	switch s {
	case IPsecSecrets:
		return ipsecKeys(string(text))
	case Swanctl:
		return swanctlKeys(string(text))
	}
	return nil
}

// ipsecKeys reads ipsec.secrets(5) as strongSwan does (stroke_cred.c, load_secrets): an
// entry a line, "SELECTORS : PSK SECRET".
func ipsecKeys(text string) []Key {
	var out []Key
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\r"), " \t")
		if line == "" || line[0] == '#' || strings.HasPrefix(line, "include ") {
			continue
		}
		selectors, rest, ok := "", "", false
		if strings.HasPrefix(line, ": ") {
			rest, ok = line[1:], true
		} else {
			selectors, rest, ok = strings.Cut(line, " : ")
		}
		kind, _, ended := cutSpace(strings.TrimLeft(rest, " \t"))
		words, whole := selectorWords(selectors)
		if ok && kind == "PSK" && ended && whole {
			out = append(out, Key{First: i + 1, Last: i + 1, Selectors: words, Secret: true, Alone: true})
		}
	}
	return out
}

func cutSpace(s string) (word, rest string, ok bool) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// selectorWords splits what stands in front of a key. It is not whole where a quote does
// not end, and strongSwan reads no key then.
func selectorWords(s string) (words []string, whole bool) {
	for {
		s = strings.TrimLeft(s, " \t")
		switch {
		case s == "" || s[0] == '#':
			return words, true
		case s[0] == '"' || s[0] == '\'':
			word, rest, ok := strings.Cut(s[1:], s[:1])
			if !ok {
				return words, false
			}
			if word != "" {
				words = append(words, word)
			}
			s = rest
		default:
			word, rest, _ := cutSpace(s)
			words, s = append(words, word), rest
		}
	}
}

// swanctlKeys reads the sections "secrets { ike... { } }" of swanctl.conf(5), as
// load_creds.c of strongSwan's swanctl does.
func swanctlKeys(text string) []Key {
	l := swanctlLexer{text: text, line: 1}
	type section struct {
		name string
		Key
		inherits bool
	}
	var out []Key
	var open []section
	name, nameLine, nameAlone, inherits := "", 0, false, false
	for {
		t := l.next()
		in := len(open)
		switch t.kind {
		case tokenEnd:
			return out // what is open still is of no use to swanctl either
		case tokenName:
			if name == "" || !inherits {
				name, nameLine, nameAlone = t.text, t.line, l.blankBefore(t.at)
			}
		case tokenRefers:
			inherits = true
		case tokenOpen:
			open = append(open, section{name: name, Key: Key{First: nameLine, Name: name, Alone: nameAlone}, inherits: inherits})
			name, inherits = "", false
		case tokenValue:
			if in == 2 && open[0].name == "secrets" {
				switch s := &open[1]; {
				case name == "secret":
					s.Secret = true
				case strings.HasPrefix(name, "id"):
					s.Selectors = append(s.Selectors, t.text)
				}
			}
			name, inherits = "", false
		case tokenClose:
			name, inherits = "", false
			if in == 0 {
				continue
			}
			s := open[in-1]
			open = open[:in-1]
			if in == 2 && open[0].name == "secrets" && strings.HasPrefix(s.name, "ike") {
				s.Last, s.Alone = t.line, s.Alone && l.blankAfter()
				s.Secret = s.Secret || s.inherits
				out = append(out, s.Key)
			}
		}
	}
}

type tokenKind int

const (
	tokenEnd    tokenKind = iota
	tokenName             // of a section or a key
	tokenRefers           // ":", what follows is taken over from other sections
	tokenOpen
	tokenClose
	tokenValue // of the key before it
)

type token struct {
	kind tokenKind
	text string
	line int
	at   int // where it begins
}

// swanctlLexer reads the language of strongSwan's settings (settings_lexer.l).
type swanctlLexer struct {
	text string
	at   int
	line int
}

func (l *swanctlLexer) next() token {
	for l.at < len(l.text) {
		t := token{line: l.line, at: l.at}
		switch c := l.text[l.at]; c {
		case '\n':
			l.line++
			l.at++
		case '#':
			l.comment()
		case '{', '}', ':', '=':
			l.at++
			switch c {
			case '{':
				t.kind = tokenOpen
			case '}':
				t.kind = tokenClose
			case ':':
				t.kind = tokenRefers
			default:
				t.kind, t.text = tokenValue, l.value()
			}
			return t
		case ' ', '\t', '\r', '.', ',', '"':
			l.at++
		default:
			n := strings.IndexAny(l.text[l.at:], "#{}:.,=\"\r\n\t ")
			if n < 0 {
				n = len(l.text) - l.at
			}
			t.kind, t.text = tokenName, l.text[l.at:l.at+n]
			l.at += n
			if t.text == "include" {
				l.value() // a path, to the end of the line
				continue
			}
			return t
		}
	}
	return token{kind: tokenEnd, line: l.line, at: l.at}
}

func (l *swanctlLexer) comment() {
	for l.at < len(l.text) && l.text[l.at] != '\n' {
		l.at++
	}
}

// value reads words and quoted strings up to the end of the line, a comment or a brace.
func (l *swanctlLexer) value() string {
	var words []string
	for l.at < len(l.text) {
		switch l.text[l.at] {
		case '\n', '#', '}':
			return strings.Join(words, " ")
		case ' ', '\t', '\r':
			l.at++
		case '"':
			words = append(words, l.quoted())
		default:
			n := strings.IndexAny(l.text[l.at:], "#}\"\r\n\t ")
			if n < 0 {
				n = len(l.text) - l.at
			}
			words = append(words, l.text[l.at:l.at+n])
			l.at += n
		}
	}
	return strings.Join(words, " ")
}

// quoted reads a string in quotes, which may go on over lines.
func (l *swanctlLexer) quoted() string {
	var b strings.Builder
	for l.at++; l.at < len(l.text); l.at++ {
		c := l.text[l.at]
		switch {
		case c == '"':
			l.at++
			return b.String()
		case c == '\\' && l.at+1 < len(l.text):
			l.at++
			switch c = l.text[l.at]; c {
			case 'n':
				c = '\n'
			case 'r':
				c = '\r'
			case 't':
				c = '\t'
			case '\n':
				l.line++
				continue // lines are joined
			}
		case c == '\n':
			l.line++
		}
		b.WriteByte(c)
	}
	return b.String()
}

// blankBefore reports whether nothing stands on the line before at.
func (l *swanctlLexer) blankBefore(at int) bool {
	return blank(l.text[strings.LastIndexByte(l.text[:at], '\n')+1 : at])
}

// blankAfter reports whether nothing but a comment follows on the line.
func (l *swanctlLexer) blankAfter() bool {
	rest, _, _ := strings.Cut(l.text[l.at:], "\n")
	rest = strings.Trim(rest, " \t\r")
	return rest == "" || rest[0] == '#'
}

// bareSelector is an identity that can be shown: a quoted one may be a secret whose
// colon somebody forgot.
var bareSelector = regexp.MustCompile(`^[A-Za-z0-9@%._:*/-]+$`)

// Shown returns what a key is found by, as it may be shown.
func (k Key) Shown() string {
	if len(k.Selectors) == 0 {
		return "any identity"
	}
	var out []string
	for _, s := range k.Selectors {
		if !bareSelector.MatchString(s) || notAnID.MatchString(s) {
			s = "(identity hidden)"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}
