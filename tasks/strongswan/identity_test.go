package strongswan

import "testing"

// Which keys open which conn is told as charon decides it: a key that is missed lets
// somebody in of whom nobody knows, and one too many stops an apply.
func TestOpenedBy(t *testing.T) {
	hub := Door{Local: "@vps", Peer: "@tokyo"}
	l2tp := Door{Local: "203.0.113.10", Peer: "%any", One: true}
	for _, tt := range []struct {
		selectors []string
		tunnel    bool
		clients   bool
	}{
		{nil, true, true},
		{[]string{"%any"}, true, true},
		{[]string{"%any6"}, true, true},
		{[]string{"0.0.0.0"}, true, true},
		{[]string{"::"}, true, true},
		{[]string{"0::0"}, true, true},
		{[]string{"*"}, true, true},
		{[]string{"203.0.113.10", "%any"}, true, true},
		{[]string{"@vps"}, true, false},
		{[]string{"@vps", "@tokyo"}, true, false},
		{[]string{"vps"}, true, false},
		{[]string{"@VPS"}, true, false},
		{[]string{"fqdn:vps"}, true, false},
		{[]string{"fqdn:#767073"}, true, false},
		{[]string{"dns:vps"}, true, false},
		{[]string{"{2}:vps"}, true, false},
		{[]string{"{0}:"}, true, true},
		{[]string{"@tokyo"}, true, false},
		{[]string{"@*"}, true, false},
		{[]string{"*okyo"}, true, false},
		{[]string{"^t.*$"}, true, false},
		{[]string{"^o.*$"}, false, false},
		{[]string{"@osaka"}, false, false},
		{[]string{"*saka"}, false, false},
		{[]string{"@vps.example.com"}, false, false},
		{[]string{"vps@example.com"}, false, false},
		{[]string{"@@vps"}, false, false},
		{[]string{"@#767073"}, false, false},
		{[]string{"keyid:vps"}, false, false},
		{[]string{"C=CH, CN=vps"}, false, false},
		{[]string{"203.0.113.10"}, false, true},
		{[]string{"ipv4:203.0.113.10"}, false, true},
		{[]string{"203.0.113.10/32"}, false, true},
		{[]string{"203.0.113.10-203.0.113.10"}, false, true},
		// ours matches better
		{[]string{"0.0.0.0/0"}, false, false},
		{[]string{"203.0.113.0/24"}, false, false},
		{[]string{"203.0.113.1-203.0.113.20"}, false, false},
		{[]string{"198.51.100.7"}, false, false},
		{[]string{"2001:db8::1"}, false, false},
	} {
		if got := hub.OpenedBy(tt.selectors); got != tt.tunnel {
			t.Errorf("%q opens the tunnel: %t, want %t", tt.selectors, got, tt.tunnel)
		}
		if got := l2tp.OpenedBy(tt.selectors); got != tt.clients {
			t.Errorf("%q opens the clients' conn: %t, want %t", tt.selectors, got, tt.clients)
		}
	}
}

// Whatever stands before a key is read without a panic, and an identity opens the conn
// whose end it is.
func FuzzIdentity(f *testing.F) {
	for _, s := range []string{"", "%any", "@vps", "203.0.113.10/24", "::1-::2", "{2}:x", "fqdn:#zz", "^(", "*x", "1.2.3.4/33"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id := ParseIdentity(s)
		for _, own := range []string{"@vps", "203.0.113.10", "%any"} {
			ParseIdentity(own).Match(id)
			if !(Door{Local: own, Peer: "@tokyo"}).OpenedBy([]string{s, own}) {
				t.Errorf("%q beside %q does not open its conn", own, s)
			}
		}
	})
}
