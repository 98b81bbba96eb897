package transporttest

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a long line to a TCP server: every byte takes Delay each way.
type Proxy struct {
	Host string
	Port int

	delay time.Duration
	to    string
	l     net.Listener

	mu    sync.Mutex
	only  int
	lines []*line
	conns []net.Conn
}

// NewProxy starts a line to the server at addr.
func NewProxy(t testing.TB, addr string, delay time.Duration) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, delay: delay, to: addr, l: l}
	t.Cleanup(func() {
		l.Close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.Close()
		}
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// RoundTrips returns how many round trips lie before what clients have heard
// last, summed over the connections since the last Reset. It is the longest
// chain of cause and effect, not a time: what one side sends counts as caused
// by all that it has heard, a one-way trip each. TCP's own handshake, which the
// proxy answers without delay, counts one.
func (p *Proxy) RoundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, l := range p.lines {
		n += roundTrips(l.heard[client])
	}
	return n
}

// roundTrips is what a chain of one-way trips costs, with TCP's handshake.
func roundTrips(chain int) int { return 1 + (chain+1)/2 }

// Withhold keeps from the server whatever a client says once it has had n round
// trips. What comes out whole all the same does not need more, though a client
// that is not waited for (the end of an empty input, say) may say more.
func (p *Proxy) Withhold(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.only = n
}

// Reset starts a new count.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = nil
}

// The sides of a line.
const (
	client = iota
	server
)

// line is one connection. heard is the length of the longest chain of one-way
// trips that has reached a side: a Lamport clock.
type line struct{ heard [2]int }

func (p *Proxy) serve(from net.Conn) {
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		from.Close()
		return
	}
	l := &line{}
	p.mu.Lock()
	p.conns = append(p.conns, from, to)
	p.lines = append(p.lines, l)
	p.mu.Unlock()
	go p.copy(to, from, l, client)
	p.copy(from, to, l, server)
}

type chunk struct {
	data  []byte
	due   time.Time
	chain int
}

// copy passes on what side says, after the delay.
func (p *Proxy) copy(to, from net.Conn, l *line, side int) {
	way := make(chan chunk, 1024)
	go func() {
		defer close(way)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				p.mu.Lock()
				c := chunk{buf[:n], time.Now().Add(p.delay), l.heard[side] + 1}
				hold := side == client && p.only > 0 && roundTrips(c.chain+1) > p.only
				p.mu.Unlock()
				if !hold {
					way <- c
				}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range way {
		time.Sleep(time.Until(c.due))
		p.mu.Lock()
		l.heard[1-side] = max(l.heard[1-side], c.chain)
		p.mu.Unlock()
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	to.Close()
	for range way {
	}
}
