package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/vpnpush/vpnpush/transport"
)

// How long a host may take for its answers. One whose line lives and that says nothing,
// being hung or no longer its owner's, must not hold the others.
const (
	// answerWait is for a probe, which takes a second or two, and with doctor's pings and
	// a week of the kernel's log on a slow card half a minute.
	answerWait = 2 * time.Minute
	// deadLine is how long nothing may be heard of a host that is being changed, and how
	// long it may take to tell what has become of it.
	deadLine = 8 * time.Second
	// confirmWait is for the confirmation, which waits for the lock for 20 s.
	confirmWait = 30 * time.Second
	// revertWait is for an order to put back. It may take longer on the host; how it ends
	// is asked for then.
	revertWait = time.Minute
	// maxWord is more than any of the short answers has.
	maxWord = 64 << 10
)

// silentError says that a host let us in and did not answer.
type silentError time.Duration

func (s silentError) Error() string {
	return fmt.Sprintf("it takes commands, and did not answer within %s", time.Duration(s))
}

// run runs cmd over conn, whose answer is waited for so long.
func run(ctx context.Context, conn transport.Conn, wait time.Duration, cmd transport.Cmd) (transport.Result, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, wait, silentError(wait))
	defer cancel()
	return conn.Run(ctx, cmd)
}
