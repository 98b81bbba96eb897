package tasks

import (
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// A tunnel that its site should have up is work, but only where nothing else of the plan
// has charon dial it anyway.
func TestDial(t *testing.T) {
	const (
		loaded = "Connections:\n       tokyo:  192.168.1.10...203.0.113.10  IKEv2\n"
		none   = "Security Associations (0 up, 0 connecting):\n  none\n"
		bare   = "Security Associations (1 up, 0 connecting):\n       tokyo[1]: ESTABLISHED 5 seconds ago, 192.168.1.10[tokyo]...203.0.113.10[vps]\n"
		child  = "       tokyo{1}:  INSTALLED, TUNNEL, reqid 1, ESP in UDP SPIs: c7_i b7_o\n       tokyo{1}:   192.168.1.0/24 === "
	)
	tunnel := strongswan.Tunnel{Conn: "tokyo", Peer: "vps", Local: []string{"192.168.1.0/24"}, Remote: []string{"10.10.0.0/24"}, LocalID: "tokyo", PeerID: "vps"}
	d := Dial{Tunnel: tunnel, IPsec: IPsec{Daemon: testDaemon, Conns: []Conn{{
		Name: "tokyo", Conf: "/etc/ipsec.d/vpnpush/tokyo.conf", Secrets: "/etc/ipsec.d/vpnpush/tokyo.secrets", Initiates: true, Tunnel: &tunnel,
		ConfSHA: SHA256([]byte("conf\n")), SecretsSHA: SHA256([]byte("keys\n")),
	}}}}
	for _, tt := range []struct {
		name, status string
		change       func(f Facts)
		state, do    string // "" for nothing to do
	}{
		{name: "up", status: loaded + bare + child + "10.10.0.0/24\n"},
		{name: "no SA", status: loaded + none, state: "down, no IKE SA", do: "starter_dial tokyo"},
		{name: "no child SA", status: loaded + bare, state: "down, IKE SA ESTABLISHED but no child SA", do: "starter_dial tokyo"},
		{name: "charon would not take other selectors for down", status: loaded + bare + child + "10.99.0.0/24\n",
			state: "down, selectors differ", do: "starter_redial tokyo"},
		{name: "the conn is to be loaded", status: "Connections:\n" + none},
		{name: "the conn changes", status: loaded + none, change: func(f Facts) {
			f.files[d.IPsec.Conns[0].Conf] = FileState{Path: d.IPsec.Conns[0].Conf, Exists: true, Type: '0', Content: []byte("old\n")}
		}},
		{name: "the key is to be loaded", status: loaded + none, change: func(f Facts) {
			f.files[loadedPath(testDaemon.Unit)] = FileState{Path: loadedPath(testDaemon.Unit), Exists: true, Type: '0'}
		}},
		{name: "strongSwan is to be started", change: func(f Facts) {
			f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: "inactive"}
			f.commands[readStroke.Arg] = CommandState{Code: 3}
		}},
	} {
		f := Bare(d.Reads())
		f.units[testDaemon.Unit] = UnitState{Name: testDaemon.Unit, Loaded: true, Active: "active", Started: time.Unix(1, 0)}
		f.commands[readStroke.Arg] = says(tt.status)
		note := ""
		for p, content := range map[string]string{d.IPsec.Conns[0].Conf: "conf\n", d.IPsec.Conns[0].Secrets: "keys\n"} {
			f.files[p] = FileState{Path: p, Exists: true, Type: '0', Content: []byte(content), ModTime: time.Unix(100, 0)}
			note += SHA256([]byte(content)) + "  " + p + "\n"
		}
		f.files[loadedPath(testDaemon.Unit)] = FileState{Path: loadedPath(testDaemon.Unit), Exists: true, Type: '0', Content: []byte(note)}
		if tt.change != nil {
			tt.change(f)
		}
		c := mustCheck(t, d, f)
		switch {
		case (c == nil) != (tt.do == ""):
			t.Errorf("%s: %+v", tt.name, c)
		case c == nil:
		case c.Task != "tunnel:tokyo" || c.Action != DialTunnel || c.Do[0].Shell != tt.do || !strings.HasPrefix(string(c.Attrs[0].Old), tt.state) || string(c.Attrs[0].New) != "up":
			t.Errorf("%s: %+v", tt.name, c)
		}
	}
}
