package roles

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/iptables"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

func wanted(t *testing.T, inv *inventory.Inventory, h string) []tasks.Task {
	t.Helper()
	host := of(t, inv, h)
	ts, err := host.Tasks(bare(host), nil)
	if err != nil {
		t.Fatal(err)
	}
	return ts
}

func file(t *testing.T, inv *inventory.Inventory, h, path string) string {
	t.Helper()
	files, err := of(t, inv, h).Render()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Path == path {
			return string(f.Content)
		}
	}
	return ""
}

// setting gives the values of a key in a conn.
func setting(conf, key string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^    `+key+`=(.*)$`).FindAllStringSubmatch(conf, -1) {
		out = append(out, m[1])
	}
	return out
}

// A secret of the hub that named two identities, or the wrong one, would let
// one site, or any L2TP client, pose as another site.
func TestHubSecretsNameOneIdentity(t *testing.T) {
	for name, inv := range map[string]*inventory.Inventory{"full": full(), "nated": nated()} {
		want := map[string]string{"l2tp": "203.0.113.10", "berlin": "@berlin", "osaka": "@osaka", "tokyo": "@tokyo"}
		for conn, id := range want {
			lines := strings.Split(strings.TrimSpace(file(t, inv, "vps", confDir+conn+".secrets")), "\n")
			if len(lines) != 2 || !strings.HasPrefix(lines[1], id+` : PSK "`) {
				t.Errorf("%s: secrets of %s do not name just %s", name, conn, id)
			}
		}
	}
	// And no IKEv2 conn has the address for an identity, which the clients' key
	// would open.
	for _, inv := range []*inventory.Inventory{full(), nated()} {
		for _, s := range inv.Sites {
			if got := setting(file(t, inv, "vps", confDir+s.Name+".conf"), "leftid"); !slices.Equal(got, []string{"@vps"}) {
				t.Errorf("leftid of %s on the hub: %q", s.Name, got)
			}
		}
	}
}

// `strongswan` is charon-systemd on Debian 13, and starter only recommends its
// daemon.
func TestPackagesAreNamedOneByOne(t *testing.T) {
	var names []string
	for _, task := range wanted(t, full(), "vps") {
		if p, ok := task.(tasks.Package); ok {
			names = append(names, p.Name)
		}
	}
	for _, n := range []string{"strongswan-starter", "strongswan-charon", "libstrongswan-standard-plugins", "xl2tpd", "ppp", "iptables-persistent"} {
		if !slices.Contains(names, n) {
			t.Errorf("%s is not wanted: %q", n, names)
		}
	}
	for _, n := range []string{"strongswan", "charon-systemd", "strongswan-swanctl"} {
		if slices.Contains(names, n) {
			t.Errorf("%s is wanted", n)
		}
	}
}

// A conn without keyexchange would be tried for IKEv1 too, and give a site's
// secret to the search for the clients' one.
func TestKeyExchangeIsNamed(t *testing.T) {
	inv := full()
	for _, h := range hosts(inv) {
		for _, task := range wanted(t, inv, h) {
			f, ok := task.(tasks.File)
			if !ok || !strings.HasPrefix(f.Path, confDir) || !strings.HasSuffix(f.Path, ".conf") {
				continue
			}
			want := []string{"ikev2"}
			if f.Path == confDir+"l2tp.conf" {
				want = []string{"ikev1"}
			}
			if got := setting(string(f.Content), "keyexchange"); !slices.Equal(got, want) {
				t.Errorf("%s on %s: keyexchange %q, want %q", f.Path, h, got, want)
			}
		}
	}
}

// The hub answers IKE_SA_INIT with the first conn that fits, before it knows
// the site: another ike list in one of them would answer for all.
func TestOneIKEListForAllSites(t *testing.T) {
	inv := full()
	var lists []string
	for _, s := range inv.Sites {
		lists = append(lists, setting(file(t, inv, "vps", confDir+s.Name+".conf"), "ike")...)
		lists = append(lists, setting(file(t, inv, s.Name, confDir+s.Name+".conf"), "ike")...)
	}
	if len(lists) != 2*len(inv.Sites) || len(slices.Compact(lists)) != 1 {
		t.Errorf("ike lists: %q", lists)
	}
}

