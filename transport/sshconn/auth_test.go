package sshconn

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// serveAgent starts an agent that holds wrong keys and then the given ones.
func serveAgent(t *testing.T, wrong int, keys ...ed25519.PrivateKey) string {
	t.Helper()
	ring := agent.NewKeyring()
	for range wrong {
		_, k, _ := ed25519.GenerateKey(rand.Reader)
		keys = append([]ed25519.PrivateKey{k}, keys...)
	}
	for i, k := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: k, Comment: fmt.Sprintf("key%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	return listenAgent(t, func(c net.Conn) { agent.ServeAgent(ring, c) })
}

// listenAgent gives a socket on which every connection is served.
func listenAgent(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return path
}

// pair returns a key and its public side.
func pair(t *testing.T) (ed25519.PrivateKey, ssh.PublicKey) {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k, signer(t, k, nil).PublicKey()
}

func keyPEM(t *testing.T, k ed25519.PrivateKey, passphrase string) string {
	t.Helper()
	block, err := ssh.MarshalPrivateKey(k, "")
	if passphrase != "" {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k, "", []byte(passphrase))
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

// Two publickey methods in a row would try only the first.
func TestSecondKeyIsTried(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	other := transporttest.NewIdentity(t)
	tt := serverTarget("tokyo", s)
	tt.IdentityFile = other.IdentityFile
	d := dialer(t, tt)
	d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"), "IdentityFile "+s.Identity.IdentityFile+"\n")
	dial(t, d)
	// Two are asked about, and the right one is then signed with.
	if n := s.Counts().Offers; n > 3 {
		t.Errorf("%d offers", n)
	}
}

// The inventory's key comes before an agent full of others, at which sshd
// would hang up.
func TestExplicitKeyBeforeAgent(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	d := dialer(t, serverTarget("tokyo", s))
	t.Setenv("SSH_AUTH_SOCK", serveAgent(t, 8))
	dial(t, d)
}

// An agent that is locked, or waits for a click, may answer never: it is waited for once,
// and the other keys are tried.
func TestAgentThatDoesNotAnswer(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	var asked atomic.Int32
	sock := listenAgent(t, func(net.Conn) { asked.Add(1) })

	t.Run("another key is let in", func(t *testing.T) {
		other := serverTarget("osaka", s)
		d := dialer(t, serverTarget("tokyo", s), other)
		d.agentWait = 10 * time.Millisecond
		t.Setenv("SSH_AUTH_SOCK", sock)
		dial(t, d)
		c, err := d.Dial(t.Context(), other.Name)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if n := asked.Load(); n != 1 {
			t.Errorf("it was asked %d times", n)
		}
	})
	t.Run("no other key", func(t *testing.T) {
		tt := serverTarget("tokyo", s)
		tt.IdentityFile = ""
		d := dialer(t, tt)
		d.agentWait = 10 * time.Millisecond
		t.Setenv("HOME", t.TempDir())
		t.Setenv("SSH_AUTH_SOCK", sock)
		err := fails(t, d, transport.ErrAuth)
		if want := "agent: no answer within 10ms: it may be locked, or wait for a click"; !strings.Contains(err.Error(), want) {
			t.Errorf("err = %v, want %q in it", err, want)
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		d := dialer(t, serverTarget("tokyo", s))
		d.agentWait = time.Hour
		t.Setenv("SSH_AUTH_SOCK", listenAgent(t, func(net.Conn) { cancel() }))
		if _, err := d.Dial(ctx, "tokyo"); !errors.Is(err, context.Canceled) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestAgent(t *testing.T) {
	key, pub := pair(t)
	s := transporttest.NewServer(t, transporttest.Options{Authorized: []ssh.PublicKey{pub}})
	sock := serveAgent(t, 2, key)
	tt := serverTarget("tokyo", s)
	tt.IdentityFile = ""
	home := t.TempDir()

	t.Run("found", func(t *testing.T) {
		d := dialer(t, tt)
		t.Setenv("HOME", home)
		t.Setenv("SSH_AUTH_SOCK", sock)
		dial(t, d)
	})
	t.Run("IdentityAgent", func(t *testing.T) {
		d := dialer(t, tt)
		t.Setenv("HOME", home)
		d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"), "IdentityAgent "+sock+"\n")
		dial(t, d)
	})
	t.Run("IdentitiesOnly", func(t *testing.T) {
		d := dialer(t, tt)
		t.Setenv("HOME", home)
		t.Setenv("SSH_AUTH_SOCK", sock)
		d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"), "IdentitiesOnly yes\n")
		before := s.Counts().Offers
		fails(t, d, transport.ErrAuth)
		if n := s.Counts().Offers - before; n != 0 {
			t.Errorf("%d keys of the agent were offered", n)
		}
	})
	t.Run("named by its public file", func(t *testing.T) {
		tt := tt
		tt.IdentityFile = writeFile(t, filepath.Join(t.TempDir(), "id.pub"), string(ssh.MarshalAuthorizedKey(pub)))
		d := dialer(t, tt)
		t.Setenv("SSH_AUTH_SOCK", sock)
		d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"), "IdentitiesOnly yes\n")
		dial(t, d)
	})
	t.Run("encrypted file that the agent holds", func(t *testing.T) {
		tt := tt
		tt.IdentityFile = writeFile(t, filepath.Join(t.TempDir(), "id"), keyPEM(t, key, "secret"))
		d := dialer(t, tt)
		t.Setenv("SSH_AUTH_SOCK", sock)
		d.Passphrase = func(string) ([]byte, error) { t.Error("asked"); return nil, errors.New("no") }
		dial(t, d)
	})
}

// A passphrase is asked for once, however many hosts want the key.
func TestPassphraseOnce(t *testing.T) {
	key, pub := pair(t)
	s := transporttest.NewServer(t, transporttest.Options{Authorized: []ssh.PublicKey{pub}})
	tt := serverTarget("tokyo", s)
	tt.IdentityFile = writeFile(t, filepath.Join(t.TempDir(), "id"), keyPEM(t, key, "correct horse"))
	d := dialer(t, tt)
	var asked atomic.Int32
	d.Passphrase = func(path string) ([]byte, error) {
		asked.Add(1)
		if path != tt.IdentityFile {
			t.Errorf("asked for %s", path)
		}
		return []byte("correct horse"), nil
	}
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			c, err := d.Dial(t.Context(), "tokyo")
			if err != nil {
				t.Error(err)
				return
			}
			c.Close()
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// The error of a host that lets nobody in says what was tried and what not.
func TestAuthErrorSaysWhatWasTried(t *testing.T) {
	key, _ := pair(t)
	other := transporttest.NewIdentity(t)
	s := transporttest.NewServer(t, transporttest.Options{})
	enc := writeFile(t, filepath.Join(t.TempDir(), "enc"), keyPEM(t, key, "x"))
	junk := writeFile(t, filepath.Join(t.TempDir(), "junk"), "no key\n")

	tt := serverTarget("tokyo", s)
	tt.IdentityFile = enc
	d := dialer(t, tt)
	missing := filepath.Join(t.TempDir(), "missing")
	d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"),
		fmt.Sprintf("IdentityFile %s\nIdentityFile %s\nIdentityFile %s\n", other.IdentityFile, junk, missing))
	err := fails(t, d, transport.ErrAuth)
	for _, want := range []string{
		"connect to tokyo (" + s.Addr() + "): not let in as root: tried " + other.IdentityFile, "not tried: ", enc + ": encrypted", junk + ": ", missing, "no agent",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	if h := hint(t, err); !strings.Contains(h, "ssh-copy-id") {
		t.Errorf("hint %q", h)
	}

	d = dialer(t, tt)
	d.Passphrase = func(string) ([]byte, error) { return []byte("wrong"), nil }
	if err := fails(t, d, transport.ErrAuth); !strings.Contains(err.Error(), enc+": wrong passphrase") {
		t.Errorf("err = %v", err)
	}
}

func TestUserCertificate(t *testing.T) {
	ca := transporttest.NewKey(t)
	key, pub := pair(t)
	s := transporttest.NewServer(t, transporttest.Options{Authorized: []ssh.PublicKey{ca.PublicKey()}})
	cert := &ssh.Certificate{Key: pub, CertType: ssh.UserCert, ValidPrincipals: []string{"root"}, ValidBefore: ssh.CertTimeInfinity}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	tt := serverTarget("tokyo", s)
	tt.IdentityFile = writeFile(t, filepath.Join(t.TempDir(), "id"), keyPEM(t, key, ""))
	fails(t, dialer(t, tt), transport.ErrAuth)
	writeFile(t, tt.IdentityFile+"-cert.pub", string(ssh.MarshalAuthorizedKey(cert)))
	dial(t, dialer(t, tt))
}
