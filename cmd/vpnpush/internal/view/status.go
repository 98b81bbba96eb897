package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// StatusOptions is what a status' table tells besides what runs.
type StatusOptions struct {
	Inventory string // its ID
	L2TP      bool   // there is an L2TP layer
	// Refresh draws over the whole terminal, which has Height lines now.
	Refresh bool
	Height  int
}

// column of a table.
type column struct {
	head  string
	right bool // numbers
}

// table lays rows out under their heads, each in its style, and calls after, if
// there is one, below each. In a row with fewer cells than there are columns the
// last cell runs across the others.
func (p *page) table(cols []column, rows [][]string, styles []style, after func(i int)) {
	width := make([]int, len(cols))
	for i, c := range cols {
		width[i] = columns(c.head)
		for _, r := range rows {
			if i < len(r)-1 || i < len(r) && len(r) == len(cols) {
				width[i] = max(width[i], columns(r[i]))
			}
		}
	}
	draw := func(s style, cells []string) {
		var b strings.Builder
		for i, cell := range cells {
			if i == len(cells)-1 && len(cells) < len(cols) {
				b.WriteString(cell)
				break
			}
			if cols[i].right {
				b.WriteString(strings.Repeat(" ", max(0, width[i]-columns(cell))) + cell)
			} else {
				b.WriteString(pad(cell, width[i]))
			}
			b.WriteString("  ")
		}
		p.line("", s, strings.TrimRight(b.String(), " "))
	}
	heads := make([]string, len(cols))
	for i, c := range cols {
		heads[i] = c.head
	}
	draw(bold, heads)
	for i, r := range rows {
		draw(styles[i], r)
		if after != nil {
			after(i)
		}
	}
}

// Status writes what runs.
func (v *View) Status(s *engine.Status, o StatusOptions) error {
	if v.o.JSON {
		return v.encode(v.statusDocument(s, o))
	}
	p := v.statusPage(s, o)
	if o.Refresh {
		return v.result([]byte(overdrawn(string(v.o.Redact(p.Bytes())), o.Height)))
	}
	return v.print(p)
}

