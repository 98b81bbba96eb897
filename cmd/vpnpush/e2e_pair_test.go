package main

import (
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// What both ends of a tunnel must agree on is changed on both or on neither, for each
// site alone: one that fails keeps its tunnel, and so does the hub its end of it, and
// the others go on.
func TestE2EPair(t *testing.T) { both(t, testPair) }

func testPair(t *testing.T, b backend) {
	l := tokyoViaHub(t, b)
	conf := func(host, site string) string {
		t.Helper()
		return l.MustRun(host, "cat", b.conf(site))
	}
	carries := func(when, site string, nets ...string) {
		t.Helper()
		for _, host := range []string{"vps", site} {
			if got := strings.Join(selectors(t, l, host, site), " "); got != strings.Join(nets, " ") {
				t.Errorf("%s: on %s the tunnel of %s carries %q, want %q", when, host, site, got, nets)
			}
		}
	}

	// the hub alone: what it has to agree on with its sites waits, the rest does not
	more := func(site, net string) string {
		return strings.Replace(site, `.0/24"]`, `.0/24", "`+net+`"]`, 1)
	}
	slow := "[tunnel]\ndpd_delay = \"25s\"\n"
	b.write(t, l, labHub, more(labTokyo, "192.168.20.0/24"), viaHub, labOsaka, slow)
	if r := vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps"); !strings.Contains(r.Stdout, "the change of the tunnel to tokyo waits") {
		t.Errorf("--limit vps: nothing is said of what waits:\n%s", r.Stdout)
	}
	if c := conf("vps", "tokyo"); !strings.Contains(c, "25s") || strings.Contains(c, "192.168.20.0") {
		t.Errorf("--limit vps: the hub's end of tokyo's tunnel is\n%s", c)
	}
	b.write(t, l, labHub, labTokyo, viaHub, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	before := conf("vps", "tokyo")

	// Both sites get a network more, and tokyo's box does not have it: with ESP in user
	// space charon installs no SA for it.
	l.MustRun("osaka", "ip", "addr", "add", "192.168.22.1/24", "dev", "lo")
	b.write(t, l, labHub, more(labTokyo, "192.168.20.0/24"), viaHub, more(labOsaka, "192.168.22.0/24"))
	r := l.Vpnpush("apply", "--yes", "--no-canary", "--confirm-timeout", "20s")
	if got := results(r.Stdout); r.Code != 5 || got["vps"] != "changed" || got["tokyo"] != "rolled back" || got["osaka"] != "changed" {
		t.Errorf("tokyo fails: exit code %d, %v\n%s\n%s", r.Code, got, r.Stdout, r.Stderr)
	}
	if !strings.Contains(r.Stdout, "the tunnel to tokyo stays as it was") {
		t.Errorf("nothing is said of tokyo's end on the hub:\n%s", r.Stdout)
	}
	if after := conf("vps", "tokyo"); after != before {
		t.Errorf("the hub's end of tokyo's tunnel was\n%s\nand is\n%s", before, after)
	}
	carries("tokyo fails", "osaka", "192.168.2.0/24", "192.168.22.0/24")
	carries("tokyo fails", "tokyo", "192.168.1.0/24")
	if n := l.Ping("tokyo", "10.10.0.1", 3); n != 3 {
		t.Errorf("tokyo fails: %d of 3 pings through its tunnel", n)
	}

	// once it is well, its part is all that there is to do
	if p := vpnpush(t, l, 0, "plan"); strings.Contains(p.Stdout, "osaka.conf") || !strings.Contains(p.Stdout, "the way to this host is its own tunnel, and that changes") {
		t.Errorf("a plan of what is left:\n%s", p.Stdout)
	}
	l.MustRun("tokyo", "ip", "addr", "add", "192.168.20.1/24", "dev", "lo")
	vpnpush(t, l, 0, "apply", "--yes")
	carries("applied", "tokyo", "192.168.1.0/24", "192.168.20.0/24")
	unchanged(t, l)
	if out := conf("vps", "tokyo"); strings.Count(out, "10.10.0.0/24") != 1 {
		t.Errorf("the hub's end:\n%s", out)
	}

	// the site that is reached through its tunnel gets another name, and with it another
	// identity
	edo := strings.ReplaceAll(more(labTokyo, "192.168.20.0/24"), "sites.tokyo", "sites.edo") + viaHub
	b.write(t, l, labHub, edo, more(labOsaka, "192.168.22.0/24"))
	mend := breakReload(l, "tokyo")
	if r := l.Vpnpush("apply", "--yes", "--allow-delete", "1", "--confirm-timeout", "20s"); r.Code != 5 {
		t.Errorf("edo fails: exit code %d\n%s\n%s", r.Code, r.Stdout, r.Stderr)
	}
	mend()
	if n := l.Ping("tokyo", "10.10.0.1", 3); n != 3 {
		t.Errorf("edo fails: %d of 3 pings through tokyo's tunnel", n)
	}
	vpnpush(t, l, 0, "apply", "--yes", "--allow-delete", "1")
	unchanged(t, l)
	if out := l.MustRun("vps", "sh", "-c", "ls "+b.ours+"*"); strings.Contains(out, "tokyo") || !strings.Contains(out, "edo.conf") {
		t.Errorf("the hub has\n%s", out)
	}
}

// A box that was set up while the hub had other networks has the narrower tunnel that both
// ends agree on, and it stays so when the hub follows: the hub ends it, and the box dials
// what is whole.
func TestE2EPairLate(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}}})
	l.MustRun("vps", "ip", "addr", "add", "10.20.0.1/24", "dev", "lo")
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	b.write(t, l, strings.Replace(labHub, `.0/24"]`, `.0/24", "10.20.0.0/24"]`, 1), labTokyo)
	mustSay(t, vpnpush(t, l, 4, "apply", "--yes", "--limit", "tokyo"), "10.20.0.0/24 are missing")
	vpnpush(t, l, 0, "apply", "--yes")
	vpnpush(t, l, 0, "status")
	unchanged(t, l)
}

// A hub moves to another machine and address, and a site that is reached through it alone
// follows without a hand at the office: it is planned through the old hub, and confirmed
// through the new one.
func TestE2EHubMoves(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "vps2", Place: "e1", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer},
	}})
	b.write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes")

	l.MustRun("vps2", "ip", "addr", "add", "10.10.0.1/24", "dev", "lo")
	address := strings.Fields(l.MustRun("vps2", "hostname", "-I"))[0]
	moved := strings.Replace(labHub, `address = "203.0.113.10"`, `address = "`+address+`"`, 1)
	b.write(t, l, moved, labTokyo, "ssh = { host = \"192.168.1.10\", jump = \"root@203.0.113.10\" }\n")
	vpnpush(t, l, 0, "apply", "--yes")
	if got := status(t, l, "tokyo"); len(got) != 1 || !strings.HasPrefix(got[0].RemoteAddr, address) || len(installed(t, l, "tokyo", "tokyo")) != 1 {
		t.Errorf("tokyo's tunnel: %+v", got)
	}
	// the way by which it was planned is closed
	b.write(t, l, moved, labTokyo, viaHub)
	unchanged(t, l)
}
