package netmap

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/words"
)

// scene is a picture before it is written: what a test can measure. Lengths are
// in CSS pixels, y goes down.
type scene struct {
	w, h  float64
	title string
	lines []line
	boxes []*box
}

// box is a rectangle and the text in it. No two boxes of a scene touch.
type box struct {
	kind       kind
	x, y, w, h float64
	state      State
	texts      []text
	tip        string // the whole of what may be cut in the texts
}

type kind int

const (
	plainBox kind = iota // text on the background
	hubCard
	siteCard
	usersCard
	pill // a word on a line
	legendMark
)

// text is one line of text; y is its baseline. It is cut to fit its box.
type text struct {
	x, y   float64
	s      string
	size   float64
	style  style
	anchor string // "start", "middle", "end"
}

type style int

const (
	sans style = iota
	bold
	mono
	faint
)

// line is a path of corners; those inside are rounded.
type line struct {
	kind   lineKind
	state  State
	points [][2]float64
}

type lineKind int

const (
	trunk lineKind = iota
	tunnel
	dashed
)

const (
	margin   = 36.0
	padding  = 14.0
	iconRoom = 40.0
	lineStep = 18.0
	gutter   = 68.0 // between a column's trunk and its cards
	colGap   = 26.0
	rowGap   = 16.0
	widest   = 300.0 // a site's card
	maxLines = 4     // subnets of a card
	maxUsers = 6
)

// layout places everything: the hub on top, the users beside it, and below a
// trunk that branches into columns of sites.
func layout(n Network) *scene {
	s := &scene{title: n.Hub.Name + " and its sites"}
	hub := hubBox(n)
	top := []*box{hub}
	var users *box
	topWidth := hub.w
	const between = 132.0 // hub to users, with a word on the line
	if n.L2TP != nil {
		users = usersBox(*n.L2TP)
		top = append(top, users)
		topWidth += between + users.w
	}

	drawn := n.drawn()
	cards := make([]*box, len(drawn))
	cardWidth := 196.0
	for i, site := range drawn {
		cards[i] = siteBox(site)
		cardWidth = max(cardWidth, cards[i].w)
	}
	cols := columns(len(cards))
	colWidth := gutter + cardWidth
	sites := float64(cols)*colWidth + float64(max(0, cols-1))*colGap
	inner := max(topWidth, sites, 560)
	s.w = inner + 2*margin

	y := margin + 18
	s.boxes = append(s.boxes, headline(n, inner, y))
	y += 56

	x := margin + (inner-topWidth)/2
	topHeight := 0.0
	for _, b := range top {
		b.move(x, y)
		x += b.w + between
		topHeight = max(topHeight, b.h)
	}
	s.boxes = append(s.boxes, top...)
	if users != nil {
		mid := y + 36
		s.lines = append(s.lines, line{kind: dashed, points: [][2]float64{{hub.x + hub.w, mid}, {users.x, mid}}})
		s.boxes = append(s.boxes, word("L2TP/IPsec", hub.x+hub.w+between/2, mid))
	}
	y += topHeight

	if len(cards) > 0 {
		y = s.sites(cards, cols, hub, y, margin+(inner-sites)/2, cardWidth)
	} else {
		b := &box{x: margin, y: y + 24, w: inner, h: 30}
		b.texts = []text{{x: s.w / 2, y: y + 44, s: "no sites yet", size: 13, style: faint, anchor: "middle"}}
		s.boxes = append(s.boxes, b)
		y += 54
	}
	if len(n.Sites) > 0 {
		y = s.legend(n, y+30, inner)
	}
	s.h = y + margin - 8
	return s
}

