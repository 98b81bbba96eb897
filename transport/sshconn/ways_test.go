package sshconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// closedAddr is an address at which nobody listens.
func closedAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A change can close the way to a host that led to it before, and open another: a hub
// has moved, and the site is behind the new one. What is at the end of it must have the
// host's own key.
func TestDialAnyWay(t *testing.T) {
	servers, targets := chain(t, 2)
	site := targets[1]
	site.Jump = "root@" + closedAddr(t) // the old hub is no more
	stranger := transporttest.NewServer(t, transporttest.Options{Identity: transporttest.NewIdentity(t)})
	host, _, _ := net.SplitHostPort(stranger.Addr())
	for _, tt := range []struct {
		name string
		ways []Way
		is   error
	}{
		{"no other", nil, errors.New("any")},
		{"through the new hub", []Way{{Jump: "none"}, {Jump: "a"}}, nil},
		{"by an address that is not known by a key of its own", []Way{{Host: "b.lan", Jump: "a"}}, nil},
		{"to somebody else", []Way{{Host: host, Jump: "none"}}, errors.New("any")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			site.Ways = tt.ways
			d := dialer(t, targets[0], site)
			if _, err := d.Dial(t.Context(), "b"); err == nil {
				t.Fatal("the way that the inventory says leads to it")
			}
			c, err := d.DialAnyWay(t.Context(), "b")
			if (err == nil) != (tt.is == nil) {
				t.Fatalf("error %v", err)
			}
			if err != nil {
				return
			}
			defer c.Close()
			if res, err := c.Run(t.Context(), transport.Cmd{Script: "echo here"}); err != nil || string(res.Stdout) != "here\n" {
				t.Errorf("%q, %v", res.Stdout, err)
			}
		})
	}
	if n := servers[1].Counts().Execs; n != 2 {
		t.Errorf("%d commands ran on the host, want 2", n)
	}

	// a key that is not the host's is refused, though it would be recorded as a first one
	t.Run("another host's key", func(t *testing.T) {
		id := transporttest.NewIdentity(t)
		own := transporttest.NewServer(t, transporttest.Options{Identity: id})
		target := serverTarget("tokyo", own)
		_, port, _ := net.SplitHostPort(own.Addr())
		other := transporttest.NewServer(t, transporttest.Options{Identity: id, Names: map[string]string{"tokyo.lan:" + port: stranger.Addr()}})
		hop := serverTarget("hub", other)
		target.Jump = "root@" + closedAddr(t)
		target.AcceptNew = true
		target.Ways = []Way{{Host: "tokyo.lan", Jump: "hub"}}
		_, err := dialer(t, hop, target).DialAnyWay(t.Context(), "tokyo")
		if err == nil || stranger.Counts().Execs != 0 {
			t.Errorf("a host with another key was taken for it: %v", err)
		}
	})
}

// A network on the move: a site is behind the one hub or the other, and whichever leads to
// it is taken for a plan, too, with the host's own key alone.
func TestDialEither(t *testing.T) {
	servers, targets := chain(t, 2)
	site := targets[1]
	site.Jump = "root@" + closedAddr(t)
	site.Either = []Way{{Jump: "a"}}
	d := dialer(t, targets[0], site)
	for _, dial := range []func(context.Context, string) (transport.Conn, error){d.Dial, d.DialAnyWay} {
		c, err := dial(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Run(t.Context(), transport.Cmd{Script: "true"}); err != nil {
			t.Error(err)
		}
		c.Close()
	}
	if n := servers[1].Counts().Execs; n != 2 {
		t.Errorf("%d commands ran on the host, want 2", n)
	}

	// where neither does, the way that the inventory says is told of
	site.Either = []Way{{Jump: "root@" + closedAddr(t)}}
	first := dialer(t, targets[0], site)
	if _, err := first.Dial(t.Context(), "b"); err == nil || !strings.Contains(err.Error(), site.Jump[len("root@"):]) {
		t.Errorf("error %v, want one that tells of %s", err, site.Jump)
	}
}

// A run that is interrupted does not wait for the ways that were being tried.
func TestDialAnyWayEnds(t *testing.T) {
	mute := transporttest.NewServer(t, transporttest.Options{Mute: true})
	target := serverTarget("tokyo", mute)
	target.Ways = []Way{{Jump: "none"}, {Jump: "none"}, {Jump: "none"}}
	d := dialer(t, target)
	for range 20 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		done := make(chan error, 1)
		go func() {
			_, err := d.DialAnyWay(ctx, "tokyo")
			done <- err
		}()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("error %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it waits on")
		}
	}
}
