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
		out[i] = e.factsOf(ctx, hosts[i])
		e.observe(Event{Host: out[i].Name, Stage: stageDone, Result: out[i].Result, Err: out[i].Err})
	})
	sortHosts(out, func(h HostFacts) (string, string) { return h.Role, h.Name })
	return out
}

func (e *Engine) factsOf(ctx context.Context, h Host) (hf HostFacts) {
	hf = HostFacts{Name: h.Name, Role: h.Role}
	defer func() {
		if hf.Err != nil && ctx.Err() != nil {
			hf.Result, hf.Err = Skipped, cutOff(ctx)
		}
	}()
	if hf.Err = ctx.Err(); hf.Err != nil {
		return hf
	}
	e.observe(Event{Host: h.Name, Stage: stageConnect})
	conn, err := e.conn(ctx, h.Name)
	if err != nil {
		hf.Result, hf.Err = Unreachable, err
		return hf
	}
	hf.Asked = time.Now()
	hf.Facts, hf.Result, hf.Err = e.read(ctx, h, conn)
	hf.Answered = time.Now()
	return hf
}