// sites draws the trunk and the columns below y, and gives where they end.
func (s *scene) sites(cards []*box, cols int, hub *box, y, left, cardWidth float64) float64 {
	cx := hub.x + hub.w/2
	internet := y + 32
	bus := y + 64
	s.boxes = append(s.boxes, word("internet", cx, internet))
	s.lines = append(s.lines, line{kind: trunk, points: [][2]float64{{cx, hub.y + hub.h}, {cx, bus}}})
	rows := (len(cards) + cols - 1) / cols
	end := 0.0
	for c := range cols {
		x, top := left+float64(c)*(gutter+cardWidth+colGap)+8, bus+26
		column := cards[min(c*rows, len(cards)):min((c+1)*rows, len(cards))] // names go down a column
		if len(column) == 0 {
			continue
		}
		mid := 0.0
		for _, b := range column {
			b.w = cardWidth
			b.move(x+gutter-8, top)
			mid = top + 29
			nat := word("NAT", x+(gutter-8)/2, mid)
			s.lines = append(s.lines, line{kind: tunnel, state: b.state, points: [][2]float64{{x, mid}, {b.x, mid}}})
			s.boxes = append(s.boxes, b, nat)
			end = max(end, top+b.h)
			top += b.h + rowGap
		}
		// the outermost columns bend off the trunk, those between branch off
		down := [][2]float64{{x, bus}, {x, mid}}
		if c == 0 || (c+1)*rows >= len(cards) {
			down = append([][2]float64{{cx, bus}}, down...)
		}
		s.lines = append(s.lines, line{kind: trunk, points: down})
	}
	return end
}

// columns returns how many columns n sites are laid in: a picture that is wider than
// high, up to five.
func columns(n int) int {
	switch {
	case n <= 3:
		return max(n, 1)
	case n == 4:
		return 2
	case n <= 15:
		return 3
	case n <= 60:
		return 4
	}
	return 5
}

func (b *box) move(x, y float64) {
	for i := range b.texts {
		t := &b.texts[i]
		if t.anchor == "end" {
			t.x = b.w - padding
		}
		t.x += x - b.x
		t.y += y - b.y
	}
	b.x, b.y = x, y
}

// fit makes the box wide enough for its texts, within bounds, and cuts what is
// longer still.
func (b *box) fit(least, most float64) {
	b.w = least
	for _, t := range b.texts {
		b.w = max(b.w, min(most, t.x+width(t.s, t.size, t.style)+padding))
	}
	for i := range b.texts {
		t := &b.texts[i]
		t.s = cut(t.s, b.w-t.x-padding, t.size, t.style)
	}
}

func hubBox(n Network) *box {
	b := &box{kind: hubCard, tip: n.Hub.Name + " " + n.Hub.Address}
	x := padding + iconRoom
	b.texts = append(b.texts,
		text{x: x, y: 29, s: n.Hub.Name, size: 17, style: bold},
		text{x: x, y: 49, s: n.Hub.Address, size: 12.5, style: mono})
	b.h = 64
	var nets []string
	for _, s := range n.Hub.Subnets {
		if s != n.Hub.Address+"/32" {
			nets = append(nets, s)
		}
	}
	b.nets(x, nets, 71)
	b.fit(212, 330)
	return b
}

// nets adds networks as lines, the first at y.
func (b *box) nets(x float64, nets []string, y float64) {
	shown := nets
	if len(nets) > maxLines {
		shown = append(append([]string(nil), nets[:maxLines-1]...), fmt.Sprintf("and %d more", len(nets)-maxLines+1))
	}
	for i, s := range shown {
		st := mono
		if len(nets) > maxLines && i == len(shown)-1 {
			st = faint
		}
		b.texts = append(b.texts, text{x: x, y: y, s: s, size: 12.5, style: st})
		b.h = y + 14
		y += lineStep
	}
	if len(nets) > 0 {
		b.tip += ": " + strings.Join(nets, ", ")
	}
}

func siteBox(site Site) *box {
	b := &box{kind: siteCard, state: site.State, tip: site.Name, h: 44}
	x := padding + iconRoom
	b.texts = []text{{x: x, y: 27, s: site.Name, size: 15, style: bold}}
	y := 48.0
	b.nets(x, site.Subnets, y)
	if site.Address != "" {
		b.tip += " (" + site.Address + ")"
	}
	room := 0.0
	if site.State != NotAsked {
		room = width(string(site.State), 11.5, bold) + 12
		b.tip += ", tunnel " + string(site.State)
	}
	b.fit(180, widest)
	if room > 0 {
		// the name gives way to the word
		name := &b.texts[0]
		b.w = min(widest, max(b.w, name.x+width(name.s, name.size, name.style)+room+padding))
		name.s = cut(name.s, b.w-name.x-room-padding, name.size, name.style)
		b.texts = append(b.texts, text{x: b.w - padding, y: 26, s: string(site.State), size: 11.5, style: bold, anchor: "end"})
	}
	b.h = max(b.h, 58)
	return b
}

