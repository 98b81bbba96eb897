package inventory

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// newIdentity returns the text of an identity, and its recipient.
func newIdentity(t *testing.T) (secret.Value, secret.Recipient) {
	t.Helper()
	text, r, err := secret.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	return text, r
}

// lock returns an identity as age encrypts it with a passphrase.
func lock(t *testing.T, id secret.Value, passphrase string) string {
	t.Helper()
	r, err := age.NewScryptRecipient(passphrase)
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	var b bytes.Buffer
	w, err := age.Encrypt(&b, r)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(w, id.Reveal())
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func seal(t *testing.T, text string, to ...secret.Recipient) string {
	t.Helper()
	s, err := secret.Seal(secret.New(text), to)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check is validate's look at an inventory, with its paths made short.
func check(t *testing.T, path string, u Unlock) (*Inventory, string) {
	t.Helper()
	inv, diags := Check(t.Context(), path, u)
	var text strings.Builder
	for _, d := range diags {
		fmt.Fprintln(&text, d)
	}
	return inv, strings.NewReplacer(path, "FILE", filepath.Dir(path), "DIR").Replace(text.String())
}

const sealedText = `[hub]
name = "vps"
address = "203.0.113.10"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = %q
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = %q
[sites.kyoto]
subnets = ["192.168.3.0/24"]
psk = %s
[secrets]
recipients = [%q]
identity = "id.txt"
`

const literalPSK = `"kyoto-Ahquai3ohGhaeXo8"`

// Encrypted secrets are opened by the identity of the file that the inventory names, or
// by the one that stands in its place, and checked like all others.
func TestSealedSecrets(t *testing.T) {
	id, to := newIdentity(t)
	_, other := newIdentity(t)
	tokyo, osaka := seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", other, to)
	path := writeInventory(t, fmt.Sprintf(sealedText, tokyo, osaka, literalPSK, to), 0o644)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "id.txt"), []byte(id.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	inv, text := check(t, path, Unlock{})
	if inv == nil || inv.Sites[2].PSK.Reveal() != "tokyo-Ahquai3ohGhaeXo8" || inv.Sites[1].PSK.Reveal() != "osaka-Ahquai3ohGhaeXo8" {
		t.Fatalf("not opened: %s", text)
	}
	// it is the literal one that others must not read
	if want := "FILE:12: warning: sites.kyoto.psk stands in a file that other users can read"; !strings.HasPrefix(text, want) || strings.Count(text, "\n") != 1 {
		t.Errorf("told %q, want %q alone", text, want)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(path), "id.txt")); err != nil {
		t.Fatal(err)
	}
	if inv, text := check(t, path, Unlock{Identity: id, From: "$X"}); inv == nil || inv.Sites[2].PSK.IsZero() {
		t.Errorf("not opened by what stands in for the file: %s", text)
	}

	// what is inside is checked, with the line of its key
	path = writeInventory(t, fmt.Sprintf(sealedText, seal(t, "short", to), seal(t, "kyoto-Ahquai3ohGhaeXo8", to), literalPSK, to), 0o600)
	_, text = check(t, path, Unlock{Identity: id, From: "$X"})
	want := "FILE:6: sites.tokyo.psk has 5 characters; write 16 at least, at random\n" +
		"FILE:12: sites.kyoto.psk is the same as sites.osaka.psk (line 9); give each its own: who knows one key must not open another tunnel\n"
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A host's run opens its own secrets and no others: one that is damaged, or encrypted to
// somebody else, may be another site's.
func TestSealedForHosts(t *testing.T) {
	id, to := newIdentity(t)
	_, other := newIdentity(t)
	path := writeInventory(t, fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", other), literalPSK, to), 0o600)
	inv, diags := Load(t.Context(), path)
	if inv == nil {
		t.Fatal(diags)
	}
	inv.Unlock = Unlock{Identity: id, From: "$X"}
	if !inv.Sites[2].PSK.IsZero() {
		t.Error("opened before Resolve")
	}
	if diags := inv.Resolve(t.Context(), "tokyo"); len(diags) > 0 || inv.Sites[2].PSK.IsZero() {
		t.Errorf("tokyo: %v", diags)
	}
	diags = inv.Resolve(t.Context(), "vps")
	if len(diags) != 1 || diags[0].Line != 9 || !strings.Contains(diags[0].String(), "sites.osaka.psk: it is encrypted to others than $X (age1") || !strings.Contains(diags[0].Mend, to.String()) {
		t.Errorf("the hub: %v", diags)
	}
}

// Without an identity, validate looks at all else and says what it has left out, as it
// does where nobody can be asked for a passphrase; a run that needs them ends. With a
// wrong one both end, with the recipients, in one line for all of them.
func TestNoIdentity(t *testing.T) {
	_, to := newIdentity(t)
	wrong, _ := newIdentity(t)
	tokyo, osaka := seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to)
	text := fmt.Sprintf(sealedText, tokyo, osaka, `{ command = ["sh", "-c", "echo ran >>log; echo kyoto-Ahquai3ohGhaeXo8"] }`, to)
	ran := func(path string) bool {
		_, err := os.Stat(filepath.Join(filepath.Dir(path), "log"))
		return err == nil
	}

	path := writeInventory(t, text, 0o600)
	inv, got := check(t, path, Unlock{})
	want := "FILE: warning: sites.tokyo.psk and sites.osaka.psk are encrypted and not looked at: there is no identity at DIR/id.txt; " +
		"put one there, or its text into $VPNPUSH_IDENTITY, that belongs to one of the recipients (" + to.String() + ")\n"
	if diff := cmp.Diff(want, got); diff != "" || inv == nil || !ran(path) {
		t.Errorf("validate: %v (-want +got):\n%s", inv, diff)
	}

	path = writeInventory(t, text, 0o600)
	inv, _ = Load(t.Context(), path)
	diags := inv.Resolve(t.Context())
	want = "FILE:6: sites.tokyo.psk and 1 more: there is no identity at DIR/id.txt; " +
		"put one there, or its text into $VPNPUSH_IDENTITY, that belongs to one of the recipients (" + to.String() + ")"
	if len(diags) != 1 || strings.NewReplacer(path, "FILE", filepath.Dir(path), "DIR").Replace(diags[0].String()) != want || ran(path) {
		t.Errorf("a run: %v", diags)
	}

	inv, got = check(t, path, Unlock{Identity: wrong, From: "$X"})
	if inv != nil || !strings.HasPrefix(got, "FILE:6: sites.tokyo.psk and 1 more: it is encrypted to others than $X (age1") || !strings.Contains(got, to.String()) || ran(path) {
		t.Errorf("wrong: %s", got)
	}
}

// A passphrase is asked for when all else is good, once, and by no run that opens nothing.
func TestSealedAsks(t *testing.T) {
	id, to := newIdentity(t)
	for _, tt := range []struct {
		name, kyoto, answer string
		asked               int
		want                string
	}{
		{"good", literalPSK, "open sesame", 1, ""},
		{"a fault elsewhere", `"short"`, "open sesame", 0, "FILE:12: sites.kyoto.psk has 5 characters"},
		{"a secret elsewhere", `{ env = "VPNPUSH_TEST_NONE" }`, "open sesame", 0, "FILE:12: sites.kyoto.psk: the environment variable"},
		{"wrong", literalPSK, "open, sesame", 1, "FILE:6: sites.tokyo.psk and 1 more: identity $X: the passphrase is wrong; run it again"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeInventory(t, fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to), tt.kyoto, to), 0o600)
			asked := 0
			inv, text := check(t, path, Unlock{Identity: secret.New(lock(t, id, "open sesame")), From: "$X", Passphrase: func(context.Context, string) ([]byte, error) {
				asked++
				return []byte(tt.answer), nil
			}})
			if asked != tt.asked || !strings.HasPrefix(text, tt.want) || (inv == nil) != (tt.want != "") || inv != nil && inv.Sites[1].PSK.IsZero() {
				t.Errorf("asked %d times: %s", asked, text)
			}
		})
	}
	// nobody to ask
	path := writeInventory(t, fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to), literalPSK, to), 0o600)
	locked := Unlock{Identity: secret.New(lock(t, id, "open sesame")), From: "$X"}
	if inv, text := check(t, path, locked); inv == nil || !strings.Contains(text, "not looked at: identity $X: it has a passphrase, and there is nobody to ask") {
		t.Errorf("validate: %s", text)
	}
	inv, _ := Load(t.Context(), path)
	inv.Unlock = locked
	if diags := inv.Resolve(t.Context(), "kyoto"); len(diags) > 0 {
		t.Errorf("kyoto: %v", diags)
	}
	if diags := inv.Resolve(t.Context(), "tokyo"); len(diags.Errors()) != 1 || !strings.Contains(diags[0].Summary, "nobody to ask") {
		t.Errorf("tokyo: %v", diags)
	}
	gone := errors.New("gone")
	inv.Unlock.Passphrase, inv.identities = func(context.Context, string) ([]byte, error) { return nil, gone }, nil
	if diags := inv.Resolve(t.Context(), "tokyo"); len(diags.Errors()) != 1 || !strings.Contains(diags[0].Summary, "gone") {
		t.Errorf("tokyo: %v", diags)
	}
}

