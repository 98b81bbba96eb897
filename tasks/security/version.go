package security

import (
	"cmp"
	"strconv"
	"strings"
)

// Compare compares two versions of Debian as dpkg does (deb-version(7)): epoch, upstream
// part, and Debian's own.
func Compare(a, b string) int {
	ea, ua, ra := split(a)
	eb, ub, rb := split(b)
	return cmp.Or(cmp.Compare(ea, eb), compareParts(ua, ub), compareParts(ra, rb))
}

// split cuts a version into "EPOCH:UPSTREAM-REVISION".
func split(v string) (epoch int, upstream, revision string) {
	if e, rest, ok := strings.Cut(v, ":"); ok {
		epoch, _ = strconv.Atoi(e) // digits only, and few
		v = rest
	}
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return epoch, v[:i], v[i+1:]
	}
	return epoch, v, ""
}

// compareParts compares by turns what is no digit, by order, and numbers.
func compareParts(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			if c := cmp.Compare(order(a), order(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // of one order, and so both there
		}
		var na, nb string
		na, a = number(a)
		nb, b = number(b)
		if c := cmp.Or(cmp.Compare(len(na), len(nb)), cmp.Compare(na, nb)); c != 0 {
			return c
		}
	}
	return 0
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// order ranks what a version goes on with: "~" before the end, the end and a digit before
// letters, and letters before all else.
func order(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case 'a' <= s[0]|0x20 && s[0]|0x20 <= 'z':
		return int(s[0])
	}
	return int(s[0]) + 256
}

// number cuts the digits off that s begins with, without zeros before them.
func number(s string) (n, rest string) {
	i := 0
	for i < len(s) && digit(s[i]) {
		i++
	}
	return strings.TrimLeft(s[:i], "0"), s[i:]
}
