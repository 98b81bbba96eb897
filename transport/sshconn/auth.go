package sshconn

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/vpnpush/vpnpush/transport"
)

// maxOffers is how many keys are offered. sshd hangs up at the sixth failure
// (MaxAuthTries, sshd_config(5)), and each one costs a round trip.
const maxOffers = 6

// keyFile is what a key file holds.
type keyFile struct {
	pub    ssh.PublicKey // nil: not known without the passphrase
	signer ssh.Signer    // nil: encrypted, or the file holds only the public key
	locked bool          // encrypted
}

// offer is a key to be tried, and its name in errors.
type offer struct {
	ssh.Signer
	name string
}

// offers is the list of keys for one host.
type offers struct {
	list    []offer
	skipped []string // what was not offered, and why
	agent   net.Conn
}

func (o *offers) close() {
	if o.agent != nil {
		o.agent.Close()
	}
}

func (o *offers) add(s ssh.Signer, name string) {
	blob := s.PublicKey().Marshal()
	for _, have := range o.list {
		if bytes.Equal(have.PublicKey().Marshal(), blob) {
			return
		}
	}
	o.list = append(o.list, offer{s, name})
}

func (o *offers) skip(format string, a ...any) {
	o.skipped = append(o.skipped, fmt.Sprintf(format, a...))
}

// signers is the callback of the one ssh.PublicKeysCallback: of two methods
// of the same name x/crypto tries only the first.
func (o *offers) signers() ([]ssh.Signer, error) {
	var out []ssh.Signer
	for _, k := range o.list {
		out = append(out, k.Signer)
	}
	return out, nil
}

// offers gathers the keys for s: the files that were asked for, then the
// agent's, then OpenSSH's default files. It runs before the connection is
// opened, because a passphrase may be asked for.
func (d *Dialer) offers(ctx context.Context, s *settings) (*offers, error) {
	o := &offers{}
	var inAgent []ssh.Signer
	var comments []string
	if s.agent != "" {
		var err error
		if inAgent, comments, err = d.askAgent(ctx, o, s.agent); err != nil {
			if ctx.Err() != nil {
				return o, context.Cause(ctx)
			}
			o.skip("agent: %v", err)
		}
	}
	agentKey := func(pub ssh.PublicKey) ssh.Signer {
		for _, k := range inAgent {
			if pub != nil && bytes.Equal(k.PublicKey().Marshal(), pub.Marshal()) {
				return k
			}
		}
		return nil
	}

	var files []ssh.Signer
	var names []string
	for _, path := range s.files {
		k, err := d.keyFile(ctx, path)
		if err != nil {
			if s.explicit || !errors.Is(err, os.ErrNotExist) {
				o.skip("%v", err)
			}
			continue
		}
		signer := k.signer
		if signer == nil {
			signer = agentKey(k.pub)
		}
		if signer == nil && k.locked && (s.explicit || len(inAgent) == 0) {
			if signer, err = d.unlock(ctx, path); err != nil {
				o.skip("%s: %v", path, err)
				continue
			}
		}
		if signer == nil {
			if k.locked {
				o.skip("%s: encrypted", path)
			} else {
				o.skip("%s: only a public key, and the agent does not hold its private one", path)
			}
			continue
		}
		files, names = append(files, signer), append(names, path)
	}

	addFiles := func() {
		for i, signer := range files {
			for _, path := range append([]string{names[i] + "-cert.pub"}, s.certs...) {
				cert, err := readCert(path)
				if errors.Is(err, os.ErrNotExist) {
					continue
				}
				if err != nil {
					o.skip("%v", err)
					continue
				}
				if !bytes.Equal(cert.Key.Marshal(), signer.PublicKey().Marshal()) {
					continue
				}
				if c, err := ssh.NewCertSigner(cert, signer); err == nil {
					o.add(c, path)
				}
			}
			o.add(signer, names[i])
		}
	}
	addAgent := func() {
		if s.only {
			return
		}
		for i, k := range inAgent {
			o.add(k, "agent key "+comments[i])
		}
	}
	if s.explicit {
		addFiles()
		addAgent()
	} else {
		addAgent()
		addFiles()
	}
	if len(o.list) > maxOffers {
		for _, k := range o.list[maxOffers:] {
			o.skip("%s: too many keys before it", k.name)
		}
		o.list = o.list[:maxOffers]
	}
	return o, nil
}

// agentWait is how long an agent may take to tell its keys.
const agentWait = 10 * time.Second

