package netmap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// office is a network of n sites of every shape: long and short names, one
// subnet and many, every state.
func office(n int, live bool) Network {
	net := Network{Hub: Hub{Name: "vps", Address: "203.0.113.10", Subnets: []string{"203.0.113.10/32", "10.10.0.0/24"}}, Relay: n%2 == 0}
	names := []string{"tokyo", "osaka", "i", "sapporo-branch-office-second-floor", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"}
	for i := range n {
		s := Site{Name: fmt.Sprintf("%s%d", names[i%len(names)], i), Subnets: []string{fmt.Sprintf("192.168.%d.0/24", i)}}
		for j := range i % 7 {
			s.Subnets = append(s.Subnets, fmt.Sprintf("172.%d.%d.128/25", 16+j, i))
		}
		if live {
			s.State = []State{Up, Down, Unknown}[i%3]
		}
		net.Sites = append(net.Sites, s)
	}
	if n%3 != 1 {
		net.L2TP = &L2TP{Pool: "192.168.200.200-192.168.200.232"}
		for i := range n {
			net.L2TP.Users = append(net.L2TP.Users, User{Name: strings.Repeat("m", i+1), Address: "192.168.200.210"})
		}
	}
	if live {
		net.Looked = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	return net
}

// A picture of any number of sites can be read: nothing lies on another thing,
// and no text runs out of its box or of the picture.
func TestNothingOverlaps(t *testing.T) {
	for n := range 130 {
		for _, live := range []bool{false, true} {
			s := layout(office(n, live))
			for i, b := range s.boxes {
				if b.x < 0 || b.y < 0 || b.x+b.w > s.w || b.y+b.h > s.h {
					t.Fatalf("%d sites: %q is outside of the picture (%v×%v): %+v", n, b.texts[0].s, s.w, s.h, *b)
				}
				for _, o := range s.boxes[:i] {
					if b.x < o.x+o.w && o.x < b.x+b.w && b.y < o.y+o.h && o.y < b.y+b.h {
						t.Fatalf("%d sites: %q and %q overlap: %+v and %+v", n, o.texts[0].s, b.texts[0].s, *o, *b)
					}
				}
				for j, x := range b.texts {
					left, right := span(x)
					if left < b.x || right > b.x+b.w || x.y-0.75*x.size < b.y || x.y+0.25*x.size > b.y+b.h {
						t.Fatalf("%d sites: the text %q runs out of its box: %v to %v in %+v", n, x.s, left, right, *b)
					}
					for _, y := range b.texts[:j] {
						l, r := span(y)
						if left < r && l < right && max(x.y-0.75*x.size, y.y-0.75*y.size) < min(x.y, y.y) {
							t.Fatalf("%d sites: the texts %q and %q overlap", n, y.s, x.s)
						}
					}
				}
			}
		}
	}
}

func span(t text) (left, right float64) {
	w := width(t.s, t.size, t.style)
	switch t.anchor {
	case "middle":
		return t.x - w/2, t.x + w/2
	case "end":
		return t.x - w, t.x
	}
	return t.x, t.x + w
}

// Every tunnel ends at the card of its site, and begins on the trunk.
func TestLinesMeetTheirEnds(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 40, 100} {
		s := layout(office(n, true))
		tunnels := 0
		for _, l := range s.lines {
			if l.kind != tunnel {
				continue
			}
			tunnels++
			from, to := l.points[0], l.points[1]
			if !contains(s, to, func(b *box) bool { return b.kind == siteCard && b.state == l.state }) {
				t.Errorf("%d sites: the line to %v ends at no card of its state", n, to)
			}
			onTrunk := false
			for _, k := range s.lines {
				for i := 1; k.kind == trunk && i < len(k.points); i++ {
					a, b := k.points[i-1], k.points[i]
					onTrunk = onTrunk || a[0] == from[0] && b[0] == from[0] && min(a[1], b[1]) <= from[1] && from[1] <= max(a[1], b[1])
				}
			}
			if !onTrunk {
				t.Errorf("%d sites: the line from %v begins on no trunk", n, from)
			}
		}
		if tunnels != n {
			t.Errorf("%d sites: %d tunnels are drawn", n, tunnels)
		}
	}
}

func contains(s *scene, p [2]float64, ok func(*box) bool) bool {
	for _, b := range s.boxes {
		if ok(b) && b.x <= p[0] && p[0] <= b.x+b.w && b.y <= p[1] && p[1] <= b.y+b.h {
			return true
		}
	}
	return false
}

// Whatever stands in a name, the picture is XML that says the name and nothing
// else, and the same every time.
func TestSVGIsXML(t *testing.T) {
	evil := `</text><script>alert("1")</script>&amp;` + "\x01\xff"
	net := office(3, true)
	net.Hub.Name, net.Sites[0].Name, net.Sites[0].Subnets[0] = "a<b>&'\"", evil, evil
	net.L2TP.Users = []User{{Name: evil}}
	b := SVG(net)
	if !bytes.Equal(b, SVG(net)) {
		t.Error("two drawings of one network differ")
	}
	texts := elements(t, b)
	if texts["script"] != nil {
		t.Error("a name became an element")
	}
	if !strings.Contains(strings.Join(texts["text"], "\n"), "a<b>&'\"") {
		t.Errorf("the hub's name is not as it was written: %q", texts["text"])
	}
}

// elements parses XML strictly, and gives the texts of its elements by name.
func elements(t *testing.T, b []byte) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	d := xml.NewDecoder(bytes.NewReader(b))
	var name string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, b)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			name = tok.Name.Local
			out[name] = append(out[name], "")
		case xml.EndElement:
			name = ""
		case xml.CharData:
			if ts := out[name]; len(ts) > 0 {
				ts[len(ts)-1] += string(tok)
			}
		}
	}
}

