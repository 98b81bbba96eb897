package secret

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Identities open encrypted secrets. They are read when the first is to be opened,
// and stay in memory.
type Identities struct {
	// Text holds them as a file would. Unset: they are in File.
	Text Value
	// From says where Text is from, for messages.
	From string
	File string
	// Ask asks for the passphrase of what is named. It is asked once, and not at
	// all where none is needed. nil: there is nobody to ask.
	Ask func(ctx context.Context, of string) ([]byte, error)

	reading, parsing once
	text             []byte
	all              []identity
	locked           error   // why the passphrase of a key does not open it
	hidden           []Value // what they are made of
}

// identity is one of them.
type identity struct {
	age.Identity
	recipient string
}

// ErrNoIdentity is what an error is where encrypted secrets cannot be opened here, as there
// is no identity, or nobody who is asked for its passphrase.
var ErrNoIdentity = errors.New("no identity")

func without(e *Error) error {
	e.kind = ErrNoIdentity
	return e
}

// Values returns what must not be seen of the identities that were read.
func (ids *Identities) Values() []Value { return ids.hidden }

// Protected reports whether the identities have a passphrase.
func (ids *Identities) Protected(ctx context.Context) bool {
	if ids.read(ctx) != nil {
		return false
	}
	_, err := ssh.ParseRawPrivateKey(ids.text)
	var missing *ssh.PassphraseMissingError
	return isAge(ids.text) || errors.As(err, &missing)
}

// once is something that is tried once, and what came of it.
type once struct {
	done bool
	err  error
}

func (o *once) do(f func() error) error {
	if !o.done {
		o.err = f()
		o.done = true
	}
	return o.err
}

// Recipients returns what belongs to the identities.
func (ids *Identities) Recipients(ctx context.Context) ([]Recipient, error) {
	if err := ids.load(ctx); err != nil {
		return nil, err
	}
	var out []Recipient
	for _, id := range ids.all {
		r, err := ParseRecipient(id.recipient)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// GenerateIdentity makes a new identity, and returns the text for its file.
func GenerateIdentity() (text Value, r Recipient, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return Value{}, Recipient{}, fmt.Errorf("make an identity: %w", err)
	}
	to := id.Recipient()
	return New(fmt.Sprintf("# public key: %s\n%s\n", to, id)), Recipient{to, to.String()}, nil
}

// name says where the identities are from.
func (ids *Identities) name() string {
	if !ids.Text.IsZero() {
		return ids.From
	}
	return ids.File
}

// about returns an error with the name of the identities.
func (ids *Identities) about(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("identity %s: %w", ids.name(), err)
}

// names is name with the recipients that belong to them.
func (ids *Identities) names() string {
	var of []string
	for _, id := range ids.all {
		of = append(of, Recipient{text: id.recipient}.Short())
	}
	return fmt.Sprintf("%s (%s)", ids.name(), strings.Join(of, ", "))
}

// read reads the text of the identities.
func (ids *Identities) read(ctx context.Context) error {
	return ids.reading.do(func() error {
		if !ids.Text.IsZero() {
			ids.text = []byte(ids.Text.Reveal())
			return nil
		}
		text, _, err := ReadFile(ctx, ids.File, maxText)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return without(hinted(fmt.Errorf("there is no identity at %s", ids.File), "put one there, or its text into $VPNPUSH_IDENTITY, that belongs to one of the recipients"))
		case err != nil:
			return hinted(fmt.Errorf("read the identity %s: %w", ids.File, err), "see that you can read it, and that it is a file of age or ssh")
		}
		ids.text = text
		return nil
	})
}

// load makes identities of the text, and asks for a passphrase where all of it has one.
func (ids *Identities) load(ctx context.Context) error {
	if err := ids.read(ctx); err != nil {
		return err
	}
	return ids.parsing.do(func() error {
		return ids.about(ids.parse(ctx, ids.text))
	})
}

// parse reads identities as age writes them, a key of ssh, or either as age has
// encrypted it with a passphrase.
func (ids *Identities) parse(ctx context.Context, text []byte) error {
	if isAge(text) {
		var err error
		if text, err = ids.decrypt(ctx, text); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("-----BEGIN")) {
		return ids.sshKey(ctx, text)
	}
	return ids.lines(text)
}

// isAge reports whether text is encrypted with age.
func isAge(text []byte) bool {
	return isArmored(text) || bytes.HasPrefix(text, []byte("age-encryption.org/"))
}

func isArmored(text []byte) bool { return bytes.HasPrefix(bytes.TrimSpace(text), []byte(armor.Header)) }

