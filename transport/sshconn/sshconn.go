// Package sshconn reaches hosts as OpenSSH would: by ~/.ssh/config, the agent,
// known_hosts and jump hosts, but in this process and with one connection per
// host. A Dialer is built once per run with every target, opens a
// transport.Conn by a target's name, and shares the connections of jump hosts.
//
// It never asks anything and never prints; what is missing (a host key, a key
// that is let in, a sudo password) is an error that names its mend. What it
// takes from ssh_config is in docs/ssh.md.
package sshconn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpnpush/vpnpush/transport"
)

// Target is a host and how to reach it. Zero fields are unset: ssh_config and
// then OpenSSH's defaults decide.
type Target struct {
	Name string // what Dial and Jump call it, and errors too
	Host string // name or address, or an alias of ssh_config; default: Name
	User string
	Port int

	IdentityFile string // tried before every other key
	KnownHosts   string // instead of ssh_config's UserKnownHostsFile
	AcceptNew    bool   // record the key of a host that is not known yet
	// Become is "", "auto" (sudo when the user is not root) or "never".
	Become string
	// BecomePassword returns the password for a sudo that asks; nil: there is
	// none. It is a function so that no format verb can print the password.
	BecomePassword func() string
	// ConnectTimeout is for all of name lookup, TCP and SSH handshake, once
	// its jump hosts are reached; default: ssh_config's, then 10 seconds.
	ConnectTimeout time.Duration
	// Jump lists the hosts in between, by commas: "hub", the name of another
	// target, or [user@]host[:port]. "none": straight, whatever ssh_config
	// says.
	Jump  string
	Local bool // run here, without SSH
	// Beyond is the mend where the last of its jump hosts was reached and it is not from
	// there; "": a general one.
	Beyond string
	// Either are ways that may lead to it as well as the one above: Dial and DialAnyWay
	// try them, too. Ways are tried besides by DialAnyWay alone.
	Either, Ways []Way
}

const (
	defaultTimeout    = 10 * time.Second
	keepaliveInterval = 15 * time.Second
	keepaliveMisses   = 3
)

// Dialer opens connections to targets. Set its fields before the first Dial;
// its methods are safe for concurrent use.
type Dialer struct {
	Targets []Target
	Hub     string // the target that "hub" means in Target.Jump

	// SSHConfig is read instead of ~/.ssh/config and /etc/ssh/ssh_config, as
	// ssh -F; "none" reads none.
	SSHConfig string
	// Passphrase opens an encrypted key file. It is asked once per file, and
	// never while a handshake is under way. nil: such keys are left out.
	Passphrase func(path string) ([]byte, error)
	// Warn is told what is wrong and keeps no host away. nil: nobody is. It is called
	// by one goroutine at a time.
	Warn func(text string)

	once      sync.Once
	targets   map[string]*Target
	keepalive time.Duration // between keepalives; for tests, 0: keepaliveInterval
	// What is waited for on this machine; for tests, 0: agentWait and configWait.
	agentWait, configWait time.Duration

	mu       sync.Mutex
	closed   bool
	resolved map[string]*lazy[*settings]
	alike    map[string]*lazy[*answer]
	blocks   func() *configReader // of ssh_config, which is read once
	jumps    map[string]*lazy[*client]
	keys     map[string]*lazy[*keyFile]
	mute     map[string]bool // sockets of agents that did not answer
	hosts    hostKeys
}

// lazy is a value that the first one to ask computes and all others wait for.
type lazy[T any] struct {
	done chan struct{}
	val  T
	err  error
}

// wait returns the value, or ctx's error if that comes first.
func (l *lazy[T]) wait(ctx context.Context) (T, error) {
	select {
	case <-l.done:
		return l.val, l.err
	case <-ctx.Done():
		var zero T
		return zero, context.Cause(ctx)
	}
}

// shared returns m[key], started by compute in the background if it is new. The
// computation belongs to nobody's context: one caller that gives up does not
// fail the others.
func shared[T any](d *Dialer, m map[string]*lazy[T], key string, compute func() (T, error)) *lazy[T] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := m[key]; l != nil {
		return l
	}
	l := &lazy[T]{done: make(chan struct{})}
	m[key] = l
	go func() {
		defer close(l.done)
		l.val, l.err = compute()
	}()
	return l
}

