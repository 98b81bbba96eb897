package engine

import (
	"context"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
)

// HostFacts is what was read on one host, judged by nobody.
type HostFacts struct {
	Name, Role string
	Result     Result // OK, Unreachable, Failed, Skipped
	Err        error
	Facts      tasks.Facts
	// Asked and Answered bound, by this machine's clock, when the facts were
	// read.
	Asked, Answered time.Time
}

// Facts reads every host. What happened on one says nothing of the others.
func (e *Engine) Facts(ctx context.Context, hosts []Host) []HostFacts {
	out := make([]HostFacts, len(hosts))
	e.each(ctx, len(hosts), func(i int) {
		out[i] = e.reach(ctx, hosts[i])
		e.observe(Event{Host: out[i].Name, Stage: stageDone, Result: out[i].Result, Err: out[i].Err})
	})
	sortHosts(out, func(h HostFacts) (string, string) { return h.Role, h.Name })
	return out
}
