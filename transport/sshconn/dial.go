package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/vpnpush/vpnpush/transport"
)

// timeoutError says that a host did not answer in time.
type timeoutError time.Duration

func (t timeoutError) Error() string { return "no answer within " + time.Duration(t).String() }

// Timeout marks it as such for callers of net.
func (timeoutError) Timeout() bool { return true }

// connect opens a connection to s through its jump hosts. seen are the hosts
// that are being reached through it.
func (d *Dialer) connect(ctx context.Context, s *settings, seen []string) (*client, error) {
	fail := func(err error) (*client, error) {
		return nil, fmt.Errorf("connect to %s: %w", s.label(), err)
	}
	keys, err := d.offers(ctx, s)
	if err != nil {
		return fail(err)
	}
	defer keys.close()
	host, err := d.hosts.verifier(s)
	if err != nil {
		return fail(err)
	}

	var via *client
	if len(s.jump) > 0 {
		if via, err = d.via(ctx, s.jump, seen); err != nil {
			return fail(fmt.Errorf("jump: %w", err))
		}
	}
	limited, cancel := context.WithTimeoutCause(ctx, s.timeout, timeoutError(s.timeout))
	defer cancel()
	var raw net.Conn
	if via == nil {
		raw, err = new(net.Dialer).DialContext(limited, s.network, s.addr())
	} else {
		raw, err = via.DialContext(limited, s.network, s.addr())
	}
	if err != nil {
		var refused *ssh.OpenChannelError
		var op *net.OpError
		switch {
		case limited.Err() != nil:
			err = context.Cause(limited)
		case errors.As(err, &refused):
			return fail(unreached(s, via, fmt.Errorf("not reached from %s: %s", via.s.name, refused.Message)))
		case errors.As(err, &op):
			err = op.Err // its text repeats the address
		}
		if via != nil {
			// Who hangs, the host or the way to it? The next one should know.
			go via.probe(s.timeout)
			err = fmt.Errorf("through %s: %w", via.s.name, err)
		}
		return fail(unreached(s, via, err))
	}

	w := &wire{Conn: raw}
	c, err := handshake(limited, w, s, keys, host)
	if late := timeoutError(0); errors.As(err, &late) {
		err = transport.WithHint(err, "something answers there, but not as sshd does in time: look at its load and its sshd log; ssh.connect_timeout gives it longer")
	}
	if err != nil {
		return fail(err)
	}
	return watch(c, s, w, d.keepalive), nil
}

// unreached returns err, which kept a connection from s, with its mend. via is the jump
// host that it was to go through, nil for none.
func unreached(s *settings, via *client, err error) error {
	var lookup *net.DNSError
	switch {
	case via != nil && s.beyond != "":
		return transport.WithHint(err, "%s", s.beyond)
	case via != nil:
		return transport.WithHint(err, "look from %s: `nc -vz %s %d` there tells whether the address is right and sshd answers", via.s.name, s.host, s.port)
	case errors.As(err, &lookup):
		return transport.WithHint(err, "set ssh.host to its address, or to a name that is known here")
	case errors.Is(err, syscall.ECONNREFUSED):
		return transport.WithHint(err, "the machine is there, but no sshd answers on that port: start it, or set ssh.port")
	}
	return transport.WithHint(err, "is the host up, is that its address, and does no firewall drop the port? ssh.connect_timeout gives it longer")
}

// handshake makes raw an SSH connection or closes it. ssh.ClientConfig.Timeout
// covers only TCP, and a channel through a jump host knows no deadlines: so
// ctx closes the connection, and a handshake that sticks even then is left.
func handshake(ctx context.Context, raw net.Conn, s *settings, keys *offers, host *verifier) (*ssh.Client, error) {
	config := &ssh.ClientConfig{
		User:              s.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeysCallback(keys.signers)},
		HostKeyCallback:   host.check,
		HostKeyAlgorithms: host.algorithms(),
		ClientVersion:     "SSH-2.0-vpnpush",
	}
	type result struct {
		client *ssh.Client
		err    error
	}
	done := make(chan result, 1)
	go func() {
		c, chans, reqs, err := ssh.NewClientConn(raw, s.keyAddr(), config)
		if err != nil {
			done <- result{err: err}
			return
		}
		done <- result{client: ssh.NewClient(c, chans, reqs)}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			return r.client, nil
		}
		go raw.Close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, explain(r.err, s, keys, host)
	case <-ctx.Done():
		go func() {
			raw.Close()
			if r := <-done; r.client != nil {
				r.client.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// explain is the only place that reads texts of x/crypto/ssh.
func explain(err error, s *settings, keys *offers, host *verifier) error {
	if host.err != nil {
		return host.err
	}
	text := err.Error()
	var algo *ssh.AlgorithmNegotiationError
	switch {
	case strings.Contains(text, "unable to authenticate"), strings.Contains(text, "Too many authentication failures"):
		return keys.refused(s)
	case errors.As(err, &algo):
		return transport.WithHint(fmt.Errorf("ssh handshake: %s", strings.TrimPrefix(algo.Error(), "ssh: ")),
			"upgrade its sshd, or let its sshd_config have one of what is offered here")
	case errors.Is(err, io.EOF):
		return transport.WithHint(errors.New("ssh handshake: the host closed the connection"),
			"look at its sshd log; MaxStartups and PerSourcePenalties of sshd_config do this when many connect at once")
	}
	return transport.WithHint(fmt.Errorf("ssh handshake: %s", strings.TrimPrefix(text, "ssh: handshake failed: ")),
		"is it sshd that listens there? `ssh -v` to the same host shows where it ends")
}
