package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// Ctrl-C ends the wait for a host, or an agent, that does not answer, at once.
func TestInterruptedWhileWaiting(t *testing.T) {
	for _, tt := range []struct {
		name string
		play func(p transporttest.Player, asked func()) // nil: it is the agent that does not answer
	}{
		{"a probe that never ends", func(_ transporttest.Player, asked func()) {
			asked()
			<-t.Context().Done()
		}},
		{"an answer that drips on after its end", func(p transporttest.Player, asked func()) {
			p.Exit(0)
			for {
				if _, err := io.WriteString(p.Stdout, "."); err != nil {
					return
				}
				asked()
				time.Sleep(10 * time.Millisecond)
			}
		}},
		{"an agent", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			waits := make(chan struct{})
			asked := sync.OnceFunc(func() { close(waits) })
			n := newNet(t, t.TempDir())
			s := transporttest.NewServer(t, transporttest.Options{Identity: n.id})
			s.OnExec(func(int, string) transporttest.Fault {
				return transporttest.Fault{Play: func(p transporttest.Player) { tt.play(p, asked) }}
			})
			if err := n.add("vps", s.Addr(), "root"); err != nil {
				t.Fatal(err)
			}
			cmd := vpnpushCmd(t, "-i", benchInventory(t, nil), "plan")
			cmd.Env = append(cmd.Environ(), "VPNPUSH_SSH_CONFIG="+n.config, "SSH_AUTH_SOCK=")
			if tt.play == nil {
				dir, err := os.MkdirTemp("", "agent") // a socket's name must be short
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(dir)
				l, err := net.Listen("unix", filepath.Join(dir, "s"))
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				go func() {
					if c, err := l.Accept(); err == nil {
						io.ReadFull(c, make([]byte, 1))
						asked()
						io.Copy(io.Discard, c)
					}
				}()
				cmd.Env = append(cmd.Env, "SSH_AUTH_SOCK="+l.Addr().String())
			}
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { cmd.Wait(); close(ended) }()
			select {
			case <-waits:
				cmd.Process.Signal(syscall.SIGINT)
			case <-ended:
			}
			select {
			case <-ended:
			case <-time.After(20 * time.Second): // far more than it takes, and less than it may wait
				cmd.Process.Kill()
				<-ended
			}
			if code := cmd.ProcessState.ExitCode(); code != exitInterrupted {
				t.Errorf("exit code %d, want %d\n%s", code, exitInterrupted, &out)
			}
		})
	}
}
