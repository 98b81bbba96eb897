package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A network as a guide on the web makes it by hand: a tunnel without identities, L2TP, and
// one key for all of it.
var byHand = map[string]map[string]string{
	"vps": {
		"/etc/ipsec.conf": `config setup
    strictcrlpolicy=no

conn ipsec-test
    type=tunnel
    authby=secret
    left=203.0.113.10
    leftsubnet=203.0.113.10/32
    right=%any
    rightsubnet=0.0.0.0/0
    dpdaction=clear
    closeaction=clear
    auto=add

conn l2tp-psk
    keyexchange=ikev1
    type=transport
    authby=secret
    left=203.0.113.10
    leftprotoport=udp/1701
    right=%any
    rightprotoport=udp/%any
    forceencaps=no
    dpdaction=clear
    auto=add

# to somebody else
conn elsewhere
    authby=secret
    left=203.0.113.10
    leftsubnet=10.99.0.0/24
    right=198.51.100.7
    rightsubnet=172.20.0.0/16
    auto=add
`,
		"/etc/ipsec.secrets":      "198.51.100.7 : PSK \"elsewhere-canary-012345\"\n: PSK \"" + oldWord + "\"\n",
		"/etc/xl2tpd/xl2tpd.conf": "[global]\nport = 1701\n\n[lns default]\nip range = 192.168.200.10-192.168.200.30\nlocal ip = 192.168.200.1\nlength bit = yes\nrefuse pap = yes\nrequire authentication = yes\nname = l2tpd\npppoptfile = /etc/ppp/options.xl2tpd\n",
		"/etc/ppp/options.xl2tpd": "require-mschap-v2\nms-dns 192.168.200.1\nnoccp\nauth\nmtu 1280\nmru 1280\nproxyarp\nname l2tpd\n",
		"/etc/ppp/chap-secrets":   "# made by hand\nalice * \"alice-canary\" *\nisp provider \"isp-canary\" *\n",
	},
	"tokyo": {
		"/etc/ipsec.conf": `conn ipsec-test
    type=tunnel
    authby=secret
    left=%defaultroute
    leftsubnet=192.168.1.0/24
    right=203.0.113.10
    rightsubnet=203.0.113.10/32
    keyingtries=%forever
    dpdaction=restart
    closeaction=restart
    auto=start
`,
		"/etc/ipsec.secrets": ": PSK \"" + oldWord + "\"\n",
	},
}