// restart or start on both ends is a storm of SAs, and a site that gives up
// after three tries stays away when it boots before the hub.
func TestOnlyTheSiteInitiates(t *testing.T) {
	inv := full()
	hub, site := file(t, inv, "vps", confDir+"tokyo.conf"), file(t, inv, "tokyo", confDir+"tokyo.conf")
	for key, want := range map[string][2]string{
		"auto": {"add", "start"}, "closeaction": {"clear", "restart"}, "dpdaction": {"clear", "restart"},
		"keyingtries": {"", "%forever"}, "reauth": {"no", "no"},
	} {
		got := [2]string{strings.Join(setting(hub, key), " "), strings.Join(setting(site, key), " ")}
		if got != want {
			t.Errorf("%s on hub and site: %q, want %q", key, got, want)
		}
	}
	for _, h := range hosts(inv) {
		for _, task := range wanted(t, inv, h) {
			if ip, ok := task.(tasks.IPsec); ok {
				for _, c := range ip.Conns {
					if c.Initiates != (h != "vps") {
						t.Errorf("%s: conn %s initiates: %t", h, c.Name, c.Initiates)
					}
				}
			}
		}
	}
}

// charon does not tell what it has loaded: the digests of both files, secrets
// too, are what tells that a reload is due.
func TestIPsecHasTheDigestsOfItsFiles(t *testing.T) {
	inv := full()
	digests := map[string]string{}
	var conns []tasks.Conn
	for _, task := range wanted(t, inv, "vps") {
		switch task := task.(type) {
		case tasks.File:
			digests[task.Path] = tasks.SHA256(task.Content)
		case tasks.IPsec:
			conns = task.Conns
		}
	}
	if len(conns) != 4 {
		t.Fatalf("%d conns, want 3 sites and l2tp", len(conns))
	}
	for _, c := range conns {
		if c.ConfSHA == "" || c.ConfSHA != digests[c.Conf] || c.SecretsSHA == "" || c.SecretsSHA != digests[c.Secrets] {
			t.Errorf("conn %s: digests are not those of %s and %s", c.Name, c.Conf, c.Secrets)
		}
	}
}

// selectors returns the networks of a conn, as its file on a host has them.
func selectors(t *testing.T, inv *inventory.Inventory, host, conn string) (local, remote string) {
	t.Helper()
	if inv.Backend(host) == inventory.BackendSwanctl {
		is := swanctlSettings([]byte(file(t, inv, host, swanctlOurs+conn+swanctlEnd)))
		return is["children."+conn+".local_ts"], is["children."+conn+".remote_ts"]
	}
	text := file(t, inv, host, confDir+conn+confSuffix)
	return strings.Join(setting(text, "leftsubnet"), " "), strings.Join(setting(text, "rightsubnet"), " ")
}

