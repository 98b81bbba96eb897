package inventory

import (
	"errors"
	"strconv"
	"strings"
)

// Login is where and as whom ssh logs in. Zero fields are left to ssh_config.
type Login struct {
	User string
	Host string // an IPv6 address without brackets
	Port int
}

// ParseLogin parses [user@]host[:port]. An IPv6 address with a port stands in brackets.
// What is not one is told as the end of a sentence that begins with the text.
func ParseLogin(text string) (Login, error) {
	l := Login{Host: text}
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		l.User, l.Host = text[:i], text[i+1:]
		if !sshUser.MatchString(l.User) {
			return Login{}, errors.New("has no good user")
		}
	}
	host, port, found := strings.Cut(l.Host, "]:")
	if found {
		l.Host = host + "]"
	} else if strings.Count(l.Host, ":") == 1 { // more of them are an IPv6 address
		l.Host, port, found = strings.Cut(l.Host, ":")
	}
	if found {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Login{}, errors.New("has no good port")
		}
		l.Port = int(n)
	}
	if strings.HasPrefix(l.Host, "[") && strings.HasSuffix(l.Host, "]") {
		l.Host = l.Host[1 : len(l.Host)-1]
	}
	if strings.ContainsAny(l.Host, "[]") || !sshHost.MatchString(l.Host) {
		return Login{}, errors.New("has no good host")
	}
	return l, nil
}
