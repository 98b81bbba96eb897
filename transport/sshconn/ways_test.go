package sshconn

import (
	"errors"
	"net"
	"testing"

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
