package sshconn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

func signer(t *testing.T, key any, err error) ssh.Signer {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// threeKeys are a Debian host's keys. x/crypto would ask for ecdsa first.
func threeKeys(t *testing.T) []ssh.Signer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ecs := signer(t, ec, err)
	rk, err := rsa.GenerateKey(rand.Reader, 2048)
	rks := signer(t, rk, err)
	return []ssh.Signer{rks, ecs, transporttest.NewKey(t)}
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fails dials the first target, which must not succeed.
func fails(t *testing.T, d *Dialer, want error) error {
	t.Helper()
	c, err := d.Dial(t.Context(), d.Targets[0].Name)
	if err == nil {
		c.Close()
		t.Fatal("connected")
	}
	if want != nil && !errors.Is(err, want) {
		t.Fatalf("err = %v, want %v", err, want)
	}
	return err
}

func hint(t *testing.T, err error) string {
	t.Helper()
	var h transport.Hinter
	if !errors.As(err, &h) {
		t.Fatalf("%v: no hint", err)
	}
	return h.Hint()
}

// A host with several keys of which known_hosts holds one: the default order
// of x/crypto reports a mismatch (golang/go#29286).
func TestKnownByOneOfSeveralKeys(t *testing.T) {
	keys := threeKeys(t)
	s := transporttest.NewServer(t, transporttest.Options{HostKeys: keys, Untrusted: true})
	for _, key := range keys {
		for _, hashed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s hashed=%t", key.PublicKey().Type(), hashed), func(t *testing.T) {
				name := knownhosts.Normalize(s.Addr())
				if hashed {
					name = knownhosts.HashHostname(name)
				}
				tt := serverTarget("tokyo", s)
				tt.KnownHosts = writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), knownhosts.Line([]string{name}, key.PublicKey())+"\n")
				if hashed {
					// Line quotes nothing, but would bracket a name with a port.
					tt.KnownHosts = writeFile(t, tt.KnownHosts, name+" "+string(ssh.MarshalAuthorizedKey(key.PublicKey())))
				}
				dial(t, dialer(t, tt))
			})
		}
	}
}

// The mend of an unknown key must be one that works.
func TestUnknownKey(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{Untrusted: true})
	d := dialer(t, serverTarget("tokyo", s))
	err := fails(t, d, transport.ErrHostKey)
	if fp := ssh.FingerprintSHA256(s.HostKeys[0].PublicKey()); !strings.Contains(err.Error(), fp) {
		t.Errorf("%v: no fingerprint %s", err, fp)
	}
	h := hint(t, err)
	_, cmd, _ := strings.Cut(h, "then: ")
	cmd, _, ok := strings.Cut(cmd, "; or set")
	if !ok || !strings.HasPrefix(cmd, "ssh-keyscan ") {
		t.Fatalf("hint %q", h)
	}
	if _, err := exec.LookPath("ssh-keyscan"); err != nil {
		t.Skip("no ssh-keyscan on this machine to try the hint with")
	}
	if out, err := exec.Command("sh", "-c", cmd).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	dial(t, dialer(t, serverTarget("tokyo", s)))
}

// A changed key is refused, also where new ones are taken.
func TestChangedKey(t *testing.T) {
	for _, accept := range []bool{false, true} {
		s := transporttest.NewServer(t, transporttest.Options{Untrusted: true})
		s.Identity.Trust(t, s.Addr(), transporttest.NewKey(t).PublicKey())
		tt := serverTarget("tokyo", s)
		tt.AcceptNew = accept
		err := fails(t, dialer(t, tt), transport.ErrHostKey)
		if !strings.Contains(err.Error(), "HAS CHANGED") || !strings.Contains(err.Error(), s.Identity.KnownHosts+":1") {
			t.Errorf("accept %t: %v", accept, err)
		}
		if h := hint(t, err); !strings.Contains(h, "ssh-keygen -R") {
			t.Errorf("hint %q", h)
		}
	}
}

// A host that has lost the kind of key it was known by has changed too.
func TestChangedKindOfKey(t *testing.T) {
	keys := threeKeys(t)
	s := transporttest.NewServer(t, transporttest.Options{HostKeys: keys[:1], Untrusted: true})
	s.Identity.Trust(t, s.Addr(), keys[2].PublicKey())
	if err := fails(t, dialer(t, serverTarget("tokyo", s)), transport.ErrHostKey); !strings.Contains(err.Error(), "HAS CHANGED") {
		t.Errorf("err = %v", err)
	}
}

func TestRevokedKey(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	f, err := os.ReadFile(s.Identity.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, s.Identity.KnownHosts, string(f)+"@revoked * "+string(ssh.MarshalAuthorizedKey(s.HostKeys[0].PublicKey())))
	if err := fails(t, dialer(t, serverTarget("tokyo", s)), transport.ErrHostKey); !strings.Contains(err.Error(), "revoked") {
		t.Errorf("err = %v", err)
	}
}