// The identity's default place is in the home folder, which a service of systemd has
// none of: it is asked for where an identity is wanted that stands nowhere else.
func TestIdentityPlace(t *testing.T) {
	id, to := newIdentity(t)
	text := strings.Replace(fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to), literalPSK, to), "identity = ", "# ", 1)
	path := writeInventory(t, text, 0o600)
	home := t.TempDir()
	t.Setenv("HOME", home)
	if err := os.MkdirAll(filepath.Join(home, ".config/vpnpush"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".config/vpnpush/identity.txt"), []byte(id.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	if inv, text := check(t, path, Unlock{}); inv == nil || text != "" || inv.Sites[2].PSK.IsZero() {
		t.Errorf("home: %s", text)
	}
	t.Setenv("HOME", "")
	if inv, text := check(t, path, Unlock{Identity: id, From: "$X"}); inv == nil || text != "" {
		t.Errorf("no home, and no need of it: %s", text)
	}
	if inv, text := check(t, path, Unlock{}); inv == nil || !strings.Contains(text, "not looked at: find path ~/.config/vpnpush/identity.txt: $HOME is not defined; set HOME, or write a whole path into secrets.identity (age1") {
		t.Errorf("no home: %s", text)
	}
	inv, _ := Load(t.Context(), path)
	if diags := inv.Resolve(t.Context(), "tokyo"); len(diags.Errors()) != 1 || !strings.Contains(diags[0].Mend, "set HOME") {
		t.Errorf("no home: %v", diags)
	}
}

// A value that is no value is a fault with the line of its key before anything is opened.
func TestDamagedSealed(t *testing.T) {
	id, to := newIdentity(t)
	good := seal(t, "tokyo-Ahquai3ohGhaeXo8", to)
	const mend = "; take it from an older state of the file, or write the secret anew with vpnpush secret edit\n"
	for value, want := range map[string]string{
		"age:hunter2!":         "FILE:6: sites.tokyo.psk is encrypted, and damaged: after age: it is not base64" + mend,
		"age:hunter2x":         "FILE:6: sites.tokyo.psk is encrypted, and damaged: after age: it is not what age writes" + mend,
		good[:len(good)-120]:   "FILE:6: sites.tokyo.psk is encrypted, and damaged: its end is missing" + mend,
		good[:len(good)-4]:     "FILE:6: sites.tokyo.psk: it is encrypted, and damaged, or somebody has changed it" + mend,
		tampered(t, good, -20): "FILE:6: sites.tokyo.psk: it is encrypted, and damaged, or somebody has changed it" + mend,
	} {
		path := writeInventory(t, fmt.Sprintf(sealedText, value, seal(t, "osaka-Ahquai3ohGhaeXo8", to), literalPSK, to), 0o600)
		if _, text := check(t, path, Unlock{Identity: id, From: "$X"}); text != want {
			t.Errorf("%.20s: got %swant %s", value, text, want)
		}
	}
}

func tampered(t *testing.T, s string, at int) string {
	t.Helper()
	b, err := base64.RawStdEncoding.DecodeString(s[len("age:"):])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)+at] ^= 1
	return "age:" + base64.RawStdEncoding.EncodeToString(b)
}

