package sshconn

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// chain builds hosts a, b, ... of which each is known to the one before by a
// name that resolves nowhere else: host "b.lan" port 22 exists only from a.
func chain(t *testing.T, n int) (servers []*transporttest.Server, targets []Target) {
	t.Helper()
	id := transporttest.NewIdentity(t)
	names := map[string]string{}
	for i := n - 1; i >= 0; i-- {
		s := transporttest.NewServer(t, transporttest.Options{Identity: id, Names: names})
		name := string(rune('a' + i))
		tt := serverTarget(name, s)
		if i > 0 {
			tt.Host, tt.Port, tt.Jump = name+".lan", 22, string(rune('a'+i-1))
			id.Trust(t, name+".lan:22", s.HostKeys[0].PublicKey())
		}
		names = map[string]string{name + ".lan:22": s.Addr()}
		servers, targets = append([]*transporttest.Server{s}, servers...), append([]Target{tt}, targets...)
	}
	return servers, targets
}

// answers runs something on the target.
func answers(t *testing.T, d *Dialer, name string) {
	t.Helper()
	c, err := d.Dial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	res, err := c.Run(t.Context(), transport.Cmd{Script: "echo here"})
	if err != nil || string(res.Stdout) != "here\n" {
		t.Fatalf("%q, %v", res.Stdout, err)
	}
}

// rig, for one, goes only one hop.
func TestJumpOverTwoHops(t *testing.T) {
	servers, targets := chain(t, 3)
	answers(t, dialer(t, targets...), "c")
	for i, s := range servers {
		want := transporttest.Counts{Connections: 1, Forwards: 1}
		if i == 2 {
			want = transporttest.Counts{Connections: 1, Execs: 1}
		}
		got := s.Counts()
		got.Offers = 0
		if got != want {
			t.Errorf("host %d: %+v, want %+v", i, got, want)
		}
	}

	t.Run("as a list", func(t *testing.T) {
		targets[2].Jump = "a, b"
		targets[1].Jump = "" // a list says the whole way
		answers(t, dialer(t, targets...), "c")
	})
	t.Run("written out", func(t *testing.T) {
		targets[2].Jump = fmt.Sprintf("root@%s,root@b.lan:22", servers[0].Addr())
		answers(t, dialer(t, targets[2]), "c")
	})
	t.Run("by ssh_config", func(t *testing.T) {
		targets[2].Jump = ""
		d := dialer(t, targets[2])
		d.SSHConfig = writeFile(t, filepath.Join(t.TempDir(), "config"),
			fmt.Sprintf("Host c.lan\n ProxyJump b.lan\nHost b.lan\n User root\n ProxyJump root@%s\n", servers[0].Addr()))
		answers(t, d, "c")
		targets[2].Jump = "none"
		d2 := dialer(t, targets[2])
		d2.SSHConfig = d.SSHConfig
		fails(t, d2, nil) // c.lan is nowhere but behind b
	})
}

// Every hop's key counts, under the hop's own name.
func TestWrongKeyAtAHop(t *testing.T) {
	for bad := range 3 {
		servers, targets := chain(t, 3)
		known := ""
		for i, s := range servers {
			key := s.HostKeys[0].PublicKey()
			if i == bad {
				key = transporttest.NewKey(t).PublicKey()
			}
			addr := s.Addr()
			if i > 0 {
				addr = targets[i].Host + ":22"
			}
			id := transporttest.NewIdentity(t)
			id.Trust(t, addr, key)
			known += read(t, id.KnownHosts)
		}
		writeFile(t, targets[0].KnownHosts, known)
		d := dialer(t, targets[2], targets[1], targets[0])
		err := fails(t, d, transport.ErrHostKey)
		if want := "connect to " + targets[bad].Name + " ("; !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
		if n := servers[2].Counts().Execs; n != 0 {
			t.Errorf("%d execs", n)
		}
	}
}

