package view

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// vt is as much of a terminal as progress needs: it fails on what it does not
// know, and on a line that would wrap.
type vt struct {
	t     *testing.T
	width int
	lines []string
	row   int
	bytes.Buffer
}

var escape = regexp.MustCompile(`^\x1b\[(\d*)([A-Z])`)

func (v *vt) Write(b []byte) (int, error) {
	v.Buffer.Write(b)
	s := string(b)
	col := 0
	for s != "" {
		for len(v.lines) <= v.row {
			v.lines = append(v.lines, "")
		}
		if m := escape.FindStringSubmatch(s); m != nil {
			s = s[len(m[0]):]
			n, _ := strconv.Atoi(m[1])
			switch m[2] {
			case "A":
				if v.row -= n; v.row < 0 {
					v.t.Fatalf("moved %d lines above the first", -v.row)
				}
			case "K":
				v.lines[v.row] = string([]rune(v.lines[v.row])[:col])
			default:
				v.t.Fatalf("sent %q", m[0])
			}
			continue
		}
		switch c := []rune(s)[0]; c {
		case '\r':
			col = 0
			s = s[1:]
		case '\n':
			v.row++
			col = 0
			s = s[1:]
		default:
			if c < ' ' {
				v.t.Fatalf("sent %q", c)
			}
			line := []rune(v.lines[v.row])
			line = append(line[:min(col, len(line))], append([]rune{c}, line[min(col+1, len(line)):]...)...)
			v.lines[v.row] = string(line)
			if col++; columns(v.lines[v.row]) >= v.width {
				v.t.Fatalf("line of %d columns on %d: %q", columns(v.lines[v.row]), v.width, v.lines[v.row])
			}
			s = s[len(string(c)):]
		}
	}
	return len(b), nil
}

func (v *vt) screen() string { return strings.TrimRight(strings.Join(v.lines, "\n"), "\n") }

// terminal is a live progress without its ticker, on a clock that stands.
func terminal(t *testing.T, width, height int) (*progress, *vt, *time.Time) {
	w := &vt{t: t, width: width}
	p := newProgress(Options{Err: w, ErrIsTerminal: true, Width: width, Height: height, Redact: func(b []byte) []byte { return b }})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p.now = func() time.Time { return now }
	return p, w, &now
}