func (d *Dialer) init() {
	d.once.Do(func() {
		d.targets = make(map[string]*Target, len(d.Targets))
		for i := range d.Targets {
			d.targets[d.Targets[i].Name] = &d.Targets[i]
		}
		d.resolved = make(map[string]*lazy[*settings])
		d.alike = make(map[string]*lazy[*answer])
		d.blocks = sync.OnceValue(func() *configReader { return readBlocks(d.SSHConfig) })
		d.jumps = make(map[string]*lazy[*client])
		d.keys = make(map[string]*lazy[*keyFile])
		d.hosts.warn = d.Warn
		d.mute = make(map[string]bool)
		if d.keepalive == 0 {
			d.keepalive = keepaliveInterval
		}
		if d.agentWait == 0 {
			d.agentWait = agentWait
		}
		if d.configWait == 0 {
			d.configWait = configWait
		}
	})
}

// Dial opens a new connection to the target called name. Its error wraps
// transport.ErrHostKey or transport.ErrAuth where that is what kept it out.
func (d *Dialer) Dial(ctx context.Context, name string) (transport.Conn, error) {
	t, err := d.target(name)
	if err != nil {
		return nil, err
	}
	return d.race(ctx, t, t.Either)
}

// target returns the target called name.
func (d *Dialer) target(name string) (*Target, error) {
	d.init()
	t := d.targets[name]
	if t == nil {
		return nil, transport.Bug(fmt.Errorf("connect to %s: no such host in the inventory", name))
	}
	return t, nil
}

// dial opens a connection to t with what by makes of its settings, which are shared.
func (d *Dialer) dial(ctx context.Context, t *Target, by func(*settings) (*settings, error)) (transport.Conn, error) {
	become, err := newBecome(t)
	if err != nil {
		return nil, err
	}
	s, err := d.settings(ctx, hop{target: t})
	if err == nil {
		s, err = by(s)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", t.Name, err)
	}
	c, err := d.connect(ctx, s, []string{t.Name})
	if err != nil {
		return nil, err
	}
	become.user = s.user
	return &conn{client: c, become: become}, nil
}

// Close closes the connections of jump hosts, and with them every connection
// that goes through one. Connections that Dial gave are the callers' to close.
func (d *Dialer) Close() error {
	d.init()
	d.mu.Lock()
	d.closed = true
	jumps := d.jumps
	d.jumps = make(map[string]*lazy[*client])
	d.mu.Unlock()
	for _, l := range jumps {
		select {
		case <-l.done:
			if l.err == nil {
				l.val.close(errClosed)
			}
		default:
			go func() {
				if <-l.done; l.err == nil {
					l.val.close(errClosed)
				}
			}()
		}
	}
	return nil
}

var errClosed = errors.New("connection closed")

// client is an SSH connection that knows why it ended.
type client struct {
	*ssh.Client
	s    *settings
	wire *wire
	once sync.Once
	gone chan struct{} // closed when the connection has ended
	why  error         // set before gone is closed
}

// watch makes a client of c: it ends when the connection does, or when the
// other side leaves keepaliveMisses keepalives in a row unanswered.
func watch(c *ssh.Client, s *settings, w *wire, every time.Duration) *client {
	cl := &client{Client: c, s: s, wire: w, gone: make(chan struct{})}
	go func() {
		err := c.Wait()
		cl.close(fmt.Errorf("%w: %v", transport.ErrLost, err))
	}()
	go cl.keepalive(every)
	return cl
}

// keepalive is OpenSSH's: the answer is a failure, and any answer will do.
func (c *client) keepalive(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	pending, missed := false, 0
	for {
		select {
		case <-c.gone:
			return
		case <-answered:
			pending, missed = false, 0
		case <-tick.C:
			if pending {
				if missed++; missed == keepaliveMisses {
					c.close(fmt.Errorf("%w: no answer to %d keepalives in %v", transport.ErrLost, missed, time.Duration(missed)*every))
					return
				}
				continue
			}
			pending = true
			go func() {
				// An error means that the connection has ended, which Wait says too.
				if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
					answered <- struct{}{}
				}
			}()
		}
	}
}

// probe ends the connection if it does not answer within the time.
func (c *client) probe(within time.Duration) {
	answered := make(chan struct{})
	go func() {
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err == nil {
			close(answered)
		}
	}()
	select {
	case <-answered:
	case <-c.gone:
	case <-time.After(within):
		c.close(fmt.Errorf("%w: %w", transport.ErrLost, timeoutError(within)))
	}
}

// close ends the connection because of why; the first reason stays.
func (c *client) close(why error) {
	c.once.Do(func() {
		c.why = why
		close(c.gone)
		// Through a jump host that hangs, Close may block.
		go c.Client.Close()
	})
}

// wire is a net.Conn that knows whether its other side has ended. The ssh
// package shows a cut line to the reader of a channel as the end of its
// output; this flag is set before.
type wire struct {
	net.Conn
	ended atomic.Bool
}

// Read implements io.Reader.
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.ended.Store(true)
	}
	return n, err
}
