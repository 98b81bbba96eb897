package strongswan

import (
	"slices"
	"testing"
)

// Two clients behind one NAT are told; one that dialled again, two behind two NATs, and
// a client beside a site behind one NAT are not.
func TestSharedAddresses(t *testing.T) {
	client := func(addr, id, state string) SA {
		return SA{Conn: "l2tp", State: "ESTABLISHED", RemoteAddr: addr, RemoteID: id, Children: []ChildSA{{Name: "l2tp", State: state, Mode: "TRANSPORT"}}}
	}
	site := SA{Conn: "tokyo", State: "ESTABLISHED", RemoteAddr: "203.0.113.53", RemoteID: "tokyo", Children: []ChildSA{{Name: "tokyo", State: "INSTALLED", Mode: "TUNNEL"}}}
	first := client("203.0.113.53", "192.168.3.10", "INSTALLED")
	for _, tc := range []struct {
		name string
		sas  []SA
		want []string
	}{
		{"two behind one NAT", []SA{client("203.0.113.53", "192.168.3.11", "INSTALLED"), first}, []string{"203.0.113.53"}},
		{"with ports, as swanctl lists them", []SA{client("203.0.113.53:4500", "a", "INSTALLED"), client("203.0.113.53:61001", "b", "INSTALLED")}, []string{"203.0.113.53"}},
		{"one that dialled again", []SA{first, first}, nil},
		{"behind two NATs, with one private address", []SA{first, client("203.0.113.54", "192.168.3.10", "INSTALLED")}, nil},
		{"beside a site", []SA{first, site}, nil},
		{"one that has gone", []SA{first, client("203.0.113.53", "192.168.3.11", "DELETED")}, nil},
	} {
		if got := SharedAddresses(tc.sas); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
	if got := SharedAddresses(readSAs(t, "5.9.8-hub-l2tp.txt")); len(got) > 0 {
		t.Errorf("one client shares its address: %v", got)
	}
}
