package strongswan

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// viciSection is a section of a vici message: keys in order, each with a
// string, a list or a section.
type viciSection []viciItem

type viciItem struct {
	key     string
	value   string
	list    []string
	section viciSection
}

func (s viciSection) get(key string) viciItem {
	for _, it := range s {
		if it.key == key {
			return it
		}
	}
	return viciItem{}
}

func (s viciSection) value(key string) string { return s.get(key).value }

// ParseListSAs reads what `swanctl --list-sas --raw` prints (strongSwan 5.9 to
// 6.0): a line per IKE SA, and a reply that ends them.
func ParseListSAs(b []byte) ([]SA, error) {
	var sas []SA
	err := viciEvents(b, "list-sa", func(it viciItem) error {
		s := it.section
		sa := SA{
			Conn: it.key, ID: s.value("uniqueid"), State: s.value("state"),
			SPIs:    s.value("initiator-spi") + "_" + s.value("responder-spi"),
			LocalID: s.value("local-id"), RemoteID: s.value("remote-id"),
			LocalAddr:  withPort(s.value("local-host"), s.value("local-port")),
			RemoteAddr: withPort(s.value("remote-host"), s.value("remote-port")),
		}
		if sa.State == "" {
			return errors.New("no state")
		}
		if n, err := strconv.ParseUint(s.value("established"), 10, 32); err == nil {
			sa.Age = time.Duration(n) * time.Second
		}
		for _, c := range s.get("child-sas").section {
			child := ChildSA{
				Name: c.section.value("name"), ID: c.section.value("uniqueid"),
				State: c.section.value("state"), Mode: c.section.value("mode"),
				LocalTS: c.section.get("local-ts").list, RemoteTS: c.section.get("remote-ts").list,
			}
			if child.State == "" {
				return fmt.Errorf("child SA %s: no state", c.key)
			}
			// absent until there was a packet
			child.BytesIn, _ = strconv.ParseUint(c.section.value("bytes-in"), 10, 64)
			child.BytesOut, _ = strconv.ParseUint(c.section.value("bytes-out"), 10, 64)
			sa.Children = append(sa.Children, child)
		}
		sas = append(sas, sa)
		return nil
	})
	return sas, err
}

// ParseListConns returns the names of the connections in what `swanctl
// --list-conns --raw` prints.
func ParseListConns(b []byte) ([]string, error) {
	var names []string
	err := viciEvents(b, "list-conn", func(it viciItem) error {
		names = append(names, it.key)
		return nil
	})
	return names, err
}

func withPort(host, port string) string {
	switch {
	case host == "" || port == "":
		return host
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return host + ":" + port
}

// viciEvents reads the output of swanctl --raw: lines "EVENT event {NAME {...}}"
// and at the end "EVENTs reply {}", without which it was cut.
func viciEvents(b []byte, event string, each func(viciItem) error) error {
	ended := false
	for l := range strings.Lines(string(b)) {
		l = strings.TrimRight(l, "\r\n")
		text, isEvent := strings.CutPrefix(l, event+" event ")
		if !isEvent {
			var isReply bool
			if text, isReply = strings.CutPrefix(l, event+"s reply "); !isReply {
				if strings.TrimSpace(l) == "" {
					continue
				}
				return fmt.Errorf("not a message of %s: %.80q", event, l)
			}
		}
		s, err := parseVici(text)
		switch {
		case err != nil:
			return fmt.Errorf("%w: %.80q", err, l)
		case !isEvent && s.value("success") == "no":
			return fmt.Errorf("charon refused: %s", s.value("errmsg"))
		case !isEvent:
			ended = true
			continue
		}
		for _, it := range s {
			if err := each(it); err != nil {
				return fmt.Errorf("%s %s: %w", event, it.key, err)
			}
		}
	}
	if !ended {
		return fmt.Errorf("it ends before the reply of %ss", event)
	}
	return nil
}

var errVici = errors.New("malformed message")

// parseVici reads one message as vici_dump() prints it in raw form:
// "{key=value list=[a b] section {...}}". Nothing in it is quoted, so a value
// with spaces, such as a distinguished name, goes on until something that can
// only be the next key.
func parseVici(text string) (viciSection, error) {
	rest, ok := strings.CutPrefix(text, "{")
	if !ok {
		return nil, errVici
	}
	s, rest, err := viciItems(rest, 0)
	if err == nil && rest != "" {
		err = errVici
	}
	return s, err
}

func viciItems(s string, depth int) (out viciSection, rest string, err error) {
	if depth > 8 { // vici messages have four levels
		return nil, "", errVici
	}
	for {
		s = strings.TrimLeft(s, " ")
		if s == "" {
			return nil, "", errVici
		}
		if s[0] == '}' {
			return out, s[1:], nil
		}
		var it viciItem
		switch i := strings.IndexAny(s, "= {}"); {
		case i <= 0:
			return nil, "", errVici
		case strings.HasPrefix(s[i:], "=["):
			it.key = s[:i]
			end := viciListEnd(s[i+1:])
			if end < 0 {
				return nil, "", errVici
			}
			it.list = strings.Fields(s[i+2 : i+1+end])
			s = s[i+1+end+1:]
		case s[i] == '=':
			it.key = s[:i]
			end := viciValueEnd(s[i+1:])
			it.value = s[i+1 : i+1+end]
			s = s[i+1+end:]
		case strings.HasPrefix(s[i:], " {"):
			it.key = s[:i]
			if it.section, s, err = viciItems(s[i+2:], depth+1); err != nil {
				return nil, "", err
			}
		default:
			return nil, "", errVici
		}
		out = append(out, it)
	}
}

// viciListEnd finds the bracket that closes the one s begins with; a selector
// has brackets of its own, "10.0.0.1/32[udp/l2f]".
func viciListEnd(s string) int {
	open := 0
	for i := range len(s) {
		switch s[i] {
		case '[':
			open++
		case ']':
			if open--; open == 0 {
				return i
			}
		}
	}
	return -1
}

// viciValueEnd finds where a value ends: at a brace, or at a space before
// "key=" or "section {". Keys are lower case, those of a name (C=, CN=) not.
func viciValueEnd(s string) int {
	for i := range len(s) {
		switch s[i] {
		case '}':
			return i
		case ' ':
			next := s[i+1:]
			j := strings.IndexAny(next, "= {}")
			if j > 0 && (strings.HasPrefix(next[j:], " {") || next[j] == '=' && strings.Trim(next[:j], "abcdefghijklmnopqrstuvwxyz0123456789-_") == "") {
				return i
			}
		}
	}
	return len(s)
}
