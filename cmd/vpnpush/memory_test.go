package main

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport"
)

// Dial has the fleet stand for any host, without SSH.
func (f *fleet) Dial(context.Context, string) (transport.Conn, error) { return fleetConn{f}, nil }

func (f *fleet) DialAnyWay(ctx context.Context, host string) (transport.Conn, error) {
	return f.Dial(ctx, host)
}

type fleetConn struct{ *fleet }

func (c fleetConn) Run(_ context.Context, cmd transport.Cmd) (transport.Result, error) {
	return transport.Result{Stdout: []byte(c.answer(cmd.Script))}, nil // each host's is its own
}

func (fleetConn) Close() error { return nil }

// inUse returns how many bytes are reachable. What a pool holds goes with the second
// collection.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Of a host that a plan or a drift is done with its result is kept, and neither what it
// answered, nor what would change it: thousands of them would take the memory. A bare host
// has the longest result.
func TestMemoryOfHosts(t *testing.T) {
	if racing {
		t.Skip("the race detector keeps a shadow of it")
	}
	for _, tt := range []struct {
		verb string
		most int // bytes a host
		run  func(context.Context, *engine.Engine, []engine.Host) any
	}{
		{"plan", 35_000, func(ctx context.Context, e *engine.Engine, hosts []engine.Host) any {
			p, _ := e.Plan(ctx, hosts)
			return p
		}},
		{"drift", 15_000, func(ctx context.Context, e *engine.Engine, hosts []engine.Host) any { return e.Drift(ctx, hosts, nil) }},
	} {
		for _, n := range []int{200, 2000} {
			f := newFleet(t, n)
			inv, diags := inventory.Load(t.Context(), f.inventory)
			if inv == nil {
				t.Fatal(diags)
			}
			names, err := inv.Select(nil)
			if err != nil {
				t.Fatal(err)
			}
			hosts, err := engineHosts(inv, names)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) { // a drift waits before it looks again
				run := func(hosts []engine.Host) any {
					e := &engine.Engine{Dialer: f, Owner: inv.ID, ReadOnly: true}
					return tt.run(t.Context(), e, hosts)
				}
				run(hosts[:2]) // what is made once is made
				before := inUse()
				result := run(hosts)
				each := int(inUse()-before) / len(hosts)
				runtime.KeepAlive(result)
				if t.Logf("%s of %d hosts: %d bytes each", tt.verb, n, each); each > tt.most {
					t.Errorf("more than %d", tt.most)
				}
			})
			runtime.KeepAlive(hosts)
		}
	}
}
