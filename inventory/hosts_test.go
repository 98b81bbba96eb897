package inventory

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func prefixes(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func parseFull(t *testing.T) *Inventory {
	t.Helper()
	inv, diags := Parse("full.toml", readFixture(t, "full.toml"))
	if len(diags) != 1 || diags[0].Severity != Warning || !strings.Contains(diags[0].String(), "full.toml:11: warning: ssh.become_password is for all hosts") {
		t.Fatal(diags)
	}
	return inv
}

// A host's own ssh table stands over the defaults, also with false; a default
// jump does not send a host through itself.
func TestHosts(t *testing.T) {
	def := SSH{
		User: "admin", Port: 2222, IdentityFile: "~/.ssh/id_ed25519", KnownHosts: "/etc/vpnpush/known_hosts", AcceptNew: true,
		Become: "auto", ConnectTimeout: 10 * time.Second,
	}
	with := func(change func(*SSH)) SSH {
		s := def
		change(&s)
		return s
	}
	want := []Host{
		{"vps", RoleHub, with(func(s *SSH) { s.Host, s.AcceptNew = "vps.example.com", false })},
		{"lab-1", RoleSite, with(func(s *SSH) { s.Host, s.Connection = "192.168.3.10", "local" })},
		{"osaka", RoleSite, with(func(s *SSH) { s.Host, s.Jump = "osaka", "vps" })},
		{"tokyo", RoleSite, with(func(s *SSH) {
			s.Host, s.User, s.Port, s.Become, s.Jump = "tokyo.internal", "root", 22, "never", "admin@bastion.example.com:2200,vps"
		})},
	}
	if diff := cmp.Diff(want, parseFull(t).Hosts()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An inventory made by hand, as the tests of other packages do, merges too;
// and an empty jump in a host's own table takes the default away.
func TestHostsJump(t *testing.T) {
	byHand := &Inventory{
		SSH:   SSH{Jump: "hub,b", BecomePassword: secret.New("x")},
		Hub:   Hub{Name: "vps", Address: addr("203.0.113.10")},
		Sites: []Site{{Name: "a"}, {Name: "b", SSH: SSH{BecomePassword: secret.New("y")}}},
	}
	const text = `
[ssh]
jump = "hub"
[hub]
address = "203.0.113.10"
[sites.a]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
ssh.jump = ""
`
	parsed, diags := Parse("x.toml", []byte(text))
	if len(diags) > 0 {
		t.Fatal(diags)
	}
	jumps := func(inv *Inventory) (js []string) {
		for _, h := range inv.Hosts() {
			js = append(js, h.SSH.Jump)
		}
		return js
	}
	if diff := cmp.Diff([]string{"", "vps,b", "vps"}, jumps(byHand)); diff != "" {
		t.Errorf("by hand (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"", ""}, jumps(parsed)); diff != "" {
		t.Errorf("parsed (-want +got):\n%s", diff)
	}
	if hosts := byHand.Hosts(); hosts[1].SSH.BecomePassword.Reveal() != "x" || hosts[2].SSH.BecomePassword.Reveal() != "y" {
		t.Error("the password for sudo is not merged")
	}
}

// A pattern that matches nothing must never widen or silently empty a run.
func TestSelect(t *testing.T) {
	inv := parseFull(t) // vps, lab-1, osaka, tokyo
	for _, tt := range []struct {
		patterns, want, err string
	}{
		{"", "vps lab-1 osaka tokyo", ""},
		{"tokyo", "tokyo", ""},
		{"tokyo vps", "vps tokyo", ""},
		{"hub", "vps", ""},
		{"@head.office", "tokyo", ""},
		{"*o*", "osaka tokyo", ""},
		{"!vps", "lab-1 osaka tokyo", ""},
		{"!hub !lab-?", "osaka tokyo", ""},
		{"*o* !tokyo", "osaka", ""},
		{"!tokyo *", "vps lab-1 osaka", ""},
		{"tokio", "", `no host matches "tokio" | did you mean "tokyo"?`},
		{"!tokio", "", `no host matches "!tokio" | did you mean "tokyo"?`},
		{"tokyo site-*", "", `no host matches "site-*" | the inventory has vps, lab-1, osaka, tokyo`},
		{"tokyo !tokyo", "", "leave no host | take out a pattern"},
		{"[", "", "syntax error in pattern | a name, or a glob"},
	} {
		got, err := inv.Select(strings.Fields(tt.patterns))
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q selects %q, want %q", tt.patterns, got, tt.want)
		}
		var said string
		if mended := (interface{ Hint() string })(nil); errors.As(err, &mended) {
			said = err.Error() + " | " + mended.Hint()
		}
		if (err != nil) != (tt.err != "") || !strings.Contains(said, tt.err) {
			t.Errorf("%q: error %v %q, want %q", tt.patterns, err, said, tt.err)
		}
	}
}

// A group stands for the sites that are in it, and "sites" for all of them; the hub is
// in neither.
func TestSelectGroups(t *testing.T) {
	inv := &Inventory{Hub: Hub{Name: "vps"}, Sites: []Site{
		{Name: "kobe", Groups: []string{"kansai", "small"}}, {Name: "osaka", Groups: []string{"kansai"}}, {Name: "tokyo", Groups: []string{"kanto"}}, {Name: "ube"},
	}}
	for _, tt := range []struct{ patterns, want, says, hint string }{
		{"@kansai", "kobe osaka", "", ""},
		{"@kansai !@small", "osaka", "", ""},
		{"@kan* hub", "vps kobe osaka tokyo", "", ""},
		{"sites", "kobe osaka tokyo ube", "", ""},
		{"!sites", "vps", "", ""},
		{"sites !@*", "ube", "", ""},
		{"@kantou", "", `select hosts: no site is in a group "kantou"`, `did you mean "kanto"?`},
		{"@kyushu", "", `select hosts: no site is in a group "kyushu"`, "the inventory has kansai, kanto, small"},
		{"@[", "", `select hosts: pattern "@[": syntax error in pattern`, "a name, or a glob with * and ?; a [ opens a list of characters, and ] ends it"},
	} {
		got, err := inv.Select(strings.Fields(tt.patterns))
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%q selects %q, want %q", tt.patterns, got, tt.want)
		}
		if mended := (interface{ Hint() string })(nil); errors.As(err, &mended) && (err.Error() != tt.says || mended.Hint() != tt.hint) || (err != nil) != (tt.says != "") {
			t.Errorf("%q: error %v, hint %v", tt.patterns, err, mended)
		}
	}
	inv.Sites = inv.Sites[3:]
	if _, err := inv.Select([]string{"@kansai"}); err == nil || !strings.Contains(err.(*fault).mend, `groups = ["kanto"]`) {
		t.Errorf("without groups: %v", err)
	}
	inv.Sites = nil
	if _, err := inv.Select([]string{"sites"}); err == nil {
		t.Error("there are no sites, and yet some were selected")
	}
}

// Where the hub was is a hop as in a jump, and not where it is now.
func TestMovesFrom(t *testing.T) {
	for _, tt := range []struct{ value, want string }{
		{"root@203.0.113.10", ""},
		{"old.example.com:2222", ""},
		{"", ""},
		{"root@203.0.113.20:22", `hub.moves_from: 203.0.113.20 is where it is now, hub.address; write how to log in where the hub was, as user@host:port`},
		{"-oProxyCommand=x@y", `hub.moves_from: "-oProxyCommand=x@y" has no good user; write how`},
		{"root@203.0.113.10,root@203.0.113.11", `hub.moves_from: "root@203.0.113.10,root@203.0.113.11" has no good`},
	} {
		inv, diags := Parse("vpnpush.toml", []byte("[hub]\naddress = \"203.0.113.20\"\nmoves_from = \""+tt.value+"\"\n"))
		switch {
		case tt.want == "" && (inv == nil || inv.Hub.MovesFrom != tt.value):
			t.Errorf("%q: %v", tt.value, diags)
		case tt.want != "" && (len(diags) != 1 || !strings.Contains(diags[0].String(), tt.want)):
			t.Errorf("%q: %v, want %s", tt.value, diags, tt.want)
		}
	}
}
