package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

// identityVariable holds the text of an identity, in the place of the file that the
// inventory names: a CI has no file, and no terminal to ask on.
const identityVariable = "VPNPUSH_IDENTITY"

// takeIdentity takes the identity out of the environment, where what is started would
// find it too: ssh's programs and the commands of secrets. An empty one is none, as a CI
// gives it to whom it does not trust.
func takeIdentity() secret.Value {
	text := os.Getenv(identityVariable)
	os.Unsetenv(identityVariable)
	if strings.TrimSpace(text) == "" {
		return secret.Value{}
	}
	return secret.New(text)
}

// unlock returns what opens encrypted secrets.
func (a *app) unlock() inventory.Unlock {
	u := inventory.Unlock{Identity: a.identity, From: "$" + identityVariable}
	_, terminal := a.keyboard()
	switch {
	case !terminal:
	case a.forCron:
		u.Passphrase = func(context.Context, string) ([]byte, error) {
			return nil, transport.WithHint(errors.New("it has a passphrase, and drift asks no questions"), "give it one without, in a file or in $%s", identityVariable)
		}
	default:
		u.Passphrase = a.passphrase
	}
	return u
}

// passphrases are those that were asked for, by the file that they open.
type passphrases struct {
	mu sync.Mutex
	of map[string]secret.Value
}

// passphrase asks for that of a key, once: it may be the one that lets in to the hosts and
// the one that opens the inventory.
func (a *app) passphrase(ctx context.Context, path string) ([]byte, error) {
	a.asked.mu.Lock()
	defer a.asked.mu.Unlock()
	if v, ok := a.asked.of[path]; ok {
		return []byte(v.Reveal()), nil
	}
	text, err := a.askSecret(ctx, "passphrase of "+path+": ")
	if err != nil {
		return nil, err
	}
	if a.asked.of == nil {
		a.asked.of = map[string]secret.Value{}
	}
	a.asked.of[path] = secret.New(string(text))
	return text, nil
}

// ownRecipients returns the public keys of the identity that is here. Where there is none
// it makes one, in file.
func (a *app) ownRecipients(ctx context.Context, file string) (rs []secret.Recipient, made bool, err error) {
	u := a.unlock()
	if _, err := os.Lstat(file); u.Identity.IsZero() && errors.Is(err, fs.ErrNotExist) {
		text, r, err := secret.GenerateIdentity()
		if err == nil {
			err = os.MkdirAll(filepath.Dir(file), 0o700)
		}
		if err == nil {
			err = writeNew(file, []byte(text.Reveal()))
		}
		return []secret.Recipient{r}, err == nil, err
	}
	ids := &secret.Identities{Text: u.Identity, From: u.From, File: file, Ask: u.Passphrase}
	rs, err = ids.Recipients(ctx)
	return rs, false, err
}