// A state is told in words: a picture must serve those who see no red, and a
// printer.
func TestStatesAreWords(t *testing.T) {
	texts := strings.Join(elements(t, SVG(office(3, true)))["text"], "|")
	for _, want := range []string{"|up|", "|down|", "|unknown|", "|up: 1|", "|down: 1|", "|unknown: 1|", "2026-01-02 03:04 UTC"} {
		if !strings.Contains("|"+texts+"|", want) {
			t.Errorf("the picture does not say %q: %s", want, texts)
		}
	}
	texts = strings.Join(elements(t, SVG(office(3, false)))["text"], "|")
	if strings.Contains(texts, "up") || strings.Contains(texts, "unknown") {
		t.Errorf("nobody looked, but the picture tells a state: %s", texts)
	}
}

func TestGolden(t *testing.T) {
	net := office(3, true)
	net.Sites[0].Name = `a "quoted" \ <name> # & ` + "`x`"
	for name, got := range map[string][]byte{"three.svg": SVG(net), "three.dot": DOT(net), "three.mmd": Mermaid(net)} {
		path := "testdata/" + name
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what is drawn now; look at it, and run the test with -update:\n%s", path, got)
		}
	}
}

// crowd is a network of n sites with short names, every hundredth of them down.
func crowd(n int) Network {
	net := Network{Hub: Hub{Name: "vps", Address: "203.0.113.10"}, Looked: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for i := range n {
		s := Site{Name: fmt.Sprintf("site%05d", i), Subnets: []string{fmt.Sprintf("172.%d.%d.0/26", 16+i/256, i%256)}, State: Up}
		if i%100 == 99 {
			s.State = Down
		}
		net.Sites = append(net.Sites, s)
	}
	return net
}

// Of thousands of sites a picture has what can be looked at, what is down before what is
// up, and says what it has not; its counts are of all.
func TestThousandsOfSites(t *testing.T) {
	for n, want := range map[int]string{
		300:   "",
		10000: "9700 sites left out, 0 of them not up; --limit draws them",
		40000: "39700 sites left out, 100 of them not up; --limit draws them",
	} {
		net := crowd(n)
		svg := strings.Join(elements(t, SVG(net))["text"], "|")
		down := min(n/100, 300)
		if got := strings.Count(svg+"|", "|down|"); got != down {
			t.Errorf("%d sites: %d are drawn as down, want %d", n, got, down)
		}
		if got := strings.Count(svg, "|site"); got != 300 {
			t.Errorf("%d sites: %d are drawn", n, got)
		}
		if !strings.Contains(svg, fmt.Sprintf("|down: %d|", n/100)) {
			t.Errorf("%d sites: the legend does not count all", n)
		}
		for _, b := range [][]byte{[]byte(svg), DOT(net), Mermaid(net)} {
			if strings.Contains(string(b), "left out") != (want != "") || !strings.Contains(string(b), want) {
				t.Errorf("%d sites: no %q in %.300s", n, want, b)
			}
		}
		if got := strings.Count(string(Mermaid(net)), "---"); got != 300 {
			t.Errorf("%d sites: Mermaid is to draw %d", n, got)
		}
	}
}

// A picture of 10,000 sites: the goal is 2 s with the inventory read.
func BenchmarkSVG(b *testing.B) {
	net := crowd(10000)
	for b.Loop() {
		SVG(net)
	}
}
