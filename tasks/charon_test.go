package tasks

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

const notInstalled = 127

// "No SAs" is only what charon, or its absence, says. Everything else is
// unknown: a tunnel must not be reported down because we could not look.
func TestSAsFrom(t *testing.T) {
	gone := CommandState{Code: notInstalled, Stderr: []byte("sh: 1: ipsec: not found\n")}
	refused := CommandState{Code: 111, Stderr: []byte("plugin 'ldap': failed to load\nconnecting to 'unix:///var/run/charon.vici' failed: Connection refused\nError: connecting to 'default' URI failed: Connection refused\nstrongSwan 6.0.1 swanctl\nusage:\n")}
	none := "Connections:\nSecurity Associations (0 up, 0 connecting):\n  none\n"
	file := func(name string) CommandState {
		b, err := os.ReadFile("strongswan/testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return says(string(b))
	}
	for _, tc := range []struct {
		name             string
		stroke, sas, con CommandState
		n                int
		conns            []string
		unknown          bool
	}{
		{"not installed", gone, gone, gone, 0, nil, false},
		{"not running", CommandState{Code: 3}, refused, refused, 0, nil, false},
		{"stroke", file("5.9.8-hub-relay.txt"), gone, gone, 2, []string{"l2tp", "osaka", "tokyo"}, false},
		{"a conn named on a child line only", file("5.9.8-hub-ikev1-ports.txt"), gone, gone, 3, []string{"l2tp", "l2tp1", "osaka", "tokyo"}, false},
		{"none up", says(none), gone, gone, 0, nil, false},
		{"swanctl", gone, file("6.0.1-swanctl-hub-up.raw"), file("6.0.1-swanctl-hub-conns.raw"), 1, []string{"sites"}, false},
		{"stroke empty", says(""), gone, gone, 0, nil, true},
		{"stroke cut", says("Connections:\n"), gone, gone, 0, nil, true},
		{"stroke fails", CommandState{Code: 1, Stderr: []byte("cannot reach charon")}, gone, gone, 0, nil, true},
		{"swanctl empty", gone, says(""), says(""), 0, nil, true},
		{"swanctl fails", gone, CommandState{Code: 2, Stderr: []byte("usage:")}, CommandState{Code: 2}, 0, nil, true},
		{"swanctl refuses", gone, says("list-sas reply {success=no errmsg=not now}\n"), says("list-conns reply {success=no}\n"), 0, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := answered(map[string]CommandState{"ipsec-statusall": tc.stroke, "swanctl-list-sas": tc.sas, "swanctl-list-conns": tc.con})
			sas, err := SAsFrom(f)
			if unknown := errors.Is(err, ErrUnknown); unknown != tc.unknown || (err != nil && !unknown) || len(sas) != tc.n {
				t.Errorf("SAsFrom: %d SAs, error %v; want %d, unknown %t", len(sas), err, tc.n, tc.unknown)
			}
			conns, err := LoadedConns(f)
			if errors.Is(err, ErrUnknown) != tc.unknown {
				t.Errorf("LoadedConns: error %v; want unknown %t", err, tc.unknown)
			}
			if d := cmp.Diff(tc.conns, conns); d != "" {
				t.Errorf("LoadedConns: %s", d)
			}
		})
	}
	if _, err := SAsFrom(Facts{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("nothing was read: got %v, want ErrUnknown", err)
	}
}

// A charon that dies again and again under its starter, as after an upgrade that left it
// with a plugin of another version, is told as that: `ipsec statusall` says nothing, and
// ends with 0.
func TestCharonDies(t *testing.T) {
	f := answered(map[string]CommandState{"ipsec-statusall": says("")})
	_, err := SAsFrom(f)
	_, err2 := LoadedConns(f)
	for _, err := range []error{err, err2} {
		var hint *transport.HintError
		if !errors.Is(err, ErrUnknown) || !errors.As(err, &hint) || !strings.Contains(err.Error(), "charon does not answer") || !strings.Contains(hint.Mend, "journalctl -u strongswan-starter") {
			t.Errorf("%v, hint %v", err, hint)
		}
	}
}

// With the vici plugin in starter's charon both commands list the same SAs,
// and each must count once.
func TestSAsFromBoth(t *testing.T) {
	raw, err := os.ReadFile("strongswan/testdata/5.9.8-swanctl-site-up.raw")
	if err != nil {
		t.Fatal(err)
	}
	all, err := strongswan.ParseListSAs(raw)
	if err != nil {
		t.Fatal(err)
	}
	sa := all[0]
	initiator, responder, _ := strings.Cut(sa.SPIs, "_")
	stroke := "Security Associations (1 up, 0 connecting):\n" +
		"         hub[1]: ESTABLISHED 1 second ago, 192.168.1.10[site1]...203.0.113.10[hub]\n" +
		"         hub[1]: IKEv2 SPIs: " + initiator + "_i* " + responder + "_r, rekeying in 2 hours\n"
	f := answered(map[string]CommandState{"ipsec-statusall": says(stroke), "swanctl-list-sas": says(string(raw))})
	sas, err := SAsFrom(f)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]strongswan.SA{sa}, sas); d != "" {
		t.Error(d)
	}
}
