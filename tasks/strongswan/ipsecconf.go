package strongswan

import (
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
	set  map[string]string
}

// Get returns a setting, "" for none.
func (c ConfConn) Get(key string) string { return c.set[key] }

// ParseConf returns the conns of ipsec.conf(5), in the order in which they begin, as
// strongSwan's starter reads them (conf_parser.c): sections of one name are one, "also="
// takes over what another has, and "%default" what nobody says.
func ParseConf(lines []ConfLine) []ConfConn {
	byName := map[string]*ConfConn{}
	also := map[string][]string{}
	var order []string
	var in *ConfConn
	for _, l := range lines {
		text, _, _ := strings.Cut(l.Text, "#")
		if text != "" && text[0] != ' ' && text[0] != '\t' {
			in = nil
			word, rest := firstWord(text)
			if name, _ := firstWord(strings.TrimLeft(rest, " \t")); word == "conn" && name != "" {
				if byName[name] == nil {
					byName[name] = &ConfConn{Name: name, File: l.File, Line: l.Line, set: map[string]string{}}
					order = append(order, name)
				}
				in = byName[name]
			}
			continue
		}
		key, value, ok := strings.Cut(strings.TrimSpace(text), "=")
		if in == nil || !ok {
			continue
		}
		key, value = strings.TrimSpace(key), strings.Trim(strings.TrimSpace(value), `"`)
		if key == "also" {
			also[in.Name] = append(also[in.Name], value)
			continue
		}
		in.set[key] = value
	}
	var out []ConfConn
	for _, name := range order {
		if name == "%default" {
			continue
		}
		c := ConfConn{Name: name, File: byName[name].File, Line: byName[name].Line, set: map[string]string{}}
		from := []string{name}
		for i := 0; i < len(from); i++ { // the nearer first
			for _, a := range also[from[i]] {
				if byName[a] != nil && !slices.Contains(from, a) {
					from = append(from, a)
				}
			}
		}
		for _, f := range append(from, "%default") {
			if byName[f] == nil {
				continue
			}
			for k, v := range byName[f].set {
				if _, said := c.set[k]; !said {
					c.set[k] = v
				}
			}
		}
		out = append(out, c)
	}
	return out
}

func firstWord(s string) (word, rest string) {
	s = strings.TrimRight(s, " \t\r")
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], s[i+1:]
	}
	return s, ""
}
