package doctor

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/host"
	"github.com/vpnpush/vpnpush/tasks/security"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// Files in testdata are lines that hosts with Debian 12 printed; some are put
// together from more than one host.
func captured(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

var testDaemons = []tasks.Daemon{testDaemon}

var testDaemon = tasks.Daemon{Unit: "ike.service", Package: "ike-daemon", Status: "ike status"}

// well is what the commands print on a site with nothing wrong, its tunnel not
// up yet.
func well() map[string]string {
	return map[string]string{
		readSockets:     "UNCONN 0      0            0.0.0.0:68         0.0.0.0:*    users:((\"dhclient\",pid=412,fd=7))\n",
		"addresses":     "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever\n2: eth0    inet 192.168.1.10/24 brd 192.168.1.255 scope global eth0\\       valid_lft forever preferred_lft forever\n",
		"routes":        "default via 192.168.1.1 dev eth0 \n192.168.1.0/24 dev eth0 proto kernel scope link src 192.168.1.10 \n",
		readKernel:      "esp4 yes\nxfrm_user yes\nrunning yes\nkernels 1\n",
		readChains:      "",
		"iptables-save": "",
		readMirrors:     "deb.debian.org yes\n",
		readAppArmor:    "",
		readWay:         "udp 500 refused\nudp 4500 refused\nhop 1 192.168.1.1\nping ok\nmtu 1500 ok\n",
	}
}

// facts are what a probe brings where these commands print this; what is not
// there exited with 127. "manifest" is what is in the manifest, if there is one.
func facts(t testing.TB, commands map[string]string, bootID string) tasks.Facts {
	t.Helper()
	var b strings.Builder
	b.WriteString("vpnpush-facts 1")
	fmt.Fprintf(&b, "\n\x01host\tnow\n1700000000\n\x01host\tuptime\n1000.00 1.0\n\x01host\tuid\n0\n\x01host\tarch\namd64\n\x01host\tkernel\n6.1.0-30-amd64\n\x01host\tboot_id\n%s", bootID)
	var archive bytes.Buffer
	if m := commands["manifest"]; m != "" {
		tw := tar.NewWriter(&archive)
		err := tw.WriteHeader(&tar.Header{Name: tasks.ManifestPath, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(m)), Uname: "root", Gname: "root"})
		if err == nil {
			_, err = tw.Write([]byte(m))
		}
		if err := errors.Join(err, tw.Close()); err != nil {
			t.Fatal(err)
		}
	} else {
		fmt.Fprintf(&b, "\n\x01absent\t%s\n", tasks.ManifestPath)
	}
	fmt.Fprintf(&b, "\n\x01package-names\n%s\n\n\x01packages\n\n\x01packages-status\t1\n\n\x01command\tapt-policy\n\n\x01status\tapt-policy\t0\n", testDaemon.Package)
	names := []string{}
	for _, r := range Reads(Host{Daemons: testDaemons, Hub: netip.MustParseAddr("203.0.113.10")}) {
		if r.Kind == tasks.ReadCommand {
			names = append(names, r.Arg)
		}
	}
	for _, n := range names {
		code := 0
		if _, ok := commands[n]; !ok {
			code = 127
		}
		fmt.Fprintf(&b, "\n\x01command\t%s\n%s\n\x01status\t%s\t%d\n", n, commands[n], n, code)
	}
	fmt.Fprintf(&b, "\n\x01files\n%s\n\x01end\t0\n", archive.String())
	f, err := host.ParseFacts([]byte(b.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// site is a site with what its commands print.
func site(t testing.TB, name string, commands map[string]string) HostFacts {
	now := time.Unix(1700000000, 0)
	return HostFacts{
		Daemon: testDaemon,
		Host: Host{
			Name: name, Role: tasks.RoleSite, Daemons: testDaemons, Hub: netip.MustParseAddr("203.0.113.10"),
			Subnets: []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24")},
			Tunnels: []strongswan.Tunnel{{Conn: name, Peer: "vps", Local: []string{"192.168.1.0/24"}, Remote: []string{"10.10.0.0/24"}, LocalID: name, PeerID: "vps"}},
		},
		Facts: facts(t, commands, "boot-of-"+name), Asked: now, Answered: now.Add(2 * time.Second),
	}
}

// hub is a hub that listens, or does not.
func hub(t testing.TB, listens bool) HostFacts {
	c := well()
	c["addresses"] = "2: eth0    inet 203.0.113.10/24 scope global eth0\\       valid_lft forever preferred_lft forever\n"
	if listens {
		c[readSockets] = captured(t, "ss-charon.txt")
	}
	now := time.Unix(1700000000, 0)
	return HostFacts{
		Daemon: testDaemon,
		Host:   Host{Name: "vps", Role: tasks.RoleHub, Daemons: testDaemons, Address: netip.MustParseAddr("203.0.113.10"), Subnets: []netip.Prefix{netip.MustParsePrefix("203.0.113.10/32")}},
		Facts:  facts(t, c, "boot-of-vps"), Asked: now, Answered: now,
	}
}

func summary(d Diagnosis) []string {
	var out []string
	for _, f := range d.Findings {
		out = append(out, f.Check+" "+string(f.Severity))
	}
	for range d.Unchecked {
		out = append(out, "unchecked")
	}
	return out
}

// Each thing that is wrong is found, alone; on a site with nothing wrong nothing is.
func TestDiagnose(t *testing.T) {
	cases := []struct {
		name    string
		read    string // what is printed differently, and
		printed string // "-": no such command
		hub     *bool  // whether the hub listens; nil: it was not read
		want    []string
		says    string
	}{
		{name: "well", hub: new(bool)},
		{name: "esp4 is missing", read: readKernel, printed: "esp4 no\nxfrm_user yes\nrunning yes\nkernels 1\n", hub: new(bool), want: []string{"kernel problem"}, says: "linux-image-amd64"},
		{name: "the modules went with an upgrade", read: readKernel, printed: "esp4 no\nxfrm_user no\nrunning no\nkernels 1\n", hub: new(bool), want: []string{"kernel problem"}, says: "reboot the host"},
		{name: "charon does without the kernel", read: readKernel, printed: "esp4 no\nxfrm_user no\nrunning no\nkernels 0\nlibipsec yes\n", hub: new(bool)},
		{name: "a carrier's NAT", read: readWay, printed: "udp 500 refused\nudp 4500 refused\nhop 1 192.168.1.1\nhop 2 100.64.3.1\nhop 3 198.51.100.7\nping ok\nmtu 1492 ok\n", hub: new(bool), want: []string{"nat warning"}, says: "100.64.3.1"},
		{name: "PPPoE that says so is common, and enough", read: readWay, printed: "udp 500 refused\nudp 4500 refused\nping ok\nmtu 1500 told 1492\n", hub: new(bool)},
		{name: "PPPoE that swallows is enough, too", read: readWay, printed: "udp 500 refused\nudp 4500 refused\nping ok\nmtu 1500 lost\nmtu 1492 ok\n", hub: new(bool)},
		{name: "nothing of 1280 passes", read: readWay, printed: "udp 500 refused\nudp 4500 refused\nping ok\nmtu 1500 lost\nmtu 1492 lost\nmtu 1400 lost\nmtu 1280 lost\n", hub: new(bool), want: []string{"mtu problem"}, says: "1280"},
		{name: "no ping on the host", read: readWay, printed: "udp 500 refused\nudp 4500 refused\nping none\n", hub: new(bool), want: []string{"unchecked"}},
		{name: "answered", read: readWay, printed: captured(t, "way-answered.txt"), hub: yes()},
		{name: "silent, hub not read", read: readWay, printed: "udp 500 silent\nudp 4500 silent\nping ok\nmtu 1500 ok\n", want: []string{"udp problem"}, says: "UDP 500 and 4500"},
		{name: "no bash", read: readWay, printed: "ping ok\nmtu 1500 ok\n", hub: yes(), want: []string{"unchecked"}},
		{name: "docker0 on what the tunnel leads to", read: "addresses", printed: captured(t, "addr-docker.txt"), hub: new(bool), want: []string{"lan problem"}, says: "docker0"},
		{name: "no ss", read: readSockets, printed: "-", hub: new(bool), want: []string{"unchecked"}},
		{name: "libreswan has the port", read: readSockets, printed: strings.ReplaceAll(captured(t, "ss-charon.txt"), `"charon"`, `"pluto"`), hub: new(bool), want: []string{"ports problem", "ports problem"}, says: "pluto"},
		{name: "another nft table", read: readChains, printed: captured(t, "nft-chains.txt"), hub: new(bool), want: []string{"filter warning"}, says: "inet mine"},
		{name: "no nft", read: readChains, printed: "-", hub: new(bool)},
		{name: "AppArmor", read: readAppArmor, printed: captured(t, "apparmor-denied.txt"), hub: new(bool), want: []string{"apparmor problem", "apparmor warning"}, says: "/etc/vpn/x.secrets"},
		{name: "AppArmor, mended", read: readAppArmor, printed: captured(t, "apparmor-reloaded.txt"), hub: new(bool)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			commands := well()
			if c.read != "" {
				commands[c.read] = c.printed
			}
			if c.printed == "-" {
				delete(commands, c.read)
			}
			p := site(t, "tokyo", commands)
			if c.read == "addresses" {
				p.Tunnels[0].Remote = []string{"172.17.0.0/16"}
			}
			ps := []HostFacts{p}
			if c.hub != nil {
				ps = append(ps, hub(t, *c.hub))
			}
			d := Diagnose(ps)
			if got := summary(d[0]); !slices.Equal(got, c.want) {
				t.Errorf("found %q, want %q\n%+v", got, c.want, d[0])
			}
			if text, _ := json.Marshal(d[0]); !strings.Contains(string(text), c.says) {
				t.Errorf("it does not say %q: %s", c.says, text)
			}
			for _, f := range d[0].Findings {
				if f.What == "" || f.Why == "" || f.Mend == "" {
					t.Errorf("half a finding: %+v", f)
				}
			}
			if len(ps) == 2 && len(summary(d[1])) > 0 {
				t.Errorf("the hub is well, but: %+v", d[1])
			}
		})
	}
}

func yes() *bool { b := true; return &b }

// What is read and what mends it is of the daemon that is to run on the host: a hint for
// another one starts what takes the ports of ours.
func TestDaemonsOwnWords(t *testing.T) {
	var reads []string
	for _, r := range Reads(Host{Daemons: testDaemons}) {
		reads = append(reads, r.Arg+" "+r.Shell)
	}
	if text := strings.Join(reads, "\n"); !strings.Contains(text, "ike-daemon ") || !strings.Contains(text, "if p=$({ ike status; } 2>/dev/null)") {
		t.Errorf("it reads %s", text)
	}
	c := well()
	c["manifest"] = `{"format_version":2,"owner":"vps","host":"tokyo","generation":1,"tasks":[]}`
	d := Diagnose([]HostFacts{site(t, "tokyo", c), hub(t, false)})[0]
	if got := summary(d); !slices.Equal(got, []string{"ports problem"}) || d.Findings[0].Mend != "journalctl -u ike -n 50; then: systemctl restart ike" {
		t.Errorf("%q: %+v", got, d)
	}
}

// A key that lets somebody else be an end of a tunnel is a problem of its own, and keys
// that could not be read are not known to be well.
func TestForeignKeys(t *testing.T) {
	task := tasks.ForeignKeys{
		Daemon: tasks.Daemon{Keys: []tasks.KeySource{{Read: tasks.Read{Kind: tasks.ReadCommand, Arg: readMirrors}, Syntax: "ipsec.secrets"}}},
		Doors:  []tasks.Door{{Door: strongswan.Door{Local: "@tokyo", Peer: "@vps"}, Host: "vps"}},
	}
	for printed, want := range map[string]string{
		"file\t/etc/s\tabc\nkey\t4\t@vps : PSK \n": "keys problem",
		"file\t/etc/s\tabc\nkey\t4\t@x : PSK \n":   "",
		"cut\n":                                    "unchecked",
	} {
		c := well()
		c[readMirrors] = printed
		p := site(t, "tokyo", c)
		p.Keys, p.Beside = &task, nil
		if want == "keys problem" {
			says, _ := task.Found(p.Facts)
			p.Beside = says // as status has it
		}
		d := Diagnose([]HostFacts{p, hub(t, false)})[0]
		if got := strings.Join(summary(d), " "); got != want {
			t.Errorf("%q: found %q, want %q\n%+v", printed, got, want, d)
		}
		if want == "keys problem" && (!strings.Contains(d.Findings[0].What, "/etc/s:4") || !strings.Contains(d.Findings[0].What, "pose as vps") || d.Findings[0].Mend == "") {
			t.Errorf("%+v", d.Findings[0])
		}
	}
}

// What a plan warns of and a check of our own tells too is told once, with its reason.
func TestSaidOnce(t *testing.T) {
	p := site(t, "tokyo", well())
	p.Beside = []string{"a conn is there"}
	p.Warnings = []string{"a conn is there", "another thing"}
	if got := summary(Diagnose([]HostFacts{p, hub(t, false)})[0]); !slices.Equal(got, []string{"plan warning", "beside warning"}) {
		t.Errorf("found %q", got)
	}
}

// A program with known holes is a problem on the hub, which listens to everybody, and what a
// plan warns of in the same words is not told twice. Plugins that nothing needs are a note.
func TestSecurity(t *testing.T) {
	found := security.Finding{Says: "libike 1 has known holes", Why: "because", Mend: "apt-get install libike"}
	c := well()
	c["ipsec-statusall"] = "  loaded plugins: charon stroke eap-ttls\nSecurity Associations (0 up, 0 connecting):\n  none\n"
	c[readWay] = captured(t, "way-answered.txt")
	h, s := hub(t, true), site(t, "tokyo", c)
	c["addresses"], c[readSockets] = "2: eth0    inet 203.0.113.10/24 scope global eth0\n", captured(t, "ss-charon.txt")
	h.Facts = facts(t, c, "boot-of-vps")
	for _, p := range []*HostFacts{&h, &s} {
		p.Security, p.Warnings = []security.Finding{found}, []string{found.Says + ": " + found.Mend}
	}
	ds := Diagnose([]HostFacts{h, s})
	if got := summary(ds[0]); !slices.Equal(got, []string{"security problem", "security note"}) || !strings.Contains(ds[0].Findings[1].What, "eap-ttls") {
		t.Errorf("the hub: %q %+v", got, ds[0])
	}
	if got := summary(ds[1]); !slices.Equal(got, []string{"security warning"}) || ds[1].Findings[0].Mend != found.Mend {
		t.Errorf("the site: %q %+v", got, ds[1])
	}
}

// A clock may be off by what the question took, and a little.
func TestClock(t *testing.T) {
	for _, c := range []struct {
		off  time.Duration // of this machine's clock
		want string
	}{
		{0, ""}, {5 * time.Second, ""}, {-7 * time.Second, ""}, // it took 2 s
		{6 * time.Second, "the clock is 6s behind this machine's"},
		{-time.Hour, "the clock is 59m58s ahead of this machine's"},
	} {
		p := site(t, "tokyo", well())
		p.Asked, p.Answered = p.Asked.Add(c.off), p.Answered.Add(c.off)
		d := Diagnose([]HostFacts{p, hub(t, false)})[0]
		got := ""
		for _, f := range d.Findings {
			got += f.What
		}
		if got != c.want {
			t.Errorf("%s off: %q, want %q", c.off, got, c.want)
		}
	}
}

// A way from a host, or its chains, may hold anything: it is read without a
// panic, and an answer of charon's is never taken for silence.
func FuzzParse(f *testing.F) {
	for _, n := range []string{"way-answered.txt", "addr-docker.txt", "ss-charon.txt", "nft-chains.txt", "apparmor-denied.txt"} {
		f.Add(captured(f, n))
	}
	f.Add("udp 500 silent\nmtu 1500 told\nhop x y\n")
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := parseWay([]byte(s)); err == nil {
			for port, a := range w.udp {
				if port != 500 && port != 4500 || a == "" {
					t.Errorf("port %d: %q", port, a)
				}
			}
		}
		parseSockets([]byte(s))
		parseChains([]byte(s))
		parseDenials([]byte(s))
	})
}