// Narrowing would install less than is wanted without a word, so both ends
// must name the same subnets, and Tunnels, which status compares with, too.
func TestBothEndsNameTheSameSubnets(t *testing.T) {
	for name, build := range inventories {
		inv := build()
		hubs := map[string]strongswan.Tunnel{}
		for _, tun := range of(t, inv, "vps").Tunnels() {
			hubs[tun.Conn] = tun
		}
		for _, s := range inv.Sites {
			near, far := selectors(t, inv, "vps", s.Name)
			farThere, nearThere := selectors(t, inv, s.Name, s.Name)
			if near == "" || near != nearThere {
				t.Errorf("%s: %s: behind the hub: %q and %q", name, s.Name, near, nearThere)
			}
			if far == "" || far != farThere {
				t.Errorf("%s: %s: behind the site: %q and %q", name, s.Name, far, farThere)
			}
			ts := of(t, inv, s.Name).Tunnels()
			if len(ts) != 1 {
				t.Fatalf("%s: %s: %d tunnels, want 1", name, s.Name, len(ts))
			}
			end := hubs[s.Name]
			mirror := strongswan.Tunnel{Conn: end.Conn, Peer: "vps", Local: end.Remote, Remote: end.Local, LocalID: end.PeerID, PeerID: end.LocalID,
				// the provider may map the hub's address: each end has its own
				IKE: end.IKE, ESP: end.ESP, Hub: inv.Hub.Address.String()}
			if end.Hub != inv.Hub.LocalAddress.String() {
				t.Errorf("%s: the hub's end has the address %s, the hub %s", name, end.Hub, inv.Hub.LocalAddress)
			}
			if d := cmp.Diff(mirror, ts[0]); d != "" {
				t.Errorf("%s: %s: tunnel (-hub's +site's):\n%s", name, s.Name, d)
			}
			conf := strings.Split(near, ",")
			slices.Sort(conf)
			if !slices.Equal(conf, end.Local) {
				t.Errorf("%s: %s: tunnel says %q, the conn %q", name, s.Name, end.Local, conf)
			}
		}
	}
}

