package view

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// progress shows on a terminal what each host is at, a line a host, drawn over
// in place and wiped at the end. Elsewhere it is silent; with -v it writes a
// plain line an event instead, on any stream.
type progress struct {
	w             io.Writer
	width, height int
	live, verbose bool
	redact        func([]byte) []byte
	now           func() time.Time

	mu      sync.Mutex // Observe and the ticker
	total   int
	running []*row // in the order they began
	done    map[string]engine.Result
	drawn   int    // lines on the terminal
	last    string // what they say
	stop    chan struct{}
	held    bool // a question stands on the terminal: nothing is drawn
}

// row is a host at work.
type row struct {
	host, stage, message string
	since                time.Time
}

// stages are the events' stages as a host's present state.
var stages = map[string]string{
	"connect": "connecting", "read": "reading", "rehearse": "rehearsing", "check": "checking", "packages": "packages", "try": "trying", "write": "writing",
	"reload": "reloading", "verify": "verifying", "confirm": "confirming",
}

// frame is the time between two drawings. Nothing is drawn before the first has
// passed, so a short run shows nothing.
const frame = 100 * time.Millisecond

func newProgress(o Options) *progress {
	return &progress{
		w: o.Err, width: o.Width, height: o.Height, redact: o.Redact, now: time.Now,
		live: o.ErrIsTerminal && !o.Verbose, verbose: o.Verbose, done: map[string]engine.Result{},
	}
}

// Hosts tells how many hosts the run has, for the counter.
func (p *progress) Hosts(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.total = n
}

// Observe implements engine.Observer.
func (p *progress) Observe(e engine.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.verbose:
		p.print(e)
	case p.live:
		p.note(e)
		if p.stop == nil {
			p.stop = make(chan struct{})
			go p.tick(p.stop)
		}
	}
}

func (p *progress) print(e engine.Event) {
	line := e.Host + ": " + e.Stage
	if e.Result != "" {
		line += ": " + resultWord(e.Result)
	}
	if e.Message != "" {
		line += ": " + e.Message
	}
	p.w.Write(p.redact([]byte(oneLine(line) + "\n")))
}

func (p *progress) note(e engine.Event) {
	at := -1
	for i, r := range p.running {
		if r.host == e.Host {
			at = i
		}
	}
	if e.Stage == "done" {
		if at >= 0 {
			p.running = append(p.running[:at], p.running[at+1:]...)
		}
		p.done[e.Host] = e.Result
		return
	}
	if at < 0 {
		at = len(p.running)
		p.running = append(p.running, &row{host: e.Host, since: p.now()})
		delete(p.done, e.Host)
	}
	p.running[at].stage, p.running[at].message = e.Stage, e.Message
}

func (p *progress) tick(stop chan struct{}) {
	t := time.NewTicker(frame)
	defer t.Stop()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
			p.mu.Lock()
			if p.stop == stop {
				p.draw()
			}
			p.mu.Unlock()
		}
	}
}

// draw replaces what is on the terminal, in one write.
func (p *progress) draw() {
	if p.held {
		return
	}
	lines := p.lines()
	text := strings.Join(lines, "\n")
	if text == p.last {
		return
	}
	p.replace(lines)
	p.last = text
}

// replace writes lines over those drawn before. Each is wiped by itself: tmux
// takes "erase below" at the top of the screen as a wish to keep it all in its
// history.
func (p *progress) replace(lines []string) {
	var b strings.Builder
	up := func(n int) {
		if n > 0 {
			fmt.Fprintf(&b, "\x1b[%dA\r", n)
		}
	}
	up(p.drawn)
	for _, l := range lines {
		b.WriteString(l + "\x1b[K\n")
	}
	left := max(0, p.drawn-len(lines))
	b.WriteString(strings.Repeat("\x1b[K\n", left))
	up(left)
	p.w.Write([]byte(b.String()))
	p.drawn = len(lines)
}

// lines returns the hosts at work, as many as fit above the cursor's own line, and,
// when there is more than one host, a counter.
func (p *progress) lines() []string {
	shown := p.running
	room := p.height - 1
	counter := p.total > 1 || len(p.running)+len(p.done) > 1
	if counter {
		room--
	}
	if room = max(room, 0); len(shown) > room {
		shown = shown[:room]
	}
	nameWidth := 0
	for _, r := range shown {
		nameWidth = max(nameWidth, columns(r.host))
	}
	var out []string
	for _, r := range shown {
		stage := r.stage
		if s, ok := stages[stage]; ok {
			stage = s
		}
		line := pad(r.host, nameWidth) + "  " + pad(stage, len("connecting")) + "  " + seconds(p.now().Sub(r.since))
		if r.message != "" {
			line += "  " + r.message
		}
		out = append(out, p.fit(line))
	}
	if counter {
		t := tally{}
		for _, r := range p.done {
			t.host(r)
		}
		total := max(p.total, len(p.running)+len(p.done))
		parts := append([]string{fmt.Sprintf("%d/%d done", len(p.done), total)}, t.bad()...)
		if n := len(p.running) - len(shown); n > 0 {
			parts = append(parts, fmt.Sprintf("%d more at work", n))
		}
		out = append(out, p.fit(strings.Join(parts, ", ")))
	}
	return out
}

// fit returns a line that cannot wrap: one column short, since some terminals
// wrap in the last.
func (p *progress) fit(line string) string {
	line = strings.ReplaceAll(strings.ReplaceAll(clean(line), "\n", " "), "\t", " ")
	return cut(clean(string(p.redact([]byte(line)))), p.width-1)
}

// interject writes text between what is drawn, and holds the drawing from then on
// when hold is set. Unlike halt it forgets nothing.
func (p *progress) interject(text string, hold bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.drawn > 0 {
		p.replace(nil)
	}
	p.last, p.held = "", hold
	p.w.Write(p.redact([]byte(text)))
}

// halt wipes the progress off the terminal and forgets it.
func (p *progress) halt() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		close(p.stop)
		p.stop = nil
	}
	if p.drawn > 0 {
		p.replace(nil)
	}
	p.last, p.running, p.done = "", nil, map[string]engine.Result{}
}
