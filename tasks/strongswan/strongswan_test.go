package strongswan

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var updateGolden = flag.Bool("update-golden", false, "write the goldens of listings anew, and fail")

func readSAs(t *testing.T, name string) []SA {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	parse := ParseStatusAll
	if strings.HasSuffix(name, ".raw") {
		parse = ParseListSAs
	}
	sas, err := parse(b)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return sas
}

// Every listing was captured from a real charon (5.9.1, 5.9.8, 6.0.1; l2tp with the
// kernel's IPsec, the others in user space). The goldens pin all that is read
// of them, selectors and ids above all.
func TestListings(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	raw, _ := filepath.Glob("testdata/*-swanctl-*.raw")
	files = slices.DeleteFunc(append(files, raw...), func(p string) bool { return strings.HasSuffix(p, "-conns.raw") })
	if len(files) < 20 {
		t.Fatalf("only %d listings", len(files))
	}
	for _, p := range files {
		name := filepath.Base(p)
		t.Run(name, func(t *testing.T) {
			got, err := json.MarshalIndent(readSAs(t, name), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			golden := p + ".json"
			if *updateGolden {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
				t.Error("golden written: look at it, then run without -update-golden")
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

// What is up, and what a user reads of what is not: ESTABLISHED without a child
// SA, other selectors, and a peer that does not answer are all down.
func TestCheckTunnels(t *testing.T) {
	tokyo := Tunnel{Conn: "tokyo", Local: []string{"192.168.1.0/24"}, Remote: []string{"192.168.2.0/24", "10.10.0.0/24"}, LocalID: "tokyo", PeerID: "hub"}
	osaka := Tunnel{Conn: "osaka", Local: []string{"192.168.2.0/24"}, Remote: []string{"172.16.0.0/24"}, LocalID: "osaka", PeerID: "hub"}
	hubTokyo := Tunnel{Conn: "tokyo", Local: tokyo.Remote, Remote: tokyo.Local, LocalID: "hub", PeerID: "tokyo"}
	net := Tunnel{Conn: "hub", Local: []string{"192.168.1.0/24"}, Remote: []string{"10.10.0.0/24"}, LocalID: "site1", PeerID: "hub"}
	narrow, other, foreign := tokyo, tokyo, hubTokyo
	narrow.Remote = []string{"10.10.0.0/24"}
	other.Conn = "kyoto"
	foreign.PeerID = "osaka"
	// Libreswan 4.10 at the other end: a child SA for each pair of subnets
	pairs := Tunnel{Conn: "tokyo", Local: []string{"10.10.0.0/24", "192.168.2.0/24", "192.168.200.0/27", "203.0.113.10/32"}, Remote: []string{"192.168.1.0/24"}, LocalID: "vps", PeerID: "tokyo"}
	fewer, more := pairs, pairs
	fewer.Local = []string{"10.10.0.0/24", "203.0.113.10/32"}
	more.Remote = []string{"192.168.1.0/24", "192.168.7.0/24"}
	for _, tc := range []struct {
		file string
		want Tunnel
		up   bool
		why  string
		sas  int
		peer string
	}{
		{"site-relay.txt", tokyo, true, "", 1, "203.0.113.10"},
		{"site-relay.txt", other, false, "no IKE SA", 0, ""},
		{"site-relay.txt", narrow, false, "selectors differ: have 192.168.1.0/24 === 10.10.0.0/24 192.168.2.0/24, want 192.168.1.0/24 === 10.10.0.0/24", 1, "203.0.113.10"},
		{"hub-relay.txt", hubTokyo, true, "", 1, "203.0.113.51"},
		{"hub-relay.txt", foreign, false, "identities differ: have hub === tokyo, want hub === osaka", 1, "203.0.113.51"},
		{"site-duplicate.txt", tokyo, true, "", 2, "203.0.113.10"},
		{"hub-duplicate.txt", hubTokyo, true, "", 2, "203.0.113.51"},
		{"5.9.1-site-duplicate.txt", tokyo, true, "", 2, "203.0.113.10"}, // its update dials once more
		{"5.9.8-hub-per-pair.txt", pairs, true, "", 1, "203.0.113.51"},
		{"5.9.8-hub-per-pair.txt", fewer, false, "selectors differ: have 10.10.0.0/24 192.168.2.0/24 192.168.200.0/27 203.0.113.10/32 === 192.168.1.0/24, want 10.10.0.0/24 203.0.113.10/32 === 192.168.1.0/24", 1, "203.0.113.51"},
		{"5.9.8-hub-per-pair.txt", more, false, "child SAs for 10.10.0.0/24 192.168.2.0/24 192.168.200.0/27 203.0.113.10/32 === 192.168.7.0/24 are missing", 1, "203.0.113.51"},
		{"5.9.8-hub-pair-missing.txt", pairs, false, "child SAs for 203.0.113.10/32 === 192.168.1.0/24 are missing", 1, "203.0.113.51"},
		{"site-no-child.txt", osaka, false, "IKE SA ESTABLISHED but no child SA", 1, "203.0.113.10"},
		{"site-connecting.txt", osaka, false, "IKE SA CONNECTING", 1, "203.0.113.99"},
		{"swanctl-site-up.raw", net, true, "", 1, "203.0.113.10:4500"},
		{"swanctl-site-child-rekeyed.raw", net, true, "", 1, "203.0.113.10:4500"},
		{"swanctl-site-no-child.raw", net, false, "IKE SA ESTABLISHED but no child SA", 1, "203.0.113.10:4500"},
		{"swanctl-site-connecting.raw", net, false, "IKE SA CONNECTING", 1, "203.0.113.99:500"},
	} {
		versions := []string{"5.9.1-", "5.9.8-", "6.0.1-"}
		switch {
		case tc.file[0] == '5':
			versions = []string{""}
		case strings.HasPrefix(tc.file, "swanctl"), strings.HasSuffix(tc.file, "duplicate.txt"):
			versions = versions[1:]
		}
		for _, version := range versions {
			t.Run(version+tc.file+"/"+tc.want.Conn, func(t *testing.T) {
				got := CheckTunnels(readSAs(t, version+tc.file), []Tunnel{tc.want})[0]
				if got.Up != tc.up || got.Why != tc.why || got.SAs != tc.sas || got.Peer != tc.peer {
					t.Errorf("got up=%t why=%q sas=%d peer=%q\nwant up=%t why=%q sas=%d peer=%q",
						got.Up, got.Why, got.SAs, got.Peer, tc.up, tc.why, tc.sas, tc.peer)
				}
			})
		}
	}
}

// The bytes of a tunnel are those of all its child SAs.
func TestTunnelBytes(t *testing.T) {
	pairs := Tunnel{Conn: "tokyo", Local: []string{"10.10.0.0/24", "192.168.2.0/24", "192.168.200.0/27", "203.0.113.10/32"}, Remote: []string{"192.168.1.0/24"}}
	got := CheckTunnels(readSAs(t, "5.9.8-hub-per-pair.txt"), []Tunnel{pairs})[0]
	if !got.Up || got.BytesIn != 2*168 || got.BytesOut != 2*168 {
		t.Errorf("up=%t, %d bytes in, %d out, want 336 each", got.Up, got.BytesIn, got.BytesOut)
	}
}

// Which child SAs are a tunnel together. Two that hold every subnet between them
// do not carry every pair.
func TestTunnelPairs(t *testing.T) {
	want := Tunnel{Conn: "a", Local: []string{"10.0.0.0/24", "10.0.1.0/24"}, Remote: []string{"10.1.0.0/24", "10.2.0.0/24"}, PeerID: "p"}
	child := func(local, remote string) ChildSA {
		return ChildSA{Name: "a", State: "INSTALLED", LocalTS: strings.Fields(local), RemoteTS: strings.Fields(remote)}
	}
	under := func(id string, cs ...ChildSA) SA {
		return SA{Conn: "a", State: "ESTABLISHED", RemoteID: id, Children: cs}
	}
	old := child("10.0.0.0/24 10.9.0.0/24", "10.1.0.0/24")
	old.State = "DELETING"
	mine := child("10.3.0.0/24", "10.4.0.0/24")
	mine.Name = "by-hand"
	for _, tc := range []struct {
		name string
		sas  []SA
		why  string
	}{
		{"a row and a row", []SA{under("p", child("10.0.0.0/24", "10.2.0.0/24 10.1.0.0/24"), child("10.0.1.0/24", "10.1.0.0/24 10.2.0.0/24"))}, ""},
		{"below two IKE SAs", []SA{under("p", child("10.0.0.0/24 10.0.1.0/24", "10.1.0.0/24")), under("p", child("10.0.0.0/24 10.0.1.0/24", "10.2.0.0/24"))}, ""},
		{"one of them twice, while it is rekeyed", []SA{under("p", child("10.0.0.0/24 10.0.1.0/24", "10.1.0.0/24 10.2.0.0/24"), child("10.0.0.0/24", "10.1.0.0/24"))}, ""},
		{"the diagonal", []SA{under("p", child("10.0.0.0/24", "10.1.0.0/24"), child("10.0.1.0/24", "10.2.0.0/24"))},
			"child SAs for 10.0.0.0/24 === 10.2.0.0/24, 10.0.1.0/24 === 10.1.0.0/24 are missing"},
		{"a part of a subnet", []SA{under("p", child("10.0.0.0/24 10.0.1.0/24", "10.1.0.0/24 10.2.0.0/25"))},
			"selectors differ: have 10.0.0.0/24 10.0.1.0/24 === 10.1.0.0/24 10.2.0.0/25, want 10.0.0.0/24 10.0.1.0/24 === 10.1.0.0/24 10.2.0.0/24"},
		{"the rest is another's", []SA{under("p", child("10.0.0.0/24 10.0.1.0/24", "10.1.0.0/24")), under("q", child("10.0.0.0/24 10.0.1.0/24", "10.2.0.0/24"))},
			"child SAs for 10.0.0.0/24 10.0.1.0/24 === 10.2.0.0/24 are missing"},
		{"what goes and what is of another conn do not count", []SA{under("p", child("10.0.0.0/24 10.0.1.0/24", "10.1.0.0/24 10.2.0.0/24"), old, mine)}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := CheckTunnels(tc.sas, []Tunnel{want})[0]; got.Why != tc.why || got.Up != (tc.why == "") {
				t.Errorf("up=%t, %q\nwant %q", got.Up, got.Why, tc.why)
			}
		})
	}
}

// States that are hard to catch live.
func TestCheckTunnelsStates(t *testing.T) {
	want := Tunnel{Conn: "a", Local: []string{"10.0.0.0/24"}, Remote: []string{"10.1.0.0/24"}}
	child := func(state string) ChildSA {
		return ChildSA{Name: "a", State: state, LocalTS: want.Local, RemoteTS: want.Remote, BytesIn: 7}
	}
	for _, tc := range []struct {
		name string
		sas  []SA
		up   bool
		why  string
		n    int
	}{
		{"rekeying", []SA{{Conn: "a", State: "ESTABLISHED", Children: []ChildSA{child("REKEYING")}}}, true, "", 1},
		{"deleting", []SA{{Conn: "a", State: "ESTABLISHED", Children: []ChildSA{child("DELETING")}}}, false, "child SA DELETING", 1},
		{"routed only", []SA{{Conn: "a", State: "ESTABLISHED", Children: []ChildSA{child("ROUTED")}}}, false, "child SA ROUTED", 1},
		{"old IKE SA on its way out", []SA{{Conn: "a", State: "REKEYED"}, {Conn: "a", State: "ESTABLISHED", Children: []ChildSA{child("INSTALLED")}}}, true, "", 1},
		{"below another conn's IKE SA", []SA{{Conn: "b", State: "ESTABLISHED", Children: []ChildSA{{Name: "b", State: "INSTALLED"}, child("INSTALLED")}}}, true, "", 1},
		{"another conn", []SA{{Conn: "b", State: "ESTABLISHED", Children: []ChildSA{{Name: "b", State: "INSTALLED"}}}}, false, "no IKE SA", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := CheckTunnels(tc.sas, []Tunnel{want})[0]
			if got.Up != tc.up || got.Why != tc.why || got.SAs != tc.n {
				t.Errorf("got %+v, want up=%t why=%q sas=%d", got, tc.up, tc.why, tc.n)
			}
			if tc.up && got.BytesIn != 7 {
				t.Errorf("bytes in: got %d, want 7", got.BytesIn)
			}
		})
	}
}

// Names that are no FQDN: the separators of both listings occur in them.
func TestDistinguishedNames(t *testing.T) {
	stroke := `Security Associations (1 up, 0 connecting):
           a[12]: ESTABLISHED 2 hours ago, 10.0.0.1[C=CH, O=x [y] z, CN=a]...2001:db8::1[C=CH, CN=b]
           a[12]: IKEv2 SPIs: 00aa_i 00bb_r*, rekeying disabled
`
	sas, err := ParseStatusAll([]byte(stroke))
	if err != nil || sas[0].LocalID != "C=CH, O=x [y] z, CN=a" || sas[0].RemoteID != "C=CH, CN=b" || sas[0].RemoteAddr != "2001:db8::1" {
		t.Errorf("stroke: %+v, %v", sas, err)
	}
	sas, err = ParseListSAs([]byte("list-sa event {a {uniqueid=1 state=ESTABLISHED local-id=C=CH, O=x y, CN=a remote-host=2001:db8::1 remote-port=500 remote-id=CN=b child-sas {}}}\nlist-sas reply {}\n"))
	if err != nil || sas[0].LocalID != "C=CH, O=x y, CN=a" || sas[0].RemoteID != "CN=b" || sas[0].RemoteAddr != "[2001:db8::1]:500" {
		t.Errorf("swanctl: %+v, %v", sas, err)
	}
}

// A listing cut in the middle must not look like fewer SAs, where that can be
// seen: swanctl ends with a reply, stroke's child SAs with their selectors.
func TestCutListings(t *testing.T) {
	raw, err := os.ReadFile("testdata/5.9.8-swanctl-site-up.raw")
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) - 1 {
		if _, err := ParseListSAs(raw[:i]); err == nil && i < len(raw)-len("\n") {
			t.Fatalf("swanctl, cut at %d of %d: no error", i, len(raw))
		}
	}
	all, err := os.ReadFile("testdata/5.9.8-site-up.txt")
	if err != nil {
		t.Fatal(err)
	}
	i := strings.LastIndex(string(all), "{")
	if i < 0 {
		t.Fatal("no child SA in the listing")
	}
	if _, err := ParseStatusAll(all[:strings.LastIndex(string(all[:i]), "\n")+1]); err == nil {
		t.Error("stroke, cut before the selectors: no error")
	}
}

func FuzzParseStatusAll(f *testing.F) {
	seedListings(f, "testdata/*.txt")
	f.Fuzz(func(t *testing.T, b []byte) {
		if sas, err := ParseStatusAll(b); err == nil {
			CheckTunnels(sas, []Tunnel{{Conn: "tokyo"}})
		}
		_, _ = ParseStatusConns(b)
	})
}

func FuzzParseListSAs(f *testing.F) {
	seedListings(f, "testdata/*.raw")
	f.Fuzz(func(t *testing.T, b []byte) {
		sas, err := ParseListSAs(b)
		if err != nil {
			return
		}
		for _, sa := range sas {
			if sa.State == "" {
				t.Errorf("an SA without a state: %+v", sa)
			}
		}
		CheckTunnels(sas, []Tunnel{{Conn: "hub"}})
	})
}

func seedListings(f *testing.F, pattern string) {
	files, _ := filepath.Glob(pattern)
	for _, p := range files {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
}
