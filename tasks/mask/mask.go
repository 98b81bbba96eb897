// Package mask hides the secrets of configuration files by their syntax, so that
// two versions of a file can be shown and compared without them.
package mask

import (
	"bytes"
	"strings"
)

// Syntax names how secrets are found in a file's text.
type Syntax string

const (
	Plain        Syntax = ""              // holds no secret
	IPsecSecrets Syntax = "ipsec.secrets" // ID : PSK "..."
	ChapSecrets  Syntax = "chap-secrets"  // client server secret addresses
	PPPOptions   Syntax = "ppp options"   // password ...
	Swanctl      Syntax = "swanctl.conf"  // secret = ...
)

// Pair returns two versions of a file as they may be shown: what its syntax
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
func Pair(s Syntax, old, new []byte) (maskedOld, maskedNew []byte) {
	if s == Plain {
		return old, new
	}
	o, n := parse(s, old), parse(s, new)
	compare(o, n)
	maskedOld, maskedNew = render(o, old), render(n, new)
	if bytes.Equal(maskedOld, maskedNew) && !bytes.Equal(old, new) {
		// The same secrets, in another order or with other quotes.
		for i := range n {
			n[i].differs(o[i])
		}
		maskedNew = render(n, new)
	}
	return maskedOld, maskedNew
}

// What stands for hidden text.
const (
	hideSecret  = "secret"
	hideLine    = "line hidden"
	hideComment = "comment hidden"
)

// span is a part of a line: shown as it is, or hidden.
type span struct {
	text    string
	hide    string // "" or one of the hide constants
	changed bool
}

// masked is a line of a file, without its newline.
type masked struct {
	place string // which entry it is; lines of two versions with one place correspond
	spans []span
}

func shown(text string) masked { return masked{spans: []span{{text: text}}} }

func hidden(text string) masked {
	return masked{place: hideLine, spans: []span{{text: text, hide: hideLine}}}
}

// hiddenText is everything of the line that is not shown.
func (l masked) hiddenText() string {
	var b strings.Builder
	for _, s := range l.spans {
		if s.hide != "" {
			b.WriteString(s.hide + "\x00" + s.text + "\x00")
		}
	}
	return b.String()
}

// differs marks the hidden spans of l that are not so in old.
func (l masked) differs(old masked) {
	for i := range l.spans {
		s := &l.spans[i]
		s.changed = s.hide != "" && (i >= len(old.spans) || s.text != old.spans[i].text || s.hide != old.spans[i].hide)
	}
}

// compare finds for each line of new the line of old in its place, and
// marks what is hidden in it and differs. Equal lines find each other first.
func compare(old, new []masked) {
	type key struct{ place, text string }
	equal := map[key]int{}
	for _, l := range old {
		equal[key{l.place, l.hiddenText()}]++
	}
	var rest []masked
	for _, l := range new {
		if k := (key{l.place, l.hiddenText()}); equal[k] > 0 {
			equal[k]--
		} else {
			rest = append(rest, l)
		}
	}
	left := map[string][]masked{}
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

func render(lines []masked, raw []byte) []byte {
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

// parse returns a line for each piece between newlines, so one more than
// there are newlines.
func parse(s Syntax, text []byte) []masked {
	// next is told each line in turn.
	var next func(line string) masked
	switch s {
	case IPsecSecrets:
		next = new(ipsecMasker).line
	case ChapSecrets:
		next = new(chapMasker).line
	case PPPOptions:
		next = new(pppMasker).line
	case Swanctl:
		next = new(swanctlMasker).line
	default:
		// A syntax that nobody taught to this function: all of it may be secret.
		next = func(line string) masked {
			return masked{place: hideSecret, spans: []span{{text: line, hide: hideSecret}}}
		}
	}
	var out []masked
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
