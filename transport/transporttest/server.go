// Package transporttest has what tests of a transport need: an SSH server in
// this process that runs a real sh, a scratch root for it to run in, a real
// sshd, a proxy that counts round trips, and the suite every transport.Conn
// must pass.
//
// Nothing here only pretends: keys are checked, programs are run, and faults
// are real ones that a test asks for.
package transporttest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
	"golang.org/x/sys/unix"
)

// Identity is a user's side of SSH: one key, and the files that an inventory
// names.
type Identity struct {
	IdentityFile string // an ed25519 key
	KnownHosts   string // the hosts that were added by Trust
	Signer       ssh.Signer

	mu sync.Mutex
}

// NewIdentity makes a fresh key and an empty known_hosts.
func NewIdentity(t testing.TB) *Identity {
	t.Helper()
	dir := t.TempDir()
	id := &Identity{IdentityFile: filepath.Join(dir, "id_ed25519"), KnownHosts: filepath.Join(dir, "known_hosts")}
	var block *pem.Block
	id.Signer, block = newKey(t)
	write(t, id.IdentityFile, pem.EncodeToMemory(block), 0o600)
	write(t, id.IdentityFile+".pub", ssh.MarshalAuthorizedKey(id.Signer.PublicKey()), 0o644)
	write(t, id.KnownHosts, nil, 0o600)
	return id
}