// A line that cannot be read takes no host from the user, as with ssh: it is skipped,
// and told once. The other lines keep their numbers.
func TestMalformedLines(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	good, err := os.ReadFile(s.Identity.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	changed := transporttest.NewServer(t, transporttest.Options{Identity: s.Identity, Untrusted: true})
	other := knownhosts.Line([]string{changed.Addr()}, transporttest.NewKey(t).PublicKey()) + "\n"
	writeFile(t, s.Identity.KnownHosts, "# a comment\nosaka ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA\n"+string(good)+"\n@unknown x y z\n|1|x|y "+
		strings.Repeat("x", 70_000)+"\n"+other)
	d := dialer(t, serverTarget("tokyo", s), serverTarget("kyoto", changed))
	var told []string
	d.Warn = func(text string) { told = append(told, text) }
	dial(t, d)
	dial(t, d)
	slices.Sort(told)
	want := []string{":2: skipped: ssh: short read", ":5: skipped: knownhosts: unexpected marker", ":6: skipped: longer than"}
	if len(told) != len(want) {
		t.Fatalf("told %q", told)
	}
	for i, text := range told {
		if !strings.HasPrefix(text, s.Identity.KnownHosts+want[i]) {
			t.Errorf("told %q, want the file and %q", text, want[i])
		}
	}
	if _, err := d.Dial(t.Context(), "kyoto"); err == nil || !strings.Contains(err.Error(), "HAS CHANGED") || !strings.Contains(err.Error(), s.Identity.KnownHosts+":7 ") {
		t.Errorf("a changed key behind such lines: %v", err)
	}
}

// Where only an authority is known for a host, a key without a certificate is not known,
// which is no sign of an attack. A key that stands there beside counts as ever.
func TestPlainKeyWhereAnAuthorityIsKnown(t *testing.T) {
	ca := transporttest.NewKey(t).PublicKey()
	authority := "@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca))
	s := transporttest.NewServer(t, transporttest.Options{Untrusted: true})
	writeFile(t, s.Identity.KnownHosts, authority)
	if err := fails(t, dialer(t, serverTarget("tokyo", s)), transport.ErrHostKey); !strings.Contains(err.Error(), "is not in") || strings.Contains(err.Error(), "CHANGED") {
		t.Errorf("err = %v", err)
	}
	// The authority's own key as the host's, too: the line says that it is the host's.
	for _, key := range []ssh.PublicKey{ca, transporttest.NewKey(t).PublicKey()} {
		writeFile(t, s.Identity.KnownHosts, authority+knownhosts.Line([]string{s.Addr()}, key)+"\n")
		accepting := serverTarget("tokyo", s)
		accepting.AcceptNew = true
		if err := fails(t, dialer(t, accepting), transport.ErrHostKey); !strings.Contains(err.Error(), "HAS CHANGED") || !strings.Contains(err.Error(), ":2 ") {
			t.Errorf("err = %v", err)
		}
	}
	accepting := serverTarget("tokyo", s)
	accepting.AcceptNew = true
	writeFile(t, s.Identity.KnownHosts, authority)
	dial(t, dialer(t, accepting))
}

func TestHostCertificate(t *testing.T) {
	ca, key := transporttest.NewKey(t), transporttest.NewKey(t)
	cert := &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.HostCert, ValidPrincipals: []string{"127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	host, err := ssh.NewCertSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	s := transporttest.NewServer(t, transporttest.Options{HostKeys: []ssh.Signer{host}, Untrusted: true})
	writeFile(t, s.Identity.KnownHosts, "@cert-authority * "+string(ssh.MarshalAuthorizedKey(ca.PublicKey())))
	dial(t, dialer(t, serverTarget("tokyo", s)))
}

// Hosts dialed in parallel write one file: every key once, every line whole,
// and what is written holds for the next run.
func TestAcceptNewInParallel(t *testing.T) {
	id := transporttest.NewIdentity(t)
	file := filepath.Join(t.TempDir(), "new", "known_hosts")
	var targets []Target
	for i := range 8 {
		s := transporttest.NewServer(t, transporttest.Options{Identity: id, Untrusted: true})
		for j := range 2 { // two names of one host
			tt := serverTarget(fmt.Sprintf("site%d-%d", i, j), s)
			tt.KnownHosts, tt.AcceptNew = file, true
			targets = append(targets, tt)
		}
	}
	d := dialer(t, targets...)
	var wg sync.WaitGroup
	for _, tt := range targets {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), tt.Name)
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n != 8 {
		t.Errorf("%d lines for 8 hosts:\n%s", n, data)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for i := range targets {
		targets[i].AcceptNew = false
	}
	dial(t, dialer(t, targets...))
}

// The first of two keys under one name counts within a run, too.
func TestAcceptNewOnce(t *testing.T) {
	var h hostKeys
	s := &settings{host: "tokyo", port: 22, accept: true, known: []string{filepath.Join(t.TempDir(), "known_hosts")}}
	// Both dials begin before the file holds anything.
	var vs [2]*verifier
	for i := range vs {
		v, err := h.verifier(s)
		if err != nil {
			t.Fatal(err)
		}
		vs[i] = v
	}
	key := transporttest.NewKey(t).PublicKey()
	for range 2 {
		if err := vs[0].check("", &net.TCPAddr{}, key); err != nil {
			t.Error(err)
		}
	}
	if err := vs[1].check("", &net.TCPAddr{}, transporttest.NewKey(t).PublicKey()); !errors.Is(err, transport.ErrHostKey) {
		t.Errorf("second key: err = %v", err)
	}
}

// A last line without its end must not swallow the new one.
func TestAppendLine(t *testing.T) {
	path := writeFile(t, filepath.Join(t.TempDir(), "known_hosts"), "old key")
	for _, l := range []string{"one", "two"} {
		if err := appendLine(path, l); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(path); string(got) != "old key\none\ntwo\n" {
		t.Errorf("got %q", got)
	}
}

func TestHostKeyAlias(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{Untrusted: true})
	s.Identity.Trust(t, "office:22", s.HostKeys[0].PublicKey())
	tt := serverTarget("tokyo", s)
	tt.Host = "tokyo"
	d := dialer(t, tt)
	d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"), "Host tokyo\n HostName 127.0.0.1\n HostKeyAlias office\n")
	dial(t, d)
}
