package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/transport"
)

const (
	// followTries is how often the script that follows a run may end without an
	// answer.
	followTries = 20
	// silentSlack is what a host that lets us in and answers nothing at all gets beside
	// the time of its confirmation.
	silentSlack = 20 * time.Second
	// packageTime is how long a run may take that installs packages (RuntimeMaxSec of
	// host.Txn.Launch).
	packageTime = 30 * time.Minute
	// packageLine is deadLine where packages are installed, which tell nothing for minutes.
	packageLine = 30 * time.Second
)

var (
	// errOver ends the listening to an apply that the host has told the outcome of.
	errOver = errors.New("the host has told how it ended")
	// errOverdue ends that to one that has had the time of any.
	errOverdue = errors.New("it should long be through with the apply")
)

// listener hears what an apply tells while it runs. Whenever that is nothing for a while
// it asks the host over a new connection what has become of it: the line may be dead, as
// the way that it goes may be what has changed, or alive, and what follows the apply there
// hung.
type listener struct {
	a    *attempt
	ctx  context.Context // of the listening
	stop context.CancelCauseFunc

	mu      sync.Mutex
	timer   *time.Timer
	stage   string    // that was heard last
	heard   time.Time // when anything was
	end     time.Time // when the host must be through with it, one way or the other
	outcome string    // as the host told when asked
}

// listen begins to listen. done ends it.
func (a *attempt) listen(ctx context.Context) *listener {
	l := &listener{a: a}
	l.ctx, l.stop = context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent()
	l.timer = time.AfterFunc(deadLine, l.mistrust)
	return l
}

// done ends the listening, and returns the outcome that the host has told, "" for none.
func (l *listener) done() string {
	l.stop(nil)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer.Stop()
	return l.outcome
}

// event is told of each stage and task that the host comes to.
func (l *listener) event(stage, task string) {
	l.mu.Lock()
	l.stage, l.heard = stage, time.Now()
	if l.heard.After(l.end) {
		l.stop(fmt.Errorf("%w: %w", transport.ErrEndless, errOverdue))
	}
	l.timer.Reset(l.patience())
	l.mu.Unlock()
	l.a.observe(stage, task)
}

// packages reports whether packages are being installed.
func (l *listener) packages() bool { return l.stage == host.StagePackages && l.a.installs() }

// patience returns for how long nothing may be heard before the host is asked.
func (l *listener) patience() time.Duration {
	if l.packages() || l.stage == host.StageTry { // a trial writes all files in silence
		return packageLine
	}
	return deadLine
}

// sent is told that the host takes what is sent to it: its time begins when it has all.
func (l *listener) sent() {
	l.heard = time.Now()
	l.end = l.heard.Add(l.a.x.ConfirmTimeout + guardSlack + silentSlack)
	if l.a.installs() {
		l.end = l.end.Add(packageTime)
	}
}