func (v *View) statusPage(s *engine.Status, o StatusOptions) *page {
	p := v.page()
	rows, styles := make([][]string, len(s.Tunnels)), make([]style, len(s.Tunnels))
	up, unknown := 0, 0
	for i, t := range s.Tunnels {
		site := oneLine(t.Site)
		switch {
		case !t.Known():
			unknown++
			rows[i], styles[i] = []string{site, "?", oneLine(t.Why)}, yellow
		case t.Up:
			up++
			rows[i] = []string{site, "up", ago(s.At, t.Since), size(t.BytesUp), size(t.BytesDown), oneLine(t.Peer), ""}
			if len(t.SiteSubnets) > 0 {
				rows[i][6] = oneLine(t.SiteSubnets[0])
			}
			if n := len(t.SiteSubnets); n > 1 {
				rows[i][6] += fmt.Sprintf(" +%d", n-1)
			}
			if t.SAs > 1 {
				styles[i] = yellow
			}
		default:
			rows[i], styles[i] = []string{site, "DOWN", oneLine(t.Why)}, red
			if columns(strings.Join(rows[i], "   ")) > v.o.Width {
				rows[i] = rows[i][:2] // below
			}
		}
	}
	head := fmt.Sprintf("%d of %s up", up, words.Count(len(s.Tunnels), "tunnel"))
	if unknown > 0 {
		head += fmt.Sprintf(", %d not known", unknown)
	}
	if o.L2TP && s.Asked[0].Err == nil {
		head += ", " + words.Count(len(s.Sessions), "L2TP session")
	}
	p.line("", bold, fmt.Sprintf("vpnpush status of %s, %s", oneLine(o.Inventory), s.At.UTC().Format("2006-01-02 15:04:05 UTC")))
	p.line("", bold, head)
	for _, h := range s.Asked {
		if h.Err != nil {
			p.line("", red, fmt.Sprintf("%s (%s): %s", oneLine(h.Name), h.Role, resultWord(h.Result)))
			p.trouble(h.Err)
		}
		for _, b := range h.Beside {
			p.line("", yellow, "warning: "+oneLine(h.Name+": "+b))
		}
	}
	if s.Asked[0].Err != nil && len(s.Asked) > 1 {
		p.line("", yellow, "The hub could not be asked: this is how the sites see it.")
	}
	if len(rows) > 0 {
		p.WriteString("\n")
		p.table([]column{{head: "SITE"}, {head: "STATE"}, {head: "FOR", right: true}, {head: "TO HUB", right: true}, {head: "TO SITE", right: true}, {head: "PEER"}, {head: "SUBNETS"}},
			rows, styles, func(i int) {
				t := s.Tunnels[i]
				if t.SAs > 1 {
					p.line("  ", yellow, fmt.Sprintf("%d IKE SAs, where one is enough", t.SAs))
				}
				if len(rows[i]) == 2 {
					p.wrapped(v.o.Width, append([]string{" "}, strings.Fields(oneLine(t.Why))...))
				}
				if v.o.Verbose && t.Known() {
					p.line("  ", plain, oneLine(strings.Join(t.HubSubnets, " ")+" === "+strings.Join(t.SiteSubnets, " ")))
				}
			})
	}
	if len(s.Sessions) > 0 {
		p.WriteString("\n")
		var rows [][]string
		for _, c := range s.Sessions {
			rows = append(rows, []string{
				orDash(oneLine(c.User)), oneLine(c.Address), ago(s.At, c.Since), size(c.BytesIn), size(c.BytesOut), orDash(oneLine(c.From)),
			})
		}
		p.table([]column{{head: "USER"}, {head: "ADDRESS"}, {head: "FOR", right: true}, {head: "TO HUB", right: true}, {head: "TO USER", right: true}, {head: "FROM"}},
			rows, make([]style, len(rows)), nil)
	}
	for i, a := range s.Shared {
		if i == 0 {
			p.WriteString("\n")
		}
		p.wrapped(v.o.Width, strings.Fields(fmt.Sprintf("%s: more than one client behind it dials by L2TP, and they cut each other off. It carries one for each address: docs/inventory.md", oneLine(a))))
	}
	return p
}

// FullScreen takes the whole terminal, and gives it back when leave is called
// (xterm's alternate screen; the cursor is hidden).
func (v *View) FullScreen() (leave func() error, err error) {
	if err := v.result([]byte("\x1b[?1049h\x1b[?25l\x1b[2J")); err != nil {
		return nil, err
	}
	return func() error { return v.result([]byte("\x1b[?25h\x1b[?1049l")) }, nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// ago returns how long something has been so, "42s", "3h": strongSwan tells
// no more.
func ago(now, since time.Time) string {
	d := now.Sub(since)
	switch {
	case since.IsZero():
		return "-"
	case d < time.Minute:
		return fmt.Sprintf("%ds", max(0, int(d.Seconds())))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// size returns a number of bytes in binary units.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 999.5 && unit < 4 {
		f /= 1024
		unit++
	}
	form := "%.1f %ciB"
	if f >= 99.95 {
		form = "%.0f %ciB"
	}
	return fmt.Sprintf(form, f, "KMGTP"[unit])
}

// overdrawn returns text that replaces a whole terminal of so many lines, one at
// a time, so that nothing flickers. What does not fit is left out.
func overdrawn(text string, height int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if height > 1 && len(lines) > height-1 {
		lines = append(lines[:height-2], fmt.Sprintf("(%d more lines: make the window higher, or use --limit)", len(lines)-height+2))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, l := range lines {
		// the end of the line is cleared, and no line wraps: DECAWM off
		b.WriteString("\x1b[?7l" + l + "\x1b[?7h\x1b[K\n")
	}
	return b.String() + "\x1b[J"
}
