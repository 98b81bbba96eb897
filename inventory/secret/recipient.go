package secret

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Recipient is who can open what is encrypted: the public half of an identity.
type Recipient struct {
	age.Recipient
	text string
}

// String returns the recipient as it was written.
func (r Recipient) String() string { return r.text }

// Short returns as much of a recipient as tells it from others: a key of age whole
// where it is short, of ssh its kind, its end and its comment.
func (r Recipient) Short() string {
	const most = 70
	f := strings.Fields(r.text)
	switch {
	case len(f) > 1 && len(f[1]) > 12:
		f[1] = "..." + f[1][len(f[1])-12:]
		return strings.Join(f, " ")
	case len(r.text) > most:
		return r.text[:16] + "..." + r.text[len(r.text)-12:]
	}
	return r.text
}

// Same reports whether r and s are one key, whatever comment stands behind it.
func (r Recipient) Same(s Recipient) bool {
	key := func(r Recipient) []string { f := strings.Fields(r.text); return f[:min(len(f), 2)] }
	return slices.Equal(key(r), key(s))
}

// PostQuantum reports whether r is of the kind that age does not mix with others.
func (r Recipient) PostQuantum() bool { return strings.HasPrefix(r.text, "age1pq1") }

// ofPlugin is what the recipients of age's plugins look like: age1NAME1...
var ofPlugin = regexp.MustCompile(`^age1[a-z0-9-]+1[a-z0-9]+$`)

// ParseRecipient reads a public key: age1..., ssh-ed25519 or ssh-rsa. Its error
// shows nothing of s, which may be a private key by mistake.
func ParseRecipient(s string) (Recipient, error) {
	s = strings.TrimSpace(s)
	const mend = "write one that age-keygen prints (age1...), or a line of ssh-ed25519 or ssh-rsa from a .pub file"
	kind, _, ssh := strings.Cut(s, " ")
	var r age.Recipient
	var err error
	switch {
	case strings.Contains(strings.ToUpper(s), "AGE-SECRET-KEY-"), strings.Contains(s, "PRIVATE KEY"):
		return Recipient{}, hinted(errors.New("is an identity, which is secret"),
			"write its public half, the recipient (age-keygen -y FILE prints it); if others have seen this file, make a new identity")
	case strings.ContainsAny(s, "\r\n"): // of several keys of ssh the first would be taken
		return Recipient{}, hinted(errors.New("has more than one line"), "make each an element of the list")
	case strings.HasPrefix(s, "age1pq1"):
		r, err = age.ParseHybridRecipient(s)
	case ofPlugin.MatchString(s):
		return Recipient{}, hinted(errors.New("is of a plugin of age, which vpnpush does not run"), mend)
	case strings.HasPrefix(s, "age1"):
		r, err = age.ParseX25519Recipient(s)
	case ssh && (kind == "ssh-ed25519" || kind == "ssh-rsa"):
		r, err = agessh.ParseRecipient(s)
		if kind == "ssh-rsa" && err != nil && strings.HasSuffix(err.Error(), "too small") {
			return Recipient{}, hinted(errors.New("is an RSA key of fewer than 2048 bits"), mend)
		}
	case ssh && (strings.HasPrefix(kind, "ecdsa-") || strings.HasPrefix(kind, "sk-") || kind == "ssh-dss"):
		return Recipient{}, hinted(fmt.Errorf("is a key of %s, with which nothing can be encrypted", kind), mend)
	}
	if r == nil || err != nil {
		return Recipient{}, hinted(errors.New("is no recipient"), mend)
	}
	return Recipient{r, s}, nil
}

func unwrapped(rs []Recipient) []age.Recipient {
	out := make([]age.Recipient, len(rs))
	for i, r := range rs {
		out[i] = r.Recipient
	}
	return out
}