// sending returns r, of which each read shows that the host takes it.
func (l *listener) sending(r io.Reader) io.Reader {
	return readerFunc(func(b []byte) (int, error) {
		l.mu.Lock()
		l.sent()
		l.timer.Reset(deadLine)
		l.mu.Unlock()
		return r.Read(b)
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// installs reports whether the run may take the time that packages take.
func (a *attempt) installs() bool {
	return slices.ContainsFunc(a.hp.Changes, func(c tasks.Change) bool { return c.Action == tasks.Install })
}

// mistrust asks the host, of which nothing was heard for a while, what has become of the
// apply, and gives it up when it must be over.
func (l *listener) mistrust() {
	conn, err := l.a.e.Dialer.DialAnyWay(l.ctx, l.a.h.Name)
	var word string
	if err == nil {
		word, err = l.a.outcome(l.ctx, conn)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil {
		if conn != nil {
			conn.Close()
		}
		return
	}
	silence := time.Since(l.heard)
	told := ", and told nothing for " + silence.Round(time.Second).String()
	var mute silentError
	switch {
	case err == nil && ended(word):
		l.outcome = word
		l.stop(errOver)
	case conn == nil && time.Now().After(l.end):
		l.stop(err)
	case time.Now().After(l.end):
		l.stop(fmt.Errorf("%w%s", errOverdue, told))
	case errors.As(err, &mute) && !l.packages() && silence > l.a.x.ConfirmTimeout+silentSlack:
		l.stop(fmt.Errorf("%w%s", mute, told))
	}
	if conn != nil {
		conn.Close()
		if l.stage != "" && !l.packages() && silence >= deadLine {
			l.a.e.drop(l.a.h.Name) // the run is taken up over a line that is known to live
		}
	}
	l.timer.Reset(l.patience())
}

// ended reports whether an outcome is one that stays.
func ended(word string) bool {
	w, _, _ := strings.Cut(word, "\t")
	return w == host.OutcomeConfirmed || w == host.OutcomeReverted || w == host.OutcomeRevertFailed
}

// launch runs the apply script and waits for its end, over as many connections as that
// takes. An error means that its outcome is not known.
func (a *attempt) launch(ctx context.Context) (host.Reply, error) {
	script, err := a.x.Script()
	if err != nil {
		return host.Reply{}, transport.Bug(err)
	}
	conn, err := a.e.conn(ctx, a.h.Name)
	if err != nil {
		return host.Reply{Status: host.StatusFailed, Stage: stageConnect, Message: err.Error()}, nil
	}
	l := a.listen(ctx)
	reply, err := l.launch(conn, script)
	if word := l.done(); word != "" && err != nil && ctx.Err() == nil {
		if why, ok := a.failedUnheard(ctx, word); ok {
			return why, nil
		}
		return host.Reply{Status: host.StatusApplied, Outcome: word}, nil
	}
	return reply, err
}

// failedUnheard returns what a run told that failed and has put everything back, by its
// outcome, while its line was dead: the tunnel that carried the line may be what failed.
func (a *attempt) failedUnheard(ctx context.Context, outcome string) (host.Reply, bool) {
	if !strings.HasPrefix(outcome, host.OutcomeReverted+"\tfailed at ") {
		return host.Reply{}, false
	}
	conn, err := a.e.redial(ctx, a.h.Name)
	if err != nil {
		return host.Reply{}, false
	}
	said := &host.Replies{}
	_, err = run(ctx, conn, deadLine, transport.Cmd{Script: a.x.Follow(), Stdout: said, MaxStdout: a.h.maxAnswer()})
	reply := said.Reply()
	return reply, err == nil && reply.Status == host.StatusReverted
}

// launch starts script over conn, and hears it to its end.
func (l *listener) launch(conn transport.Conn, script secret.Value) (host.Reply, error) {
	a := l.a
	var silent time.Time // since when nothing is heard of it
	heard := func(stage, task string) {
		silent = time.Time{}
		l.event(stage, task)
	}
	said := &host.Replies{Event: heard}
	_, err := conn.Run(l.ctx, transport.Cmd{Script: a.x.Launch(), Stdin: l.sending(a.x.Sent(script)), Stdout: said, MaxStdout: a.h.maxAnswer()})
	if host.NotStarted(err) {
		return host.Reply{Status: host.StatusFailed, Stage: host.StageStart, Message: "the apply could not be started", Log: err.Error()}, nil
	}
	for ends := 0; err != nil; {
		if silent.IsZero() {
			silent = time.Now()
		}
		var exit *transport.ExitError
		if errors.As(err, &exit) {
			ends++
		}
		if l.ctx.Err() != nil || errors.Is(err, transport.ErrEndless) || ends > followTries || time.Since(silent) > a.x.ConfirmTimeout+guardSlack {
			return host.Reply{}, err
		}
		a.observe(stageConnect, "connection lost; trying again")
		sleep(l.ctx, time.Second)
		a.e.drop(a.h.Name)
		if conn, err = a.e.redial(l.ctx, a.h.Name); err != nil {
			continue
		}
		said = &host.Replies{Event: heard}
		_, err = conn.Run(l.ctx, transport.Cmd{Script: a.x.Follow(), Stdout: said, MaxStdout: a.h.maxAnswer()})
	}
	return said.Reply(), nil
}