// Who may reach whom is in the selectors: relay, and L2TP clients only where
// l2tp.reach says so.
func TestWhatASiteReaches(t *testing.T) {
	relayed := func() *inventory.Inventory { inv := full(); inv.L2TP = nil; return inv }
	lone := func() *inventory.Inventory { inv := full(); inv.Tunnel.Relay = false; return inv }
	// as many a tutorial for xl2tpd has it: an address of the hub's provider
	public := lone()
	public.L2TP.LocalIP, public.L2TP.PoolFrom, public.L2TP.PoolTo = addr("203.0.113.99"), addr("192.168.200.32"), addr("192.168.200.63")
	public.Hub.Subnets, public.L2TP.Reach = nets("10.10.0.0/24"), nets("10.20.0.0/24")
	for i, subnet := range []string{"10.22.0.0/24", "10.21.0.0/24", "10.20.0.0/24"} {
		public.Sites[i].Subnets = nets(subnet)
	}
	for _, tt := range []struct {
		name string
		inv  *inventory.Inventory
		site string
		want []string
	}{
		{"hub only", minimal(), "tokyo", []string{"203.0.113.10/32"}},
		{"relay", relayed(), "osaka", []string{"10.10.0.0/24", "10.30.0.0/16", "192.168.1.0/24", "192.168.3.0/24", "203.0.113.10/32"}},
		{"clients reach it", lone(), "tokyo", []string{
			"10.10.0.0/24", "192.168.200.1/32", "192.168.200.16/28", "192.168.200.2/31", "192.168.200.32/32", "192.168.200.4/30", "192.168.200.8/29", "203.0.113.10/32"}},
		{"local_ip is far from the pool", public, "tokyo", []string{"10.10.0.0/24", "192.168.200.32/27", "203.0.113.99/32"}},
		{"clients do not", lone(), "osaka", []string{"10.10.0.0/24", "203.0.113.10/32"}},
	} {
		if got := of(t, tt.inv, tt.site).Tunnels()[0].Remote; !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// xl2tpd knows nothing of chap-secrets: an address left in its range could go
// to another client.
func TestFixedAddressesAreOutOfTheRange(t *testing.T) {
	users := func(as ...string) []inventory.User {
		var out []inventory.User
		for i, a := range as {
			out = append(out, inventory.User{Name: fmt.Sprint("u", i), Address: addr(a)})
		}
		return out
	}
	for _, tt := range []struct {
		name  string
		users []inventory.User
		want  []string
	}{
		{"none", nil, []string{"10.0.0.2-10.0.0.5"}},
		{"inside", users("10.0.0.3"), []string{"10.0.0.2-10.0.0.2", "10.0.0.4-10.0.0.5"}},
		{"ends", users("10.0.0.5", "10.0.0.2"), []string{"10.0.0.3-10.0.0.4"}},
		{"neighbours", users("10.0.0.3", "10.0.0.4"), []string{"10.0.0.2-10.0.0.2", "10.0.0.5-10.0.0.5"}},
		{"all", users("10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"), nil},
	} {
		l := &inventory.L2TP{PoolFrom: addr("10.0.0.2"), PoolTo: addr("10.0.0.5"), Users: tt.users}
		if got := freeRanges(l); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	// xl2tpd does not start without a range unless told to assign none.
	inv := full()
	inv.L2TP.PoolFrom, inv.L2TP.PoolTo = addr("192.168.200.10"), addr("192.168.200.10")
	if got := file(t, inv, "vps", xl2tpdConf); !strings.Contains(got, "\nassign ip = no\n") || strings.Contains(got, "ip range") {
		t.Errorf("a pool of fixed addresses only:\n%s", got)
	}
}

// pppd finds a user's secret by the name xl2tpd gives it, and ends at an option
// of a serial line; and no client may choose its own address.
func TestPPPOptions(t *testing.T) {
	inv := full()
	conf, options, chap := file(t, inv, "vps", xl2tpdConf), file(t, inv, "vps", pppOptions), file(t, inv, "vps", chapSecrets)
	if !strings.Contains(conf, "\nname = vps\n") || !strings.Contains(chap, `"alice" vps "`) {
		t.Errorf("xl2tpd's name is not the server of chap-secrets:\n%s", conf)
	}
	for _, bad := range []string{"lock", "crtscts", "modem", "ipcp-accept-remote", "ipcp-accept-local"} {
		if regexp.MustCompile(`(?m)^` + bad + `\b`).MatchString(options) {
			t.Errorf("%s has %s", pppOptions, bad)
		}
	}
	if !strings.Contains(options, "\nrequire-mschap-v2\n") || !strings.Contains(options, "\nauth\n") {
		t.Errorf("clients are not made to authenticate with MS-CHAPv2:\n%s", options)
	}
}

// getword of pppd takes a backslash inside quotes as an escape; a value that
// begins with @/ names a file, and one that begins with another @ does not.
func TestChapSecretsCarryThePassword(t *testing.T) {
	inv := full()
	if got, want := file(t, inv, "vps", chapSecrets), `"bob" vps "not \"a\" \\secret" *`; !strings.Contains(got, want+"\n") {
		t.Errorf("no line %s", want)
	}
	inv.L2TP.Users[0].Password = secretOf("@Summer2026!")
	if got, want := file(t, inv, "vps", chapSecrets), `"alice" vps "@Summer2026!" `; !strings.Contains(got, want) {
		t.Errorf("no line %s", want)
	}
	for _, pw := range []string{"@/etc/passwd", "two\nlines"} {
		inv.L2TP.Users[0].Password = secretOf(pw)
		_, err := of(t, inv, "vps").Render()
		if err == nil {
			t.Errorf("a password that chap-secrets cannot carry was written")
		} else if strings.Contains(err.Error(), pw) {
			t.Errorf("the error tells the password")
		}
	}
}

// A hub without L2TP must not grow any of it, nor plan a change for ever; one
// that had it must lose its users.
func TestHubWithoutL2TP(t *testing.T) {
	inv := minimal()
	for _, task := range wanted(t, inv, "vps") {
		id := task.ID()
		for _, s := range []string{"l2tp", "xl2tpd", "package:ppp"} {
			if strings.Contains(id, s) {
				t.Errorf("task %s", id)
			}
		}
		if b, ok := task.(tasks.Block); ok {
			if c, err := b.Check(bookworm().facts(t, inv, "vps")); c != nil || err != nil {
				t.Errorf("bare hub: change %v, error %v", c, err)
			}
			h := bookworm()
			h.files = map[string]string{chapSecrets: "me * theirs *\n" + tasks.BlockBegin("vps") + "\n\"alice\" vps \"x\" *\n" + tasks.BlockEnd + "\n"}
			c, err := b.Check(h.facts(t, inv, "vps"))
			if err != nil || c == nil {
				t.Errorf("hub that had l2tp: change %v, error %v", c, err)
			}
		}
	}
	for _, c := range liveChains(t, inv, "vps") {
		for _, r := range c.Rules {
			if strings.Contains(r, "1701") || strings.Contains(r, "ppp+") {
				t.Errorf("%s: %s", c.Name, r)
			}
		}
	}
}

func liveChains(t *testing.T, inv *inventory.Inventory, h string) []iptables.Chain {
	t.Helper()
	for _, task := range wanted(t, inv, h) {
		if f, ok := task.(tasks.Firewall); ok {
			return f.Chains
		}
	}
	return nil
}

// With firewall.backend "none" the packet filter is the user's alone.
func TestFirewallNone(t *testing.T) {
	inv := full()
	inv.Firewall.Backend = "none"
	for _, h := range hosts(inv) {
		for _, task := range wanted(t, inv, h) {
			switch task := task.(type) {
			case tasks.Firewall, tasks.RulesV4:
				t.Errorf("%s: %s", h, task.ID())
			case tasks.Package:
				if strings.Contains(task.Name, "iptables") {
					t.Errorf("%s: %s", h, task.ID())
				}
			case tasks.Unit:
				if task.Name == unitFirewall {
					t.Errorf("%s: %s", h, task.ID())
				}
			}
		}
	}
}

// Masquerading what goes into a tunnel would miss the selectors, and L2TP in
// the clear would carry passwords past IPsec.
func TestOrderOfRules(t *testing.T) {
	for _, c := range liveChains(t, full(), "vps") {
		at := func(part string) int {
			return slices.IndexFunc(c.Rules, func(r string) bool { return strings.Contains(r, part) })
		}
		switch c.Name {
		case chainNAT:
			if a, m := at("--pol ipsec -j ACCEPT"), at("MASQUERADE"); a < 0 || m < 0 || a > m {
				t.Errorf("exemption at %d, masquerade at %d", a, m)
			}
			last := c.Rules[len(c.Rules)-1]
			if !strings.Contains(last, "MASQUERADE") || !strings.Contains(last, "--pol none") {
				t.Errorf("last rule of %s: %s", c.Name, last)
			}
		case chainIn:
			if a, d := at("--dport 1701 -m policy --dir in --pol ipsec -j ACCEPT"), at("--dport 1701 -m policy --dir in --pol none -j DROP"); a < 0 || d < 0 {
				t.Errorf("1701: accepted at %d, dropped at %d", a, d)
			}
		case chainFwd:
			if d, a := at("-d 192.168.1.0/24 ! -o ipsec+ -m policy --dir out --pol none -j DROP"), at("-d 192.168.1.0/24 -i ppp+ -m iprange --src-range 192.168.200.1-192.168.200.32 -j ACCEPT"); d < 0 || a < 0 || d > a {
				t.Errorf("client to a site: dropped in the clear at %d, accepted at %d", d, a)
			}
		}
	}
}

// While its tunnel is down, a site's LAN must still reach the hub in the clear:
// that is how it is mended.
func TestSiteKeepsTheWayToTheHub(t *testing.T) {
	for _, c := range liveChains(t, full(), "tokyo") {
		for _, r := range c.Rules {
			// what claims to be of the LAN and comes from elsewhere is another's
			spoofed := strings.Contains(r, "-m rpfilter --invert")
			if strings.Contains(r, "DROP") && !spoofed && (strings.Contains(r, "203.0.113.10") || !strings.Contains(r, "-d ")) {
				t.Errorf("%s: %s", c.Name, r)
			}
		}
	}
}

// iptables-save prints no network where it is every address: a rule that has one is
// never what is read back, and an apply of it always goes back.
func TestReachOfEverything(t *testing.T) {
	inv := full()
	inv.L2TP.Reach = nets("0.0.0.0/0")
	for _, c := range liveChains(t, inv, "vps") {
		for _, r := range c.Rules {
			if strings.Contains(r, "0.0.0.0/0") {
				t.Errorf("%s: %s", c.Name, r)
			}
		}
	}
}

// Rules are compared as text, so roles may use only forms that iptables-save is known
// to print as they are written.
func TestRulesAreOfKnownForms(t *testing.T) {
	form := func(table, rule string) string {
		rule = regexp.MustCompile(`\d+\.\d+\.\d+\.\d+/\d+`).ReplaceAllString(rule, "NET")
		rule = regexp.MustCompile(`-j VPNPUSH-\S+`).ReplaceAllString(rule, "-j CHAIN")
		return table + " " + regexp.MustCompile(`(--ports|--mss|--set-mss|--src-range|--dst-range) \S+`).ReplaceAllString(rule, "$1 N")
	}
	known := map[string]bool{}
	b, err := os.ReadFile("../tasks/testdata/iptables/canonical.txt")
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(l), " ", 3); f[0] != "#" && len(f) == 3 {
			known[form(f[0], f[2])] = true
		}
	}
	wide := full()
	wide.Hub.Subnets = nets("203.0.113.0/24", "10.10.0.0/24")
	wide.L2TP.Reach = nets("0.0.0.0/0")
	wide.SSH.Port = 2222
	wide.L2TP.PoolTo = addr("192.168.200.30") // with local_ip a network: one prefix
	many := sized(30, true)
	many.Tunnel.Relay, many.L2TP = true, wide.L2TP
	for _, inv := range []*inventory.Inventory{minimal(), full(), wide, many} {
		for _, h := range hosts(inv)[:2] {
			for _, c := range liveChains(t, inv, h) {
				for _, r := range c.Rules {
					if !known[form(c.Table, r)] {
						t.Errorf("%s: canonical.txt has no rule like: %s %s", h, c.Table, r)
					}
				}
			}
		}
	}
}

// A few hundred sites that relay must not give a rule for each pair of them.
func TestHubRulesGrowWithTheSites(t *testing.T) {
	count := func(n int) (rules int) {
		inv := full()
		inv.Sites = nil
		for i := range n {
			inv.Sites = append(inv.Sites, inventory.Site{Name: fmt.Sprintf("s%03d", i), Subnets: nets(fmt.Sprintf("10.%d.%d.0/24", 100+i/250, i%250)), PSK: secretOf("not-a-secret-site")})
		}
		for _, c := range liveChains(t, inv, "vps") {
			rules += len(c.Rules)
		}
		return rules
	}
	ten, hundred, two := count(10), count(100), count(200)
	if two-hundred > 100*(hundred-ten)/90 {
		t.Errorf("rules of 10, 100, 200 sites: %d, %d, %d", ten, hundred, two)
	}
}

// The number of selectors is one octet in IKEv2; strongSwan would send a
// payload that no peer can read.
func TestTooManySelectors(t *testing.T) {
	inv := full()
	for i := range 260 {
		inv.Sites[0].Subnets = append(inv.Sites[0].Subnets, nets(fmt.Sprintf("10.40.%d.%d/32", i/250, i%250))...)
	}
	for _, host := range []string{"tokyo", "berlin", "vps"} {
		_, err := of(t, inv, host).Render()
		var hint transport.Hinter
		if !errors.As(err, &hint) {
			t.Errorf("%s: error %v, want one with a mend", host, err)
		}
	}
}

// Rules are compared as text with what iptables-save prints, so every rule must
// come back from the kernel as it was written.
func TestRulesComeBackAsWritten(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("loading rules into a network namespace of its own needs root")
	}
	if _, err := exec.LookPath("iptables-restore"); err != nil {
		t.Skip("no iptables-restore on this machine")
	}
	for name, inv := range inventories {
		for _, h := range hosts(inv()) {
			want := map[string][]string{}
			for _, c := range liveChains(t, inv(), h) {
				want[c.Name] = c.Rules
			}
			if len(want) == 0 {
				continue
			}
			cmd := exec.Command("unshare", "-n", "sh", "-c", "iptables-restore && iptables-save")
			cmd.Stdin = strings.NewReader(file(t, inv(), h, rulesV4))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s/%s: %v: %s", name, h, err, out)
			}
			got := map[string][]string{}
			for l := range strings.Lines(string(out)) {
				if w := strings.SplitN(strings.TrimSuffix(l, "\n"), " ", 3); len(w) == 3 && w[0] == "-A" && strings.HasPrefix(w[1], "VPNPUSH-") {
					got[w[1]] = append(got[w[1]], w[2])
				}
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s/%s (-written +read back):\n%s", name, h, d)
			}
		}
	}
}