// A new secret is encrypted where there are recipients. Where others are encrypted, and
// nobody is named to encrypt to, nothing is written: in plain text it would be committed.
func TestDraftSeals(t *testing.T) {
	id, to := newIdentity(t)
	text := fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to), literalPSK, to)
	draft := func(path string) *Draft {
		t.Helper()
		d, diags, err := OpenDraft(t.Context(), path)
		if err != nil || d == nil {
			t.Fatal(err, diags)
		}
		t.Cleanup(d.Close)
		return d
	}
	path := writeInventory(t, text, 0o600)
	d := draft(path)
	d.Set([]string{"sites", "kyoto", "psk"}, secret.New("kyoto-the-second-key"))
	d.Add([]string{"sites", "nara"}, Pair{[]string{"subnets"}, []string{"192.168.4.0/24"}}, Pair{[]string{"psk"}, secret.New("nara-Ahquai3ohGhaeXo8")})
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	is, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(is), "second-key") || strings.Contains(string(is), "Ahquai3") {
		t.Errorf("a secret stands in plain text (%v):\n%s", err, is)
	}
	inv, told := check(t, path, Unlock{Identity: id, From: "$X"})
	if inv == nil || inv.Sites[0].PSK.Reveal() != "kyoto-the-second-key" || inv.Sites[1].PSK.Reveal() != "nara-Ahquai3ohGhaeXo8" {
		t.Errorf("the new secrets are not opened: %s", told)
	}

	path = writeInventory(t, strings.Replace(text, "recipients", "# recipients", 1), 0o600)
	d = draft(path)
	d.Set([]string{"sites", "kyoto", "psk"}, secret.New("kyoto-the-second-key"))
	if err := d.Save(t.Context()); err == nil || !strings.Contains(err.Error(), "names nobody to encrypt to") || mendOf(err) == "" {
		t.Errorf("error %v", err)
	}
}

