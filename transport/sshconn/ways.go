package sshconn

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vpnpush/vpnpush/transport"
)

// Way is another way to a target: by another address or through another host. What is
// at its end must have the target's own host key, by the name under which that is known.
type Way struct {
	Host string // "": the target's own
	Port int    // 0: the target's own
	Jump string // as Target.Jump
}

// headStart is what the way that the target says has before the others are tried.
const headStart = 2 * time.Second

// DialAnyWay is Dial by whichever of the target's ways leads to it first: a change of
// the host can have closed the one that led to it before.
func (d *Dialer) DialAnyWay(ctx context.Context, name string) (transport.Conn, error) {
	t, err := d.target(name)
	if err != nil {
		return nil, err
	}
	return d.race(ctx, t, slices.Concat(t.Either, t.Ways))
}

// race opens a connection to t by the way that it says or by another, whichever leads to
// it first. Its error is that of the way which t says.
func (d *Dialer) race(ctx context.Context, t *Target, ways []Way) (transport.Conn, error) {
	if t.Local {
		return newLocal(t)
	}
	direct := func() (transport.Conn, error) {
		return d.dial(ctx, t, func(s *settings) (*settings, error) { return s, nil })
	}
	if len(ways) == 0 {
		return direct()
	}
	ctx, cancel := context.WithCancel(ctx) // a connection that was made lives on without it
	defer cancel()
	type end struct {
		conn  transport.Conn
		err   error
		other bool
	}
	ends := make(chan end)
	try := func(other bool, dial func() (transport.Conn, error)) {
		go func() {
			c, err := dial()
			select {
			case ends <- end{c, err, other}:
			case <-ctx.Done():
				if err == nil {
					c.Close()
				}
			}
		}()
	}
	try(false, direct)
	start := time.NewTimer(headStart)
	defer start.Stop()
	var first error
	left, begun := 1, false
	others := func() {
		for _, w := range ways {
			left++
			try(true, func() (transport.Conn, error) { return d.dialWay(ctx, t, w) })
		}
		begun = true
	}
	for left > 0 || !begun {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to %s: %w", t.Name, context.Cause(ctx))
		case <-start.C:
			if !begun {
				others()
			}
		case e := <-ends:
			if left--; e.err == nil {
				return e.conn, nil
			}
			if !e.other {
				first = e.err
			}
			if !begun {
				others()
			}
		}
	}
	return nil, first
}

// dialWay opens a connection to t by another way.
func (d *Dialer) dialWay(ctx context.Context, t *Target, w Way) (transport.Conn, error) {
	return d.dial(ctx, t, func(known *settings) (*settings, error) {
		s := *known
		// a key that is recorded anew is no proof of whose it is
		s.accept, s.keyName = false, known.keyAddr()
		if w.Host != "" {
			s.host = w.Host
		}
		if w.Port != 0 {
			s.port = w.Port
		}
		var err error
		s.jump, err = d.parseJump(t, w.Jump, true)
		return &s, err
	})
}
