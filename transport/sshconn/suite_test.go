package sshconn

import (
	"os"
	"testing"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// target is an inventory's view of a server.
func target(name, host string, port int, user string, id *transporttest.Identity) Target {
	return Target{Name: name, Host: host, Port: port, User: user, IdentityFile: id.IdentityFile, KnownHosts: id.KnownHosts}
}

func serverTarget(name string, s *transporttest.Server) Target {
	return target(name, s.Host, s.Port, s.User, s.Identity)
}

// dialer reads no ssh_config of the machine, and knows no agent.
func dialer(t *testing.T, targets ...Target) *Dialer {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	d := &Dialer{Targets: targets, SSHConfig: "none"}
	t.Cleanup(func() { d.Close() })
	return d
}

// dial dials the first target.
func dial(t *testing.T, d *Dialer) transport.Conn {
	t.Helper()
	c, err := d.Dial(t.Context(), d.Targets[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSuiteServer(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{})
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		return dial(t, dialer(t, serverTarget("tokyo", s)))
	})
}

func TestSuiteSSHD(t *testing.T) {
	s := transporttest.NewSSHD(t, nil)
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		tt := target("tokyo", s.Host, s.Port, s.User, s.Identity)
		tt.Become = "never"
		return dial(t, dialer(t, tt))
	})
}

func TestSuiteRoot(t *testing.T) {
	s := transporttest.NewServer(t, transporttest.Options{Root: transporttest.NewRoot(t)})
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		return dial(t, dialer(t, serverTarget("tokyo", s)))
	})
}

func TestSuiteLocal(t *testing.T) {
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		return dial(t, dialer(t, Target{Name: "here", Local: true, Become: "never"}))
	})
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