// Trust adds key to KnownHosts under addr, host:port.
func (id *Identity) Trust(t testing.TB, addr string, key ssh.PublicKey) {
	t.Helper()
	id.mu.Lock()
	defer id.mu.Unlock()
	f, err := os.OpenFile(id.KnownHosts, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintln(f, knownhosts.Line([]string{knownhosts.Normalize(addr)}, key)); err != nil {
		t.Fatal(err)
	}
}

// NewKey makes an ed25519 key.
func NewKey(t testing.TB) ssh.Signer {
	t.Helper()
	s, _ := newKey(t)
	return s
}

func newKey(t testing.TB) (ssh.Signer, *pem.Block) {
	t.Helper()
	_, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, block
}

func write(t testing.TB, path string, data []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, data, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// Options are what a Server may differ in. The zero value is a healthy server
// that runs programs on this machine, as the user of the test.
type Options struct {
	// Root is where programs run. nil: on this machine.
	Root *Root
	// Identity is let in, and has the host key trusted. nil: a new one.
	Identity *Identity
	// HostKeys are the server's. nil: one new ed25519 key.
	HostKeys []ssh.Signer
	// Untrusted leaves the host keys out of Identity.KnownHosts.
	Untrusted bool
	// Authorized are let in besides Identity's key: public keys, or the
	// authorities of certificates.
	Authorized []ssh.PublicKey
	// MaxAuthTries is sshd_config's; 0: 6.
	MaxAuthTries int
	// Names says where a forwarded connection to "host:port" goes instead.
	Names map[string]string
	// Mute: connections are accepted and nothing is ever said.
	Mute bool
	// Force is run in place of whatever a client asks for, as by sshd_config's
	// ForceCommand: what a host that was taken over may do.
	Force string
}

// Fault is what goes wrong with an exec.
type Fault struct {
	Refuse    bool // the request is refused
	Hang      bool // the request is never answered
	Drop      bool // the connection is cut before the program starts
	DropAfter int  // the connection is cut when so many bytes of output were sent
	NoStatus  bool // the channel is closed without an exit status
	// StatusThenDrop: the exit status is sent, then the connection is cut
	// before the output is.
	StatusThenDrop bool
	// Play answers in the place of the program, as a host would that is no longer its
	// owner's. The channel is closed when it returns.
	Play func(Player)
}

// Player is the host's side of an exec. Writes fail once the client has gone.
type Player struct {
	Stdout, Stderr io.Writer
	Exit           func(status int) // tells the exit status, and not more
}

// Counts is what a Server has seen.
type Counts struct {
	Connections int // that were let in
	Execs       int
	Forwards    int // direct-tcpip channels: jumps
	Keepalives  int
	Offers      int // keys offered, whether let in or not
}

// Server is an SSH server on 127.0.0.1 that runs until the test ends.
type Server struct {
	Host     string
	Port     int
	User     string // that programs run as: root in a Root
	Identity *Identity
	HostKeys []ssh.Signer

	opts     Options
	config   *ssh.ServerConfig
	listener net.Listener

	mu      sync.Mutex
	counts  Counts
	fault   func(n int, command string) Fault
	deaf    bool
	conns   map[net.Conn]bool
	running map[*exec.Cmd]bool
}

// Addr is host:port.
func (s *Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// NewServer starts a server.
func NewServer(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Identity == nil {
		o.Identity = NewIdentity(t)
	}
	if o.HostKeys == nil {
		o.HostKeys = []ssh.Signer{NewKey(t)}
	}
	s := &Server{Host: "127.0.0.1", User: "root", Identity: o.Identity, HostKeys: o.HostKeys, opts: o, conns: make(map[net.Conn]bool), running: make(map[*exec.Cmd]bool)}
	allowed := append([]ssh.PublicKey{o.Identity.Signer.PublicKey()}, o.Authorized...)
	checker := &ssh.CertChecker{
		IsUserAuthority: func(k ssh.PublicKey) bool { return contains(allowed, k) },
		UserKeyFallback: func(_ ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			if !contains(allowed, k) {
				return nil, errors.New("key not authorized")
			}
			return nil, nil
		},
	}
	s.config = &ssh.ServerConfig{
		MaxAuthTries: o.MaxAuthTries,
		PublicKeyCallback: func(c ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
			s.count(func(n *Counts) { n.Offers++ })
			return checker.Authenticate(c, k)
		},
	}
	for _, k := range o.HostKeys {
		s.config.AddHostKey(k)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.listener = l
	s.Port = l.Addr().(*net.TCPAddr).Port
	if !o.Untrusted {
		for _, k := range o.HostKeys {
			o.Identity.Trust(t, s.Addr(), k.PublicKey())
		}
	}
	go s.serve()
	t.Cleanup(s.stop)
	return s
}

func contains(keys []ssh.PublicKey, k ssh.PublicKey) bool {
	for _, have := range keys {
		if string(have.Marshal()) == string(k.Marshal()) {
			return true
		}
	}
	return false
}

// OnExec makes fault decide what goes wrong with the n-th exec (from 1).
func (s *Server) OnExec(fault func(n int, command string) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Deafen leaves keepalives unanswered from now on, as a host that hangs.
func (s *Server) Deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
}

// Cut cuts all connections. New ones are served.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Counts returns what has been seen so far.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts
}

func (s *Server) count(f func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

func (s *Server) stop() {
	s.listener.Close()
	s.Cut()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.running {
		syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
}

func (s *Server) serve() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		if !s.opts.Mute {
			go s.handle(c)
		}
	}
}

func (s *Server) handle(raw net.Conn) {
	defer func() {
		raw.Close()
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
	}()
	conn, chans, reqs, err := ssh.NewServerConn(raw, s.config)
	if err != nil {
		return
	}
	s.count(func(n *Counts) { n.Connections++ })
	go func() {
		for r := range reqs {
			s.mu.Lock()
			if r.Type == "keepalive@openssh.com" {
				s.counts.Keepalives++
			}
			deaf := s.deaf
			s.mu.Unlock()
			if r.WantReply && !deaf {
				r.Reply(false, nil) // as sshd
			}
		}
	}()
	for nc := range chans {
		switch nc.ChannelType() {
		case "session":
			go s.session(raw, conn.User(), nc)
		case "direct-tcpip":
			go s.forward(nc)
		default:
			nc.Reject(ssh.UnknownChannelType, "unknown channel type")
		}
	}
}

func (s *Server) forward(nc ssh.NewChannel) {
	var m struct {
		Host  string
		Port  uint32
		From  string
		FPort uint32
	}
	if err := ssh.Unmarshal(nc.ExtraData(), &m); err != nil {
		nc.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	s.count(func(n *Counts) { n.Forwards++ })
	addr := net.JoinHostPort(m.Host, strconv.Itoa(int(m.Port)))
	if to, ok := s.opts.Names[addr]; ok {
		addr = to
	}
	out, err := net.Dial("tcp", addr)
	if err != nil {
		nc.Reject(ssh.ConnectionFailed, "Connection refused")
		return
	}
	defer out.Close()
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	go func() {
		io.Copy(out, ch)
		out.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(ch, out)
	ch.Close()
}

func (s *Server) session(raw net.Conn, user string, nc ssh.NewChannel) {
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	for r := range reqs {
		if r.Type != "exec" {
			r.Reply(false, nil)
			continue
		}
		var m struct{ Command string }
		if err := ssh.Unmarshal(r.Payload, &m); err != nil {
			r.Reply(false, nil)
			continue
		}
		command := m.Command
		if s.opts.Force != "" {
			command = s.opts.Force
		}
		s.mu.Lock()
		s.counts.Execs++
		n, decide := s.counts.Execs, s.fault
		s.mu.Unlock()
		var f Fault
		if decide != nil {
			f = decide(n, m.Command)
		}
		switch {
		case f.Drop:
			raw.Close()
			return
		case f.Hang:
			continue
		case f.Refuse:
			r.Reply(false, nil)
			ch.Close()
			continue
		}
		go func() {
			if err := s.exec(raw, ch, r, user, command, f); err != nil {
				fmt.Fprintf(ch.Stderr(), "transporttest: %v\n", err)
				ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{255}))
			}
			ch.Close()
		}()
	}
}

// exec runs command as sshd does without a terminal: the program gets pipes,
// its exit is told at once, and its output until nobody holds it open.
func (s *Server) exec(raw net.Conn, ch ssh.Channel, r *ssh.Request, user, command string, f Fault) error {
	exit := func(status int) {
		ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{uint32(status)}))
	}
	if f.Play != nil {
		r.Reply(true, nil)
		f.Play(Player{Stdout: ch, Stderr: ch.Stderr(), Exit: exit})
		return nil
	}
	var cmd *exec.Cmd
	if s.opts.Root != nil {
		var err error
		if cmd, err = s.opts.Root.Command(user, command); err != nil {
			r.Reply(false, nil)
			return err
		}
	} else {
		cmd = exec.Command("/bin/sh", "-c", command)
		cmd.Dir = "/"
		cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent", "LANG=C"}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = outW, errW
	s.mu.Lock()
	err = cmd.Start()
	if err == nil {
		s.running[cmd] = true
	}
	s.mu.Unlock()
	outW.Close()
	errW.Close()
	if err != nil {
		r.Reply(false, nil)
		return err
	}
	r.Reply(true, nil)

	go func() {
		io.Copy(stdin, ch)
		stdin.Close()
	}()
	var copies sync.WaitGroup
	send := func(w io.Writer, from *os.File) {
		defer from.Close()
		if f.DropAfter > 0 {
			io.CopyN(w, from, int64(f.DropAfter))
			raw.Close()
			return
		}
		io.Copy(w, from)
	}
	var out io.Writer = ch
	if f.StatusThenDrop {
		out = io.Discard
	}
	copies.Go(func() { send(out, outR) })
	copies.Go(func() { io.Copy(ch.Stderr(), errR); errR.Close() })
	cmd.Wait()
	s.mu.Lock()
	delete(s.running, cmd)
	s.mu.Unlock()
	if !f.NoStatus {
		ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			ch.SendRequest("exit-signal", false, ssh.Marshal(struct {
				Signal string
				Core   bool
				Text   string
				Lang   string
			}{Signal: strings.TrimPrefix(unix.SignalName(ws.Signal()), "SIG")}))
		} else {
			exit(ws.ExitStatus())
		}
	}
	if f.StatusThenDrop {
		raw.Close()
		return nil
	}
	copies.Wait()
	return nil
}
