package strongswan

import (
	"maps"
	"slices"
	"strings"
)

// ConfLine is a line of ipsec.conf, or of a file that it includes.
type ConfLine struct {
	File string
	Line int // from 1
	Text string
}

// ConfConn is a conn of ipsec.conf(5) with all that it takes from others.
type ConfConn struct {
	Name string
	File string
	Line int // where it begins first
	// Sections are where it stands, and Also the conns that it takes over from.
	Sections []ConfSection
	Also     []string

	set map[string]ConfSetting
}

// ConfSection is the lines of a section, from its head to its last setting.
type ConfSection struct {
	File        string
	First, Last int
}

// ConfSetting is a setting and where it stands.
type ConfSetting struct {
	Key, Value string
	File       string
	Line       int
}

// Get returns a setting, "" for none.
func (c ConfConn) Get(key string) string { return c.set[key].Value }

// Settings returns all that the conn says and takes over, in the order of their keys.
func (c ConfConn) Settings() []ConfSetting {
	var out []ConfSetting
	for _, k := range slices.Sorted(maps.Keys(c.set)) {
		out = append(out, c.set[k])
	}
	return out
}

// ParseConf returns the conns of ipsec.conf(5), in the order in which they begin, as
// strongSwan's starter reads them (conf_parser.c): sections of one name are one, "also="
// takes over what another has, and "%default" what nobody says.
func ParseConf(lines []ConfLine) []ConfConn {
	byName, order := parseSections(lines)
	var out []ConfConn
	for _, name := range order {
		if name != ConfDefault {
			out = append(out, byName[name].whole(byName))
		}
	}
	return out
}

// ConfDefault is the name of the conn that holds what no conn says.
const ConfDefault = "%default"

// DefaultSections returns where the conn %default stands.
func DefaultSections(lines []ConfLine) []ConfSection {
	byName, _ := parseSections(lines)
	if byName[ConfDefault] == nil {
		return nil
	}
	return byName[ConfDefault].Sections
}

// parseSections returns conns with what their own sections say, and the order of their
// names.
func parseSections(lines []ConfLine) (byName map[string]*ConfConn, order []string) {
	byName = map[string]*ConfConn{}
	var in *ConfConn
	for _, l := range lines {
		text, _, _ := strings.Cut(l.Text, "#")
		if text != "" && text[0] != ' ' && text[0] != '\t' {
			in = nil
			word, rest := firstWord(text)
			if name, _ := firstWord(strings.TrimLeft(rest, " \t")); word == "conn" && name != "" {
				if byName[name] == nil {
					byName[name] = &ConfConn{Name: name, File: l.File, Line: l.Line, set: map[string]ConfSetting{}}
					order = append(order, name)
				}
				in = byName[name]
				in.Sections = append(in.Sections, ConfSection{File: l.File, First: l.Line, Last: l.Line})
			}
			continue
		}
		key, value, ok := strings.Cut(strings.TrimSpace(text), "=")
		if in == nil || !ok {
			continue
		}
		in.Sections[len(in.Sections)-1].Last = l.Line
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if key == "also" {
			in.Also = append(in.Also, value)
			continue
		}
		in.set[key] = ConfSetting{Key: key, Value: value, File: l.File, Line: l.Line}
	}
	return byName, order
}

// whole returns the conn with what it takes from others.
func (c ConfConn) whole(byName map[string]*ConfConn) ConfConn {
	own := c.set
	c.set = map[string]ConfSetting{}
	maps.Copy(c.set, own)
	from := []string{c.Name}
	for i := 0; i < len(from); i++ { // the nearer first
		for _, a := range byName[from[i]].Also {
			if byName[a] != nil && !slices.Contains(from, a) {
				from = append(from, a)
			}
		}
	}
	for _, f := range append(from, ConfDefault) {
		if byName[f] == nil {
			continue
		}
		for k, v := range byName[f].set {
			if _, said := c.set[k]; !said {
				c.set[k] = v
			}
		}
	}
	return c
}

func firstWord(s string) (word, rest string) {
	s = strings.TrimRight(s, " \t\r")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}
