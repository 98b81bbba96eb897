package inventory

import (
	"net/netip"
	"slices"
	"testing"
)

// What the sites are told to send to the clients are the clients' addresses and no
// others: what lies between pool and local_ip is somebody else's, or the internet.
func TestClientNets(t *testing.T) {
	for _, tt := range []struct {
		name, local, from, to string
		site                  string
		want                  []string
	}{
		{"side by side", "192.168.200.1", "192.168.200.2", "192.168.200.32", "", []string{
			"192.168.200.1/32", "192.168.200.2/31", "192.168.200.4/30", "192.168.200.8/29", "192.168.200.16/28", "192.168.200.32/32"}},
		{"a network", "192.168.200.1", "192.168.200.2", "192.168.200.30", "", []string{"192.168.200.0/27"}},
		{"a network, the hub last", "192.168.200.254", "192.168.200.1", "192.168.200.253", "", []string{"192.168.200.0/24"}},
		{"a network that is not at .0", "192.168.200.33", "192.168.200.34", "192.168.200.62", "", []string{"192.168.200.32/27"}},
		{"a network whose last address is a site's", "192.168.200.1", "192.168.200.2", "192.168.200.6", "192.168.200.7/32", []string{
			"192.168.200.1/32", "192.168.200.2/31", "192.168.200.4/31", "192.168.200.6/32"}},
		{"a network whose first address is the hub's", "203.0.113.11", "203.0.113.12", "203.0.113.13", "", []string{"203.0.113.11/32", "203.0.113.12/31"}},
		{"apart, in one /24", "192.168.200.1", "192.168.200.64", "192.168.200.127", "", []string{"192.168.200.64/26", "192.168.200.1/32"}},
		{"the hub's end is a public address", "203.0.113.99", "192.168.200.2", "192.168.200.32", "", []string{
			"192.168.200.2/31", "192.168.200.4/30", "192.168.200.8/29", "192.168.200.16/28", "192.168.200.32/32", "203.0.113.99/32"}},
		{"far apart", "10.99.0.1", "10.64.0.2", "10.64.0.30", "", []string{
			"10.64.0.2/31", "10.64.0.4/30", "10.64.0.8/29", "10.64.0.16/29", "10.64.0.24/30", "10.64.0.28/31", "10.64.0.30/32", "10.99.0.1/32"}},
		{"one client", "192.168.200.9", "192.168.200.200", "192.168.200.200", "", []string{"192.168.200.200/32", "192.168.200.9/32"}},
	} {
		inv := &Inventory{
			Hub:  Hub{Address: addr("203.0.113.10"), LocalAddress: addr("203.0.113.10")},
			L2TP: &L2TP{LocalIP: addr(tt.local), PoolFrom: addr(tt.from), PoolTo: addr(tt.to)},
		}
		if tt.site != "" {
			inv.Sites = []Site{{Name: "tokyo", Subnets: prefixes(tt.site)}}
		}
		var got []string
		for _, p := range inv.ClientNets() {
			got = append(got, p.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A gap or an overlap in the cover is a client that reaches nothing, or too
// much.
func FuzzPrefixes(f *testing.F) {
	f.Add([]byte{192, 168, 200, 2}, []byte{192, 168, 200, 32})
	f.Add([]byte{0, 0, 0, 0}, []byte{255, 255, 255, 255})
	f.Add([]byte{255, 255, 255, 255}, []byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		first, ok1 := netip.AddrFromSlice(a)
		last, ok2 := netip.AddrFromSlice(b)
		if !ok1 || !ok2 || !first.Is4() || !last.Is4() || last.Less(first) {
			return
		}
		next := first
		for _, p := range (Range{first, last}).Prefixes() {
			if p.Addr() != next || p.Masked() != p {
				t.Fatalf("%s-%s: %s does not begin at %s", first, last, p, next)
			}
			end := LastAddr(p)
			if last.Less(end) {
				t.Fatalf("%s-%s: %s goes too far", first, last, p)
			}
			if end == last {
				return
			}
			next = end.Next()
		}
		t.Fatalf("%s-%s: not covered from %s on", first, last, next)
	})
}
