package sshconn

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpnpush/vpnpush/transport"
)

// hostKeys holds what known_hosts files hold, each read once per run.
type hostKeys struct {
	warn func(string) // nil: nobody is told

	mu       sync.Mutex
	dbs      map[string]*knownKeys    // by the list of files
	told     map[string]bool          // the lines that were skipped
	accepted map[string]ssh.PublicKey // recorded in this run, by file and host
}

// load returns the keys of s's files. A file that is not there holds none.
func (h *hostKeys) load(s *settings) (*knownKeys, error) {
	files, err := present(slices.Concat(s.known, s.global))
	if err != nil {
		return nil, err
	}
	key := strings.Join(files, "\x00")
	h.mu.Lock()
	defer h.mu.Unlock()
	if db := h.dbs[key]; db != nil {
		return db, nil
	}
	db, err := readKnown(files)
	if err != nil {
		return nil, err
	}
	if h.dbs == nil {
		h.dbs, h.told = make(map[string]*knownKeys), make(map[string]bool)
	}
	h.dbs[key] = db
	for _, text := range db.skipped {
		if h.warn != nil && !h.told[text] {
			h.told[text] = true
			h.warn(text)
		}
	}
	return db, nil
}

// verifier checks the host key of one connection.
type verifier struct {
	hosts *hostKeys
	s     *settings
	db    *knownKeys
	err   error // why the key was refused
}

func (h *hostKeys) verifier(s *settings) (*verifier, error) {
	db, err := h.load(s)
	if err != nil {
		return nil, err
	}
	return &verifier{hosts: h, s: s, db: db}, nil
}

// hostKeyAlgorithms is the order for a host that is not known, as OpenSSH's:
// x/crypto asks for ed25519 last, and would then record another key than ssh.
var hostKeyAlgorithms = []string{
	ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
	ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
}

// algorithms asks for the keys that known_hosts holds first: a host with
// several would else show one that is not known. The others follow, so that a
// host which has lost its known key is seen to have changed.
func (v *verifier) algorithms() []string {
	var algos []string
	secure := ssh.SupportedAlgorithms().HostKeys // without SHA-1 and DSA, as OpenSSH's defaults
	add := func(names []string) {
		for _, a := range names {
			if slices.Contains(secure, a) && !slices.Contains(algos, a) {
				algos = append(algos, a)
			}
		}
	}
	add(v.db.HostKeyAlgorithms(v.s.keyAddr()))
	add(hostKeyAlgorithms)
	return algos
}

// check is the ssh.HostKeyCallback.
func (v *verifier) check(_ string, remote net.Addr, key ssh.PublicKey) error {
	v.err = v.verify(remote, key)
	return v.err
}

func (v *verifier) verify(remote net.Addr, key ssh.PublicKey) error {
	err := v.db.HostKeyCallback()(v.s.keyAddr(), remote, key)
	if err == nil {
		return nil
	}
	var revoked *xknownhosts.RevokedError
	if errors.As(err, &revoked) {
		return transport.WithHint(fmt.Errorf("%w: %s is revoked by %s", transport.ErrHostKey, describe(key), v.db.where(revoked.Revoked)),
			"give the host a new key; this one is known to be stolen")
	}
	var keyErr *xknownhosts.KeyError
	if !errors.As(err, &keyErr) {
		return fmt.Errorf("%w: %v", transport.ErrHostKey, err)
	}
	if w := v.db.another(keyErr); w != nil {
		return v.changed(key, v.db.where(*w), w.Key)
	}
	if v.s.accept {
		return v.accept(key)
	}
	return v.unknown(key)
}

func (v *verifier) changed(key ssh.PublicKey, where string, known ssh.PublicKey) error {
	return transport.WithHint(
		fmt.Errorf("%w: HOST KEY HAS CHANGED: it shows %s, but %s holds %s", transport.ErrHostKey, describe(key), where, describe(known)),
		"someone may stand between you and the host, or it was installed anew; only when you know that it was: ssh-keygen -R %s -f %s",
		transport.Quote(knownhosts.Normalize(v.s.keyAddr())), transport.Quote(v.file()))
}

func (v *verifier) unknown(key ssh.PublicKey) error {
	s := v.s
	typ := strings.TrimPrefix(key.Type(), "ssh-")
	if rest, ok := strings.CutPrefix(typ, "ecdsa-"); ok {
		typ = "ecdsa"
		_ = rest
	}
	record := fmt.Sprintf("ssh-keyscan -t %s -p %d %s >> %s", typ, s.port, transport.Quote(s.host), transport.Quote(v.file()))
	if len(s.jump) > 0 || s.alias != "" {
		// ssh-keyscan knows neither jump hosts nor aliases.
		args := []string{"ssh", "-p", fmt.Sprint(s.port), "-o", transport.Quote("UserKnownHostsFile=" + v.file())}
		if s.alias != "" {
			args = append(args, "-o", transport.Quote("HostKeyAlias="+s.alias))
		}
		if len(s.jump) > 0 {
			var hops []string
			for _, h := range s.jump {
				hops = append(hops, h.text())
			}
			args = append(args, "-J", strings.Join(hops, ","))
		}
		record = strings.Join(append(args, s.user+"@"+s.host, "true"), " ")
	}
	return transport.WithHint(
		fmt.Errorf("%w: %s is not in %s", transport.ErrHostKey, describe(key), v.file()),
		"compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub), then: %s; or set ssh.accept_new = true", typ, record)
}

// file is where a new key is recorded.
func (v *verifier) file() string {
	if len(v.s.known) > 0 {
		return v.s.known[0]
	}
	home, _ := os.UserHomeDir()
	return filepath.Join(home, ".ssh", "known_hosts")
}

// accept records the first key of a host, as OpenSSH's accept-new. Hosts are
// dialed in parallel: the first of two keys for one name is the one.
func (v *verifier) accept(key ssh.PublicKey) error {
	h, file := v.hosts, v.file()
	id := file + "\x00" + v.s.keyAddr()
	h.mu.Lock()
	defer h.mu.Unlock()
	if was := h.accepted[id]; was != nil {
		if bytes.Equal(was.Marshal(), key.Marshal()) {
			return nil
		}
		return v.changed(key, file, was)
	}
	if err := appendLine(file, knownhosts.Line([]string{v.s.keyAddr()}, key)); err != nil {
		return fmt.Errorf("record host key: %w", err)
	}
	if h.accepted == nil {
		h.accepted = make(map[string]ssh.PublicKey)
	}
	h.accepted[id] = key
	return nil
}

// appendLine appends a line in one write, so that another process's lines stay
// whole. A file whose last line does not end gets its end first.
func appendLine(path, line string) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text := line + "\n"
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		var end [1]byte
		if _, err := f.ReadAt(end[:], info.Size()-1); err == nil && end[0] != '\n' {
			text = "\n" + text
		}
	}
	_, err = f.WriteString(text)
	return err
}

// describe names a key as ssh-keygen -l does.
func describe(k ssh.PublicKey) string { return k.Type() + " " + ssh.FingerprintSHA256(k) }