// What edits nothing writes nothing: not even the time of the file changes.
func TestDraftOfNothing(t *testing.T) {
	path := writeInventory(t, "[hub]\naddress = \"203.0.113.10\"\n", 0o600)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	d, diags, err := OpenDraft(t.Context(), path)
	if err != nil || d == nil {
		t.Fatal(err, diags)
	}
	defer d.Close()
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) {
		t.Errorf("the file is another (%v)", err)
	}
}

// Secrets are found by their key, and by what they are of.
func TestNamed(t *testing.T) {
	inv, diags := Parse("x.toml", []byte(`[hub]
address = "203.0.113.10"
ssh.become_password = "sudo-password"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
[l2tp]
psk = "l2tp-Quoo9eeChooy6aeT"
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.30"
users."bob@example.com".password = "bob-password"
`))
	if inv == nil {
		t.Fatal(diags)
	}
	for word, want := range map[string]string{
		"tokyo": "sites.tokyo.psk", "sites.tokyo.psk": "sites.tokyo.psk", "l2tp": "l2tp.psk", "hub.ssh.become_password": "hub.ssh.become_password",
		"bob@example.com": `l2tp.users."bob@example.com".password`, `l2tp.users."bob@example.com".password`: `l2tp.users."bob@example.com".password`,
	} {
		k, err := inv.Named(word)
		if err != nil || k.String() != want || inv.Secret(k).IsZero() {
			t.Errorf("%s: %s, %v", word, k, err)
		}
	}
	for word, mend := range map[string]string{"all": "known", "tokio": `did you mean "tokyo"?`, "sites.tokio.psk": `did you mean "sites.tokyo.psk"?`, "hub": ""} {
		if k, err := inv.Named(word); err == nil || mend != "known" && !strings.Contains(mendOf(err), mend) {
			t.Errorf("%s: %s, %v; %s", word, k, err, mendOf(err))
		}
	}
}

