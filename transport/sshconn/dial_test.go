package sshconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// closedPort returns a port of 127.0.0.1 on which nobody listens.
func closedPort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// mended fails where an error does not say what mends it.
func mended(t *testing.T, err error) {
	t.Helper()
	var h transport.Hinter
	if !errors.As(err, &h) || h.Hint() == "" {
		t.Errorf("%v has no hint", err)
	}
}

// What cannot be reached says which host, where, and why, once.
func TestDialErrors(t *testing.T) {
	id := transporttest.NewIdentity(t)
	port := closedPort(t)
	for _, tt := range []struct {
		name   string
		target Target
		want   string
	}{
		{"refused", target("tokyo", "127.0.0.1", port, "root", id), fmt.Sprintf("connect to tokyo (127.0.0.1:%d): connect: connection refused", port)},
		{"no such name", target("tokyo", "tokyo.invalid", 22, "root", id), "connect to tokyo (tokyo.invalid:22): lookup tokyo.invalid"},
		{"become", Target{Name: "tokyo", Become: "maybe"}, `connect to tokyo: become "maybe" is neither auto nor never`},
		{"password with a line break", Target{Name: "tokyo", BecomePassword: func() string { return "a\nb" }}, "holds a line break"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.target.ConnectTimeout = 5 * time.Second
			err := fails(t, dialer(t, tt.target), nil)
			if !strings.HasPrefix(err.Error(), "connect to tokyo") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			mended(t, err)
			for _, not := range []error{transport.ErrAuth, transport.ErrHostKey, transport.ErrLost} {
				if errors.Is(err, not) {
					t.Errorf("%v is %v", err, not)
				}
			}
		})
	}
	d := dialer(t)
	if _, err := d.Dial(t.Context(), "ghost"); err == nil || !strings.Contains(err.Error(), "no such host in the inventory") {
		t.Errorf("err = %v", err)
	}
}

// ssh.ClientConfig.Timeout covers only TCP: a host that accepts and says
// nothing must not hold a run.
func TestHandshakeTimeout(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{Mute: true})
	tt := serverTarget("tokyo", s)
	tt.ConnectTimeout = 100 * time.Millisecond
	err := fails(t, dialer(t, tt), nil)
	if want := "connect to tokyo (" + s.Addr() + "): no answer within 100ms"; err.Error() != want {
		t.Errorf("err = %v, want %s", err, want)
	}
	mended(t, err)

	// Through a jump host, whose channels know no deadlines.
	hub := transporttest.NewServer(t, transporttest.Options{Identity: s.Identity})
	tt.Jump = "vps"
	d := dialer(t, tt, serverTarget("vps", hub))
	for range 3 {
		err = fails(t, d, nil)
		if !strings.Contains(err.Error(), "no answer within 100ms") {
			t.Errorf("err = %v", err)
		}
	}
	// A site that hangs is no reason to leave a hub that answers.
	if n := hub.Counts().Connections; n != 1 {
		t.Errorf("%d connections to the hub", n)
	}
}

func TestDialCanceled(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{Mute: true})
	ctx, cancel := context.WithCancel(t.Context())
	d := dialer(t, serverTarget("tokyo", s))
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := d.Dial(ctx, "tokyo"); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

// A host that hangs with its TCP connection open is found by keepalives: sshd
// on the other side of a dead NAT entry never answers and never closes.
func TestKeepaliveFindsADeadHost(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	d := dialer(t, serverTarget("tokyo", s))
	d.keepalive = 20 * time.Millisecond
	c := dial(t, d)
	for s.Counts().Keepalives < 5 { // answered ones keep it up
		time.Sleep(5 * time.Millisecond)
	}
	s.Deafen()
	_, err := c.Run(t.Context(), transport.Cmd{Script: "sleep 60"})
	if !errors.Is(err, transport.ErrLost) || !strings.Contains(err.Error(), "3 keepalives") {
		t.Errorf("err = %v", err)
	}
	if _, err := c.Run(t.Context(), transport.Cmd{Script: "true"}); !errors.Is(err, transport.ErrLost) {
		t.Errorf("a lost connection runs on: %v", err)
	}
}

// A jump host that hangs is found when a host behind it times out, long before
// its keepalives run out.
func TestHungJumpHostIsDialedAnew(t *testing.T) {
	hub := transporttest.NewServer(t, transporttest.Options{})
	site := transporttest.NewServer(t, transporttest.Options{Identity: hub.Identity, Mute: true})
	tt := serverTarget("tokyo", site)
	tt.Jump, tt.ConnectTimeout = "vps", 50*time.Millisecond
	d := dialer(t, tt, serverTarget("vps", hub))
	fails(t, d, nil)
	via := d.jump("vps")
	hub.Deafen()
	via.probe(50 * time.Millisecond)
	<-via.gone
	if !errors.Is(via.why, transport.ErrLost) {
		t.Errorf("why = %v", via.why)
	}
}

// What a plan takes over a slow line is its round trips: a cold connection with one
// exec has nine, as ssh's own.
func TestColdRoundTrips(t *testing.T) {
	const most = 9
	cold := func(t *testing.T, addr, user string, id *transporttest.Identity, trust func(addr string)) int {
		p := transporttest.NewProxy(t, addr, 20*time.Millisecond)
		trust(net.JoinHostPort(p.Host, fmt.Sprint(p.Port)))
		tt := target("tokyo", p.Host, p.Port, user, id)
		tt.Become = "never"
		c := dial(t, dialer(t, tt))
		// Stdin stays open: its end is sent when the exec is answered, and output
		// that comes after it would count as caused by it.
		stdin, w := io.Pipe()
		defer w.Close()
		// 200 KB of script and output, as facts have.
		res, err := c.Run(t.Context(), transport.Cmd{Script: "head -c 100000 /dev/zero #" + strings.Repeat("x", 90_000), Stdin: stdin})
		if err != nil || len(res.Stdout) != 100_000 {
			t.Fatalf("%d bytes, %v", len(res.Stdout), err)
		}
		return p.RoundTrips()
	}
	t.Run("server", func(t *testing.T) {
		s := transporttest.NewServer(t, transporttest.Options{})
		n := cold(t, s.Addr(), "root", s.Identity, func(a string) { s.Identity.Trust(t, a, s.HostKeys[0].PublicKey()) })
		if n > most {
			t.Errorf("%d round trips, want at most %d", n, most)
		}
	})
	t.Run("sshd", func(t *testing.T) {
		s := transporttest.NewSSHD(t, nil)
		n := cold(t, net.JoinHostPort(s.Host, fmt.Sprint(s.Port)), s.User, s.Identity, func(a string) { s.Identity.Trust(t, a, s.HostKey) })
		if n > most {
			t.Errorf("%d round trips, want at most %d", n, most)
		}
	})
}