// The lines of a run: in place, finished hosts gone, wiped at the end.
func TestProgress(t *testing.T) {
	p, w, now := terminal(t, 40, 24)
	p.Hosts(3)
	p.note(engine.Event{Host: "vps", Stage: "connect"})
	p.note(engine.Event{Host: "tokyo", Stage: "connect"})
	p.draw()
	*now = now.Add(1200 * time.Millisecond)
	p.note(engine.Event{Host: "tokyo", Stage: "read", Message: "a message that\x1b[2J is\nlonger than the line"})
	p.draw()
	want := "vps    connecting  1.2s\ntokyo  reading     1.2s  a message tha…\n0/3 done"
	if d := cmp.Diff(want, w.screen()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	p.note(engine.Event{Host: "vps", Stage: "done", Result: engine.Unreachable})
	*now = now.Add(time.Minute)
	p.draw()
	want = "tokyo  reading     1m01s  a message th…\n1/3 done, 1 unreachable"
	if d := cmp.Diff(want, w.screen()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	p.halt()
	if w.screen() != "" || w.row != 0 {
		t.Errorf("left on the terminal, row %d: %q", w.row, w.screen())
	}
}

// A remark stands above the progress, which forgets nothing for it; and no line
// is drawn over a question that waits for its answer.
func TestProgressGivesWay(t *testing.T) {
	p, w, now := terminal(t, 40, 24)
	p.Hosts(3)
	p.note(engine.Event{Host: "vps", Stage: "done", Result: engine.OK})
	p.note(engine.Event{Host: "tokyo", Stage: "read"})
	p.draw()
	p.interject("a remark\n", false)
	p.draw()
	want := "a remark\ntokyo  reading     0.0s\n1/3 done"
	if d := cmp.Diff(want, w.screen()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	p.interject("sudo password: ", true)
	*now = now.Add(time.Second)
	p.draw()
	if want := "a remark\nsudo password:"; strings.TrimRight(w.screen(), " ") != want {
		t.Errorf("while it is asked: %q, want %q", w.screen(), want)
	}
	p.interject("\n", false)
	p.draw()
	want = "a remark\nsudo password: \ntokyo  reading     1.0s\n1/3 done"
	if d := cmp.Diff(want, w.screen()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A hundred hosts never scroll the terminal: the lines would stay behind.
func TestProgressHeight(t *testing.T) {
	for _, height := range []int{1, 2, 3, 24} {
		p, w, _ := terminal(t, 80, height)
		p.Hosts(100)
		for i := range 100 {
			p.note(engine.Event{Host: fmt.Sprint("site-", i), Stage: "connect"})
			p.draw()
			if len(w.lines) > max(height, 2) {
				t.Fatalf("%d lines on a terminal of %d", len(w.lines), height)
			}
		}
		if want := fmt.Sprintf("0/100 done, %d more at work", 100-max(height-2, 0)); !strings.HasSuffix(w.screen(), want) {
			t.Errorf("last line is not %q:\n%s", want, w.screen())
		}
		for i := range 63 {
			p.note(engine.Event{Host: fmt.Sprint("site-", i), Stage: "done", Result: engine.OK})
		}
		p.draw()
		if !strings.Contains(w.screen(), "63/100 done") {
			t.Errorf("no counter:\n%s", w.screen())
		}
		p.halt()
		if w.screen() != "" {
			t.Errorf("left on the terminal: %q", w.screen())
		}
	}
}

// Where progress is shown at all.
func TestProgressWhere(t *testing.T) {
	events := func(v *View) {
		v.Observe(engine.Event{Host: "tokyo", Stage: "connect"})
		v.Observe(engine.Event{Host: "tokyo", Stage: "done", Result: engine.RolledBack, Message: "no\nanswer"})
		v.Plan(&engine.Plan{})
	}
	if _, stderr := show(Options{}, events); stderr != "" {
		t.Errorf("no terminal, no -v: %q", stderr)
	}
	want := "tokyo: connect\ntokyo: done: rolled back: no answer\n"
	for _, tty := range []bool{false, true} {
		if _, stderr := show(Options{Verbose: true, ErrIsTerminal: tty}, events); stderr != want {
			t.Errorf("-v: %q, want %q", stderr, want)
		}
	}
}

// The ticker draws, and anything that is shown ends it first.
func TestProgressEnds(t *testing.T) {
	w := &vt{t: t, width: 80}
	drawn := make(chan bool, 100)
	v := New(Options{Out: w, Err: tell{w, drawn}, ErrIsTerminal: true})
	v.Hosts(2)
	v.Observe(engine.Event{Host: "tokyo", Stage: "connect"})
	<-drawn
	v.Plan(&engine.Plan{Hosts: []engine.HostPlan{{Name: "tokyo", Role: "site", Result: engine.OK}}})
	if got, want := w.screen(), "No changes. 1 host matches the inventory."; got != want {
		t.Errorf("on the terminal: %q, want %q", got, want)
	}
}

type tell struct {
	w     *vt
	drawn chan bool
}

func (t tell) Write(b []byte) (int, error) {
	n, err := t.w.Write(b)
	select {
	case t.drawn <- true:
	default:
	}
	return n, err
}

// Cutting counts columns, not runes or bytes.
func TestCut(t *testing.T) {
	for _, tt := range []struct {
		in    string
		width int
		want  string
	}{
		{"tokyo", 5, "tokyo"}, {"tokyo", 4, "tok…"}, {"東京大阪", 8, "東京大阪"}, {"東京大阪", 7, "東京大…"}, {"東京大阪", 6, "東京…"},
		{"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"abc", 0, "…"},
	} {
		if got := cut(tt.in, tt.width); got != tt.want {
			t.Errorf("cut(%q, %d) = %q, want %q", tt.in, tt.width, got, tt.want)
		}
	}
}
