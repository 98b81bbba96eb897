package netmap

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strconv"
)

const (
	sansFonts = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,sans-serif"
	monoFonts = "ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace"
)

// colours of a state: its line and word, and the ground of its icon. A state is
// never told by its colour alone.
func colours(s State) (ink, ground string) {
	switch s {
	case Up:
		return "#15803d", "#dcfce7"
	case Down:
		return "#dc2626", "#fee2e2"
	case Unknown:
		return "#94a3b8", "#f1f5f9"
	}
	return "#2563eb", "#dbeafe"
}

// SVG draws the network. The picture needs no font, script or file but its own,
// and has a light ground of its own, so that it can stand on a dark page.
func SVG(n Network) []byte {
	s := layout(n)
	var b bytes.Buffer
	p := func(format string, a ...any) { fmt.Fprintf(&b, format, a...) }
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`+"\n", num(s.w), num(s.h), num(s.w), num(s.h))
	p("<title>%s</title>\n", escape(s.title))
	p(`<rect x="0.5" y="0.5" width="%s" height="%s" rx="16" fill="#f8fafc" stroke="#e2e8f0"/>`+"\n", num(s.w-1), num(s.h-1))
	for _, k := range []lineKind{trunk, dashed, tunnel} {
		for _, l := range s.lines {
			if l.kind == k {
				drawLine(p, l)
			}
		}
	}
	for _, x := range s.boxes {
		drawBox(p, x)
	}
	p("</svg>\n")
	return b.Bytes()
}

type printer func(format string, a ...any)

func drawLine(p printer, l line) {
	ink, _ := colours(l.state)
	attrs := fmt.Sprintf(`stroke="%s" stroke-width="2.5"`, ink)
	switch {
	case l.kind == trunk:
		attrs = `stroke="#cbd5e1" stroke-width="6"`
	case l.kind == dashed:
		attrs = `stroke="#7c3aed" stroke-width="2.5" stroke-dasharray="2 6"`
	case l.state == Down:
		attrs += ` stroke-dasharray="5 5"`
	}
	p(`<path d="%s" fill="none" stroke-linecap="round" stroke-linejoin="round" %s/>`+"\n", path(l.points), attrs)
}

// path rounds the corners of a line.
func path(ps [][2]float64) string {
	const radius = 14.0
	var b bytes.Buffer
	fmt.Fprintf(&b, "M%s %s", num(ps[0][0]), num(ps[0][1]))
	for i := 1; i < len(ps)-1; i++ {
		a, c, z := ps[i-1], ps[i], ps[i+1]
		in, out := towards(c, a, radius), towards(c, z, radius)
		fmt.Fprintf(&b, " L%s %s Q%s %s %s %s", num(in[0]), num(in[1]), num(c[0]), num(c[1]), num(out[0]), num(out[1]))
	}
	last := ps[len(ps)-1]
	fmt.Fprintf(&b, " L%s %s", num(last[0]), num(last[1]))
	return b.String()
}

// towards returns the point d from c on the way to p, or half of the way. All lines
// are level or upright.
func towards(c, p [2]float64, d float64) [2]float64 {
	for i := range c {
		way := p[i] - c[i]
		c[i] += max(-d, min(d, way/2))
	}
	return c
}

func drawBox(p printer, b *box) {
	ink, ground := colours(b.state)
	r := func(rx float64, attrs string) {
		p(`<rect x="%s" y="%s" width="%s" height="%s" rx="%s" %s/>`+"\n", num(b.x), num(b.y), num(b.w), num(b.h), num(rx), attrs)
	}
	p("<g>\n")
	if b.tip != "" {
		p("<title>%s</title>\n", escape(b.tip))
	}
	colour := "#0f172a"
	switch b.kind {
	case hubCard:
		r(12, `fill="#1e293b"`)
		icon(p, b.x+padding+12, b.y+32, serverIcon, "#38bdf8", "#334155")
		colour = "#f8fafc"
	case siteCard:
		border := "#cbd5e1"
		if b.state != NotAsked {
			border = ink
		}
		r(10, fmt.Sprintf(`fill="#ffffff" stroke="%s" stroke-width="1.2"`, border))
		icon(p, b.x+padding+12, b.y+29, officeIcon, ink, ground)
	case usersCard:
		r(12, `fill="#ffffff" stroke="#ddd6fe" stroke-width="1.2"`)
		icon(p, b.x+padding+12, b.y+32, personIcon, "#7c3aed", "#ede9fe")
	case pill:
		r(9, `fill="#ffffff" stroke="#cbd5e1"`)
		colour = "#475569"
	case legendMark:
		p(`<path d="M%s %s h18" stroke="%s" stroke-width="2.5" stroke-linecap="round"%s/>`+"\n", num(b.x+1), num(b.y+9), ink,
			map[bool]string{true: ` stroke-dasharray="5 5"`}[b.state == Down])
	}
	for _, t := range b.texts {
		drawText(p, b, t, colour, ink)
	}
	p("</g>\n")
}

func drawText(p printer, b *box, t text, colour, ink string) {
	fonts, weight := sansFonts, ""
	switch t.style {
	case bold:
		weight = ` font-weight="600"`
	case mono:
		fonts = monoFonts
		colour = "#475569"
		if b.kind == hubCard {
			colour = "#cbd5e1"
		}
	case faint:
		colour = "#64748b"
	}
	if b.kind == siteCard && t.anchor == "end" {
		colour = ink // the word of its state
		if b.state == Unknown {
			colour = "#64748b"
		}
	}
	anchor := ""
	if t.anchor != "" && t.anchor != "start" {
		anchor = ` text-anchor="` + t.anchor + `"`
	}
	p(`<text x="%s" y="%s" font-family="%s" font-size="%s"%s%s fill="%s" xml:space="preserve">%s</text>`+"\n",
		num(t.x), num(t.y), fonts, num(t.size), weight, anchor, colour, escape(t.s))
}

// Icons on a grid of 24 by 24, drawn in lines.
const (
	serverIcon = "M6 6h12v5h-12z M6 13h12v5h-12z M9 8.5h.01 M9 15.5h.01"
	officeIcon = "M7 19v-13h10v13 M5 19h14 M10 9.5h.01 M14 9.5h.01 M10 13h.01 M14 13h.01 M12 19v-2.5"
	personIcon = "M12 11.5a3 3 0 1 0 0 -6a3 3 0 0 0 0 6z M6.5 18.5a5.5 4.5 0 0 1 11 0"
)

func icon(p printer, x, y float64, d, ink, ground string) {
	p(`<circle cx="%s" cy="%s" r="15" fill="%s"/>`+"\n", num(x), num(y), ground)
	p(`<path transform="translate(%s %s)" d="%s" fill="none" stroke="%s" stroke-width="1.7" stroke-linecap="round" stroke-linejoin="round"/>`+"\n",
		num(x-12), num(y-12), d, ink)
}

func num(f float64) string { return strconv.FormatFloat(float64(int64(f*100+0.5))/100, 'f', -1, 64) }

func escape(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s)) // to a buffer: it cannot fail
	return b.String()
}
