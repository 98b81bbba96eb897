package secret

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// sealedPrefix begins a secret that is encrypted.
const sealedPrefix = "age:"

// sealedBlock is what the length of a secret is filled up to before it is
// encrypted, with line ends, which no secret has. Else a password of 8 characters
// would be seen to be one in every copy of the inventory.
const sealedBlock = 64

// Sealed is a secret that is encrypted with age (age-encryption.org/v1). As text it
// is one line: "age:", and what age writes in base64 without padding.
type Sealed struct{ file string }

// IsSealed reports whether s is meant to be an encrypted secret.
func IsSealed(s string) bool { return strings.HasPrefix(s, sealedPrefix) }

// ParseSealed reads an encrypted secret, as far as that can be done without an
// identity: what was cut off or mistyped is mostly found. Its error shows nothing
// of s.
func ParseSealed(s string) (Sealed, error) {
	const mend = "take it from an older state of the file, or write the secret anew with vpnpush secret edit"
	text := strings.TrimRight(strings.TrimPrefix(s, sealedPrefix), "=")
	file, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return Sealed{}, hinted(errors.New("is encrypted, and damaged: after age: it is not base64"), mend)
	}
	header, err := age.ExtractHeader(bytes.NewReader(file))
	if err != nil {
		return Sealed{}, hinted(errors.New("is encrypted, and damaged: after age: it is not what age writes"), mend)
	}
	// a nonce, and the tag of the text
	if len(file) < len(header)+16+16 {
		return Sealed{}, hinted(errors.New("is encrypted, and damaged: its end is missing"), mend)
	}
	return Sealed{string(file)}, nil
}

// Seal encrypts v so that an identity of any of the recipients opens it, and
// returns its text.
func Seal(v Value, to []Recipient) (string, error) {
	var file bytes.Buffer
	w, err := age.Encrypt(&file, unwrapped(to)...)
	if err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	text := v.Reveal()
	fill := -len(text) % sealedBlock
	if fill < 0 || text == "" {
		fill += sealedBlock
	}
	_, err = io.WriteString(w, text+strings.Repeat("\n", fill))
	if err = errors.Join(err, w.Close()); err != nil {
		return "", fmt.Errorf("encrypt: %w", err)
	}
	return sealedPrefix + base64.RawStdEncoding.EncodeToString(file.Bytes()), nil
}

// ErrOtherIdentity is wrapped by the error of a secret that none of the identities
// opens.
var ErrOtherIdentity = errors.New("encrypted to others")

// Open decrypts a secret. The identities are read, and a passphrase is asked for,
// when the first needs that.
func (ids *Identities) Open(ctx context.Context, s Sealed) (Value, error) {
	if err := ids.load(ctx); err != nil {
		return Value{}, err
	}
	var all []age.Identity
	for _, id := range ids.all {
		all = append(all, id.Identity)
	}
	r, err := age.Decrypt(strings.NewReader(s.file), all...)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(r, maxText+1))
	}
	var none *age.NoIdentityMatchError
	switch {
	case errors.As(err, &none):
		return Value{}, fmt.Errorf("it is %w than %s", ErrOtherIdentity, ids.names())
	case err != nil && ids.locked != nil:
		return Value{}, ids.about(ids.locked)
	case err != nil || len(text) > maxText:
		return Value{}, hinted(errors.New("it is encrypted, and damaged, or somebody has changed it"),
			"take it from an older state of the file, or write the secret anew with vpnpush secret edit")
	}
	return New(strings.TrimRight(string(text), "\r\n")), nil
}