// Recipients are checked where they stand, and one that is a private key is not shown.
func TestRecipients(t *testing.T) {
	id, to := newIdentity(t)
	pq := "age1pq1" + strings.Repeat("q", 20)
	for list, want := range map[string]string{
		`["` + to.String() + `"]`:                "",
		`[]`:                                     "",
		`"age1"`:                                 "FILE:2: secrets.recipients is a string; write a list of strings, such as [\"age1...\"]\n",
		`["age1yubikey1qqq"]`:                    "FILE:2: secrets.recipients: element 1 is of a plugin of age, which vpnpush does not run; ",
		"[\n  '" + to.String() + "',\n  'x',\n]": "FILE:4: secrets.recipients: element 2 is no recipient; ",
		`["` + strings.Split(id.Reveal(), "\n")[1] + `"]`: "FILE:2: secrets.recipients: element 1 is an identity, which is secret; ",
		`["` + pq + `"]`: "FILE:2: secrets.recipients: element 1 is no recipient; ",
	} {
		_, diags := Parse("FILE", []byte("[secrets]\nrecipients = "+list+"\n[hub]\naddress = \"203.0.113.10\"\n"))
		got := ""
		for _, d := range diags {
			got += d.String() + "\n"
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" || strings.Contains(got, "AGE-SECRET") || strings.Count(got, "\n") > 1 {
			t.Errorf("%.20s: got %q, want %q", list, got, want)
		}
	}
}

// Who can read the identity reads everything: others on this machine, and everybody who
// gets the repository. One with a passphrase is less of a worry.
func TestIdentityWarnings(t *testing.T) {
	id, to := newIdentity(t)
	for _, tt := range []struct {
		name, git, text string
		mode            os.FileMode
		want            []string
	}{
		{"private", "", id.Reveal(), 0o600, nil},
		{"others read", "", id.Reveal(), 0o644, []string{"FILE:15: warning: secrets.identity: other users can read its file (mode 0644); chmod 600 DIR/id.txt"}},
		{"in the repository", ".git", id.Reveal(), 0o600, []string{"FILE:15: warning: secrets.identity: its file is in the repository DIR, beside what it opens; move it out, to ~/.config/vpnpush/identity.txt for example: "}},
		{"with a passphrase", ".git", lock(t, id, "open sesame"), 0o644, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeInventory(t, fmt.Sprintf(sealedText, seal(t, "tokyo-Ahquai3ohGhaeXo8", to), seal(t, "osaka-Ahquai3ohGhaeXo8", to), literalPSK, to), 0o600)
			dir := filepath.Dir(path)
			if tt.git != "" {
				if err := os.Mkdir(filepath.Join(dir, tt.git), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "id.txt"), []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, "id.txt"), tt.mode); err != nil {
				t.Fatal(err)
			}
			inv, text := check(t, path, Unlock{Passphrase: func(context.Context, string) ([]byte, error) { return []byte("open sesame"), nil }})
			if inv == nil || strings.Count(text, "\n") != len(tt.want) {
				t.Fatalf("told %q", text)
			}
			for _, w := range tt.want {
				if !strings.Contains(text, w) {
					t.Errorf("told %q, want %q", text, w)
				}
			}
		})
	}
}
