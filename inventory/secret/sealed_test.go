package secret

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// key is an identity of a test: its text, and the recipient that belongs to it.
type key struct{ text, recipient string }

func ageKey(t *testing.T) key {
	t.Helper()
	text, r, err := GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return key{text.Reveal(), r.String()}
}

func pqKey(t *testing.T) key {
	t.Helper()
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return key{id.String(), id.Recipient().String()}
}

// sshKey returns a key as ssh-keygen writes it.
func sshKey(t *testing.T, k any, passphrase string) key {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(k, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return key{string(pem.EncodeToMemory(block)), string(ssh.MarshalAuthorizedKey(signer.PublicKey()))}
}

func ed25519Key(t *testing.T) ed25519.PrivateKey {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// lockAge returns the text of an identity file that age has encrypted with a
// passphrase.
func lockAge(t *testing.T, text, passphrase string, armored bool) string {
	t.Helper()
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	return encrypted(t, text, r, armored)
}

func encrypted(t *testing.T, text string, r age.Recipient, armored bool) string {
	t.Helper()
	var b bytes.Buffer
	var to io.WriteCloser = nopCloser{&b}
	if armored {
		to = armor.NewWriter(&b)
	}
	w, err := age.Encrypt(to, r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, text)
	if err = errors.Join(err, w.Close(), to.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func seal(t *testing.T, text string, recipients ...string) string {
	t.Helper()
	var to []Recipient
	for _, s := range recipients {
		r, err := ParseRecipient(s)
		if err != nil {
			t.Fatal(err)
		}
		to = append(to, r)
	}
	s, err := Seal(New(text), to)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sealed(t *testing.T, text string) Sealed {
	t.Helper()
	s, err := ParseSealed(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Whatever age and ssh have for a key opens what is encrypted to it, and a passphrase
// is asked for once, however many secrets there are.
func TestSealAndOpen(t *testing.T) {
	const pass = "open sesame"
	a, b, pq := ageKey(t), ageKey(t), pqKey(t)
	rsa := rsaKey(t)
	ed := ed25519Key(t)
	for _, tt := range []struct {
		name   string
		to     []string
		holder string
		asked  int
	}{
		{"age", []string{a.recipient}, a.text, 0},
		{"one of two recipients", []string{b.recipient, a.recipient}, a.text, 0},
		{"one of two identities, with comments", []string{a.recipient}, "# mine\n\n" + b.text + "  # old\r\n" + a.text, 0},
		{"post-quantum", []string{pq.recipient}, pq.text, 0},
		{"ed25519", []string{sshKey(t, ed, "").recipient}, sshKey(t, ed, "").text, 0},
		{"rsa", []string{sshKey(t, rsa, "").recipient}, sshKey(t, rsa, "").text, 0},
		{"age and ssh", []string{a.recipient, sshKey(t, ed, "").recipient}, sshKey(t, ed, "").text, 0},
		{"ed25519 with a passphrase", []string{sshKey(t, ed, "").recipient}, sshKey(t, ed, pass).text, 1},
		{"rsa with a passphrase", []string{sshKey(t, rsa, "").recipient}, sshKey(t, rsa, pass).text, 1},
		{"age with a passphrase", []string{a.recipient}, lockAge(t, a.text, pass, false), 1},
		{"age with a passphrase, as text", []string{a.recipient}, lockAge(t, a.text, pass, true), 1},
		{"ssh inside of age", []string{sshKey(t, ed, "").recipient}, lockAge(t, sshKey(t, ed, "").text, pass, true), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "identity")
			if err := os.WriteFile(file, []byte(tt.holder), 0o600); err != nil {
				t.Fatal(err)
			}
			asked := 0
			ask := func(_ context.Context, of string) ([]byte, error) {
				asked++
				if of != file && of != "$X" {
					t.Errorf("asked for the passphrase of %s", of)
				}
				return []byte(pass), nil
			}
			both := []*Identities{{File: file, Ask: ask}, {Text: New(tt.holder), From: "$X", Ask: ask}}
			if tt.asked > 0 {
				both = both[:1] // the way from a passphrase to a key is slow, and meant to be
			}
			for _, ids := range both {
				for _, text := range []string{plain, "other-" + plain, ""} {
					v, err := ids.Open(t.Context(), sealed(t, seal(t, text, tt.to...)))
					if err != nil || v.Reveal() != text {
						t.Fatalf("got %d bytes of %d: %v", len(v.Reveal()), len(text), err)
					}
				}
				if asked != tt.asked || ids.Protected(t.Context()) != (tt.asked > 0) {
					t.Errorf("asked %d times, want %d", asked, tt.asked)
				}
				if len(ids.Values()) == 0 {
					t.Error("nothing of the identity is known to be secret")
				}
				rs, err := ids.Recipients(t.Context())
				if err != nil || !recipientOf(rs, tt.to) {
					t.Errorf("recipients %v of %v: %v", rs, tt.to, err)
				}
			}
		})
	}
}

func recipientOf(rs []Recipient, to []string) bool {
	for _, r := range rs {
		for _, s := range to {
			if r.String() == strings.TrimSpace(s) {
				return true
			}
		}
	}
	return false
}

// A passphrase that is wrong, or that nobody can be asked for, is told as that, and
// once: the second secret does not ask again.
func TestLockedIdentity(t *testing.T) {
	a, ed := ageKey(t), ed25519Key(t)
	ssh := sshKey(t, ed, "open sesame")
	for name, tt := range map[string]struct{ to, holder string }{
		"age": {a.recipient, lockAge(t, a.text, "open sesame", true)},
		"ssh": {ssh.recipient, ssh.text},
	} {
		t.Run(name, func(t *testing.T) {
			one, two := sealed(t, seal(t, plain, tt.to)), sealed(t, seal(t, plain, tt.to))
			asked := 0
			gone := errors.New("gone")
			for _, how := range []struct {
				ask  func(context.Context, string) ([]byte, error)
				want func(error) bool
			}{
				{nil, func(err error) bool {
					return errors.Is(err, ErrNoIdentity) && strings.Contains(err.Error(), "nobody to ask")
				}},
				{func(context.Context, string) ([]byte, error) { asked++; return []byte("wrong-" + plain), nil },
					func(err error) bool { return strings.Contains(err.Error(), "identity $X: the passphrase is wrong") }},
				{func(context.Context, string) ([]byte, error) { asked++; return nil, gone }, func(err error) bool { return errors.Is(err, gone) }},
			} {
				asked = 0
				ids := &Identities{Text: New(tt.holder), From: "$X", Ask: how.ask}
				for _, s := range []Sealed{one, two} {
					if _, err := ids.Open(t.Context(), s); !how.want(err) || leaks(err.Error()) {
						t.Errorf("error %v", err)
					}
				}
				if asked > 1 {
					t.Errorf("asked %d times", asked)
				}
			}
		})
	}
	// one that is not among the recipients is not asked for
	ids := &Identities{Text: New(ssh.text), From: "$X", Ask: func(context.Context, string) ([]byte, error) { t.Error("asked"); return nil, nil }}
	if _, err := ids.Open(t.Context(), sealed(t, seal(t, plain, a.recipient))); !errors.Is(err, ErrOtherIdentity) {
		t.Errorf("error %v", err)
	}
}

// The error of an identity that fits nothing says whose it is, and nothing of it.
func TestWrongIdentity(t *testing.T) {
	a, b := ageKey(t), ageKey(t)
	ids := &Identities{Text: New(b.text), From: "$X"}
	_, err := ids.Open(t.Context(), sealed(t, seal(t, plain, a.recipient)))
	if !errors.Is(err, ErrOtherIdentity) || !strings.Contains(err.Error(), "$X ("+b.recipient+")") {
		t.Errorf("error %v", err)
	}
	if _, err := (&Identities{File: filepath.Join(t.TempDir(), "none")}).Open(t.Context(), sealed(t, seal(t, plain, a.recipient))); !errors.Is(err, ErrNoIdentity) {
		t.Errorf("error %v, want that there is none", err)
	}
}

// What is no identity is refused, each with what it is; no word of the file is shown.
func TestBadIdentities(t *testing.T) {
	a := ageKey(t)
	secretLine := strings.Split(a.text, "\n")[1]
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := age.ParseX25519Recipient(a.recipient)
	if err != nil {
		t.Fatal(err)
	}
	last := "X" // one key of 32 ends with it
	if strings.HasSuffix(secretLine, last) {
		last = "Q"
	}
	for name, tt := range map[string]struct{ text, want string }{
		"empty":            {"\n# nothing\n", "it is empty"},
		"plugin":           {"AGE-PLUGIN-YUBIKEY-1QQQQ", "line 1 is of a plugin"},
		"recipient":        {"# key\n" + a.recipient, "line 2 is a recipient"},
		"ssh public":       {"ssh-ed25519 AAAA", "line 1 is a recipient"},
		"one letter off":   {"\n\n" + secretLine[:len(secretLine)-1] + last, "line 3 is no identity, or is damaged"},
		"word":             {plain, "line 1 is no identity"},
		"long word":        {strings.Repeat(plain, 1000), "line 1 is no identity"},
		"ecdsa":            {sshKey(t, ec, "").text, "kind that opens nothing"},
		"locked ecdsa":     {sshKey(t, ec, "x").text, "key of ecdsa-sha2-nistp256, which opens nothing"},
		"cut ssh":          {sshKey(t, ed25519Key(t), "").text[:200], "cannot be read"},
		"encrypted to key": {encrypted(t, a.text, r, true), "encrypted to keys, not with a passphrase"},
		"cut age":          {lockAge(t, a.text, plain, true)[:90], "damaged"},
		"age in age":       {lockAge(t, lockAge(t, a.text, plain, false), plain, false), "line 1 is no identity"},
	} {
		t.Run(name, func(t *testing.T) {
			ids := &Identities{Text: New(tt.text), From: "$X", Ask: func(context.Context, string) ([]byte, error) { return []byte(plain), nil }}
			_, err := ids.Open(t.Context(), sealed(t, seal(t, plain, a.recipient)))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "$X") {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if leaks(err.Error()) || strings.Contains(err.Error(), secretLine[20:40]) {
				t.Errorf("the error shows the identity: %v", err)
			}
			var h *Error
			if !errors.As(err, &h) || h.Hint() == "" {
				t.Error("nothing mends it")
			}
		})
	}
}

// Values of up to 64 bytes are as long as each other, and never the same twice.
func TestSealedLength(t *testing.T) {
	a := ageKey(t)
	lengths := map[int]bool{}
	seen := map[string]bool{}
	for _, n := range []int{0, 1, 8, 40, 63, 64} {
		s := seal(t, strings.Repeat("x", n), a.recipient)
		lengths[len(s)] = true
		if seen[s] || strings.ContainsAny(s, "=\n\" ") || !IsSealed(s) {
			t.Errorf("sealed: %s", s)
		}
		seen[s] = true
	}
	if len(lengths) != 1 {
		t.Errorf("the lengths %v tell those of the secrets", lengths)
	}
	// what age itself writes, and base64 with padding, is as good
	r, err := age.ParseX25519Recipient(a.recipient)
	if err != nil {
		t.Fatal(err)
	}
	byHand := "age:" + base64.StdEncoding.EncodeToString([]byte(encrypted(t, plain+"\n", r, false)))
	if v, err := (&Identities{Text: New(a.text)}).Open(t.Context(), sealed(t, byHand)); err != nil || v.Reveal() != plain {
		t.Errorf("made by hand: %v", err)
	}
}

// A value that was cut, mistyped or changed is told as that: at once where no key is
// needed to see it, else when it is opened. Nothing of it opens as something else.
func TestDamagedSealed(t *testing.T) {
	a := ageKey(t)
	whole := seal(t, plain, a.recipient)
	ids := &Identities{Text: New(a.text), From: "$X"}
	for name, text := range map[string]string{
		"word": "age:" + plain, "empty": "age:", "no age": "age:" + base64.RawStdEncoding.EncodeToString([]byte(plain)),
		"half": whole[:len(whole)/2], "no text": whole[:len(whole)-120], "line end": whole[:50] + "\n" + whole[50:] + "!",
	} {
		if _, err := ParseSealed(text); err == nil || leaks(err.Error()) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	file, err := base64.RawStdEncoding.DecodeString(whole[len("age:"):])
	if err != nil {
		t.Fatal(err)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1
		s, err := ParseSealed("age:" + base64.RawStdEncoding.EncodeToString(bad))
		if err == nil {
			var v Value
			v, err = ids.Open(t.Context(), s)
			if v.Reveal() != "" {
				t.Fatalf("byte %d changed: it opens all the same", i)
			}
		}
		var h *Error
		if err == nil || leaks(err.Error()) || !errors.As(err, &h) && !errors.Is(err, ErrOtherIdentity) {
			t.Errorf("byte %d changed: error %v", i, err)
		}
	}
	for _, cut := range []int{1, 2, 5} {
		if s, err := ParseSealed(whole[:len(whole)-cut]); err == nil {
			if _, err = ids.Open(t.Context(), s); err == nil || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("cut by %d: error %v", cut, err)
			}
		}
	}
}

// Each thing that is no recipient is told as what it is, and a private key there is
// not shown.
func TestBadRecipients(t *testing.T) {
	a := ageKey(t)
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err) // GODEBUG may forbid it
	}
	for text, want := range map[string]string{
		"": "is no recipient", "age1": "is no recipient", plain: "is no recipient", "github:alice": "is no recipient",
		a.recipient[:len(a.recipient)-1]:       "is no recipient",
		strings.Split(a.text, "\n")[1]:         "is an identity, which is secret",
		sshKey(t, ed25519Key(t), "").text:      "is an identity, which is secret",
		"age1yubikey1qwerty":                   "is of a plugin of age",
		"age1tag1qwerty":                       "is of a plugin of age",
		"ssh-ed25519 " + plain:                 "is no recipient",
		"ecdsa-sha2-nistp256 AAAA":             "is a key of ecdsa-sha2-nistp256",
		"sk-ssh-ed25519@openssh.com AAAA":      "is a key of sk-ssh-ed25519@openssh.com",
		sshKey(t, small, "").recipient:         "is an RSA key of fewer than 2048 bits",
		"command=\"x\" " + a.recipient:         "is no recipient",
		a.recipient + " " + ageKey(t).text:     "is an identity, which is secret",
		a.recipient + ", " + a.recipient:       "is no recipient",
		"ssh-ed25519 AAAA a\nssh-ed25519 BBBB": "has more than one line",
		strings.ToUpper(a.recipient):           "is no recipient",
	} {
		_, err := ParseRecipient(text)
		var h *Error
		if err == nil || !strings.HasPrefix(err.Error(), want) || !errors.As(err, &h) || h.Hint() == "" {
			t.Errorf("%.20q: error %v, want %q", text, err, want)
		}
		if err != nil && (leaks(err.Error()) || strings.Contains(err.Error(), "SECRET-KEY")) {
			t.Errorf("the error shows the key: %v", err)
		}
	}
}

// A recipient is told from others in a message by what is short.
func TestShortRecipient(t *testing.T) {
	for text, want := range map[string]string{
		"age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p":                            "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@pc": "ssh-ed25519 ...UB+VHtZ6isGN alice@pc",
		"age1pq1" + strings.Repeat("q", 1900) + "end":                                               "age1pq1qqqqqqqqq...qqqqqqqqqend",
	} {
		if got := (Recipient{text: text}).Short(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A file is read as an identity, and a text as a sealed secret, whatever they hold.
func FuzzParseSealed(f *testing.F) {
	f.Add("age:", "AGE-SECRET-KEY-1")
	f.Add("age:YWdlLWVuY3J5cHRpb24ub3JnL3YxCg", "-----BEGIN OPENSSH PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text, identity string) {
		s, err := ParseSealed(text)
		if err != nil {
			return
		}
		if v, err := (&Identities{Text: New(identity), From: "$X"}).Open(t.Context(), s); err == nil && v.IsZero() {
			t.Error("neither a secret nor an error")
		}
	})
}
