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
	trips int
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

// RoundTrips gives how often the client has waited for the server since the
// last Reset: one for each TCP handshake, which the proxy answers without
// delay, and one each time the client speaks after it has heard. A client
// that speaks again at once, without having heard, adds none.
func (p *Proxy) RoundTrips() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.trips
}

// Reset starts a new count.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trips = 0
}

func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.conns = append(p.conns, client, server)
	p.trips++ // TCP's own
	p.mu.Unlock()

	var mu sync.Mutex
	heard := true // since the client last spoke
	up := func() {
		mu.Lock()
		defer mu.Unlock()
		if heard {
			heard = false
			p.mu.Lock()
			p.trips++
			p.mu.Unlock()
		}
	}
	down := func() {
		mu.Lock()
		defer mu.Unlock()
		heard = true
	}
	// Upwards the count is taken as the client speaks, downwards as it hears.
	go p.copy(server, client, up, func() {})
	p.copy(client, server, func() {}, down)
}

type chunk struct {
	data []byte
	due  time.Time
}

// copy passes on what comes after the delay.
func (p *Proxy) copy(to, from net.Conn, came, goes func()) {
	line := make(chan chunk, 1024)
	go func() {
		defer close(line)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			if n > 0 {
				came()
				line <- chunk{buf[:n], time.Now().Add(p.delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range line {
		time.Sleep(time.Until(c.due))
		goes()
		if _, err := to.Write(c.data); err != nil {
			break
		}
	}
	to.Close()
	for range line {
	}
}