// askAgent is openAgent with an end: an agent that is locked may never answer. One that
// did not is not asked again for each of a thousand hosts.
func (d *Dialer) askAgent(ctx context.Context, o *offers, socket string) (signers []ssh.Signer, comments []string, err error) {
	mute := fmt.Errorf("%w: it may be locked, or wait for a click", timeoutError(d.agentWait))
	d.mu.Lock()
	skip := d.mute[socket]
	d.mu.Unlock()
	if skip {
		return nil, nil, mute
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.agentWait, mute)
	defer cancel()
	signers, comments, err = o.openAgent(limited, socket)
	if limited.Err() == nil {
		return signers, comments, err
	}
	if ctx.Err() == nil {
		d.mu.Lock()
		d.mute[socket] = true
		d.mu.Unlock()
	}
	return nil, nil, context.Cause(limited)
}

// openAgent returns the agent's keys, which need its connection until they have
// signed. The end of ctx closes that.
func (o *offers) openAgent(ctx context.Context, socket string) ([]ssh.Signer, []string, error) {
	var nd net.Dialer
	c, err := nd.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, err
	}
	o.agent = c
	defer context.AfterFunc(ctx, func() { c.Close() })()
	client := agent.NewClient(c)
	keys, err := client.List()
	if err != nil {
		return nil, nil, err
	}
	signers, err := client.Signers()
	if err != nil {
		return nil, nil, err
	}
	comments := make([]string, len(signers))
	for i, s := range signers {
		comments[i] = ssh.FingerprintSHA256(s.PublicKey())
		for _, k := range keys {
			if k.Comment != "" && bytes.Equal(k.Blob, s.PublicKey().Marshal()) {
				comments[i] = k.Comment
			}
		}
	}
	return signers, comments, nil
}

// keyFile reads path, once per run. As for ssh, path may name a public key
// whose private one is in the agent.
func (d *Dialer) keyFile(ctx context.Context, path string) (*keyFile, error) {
	return shared(d, d.keys, path, func() (*keyFile, error) {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			if pub := readPublic(path + ".pub"); pub != nil {
				return &keyFile{pub: pub}, nil
			}
		}
		if err != nil {
			return nil, err
		}
		signer, err := ssh.ParsePrivateKey(data)
		var missing *ssh.PassphraseMissingError
		switch {
		case err == nil:
			return &keyFile{pub: signer.PublicKey(), signer: signer}, nil
		case errors.As(err, &missing):
			pub := missing.PublicKey
			if pub == nil {
				pub = readPublic(path + ".pub")
			}
			return &keyFile{pub: pub, locked: true}, nil
		}
		if pub := readPublic(path); pub != nil {
			return &keyFile{pub: pub}, nil
		}
		return nil, fmt.Errorf("%s: %s", path, strings.TrimPrefix(err.Error(), "ssh: "))
	}).wait(ctx)
}

func readPublic(path string) ssh.PublicKey {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return pub
}

func readCert(path string) (*ssh.Certificate, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(data)
	cert, ok := pub.(*ssh.Certificate)
	if err != nil || !ok {
		return nil, fmt.Errorf("%s: not an SSH certificate", path)
	}
	return cert, nil
}

// asking lets one question at a time be on the terminal.
var asking sync.Mutex

// unlock asks for the passphrase of path, once per run.
func (d *Dialer) unlock(ctx context.Context, path string) (ssh.Signer, error) {
	if d.Passphrase == nil {
		return nil, errors.New("encrypted, and nobody to ask for its passphrase")
	}
	k, err := shared(d, d.keys, path+"\x00unlocked", func() (*keyFile, error) {
		asking.Lock()
		defer asking.Unlock()
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		pass, err := d.Passphrase(path)
		if err != nil {
			return nil, fmt.Errorf("encrypted: %w", err)
		}
		signer, err := ssh.ParsePrivateKeyWithPassphrase(data, pass)
		clear(pass)
		if err != nil {
			return nil, errors.New("wrong passphrase")
		}
		return &keyFile{pub: signer.PublicKey(), signer: signer}, nil
	}).wait(ctx)
	if err != nil {
		return nil, err
	}
	return k.signer, nil
}

// refused is the error of a host that took none of the keys.
func (o *offers) refused(s *settings) error {
	var tried []string
	for _, k := range o.list {
		tried = append(tried, k.name)
	}
	text := "no key to offer"
	if len(tried) > 0 {
		text = "tried " + strings.Join(tried, ", ")
	}
	if len(o.skipped) > 0 {
		text += "; not tried: " + strings.Join(slices.Compact(o.skipped), ", ")
	}
	if s.agent == "" {
		text += "; no agent"
	}
	who := s.user + "@" + s.host
	return transport.WithHint(fmt.Errorf("%w as %s: %s", transport.ErrAuth, s.user, text),
		"let a key in (ssh-copy-id -p %d %s), or name the right one as ssh.identity_file, or load it with ssh-add", s.port, transport.Quote(who))
}
