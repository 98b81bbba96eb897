package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// libreswan puts Debian's Libreswan in the place of strongSwan.
const libreswan = `
apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install libreswan >/tmp/apt.log 2>&1 || { cat /tmp/apt.log; exit 1; }
`

// libreswanSite is tokyo by Libreswan: a child SA for each pair of subnets, and PFS, which
// it insists on unless it is told not to. They rekey after 5 s.
const libreswanSite = libreswan + `
cat >/etc/ipsec.d/site.conf <<'X'
conn %default
    ikev2=insist
    authby=secret
    left=%defaultroute
    leftid=@tokyo
    leftsubnet=192.168.1.0/24
    right=203.0.113.10
    rightid=@vps
    ike=aes256-sha2_256;modp2048
    esp=aes256-sha2_256
    salifetime=35s
    rekeymargin=30s
    rekeyfuzz=0%
    auto=start
conn one
    rightsubnet=203.0.113.10/32
conn two
    rightsubnet=10.10.0.0/24
X
umask 077
echo '@tokyo @vps : PSK "tokyo-canary-0123456789abcdef"' >/etc/ipsec.d/site.secrets
systemctl restart ipsec
`

// libreswanClient is an L2TP client by Libreswan and xl2tpd, and PFS as above. It prints
// the address that it got.
const libreswanClient = libreswan + `
cat >/etc/ipsec.d/client.conf <<'X'
config setup
    ikev1-policy=accept
conn l2tp
    ikev2=no
    authby=secret
    type=transport
    left=%defaultroute
    leftprotoport=17/1701
    right=203.0.113.10
    rightprotoport=17/1701
    salifetime=35s
    rekeymargin=30s
    rekeyfuzz=0%
    auto=add
X
umask 077
echo '%any 203.0.113.10 : PSK "l2tp-canary-0123456789abcdef"' >/etc/ipsec.d/client.secrets
printf '[lac hub]\nlns = 203.0.113.10\npppoptfile = /etc/ppp/options.client\nlength bit = yes\n' >/etc/xl2tpd/xl2tpd.conf
printf 'ipcp-accept-local\nipcp-accept-remote\nrefuse-eap\nnoccp\nnoauth\nmtu 1280\nmru 1280\nnodefaultroute\nname alice\npassword alice-canary\n' >/etc/ppp/options.client
systemctl restart ipsec xl2tpd
n=0; until ipsec status >/dev/null 2>&1; do n=$((n + 1)); [ $n -lt 100 ] || break; sleep 0.2; done
timeout 30 ipsec auto --up l2tp >/tmp/up.log 2>&1 || cat /tmp/up.log
echo 'c hub' >/run/xl2tpd/l2tp-control
n=0
while [ $n -lt 60 ]; do
    a=$(ip -4 -o addr show | sed -n 's/.* ppp[0-9]* *inet \([0-9.]*\) .*/\1/p')
    [ -z "$a" ] || { echo "$a"; exit 0; }
    n=$((n + 1)); sleep 0.5
done
`

// A peer that vpnpush did not set up, with its own defaults: a Libreswan site and a
// Libreswan L2TP client insist on PFS, live through their rekeyings, and the site's child
// SAs, one for each pair of subnets, are one tunnel that is up, or lacks one of them.
func TestE2ELibreswanPeers(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "laptop", Place: "3", Layer: "starter"},
	}})
	b.write(t, l, strings.NewReplacer(
		"[hub]\n", "[hub]\nsubnets = [\"10.10.0.0/24\", \"203.0.113.10/32\"]\n", "relay = true", "relay = false").Replace(trueLab))
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	l.MustRun("tokyo", "sh", "-ec", libreswanSite)
	// the SAs of a conn that were made with a key exchange of their own, by number
	pfs := func(conn string) map[string]bool {
		got := map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^\s*`+conn+`(?:\{(\d+)\}:|: #(\d+), .* INSTALLED,).*/MODP_2048(?:, |$)`).FindAllStringSubmatch(l.MustRun("vps", "sh", "-c", "swanctl --list-sas 2>/dev/null || ipsec statusall"), -1) {
			got[m[1]+m[2]] = true
		}
		return got
	}
	rekeyed := func(conn string, n int) {
		t.Helper()
		first := map[string]bool{}
		l.Wait(60*time.Second, conn+" has rekeyed, and again", func() bool {
			now := pfs(conn)
			if len(first) < n {
				first = now
				return false
			}
			for id := range first {
				if now[id] {
					return false
				}
			}
			return len(now) >= n
		})
	}
	rekeyed("tokyo", 2)
	for _, to := range []string{"203.0.113.10", "10.10.0.1"} {
		if l.Ping("tokyo", to, 3) != 3 {
			t.Errorf("the site does not reach %s", to)
		}
	}
	if r := vpnpush(t, l, 0, "status", "--limit", "tokyo"); !regexp.MustCompile(`(?m)^tokyo +up `).MatchString(r.Stdout) {
		t.Errorf("the site's tunnel carries all, and status says\n%s", r.Stdout)
	}
	l.MustRun("tokyo", "ipsec", "auto", "--delete", "two")
	l.Wait(20*time.Second, "the hub has heard of it", func() bool { return len(pfs("tokyo")) == 1 })
	mustSay(t, vpnpush(t, l, 2, "status", "--limit", "tokyo"), "tokyo  DOWN", "child SAs for 10.10.0.0/24 === 192.168.1.0/24 are missing")

	if got := strings.TrimSpace(l.MustRun("laptop", "sh", "-ec", libreswanClient)); !strings.HasPrefix(got, "192.168.200.") {
		t.Fatalf("the client got no address:\n%s", got)
	}
	rekeyed("l2tp", 1)
	if l.Ping("laptop", "192.168.200.1", 3) != 3 {
		t.Error("after a rekeying, nothing passes to the client")
	}
}
