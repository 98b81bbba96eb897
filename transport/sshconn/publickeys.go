package sshconn

import (
	"bytes"
	"errors"
	"strings"

	"golang.org/x/crypto/ssh"
)

// PublicKeys returns the keys in the text of a file such as ~/.ssh/id_ed25519.pub, each as
// a line of authorized_keys.
func PublicKeys(text []byte) ([]string, error) {
	if bytes.Contains(text, []byte("PRIVATE KEY-----")) {
		return nil, errors.New("this is a private key, which stays where it is")
	}
	var keys []string
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(l)); err != nil {
			return nil, errors.New("there is a line that is no public key")
		}
		keys = append(keys, l)
	}
	if keys == nil {
		return nil, errors.New("there is no key in it")
	}
	return keys, nil
}