func usersBox(l L2TP) *box {
	b := &box{kind: usersCard, tip: "L2TP users"}
	x := padding + iconRoom
	b.texts = []text{
		{x: x, y: 29, s: words.Count(len(l.Users), "user"), size: 15, style: bold},
		{x: x, y: 49, s: l.Pool, size: 12.5, style: mono},
	}
	b.h = 64
	y := 71.0
	for i, u := range l.Users {
		t := text{x: x, y: y, s: u.Name, size: 12.5, style: sans}
		if i == maxUsers-1 && len(l.Users) > maxUsers {
			t.s, t.style = fmt.Sprintf("and %d more", len(l.Users)-i), faint
		} else if u.Address != "" {
			t.s += "  " + u.Address
		}
		b.texts = append(b.texts, t)
		b.h = y + 14
		y += lineStep
		if t.style == faint {
			break
		}
	}
	b.fit(196, 320)
	return b
}

// word returns a pill with a word, around a point.
func word(s string, x, y float64) *box {
	w := width(s, 10.5, bold) + 14
	return &box{kind: pill, x: x - w/2, y: y - 9, w: w, h: 18,
		texts: []text{{x: x, y: y + 3.8, s: s, size: 10.5, style: bold, anchor: "middle"}}}
}

func headline(n Network, inner, y float64) *box {
	title := words.Count(len(n.Sites), "site")
	if n.L2TP != nil {
		title += ", " + words.Count(len(n.L2TP.Users), "user")
	}
	below := "The sites reach the hub, and not each other"
	switch {
	case len(n.Sites) < 2:
		below = "Around " + n.Hub.Name
	case n.Relay:
		below = "The sites reach each other through the hub"
	}
	if left := n.leftOut(); left != "" {
		below = left
	}
	b := &box{x: margin, y: y - 22, w: inner, h: 50}
	b.texts = []text{
		{x: margin, y: y, s: title, size: 20, style: bold},
		{x: margin, y: y + 21, s: cut(below, inner, 13, faint), size: 13, style: faint},
	}
	return b
}

// legend explains the colours where there are any, and the lines.
func (s *scene) legend(n Network, y, inner float64) float64 {
	type entry struct {
		state State
		label string
	}
	var entries []entry
	if n.live() {
		count := map[State]int{}
		for _, site := range n.Sites {
			count[site.State]++
		}
		for _, st := range []State{Up, Down, Unknown} {
			entries = append(entries, entry{st, fmt.Sprintf("%s: %d", st, count[st])})
		}
		if !n.Looked.IsZero() {
			entries = append(entries, entry{"none", "seen " + n.Looked.UTC().Format("2006-01-02 15:04 UTC")})
		}
	} else {
		entries = append(entries, entry{NotAsked, "IPsec tunnel, IKEv2"})
	}
	x := margin
	for _, e := range entries {
		w := width(e.label, 12, faint)
		if e.state != "none" {
			w += 26
		}
		if x+w > margin+inner {
			x, y = margin, y+24
		}
		b := &box{kind: legendMark, state: e.state, x: x, y: y - 12, w: w, h: 18}
		tx := x + 26
		if e.state == "none" {
			b.kind, tx = plainBox, x
		}
		b.texts = []text{{x: tx, y: y + 1, s: e.label, size: 12, style: faint}}
		s.boxes = append(s.boxes, b)
		x += w + 20
	}
	return y + 8
}

// width returns how wide a text is at most, in any of the fonts that a viewer may
// have: DejaVu, the widest of them, sets the numbers.
func width(s string, size float64, st style) float64 {
	em := 0.0
	for _, r := range s {
		switch {
		case st == mono:
			em += 0.61
			if r > 0x2fff {
				em += 0.61
			}
		case strings.ContainsRune("ijl.,:;'|!()[] ", r):
			em += 0.43
		case strings.ContainsRune("mwMW@%", r):
			em += 1.12
		case r > 0x2fff, unicode.Is(unicode.So, r):
			em += 1.2
		case unicode.IsUpper(r):
			em += 0.82
		default:
			em += 0.72
		}
	}
	if st == sans || st == faint {
		em *= 0.9
	}
	return em * size
}

// cut returns a text at most w wide.
func cut(s string, w, size float64, st style) string {
	const rounding = 0.01
	if width(s, size, st) <= w+rounding {
		return s
	}
	r := []rune(s)
	for len(r) > 0 && width(string(r)+"…", size, st) > w {
		r = r[:len(r)-1]
	}
	return string(r) + "…"
}
