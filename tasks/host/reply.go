package host

import (
	"bytes"
	"errors"
	"strings"

	"github.com/vpnpush/vpnpush/transport"
)

// Reply is what an apply script said of itself.
type Reply struct {
	Status  string // one of the Status constants
	Stage   string // where it was
	Task    string // the task it was at, "" for none
	Message string
	// Outcome is what has become of it since, with the reason behind a tab; "" while
	// it waits for its confirmation.
	Outcome string
	Log     string // the end of what its commands printed
	// Warnings are what the script found and went on with.
	Warnings []string
}

// Where returns the task and the stage at which it ended, with a space before it.
func (r Reply) Where() string {
	if r.Task == "" {
		return " (" + r.Stage + ")"
	}
	return " " + r.Task + " (" + r.Stage + ")"
}

// NotStarted reports whether err is Launch's own way to say that nothing was begun. Any
// other end of it says nothing of the apply: a host that goes down ends the shell that
// follows the run.
func NotStarted(err error) bool {
	var exit *transport.ExitError
	return errors.As(err, &exit) && (exit.Code == exitStart || exit.Code == exitIO)
}

// Replies reads what Launch and Follow print, as it comes.
type Replies struct {
	// Event, if set, is told of each stage and task as the script comes to it.
	Event func(stage, task string)

	buf   []byte
	log   bytes.Buffer
	reply Reply
	tail  bool // in the log
}

// Write implements io.Writer. It never fails.
func (r *Replies) Write(b []byte) (int, error) {
	n := len(b)
	for {
		// only what is new is looked at: a line without end may come byte by byte
		line, rest, ok := bytes.Cut(b, []byte("\n"))
		r.buf = append(r.buf, line[:min(len(line), maxLine-len(r.buf))]...)
		if !ok {
			return n, nil
		}
		r.line(string(r.buf))
		r.buf, b = r.buf[:0], rest
	}
}

func (r *Replies) line(l string) {
	if r.tail {
		if r.log.Len() < maxLog {
			r.log.WriteString(l + "\n")
		}
		return
	}
	w := append(strings.Split(l, "\t"), "", "", "")
	switch w[0] {
	case "event":
		switch {
		case w[1] == "warning":
			r.reply.Warnings = append(r.reply.Warnings, w[3])
		case r.Event != nil && (w[1] == "stage" || w[1] == "task"):
			r.Event(w[2], w[3])
		}
	case "status":
		r.reply.Status = w[1]
	case "stage":
		r.reply.Stage = w[1]
	case "task":
		r.reply.Task = w[1]
	case "message":
		r.reply.Message = w[1]
	case "outcome":
		r.reply.Outcome = strings.TrimSpace(strings.Join(w[1:3], "\t"))
	case "log":
		r.tail = true
	}
}

// Reply returns what was said until now; the status of a run that said nothing is
// StatusDied.
func (r *Replies) Reply() Reply {
	out := r.reply
	out.Log = strings.TrimSpace(r.log.String() + string(r.buf))
	if out.Status == "" {
		out.Status = StatusDied
	}
	return out
}