// lines reads identities a line each, with comments between.
func (ids *Identities) lines(text []byte) error {
	const mend = "it holds lines that begin with AGE-SECRET-KEY-1, as age-keygen writes them, or is one key of ssh"
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line = strings.TrimSpace(line)
		id := identity{}
		switch {
		case line == "" || line[0] == '#':
			continue
		case strings.HasPrefix(line, "AGE-PLUGIN-"):
			return hinted(fmt.Errorf("line %d is of a plugin of age, which vpnpush does not run", n), mend)
		case strings.HasPrefix(line, "age1") || strings.HasPrefix(line, "ssh-"):
			return hinted(fmt.Errorf("line %d is a recipient, the public half", n), mend)
		case strings.HasPrefix(line, "AGE-SECRET-KEY-PQ-1"):
			if k, err := age.ParseHybridIdentity(line); err == nil {
				id = identity{k, k.Recipient().String()}
			}
		default:
			if k, err := age.ParseX25519Identity(line); err == nil {
				id = identity{k, k.Recipient().String()}
			}
		}
		if id.Identity == nil {
			return hinted(fmt.Errorf("line %d is no identity, or is damaged", n), mend)
		}
		ids.all = append(ids.all, id)
		ids.hidden = append(ids.hidden, New(line))
	}
	if len(ids.all) == 0 {
		return hinted(errors.New("it is empty"), mend)
	}
	return nil
}

// decrypt opens a file of identities that age has encrypted with a passphrase.
func (ids *Identities) decrypt(ctx context.Context, text []byte) ([]byte, error) {
	pass, err := ids.passphrase(ctx)
	if err != nil {
		return nil, err
	}
	key, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, wrongPassphrase()
	}
	var src io.Reader = bytes.NewReader(text)
	if isArmored(text) {
		src = armor.NewReader(src)
	}
	r, err := age.Decrypt(src, key)
	var plain []byte
	if err == nil {
		plain, err = io.ReadAll(io.LimitReader(r, maxText))
	}
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none) && !slices.Equal(none.StanzaTypes, []string{"scrypt"}):
		return nil, hinted(errors.New("it is encrypted to keys, not with a passphrase"), "name an identity that has none, or a passphrase (age -p)")
	case errors.As(err, &none):
		return nil, wrongPassphrase()
	case err != nil:
		return nil, hinted(errors.New("it is damaged"), "take it from a copy")
	}
	return plain, nil
}

const mendKey = "name a key of ssh-ed25519 or ssh-rsa, or an identity of age"

// sshKey reads a private key of ssh.
func (ids *Identities) sshKey(ctx context.Context, pem []byte) error {
	for line := range strings.Lines(string(pem)) {
		if line = strings.TrimSpace(line); len(line) > 32 && !strings.HasPrefix(line, "-----") {
			ids.hidden = append(ids.hidden, New(line))
		}
	}
	raw, err := ssh.ParseRawPrivateKey(pem)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		return ids.lockedKey(ctx, pem, missing.PublicKey)
	}
	if err != nil {
		return hinted(errors.New("it is a key of ssh that cannot be read"), mendKey)
	}
	id, err := agessh.ParseIdentity(pem)
	signer, ok := raw.(crypto.Signer)
	if err != nil || !ok {
		return hinted(errors.New("it is a key of ssh of a kind that opens nothing"), mendKey)
	}
	pub, err := ssh.NewPublicKey(signer.Public())
	if err != nil {
		return fmt.Errorf("find its public half: %w", err)
	}
	ids.all = append(ids.all, identity{id, authorized(pub)})
	return nil
}

func authorized(pub ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(pub)))
}

// lockedKey takes a private key of ssh with a passphrase.
func (ids *Identities) lockedKey(ctx context.Context, pem []byte, pub ssh.PublicKey) error {
	if pub == nil {
		return hinted(errors.New("it is a key of ssh in an old format, which does not tell its public half"), "`ssh-keygen -p -f FILE` writes it in the new one")
	}
	key, err := agessh.NewEncryptedSSHIdentity(pub, pem, func() (pass []byte, err error) {
		pass, ids.locked = ids.passphrase(ctx)
		return pass, ids.locked
	})
	if err != nil {
		return hinted(fmt.Errorf("it is a key of %s, which opens nothing", pub.Type()), mendKey)
	}
	ids.all = append(ids.all, identity{&lockedKey{key, ids}, authorized(pub)})
	return nil
}

// lockedKey is a private key of ssh with a passphrase, which is asked for when the first
// secret is for it. One that was wrong is not asked for again.
type lockedKey struct {
	*agessh.EncryptedSSHIdentity
	ids *Identities
}

// Unwrap implements age.Identity.
func (k *lockedKey) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if k.ids.locked != nil {
		return nil, k.ids.locked
	}
	text, err := k.EncryptedSSHIdentity.Unwrap(stanzas)
	if err != nil && strings.HasPrefix(err.Error(), "failed to decrypt SSH key file") {
		k.ids.locked = wrongPassphrase()
	}
	return text, err
}

func wrongPassphrase() error {
	return hinted(errors.New("the passphrase is wrong"), "run it again")
}

// passphrase asks for the passphrase of the identities.
func (ids *Identities) passphrase(ctx context.Context) ([]byte, error) {
	if ids.Ask == nil {
		return nil, without(hinted(errors.New("it has a passphrase, and there is nobody to ask"),
			"run it on a terminal, or put the text of one without a passphrase into $VPNPUSH_IDENTITY, that belongs to one of the recipients"))
	}
	pass, err := ids.Ask(ctx, ids.name())
	if err == nil {
		ids.hidden = append(ids.hidden, New(string(pass)))
	}
	return pass, err
}