// All sites behind one hub share its connection; a cut one is made anew.
func TestHubConnectionIsShared(t *testing.T) {
	id := transporttest.NewIdentity(t)
	hub := transporttest.NewServer(t, transporttest.Options{Identity: id})
	targets := []Target{serverTarget("vps", hub)}
	for i := range 6 {
		tt := serverTarget(fmt.Sprintf("site%d", i), transporttest.NewServer(t, transporttest.Options{Identity: id}))
		tt.Jump = "hub"
		targets = append(targets, tt)
	}
	d := dialer(t, targets...)
	d.Hub = "vps"
	all := func() {
		t.Helper()
		var wg sync.WaitGroup
		for _, tt := range targets[1:] {
			wg.Go(func() {
				c, err := d.Dial(t.Context(), tt.Name)
				if err != nil {
					t.Error(err)
					return
				}
				c.Close()
			})
		}
		wg.Wait()
	}
	all()
	if n := hub.Counts(); n.Connections != 1 || n.Forwards != 6 {
		t.Errorf("hub saw %+v", n)
	}
	// A connection to the hub itself is its own: confirming an apply needs a
	// new one.
	answers(t, d, "vps")
	if n := hub.Counts().Connections; n != 2 {
		t.Errorf("%d connections to the hub", n)
	}

	d.mu.Lock()
	shared := d.jumps["vps"].val
	d.mu.Unlock()
	hub.Cut()
	<-shared.gone
	for d.jump("vps") == shared { // forgotten by a goroutine of its own
		time.Sleep(time.Millisecond)
	}
	all()
	if n := hub.Counts().Connections; n != 3 {
		t.Errorf("%d connections to the hub after a cut", n)
	}

	d.Close()
	if c, err := d.Dial(t.Context(), "site0"); err == nil {
		c.Close()
		t.Error("connected through a hub after Close")
	}
}

// jump returns the shared connection to a host.
func (d *Dialer) jump(key string) *client {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.jumps[key]; l != nil {
		return l.val
	}
	return nil
}

func TestJumpFailures(t *testing.T) {
	id := transporttest.NewIdentity(t)
	hub := transporttest.NewServer(t, transporttest.Options{Identity: id})
	base := target("tokyo", "127.0.0.1", 1, "root", id)
	for _, tt := range []struct {
		name, jump, want string
	}{
		{"nothing behind", "vps", "connect to tokyo (127.0.0.1:1): not reached from vps: Connection refused"},
		{"itself", "tokyo", "jumps through itself"},
		{"each other", "osaka", "jump through each other"},
		{"no host", "root@", "want [user@]host[:port]"},
		{"no port", "vps:0", `port "0" is not one`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base.Jump = tt.jump
			osaka := base
			osaka.Name, osaka.Jump = "osaka", "tokyo"
			err := fails(t, dialer(t, base, osaka, serverTarget("vps", hub)), nil)
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			mended(t, err)
		})
	}

	base.Jump, base.Beyond = "vps", "dig a tunnel"
	err := fails(t, dialer(t, base, serverTarget("vps", hub)), nil)
	if h := transport.Hinter(nil); !errors.As(err, &h) || h.Hint() != "dig a tunnel" {
		t.Errorf("the mend of one beyond its jump host: %v", err)
	}
}

// One who gives up while the hub is being dialed does not fail the others.
func TestJumpOfOneWhoGivesUp(t *testing.T) {
	id := transporttest.NewIdentity(t)
	hub := transporttest.NewServer(t, transporttest.Options{Identity: id, Mute: true})
	site := target("tokyo", "127.0.0.1", 1, "root", id)
	site.Jump = "vps"
	vps := serverTarget("vps", hub)
	vps.ConnectTimeout = time.Second
	d := dialer(t, site, vps)
	ctx, cancel := context.WithCancel(t.Context())
	quit := make(chan error, 1)
	go func() {
		_, err := d.Dial(ctx, "tokyo")
		quit <- err
	}()
	stay := make(chan error, 1)
	go func() {
		_, err := d.Dial(t.Context(), "tokyo")
		stay <- err
	}()
	cancel()
	if err := <-quit; !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
	if err := <-stay; err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "no answer within 1s") {
		t.Errorf("err = %v", err)
	}
}

func FuzzSplitHop(f *testing.F) {
	for _, s := range []string{"hub", "root@vps:2222", "ssh://u@h:1/", "[2001:db8::1]:22", "u@2001:db8::1", "a@b@c", "-oProxyCommand=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		user, host, port, err := splitHop(s)
		if err != nil {
			return
		}
		if host == "" || strings.HasPrefix(host, "-") || port < 0 || port > 65535 {
			t.Errorf("%q: %q %q %d", s, user, host, port)
		}
		h := hop{raw: true, target: &Target{Host: host, User: user, Port: port}}
		u2, h2, p2, err := splitHop(h.text())
		if err != nil || u2 != user || h2 != host || p2 != port {
			t.Errorf("%q: %q reads back as %q %q %d, %v", s, h.text(), u2, h2, p2, err)
		}
	})
}
