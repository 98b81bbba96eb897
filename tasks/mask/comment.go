package mask

import (
	"regexp"
	"strings"
)

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

func maskComment(line string) masked {
	if safeComments.MatchString(line) {
		return shown(line)
	}
	return hidden(line)
}