// No print of a rendered file, a task's error or a conn may tell a secret.
func TestRenderedFilesDoNotPrint(t *testing.T) {
	files, err := of(t, full(), "vps").Render()
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		if s := fmt.Sprintf(verb, files); strings.Contains(s, "not-a-secret") || strings.Contains(s, fmt.Sprintf("%x", "not-a-secret")) {
			t.Errorf("%s prints a secret", verb)
		}
	}
}

// Secrets are only in files that none but root reads.
func TestModes(t *testing.T) {
	for name, inv := range inventories {
		for _, h := range hosts(inv()) {
			files, err := of(t, inv(), h).Render()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if strings.Contains(string(f.Content), "not-a-secret") && f.Mode != 0o600 {
					t.Errorf("%s/%s: %s has mode %04o", name, h, f.Path, f.Mode)
				}
			}
		}
	}
}

// What a check looks at must be among what the probe brings, as a file among what a
// pattern matches; and what is asked of a hub must not grow with its sites: it is one
// argument of a program.
func TestReadsHoldWhatTasksRead(t *testing.T) {
	for name, inv := range inventories {
		for _, h := range hosts(inv()) {
			reads := of(t, inv(), h).Reads()
			var patterns []string
			for i, r := range reads {
				if r.Kind == tasks.ReadGlob {
					patterns = append(patterns, r.Arg)
				}
				reads[i].Unless = "" // of what apt would install no task decides
			}
			for _, task := range wanted(t, inv(), h) {
				for _, r := range task.Reads() {
					if !slices.Contains(reads, r) && !(r.Kind == tasks.ReadFile && tasks.InGlob(slices.Values(patterns), r.Arg)) {
						t.Errorf("%s/%s: %s reads %s %s, the probe does not", name, h, task.ID(), r.Kind, r.Arg)
					}
				}
			}
			more := inv()
			for i := range 50 {
				more.Sites = append(more.Sites, inventory.Site{
					Name: fmt.Sprintf("zz%02d", i), Subnets: nets(fmt.Sprintf("10.200.%d.0/24", i)), PSK: secret.New("not-a-secret-of-another-site"),
				})
			}
			if n := len(of(t, more, h).Reads()); n != len(reads) {
				t.Errorf("%s/%s: with more sites %d reads, and %d without", name, h, n, len(reads))
			}
		}
	}
}