// A network that was set up by hand, with a person on the road, becomes vpnpush's: adopt
// writes the inventory, plan shows the move, one apply makes it, over a short gap; the person
// dials in with the key and the password of before. What is not the same network stays. Then
// vpnpush leaves, and what was made by hand works again, byte for byte.
func TestE2EAdopt(t *testing.T) {
	if os.Getenv("LAB_ADOPT") == "" {
		t.Skip("it is long, and the tunnels are moved in TestE2EHandmade: run make test-all")
	}
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}, {Name: "laptop", Place: "3", Layer: "starter"},
	}})
	for host, files := range byHand {
		for path, text := range files {
			l.Put(host, path, text)
		}
	}
	l.MustRun("vps", "sh", "-ec", "sysctl -qw net.ipv4.ip_forward=1; chmod 600 /etc/ipsec.secrets /etc/ppp/chap-secrets; systemctl restart strongswan-starter xl2tpd")
	l.MustRun("tokyo", "sh", "-ec", "chmod 600 /etc/ipsec.secrets; systemctl restart strongswan-starter")
	tunnel := func() bool { return l.Ping("tokyo", "203.0.113.10", 1) > 0 && up(l, "tokyo", "ipsec-test") }
	dials := func() string {
		since := strings.TrimSpace(l.MustRun("laptop", "date", "+%s"))
		return strings.TrimSpace(l.MustRun("laptop", "sh", "-c", dial, "sh", "alice", "alice-canary", since, oldWord))
	}
	l.Wait(60*time.Second, "the tunnel by hand is up", tunnel)
	if got := dials(); !strings.HasPrefix(got, "192.168.200.") {
		t.Fatalf("alice does not get in by what was made by hand: %s", got)
	}
	before := map[string]string{}
	for host := range byHand {
		before[host] = l.MustRun(host, "sh", "-c", footprint)
	}

	l.Inventory = filepath.Join(l.Dir, "adopted.toml")
	r := vpnpush(t, l, 0, "adopt", "vps", "tokyo", "--out", l.Inventory)
	mustSay(t, r, "the hub vps, 1 site, 1 user", "vps: /etc/ipsec.secrets:2: the key of tokyo: it opens every tunnel", "/etc/ppp/options.xl2tpd:7: proxyarp")
	if out, err := os.ReadFile(l.Inventory); err != nil || !strings.Contains(string(out), oldWord) {
		t.Errorf("the clients' key is not in it: %v", err)
	}
	for host := range byHand {
		if after := l.MustRun(host, "sh", "-c", footprint); after != before[host] {
			t.Errorf("adopt has changed %s:\n%s", host, lineDiff(before[host], after))
		}
	}
	mustSay(t, vpnpush(t, l, 4, "plan"), "/etc/ipsec.conf:4: conn ipsec-test is not vpnpush's", "makes it a comment", "blocked")
	mustSay(t, vpnpush(t, l, 0, "plan", "--adopt"), "lines:conns", "/etc/ipsec.conf:4", "/etc/ipsec.conf:15", "lines:users", "/etc/ppp/chap-secrets:2", "for any identity: who knows it can pose as tokyo")

	stop := l.StartPing("tokyo", "203.0.113.10", 100*time.Millisecond)
	began := time.Now()
	mustSay(t, vpnpush(t, l, 0, "apply", "--yes", "--adopt"), "1 of 1 tunnel up")
	sent, lost := stop()
	t.Logf("the move took %s; of %d pings, 0.1 s apart, %d were lost", time.Since(began).Round(time.Second), sent, lost)
	if lost > 100 {
		t.Errorf("%d of %d pings were lost while it moved", lost, sent)
	}
	unchanged(t, l)
	silent(t, l)
	for host, lines := range map[string]string{"vps": "conn ipsec-test|conn l2tp-psk|: PSK", "tokyo": "conn ipsec-test|: PSK"} {
		for line := range strings.SplitSeq(lines, "|") {
			l.MustRun(host, "sh", "-c", fmt.Sprintf("grep -hq '^# taken out by vpnpush: %s' /etc/ipsec.conf /etc/ipsec.secrets", line))
		}
		if out := l.MustRun(host, "ipsec", "statusall"); strings.Contains(out, "ipsec-test") || strings.Contains(out, "l2tp-psk") {
			t.Errorf("%s: what was made by hand is loaded still:\n%s", host, out)
		}
	}
	l.MustRun("vps", "sh", "-ec", "ipsec statusall | grep -q elsewhere; grep -q '^isp provider' /etc/ppp/chap-secrets; grep -q '^198.51.100.7 : PSK' /etc/ipsec.secrets")
	l.MustRun("laptop", "sh", "-c", hangUp)
	if got := dials(); !strings.HasPrefix(got, "192.168.200.") {
		t.Errorf("alice does not get in any more: %s", got)
	}
	l.MustRun("laptop", "sh", "-c", hangUp)

	// the hub first: a site that dials one without its conn gives up
	vpnpush(t, l, 0, "remove", "vps", "--yes")
	vpnpush(t, l, 0, "remove", "tokyo", "--yes")
	for host := range byHand {
		if after := l.MustRun(host, "sh", "-c", footprint); after != before[host] {
			t.Errorf("vpnpush has left %s, and left behind or taken along:\n%s", host, lineDiff(before[host], after))
		}
	}
	l.Wait(60*time.Second, "the tunnel by hand is back", tunnel)
	if got := dials(); !strings.HasPrefix(got, "192.168.200.") {
		t.Errorf("alice does not get in by what was made by hand: %s", got)
	}
}