// What cannot be put down is said, with what to do: an unknown word must not
// silently mean what another does.
func TestOfRefuses(t *testing.T) {
	inv := minimal()
	if _, err := Of(inv, "nowhere"); err == nil {
		t.Error("a host that is not in the inventory has a place")
	}
	inv.Tunnel.Backend = "racoon"
	_, err := Of(inv, "vps")
	var hint transport.Hinter
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), `"auto" or "ipsec.conf" or "swanctl"`) {
		t.Errorf("racoon: error %v", err)
	}
	inv = minimal()
	inv.Firewall.Backend = "nftables"
	_, err = Of(inv, "vps")
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), `"iptables" or "none"`) {
		t.Errorf("nftables: error %v", err)
	}
	inv = full()
	inv.Sites[0].Name = connL2TP
	hub := of(t, inv, "vps")
	if _, err := hub.Tasks(bare(hub), nil); err == nil {
		t.Error("a site took the conn of the L2TP clients")
	}
	inv = minimal()
	inv.Sites[0].PSK = secretOf("not-a-\"secret")
	hub = of(t, inv, "vps")
	if _, err := hub.Tasks(bare(hub), nil); err == nil || strings.Contains(err.Error(), "not-a-") {
		t.Errorf("a PSK with a quote: %v", err)
	}
}
