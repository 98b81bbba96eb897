package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// The inventory of the true lab: machines whose kernels do IPsec, L2TP and PPP.
const trueLab = `
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"

[tunnel]
relay = true

[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-canary-0123456789abcdef"

[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "osaka-canary-0123456789abcdef"

[firewall]
masquerade = true

[l2tp]
psk = "l2tp-canary-0123456789abcdef"
pool = "192.168.200.2-192.168.200.30"
local_ip = "192.168.200.1"
dns = ["192.168.200.1"]

[l2tp.users.alice]
password = "alice-canary"

[l2tp.users.bob]
password = "@bob-canary"
address = "192.168.200.20"
`

const dave = `
[l2tp.users.dave]
password = "dave-canary"
`

// dial makes the road warrior what Windows 10 is to the hub: an IKEv1 client
// with its first proposals, ESP in transport mode, L2TP with MS-CHAPv2. It
// prints the address it got, if any. Its arguments are user, password, the time of
// the machine, and the key if it is not that of trueLab.
const dial = `
cat >/etc/ipsec.conf <<'X'
conn l2tp
    keyexchange=ikev1
    authby=secret
    type=transport
    ike=aes256-sha1-ecp384!
    esp=aes256-sha1!
    left=%defaultroute
    leftprotoport=17/1701
    right=203.0.113.10
    rightprotoport=17/1701
    auto=add
X
umask 077
echo "%any 203.0.113.10 : PSK \"${4-l2tp-canary-0123456789abcdef}\"" >/etc/ipsec.secrets
printf '[lac hub]\nlns = 203.0.113.10\npppoptfile = /etc/ppp/options.client\nlength bit = yes\n' >/etc/xl2tpd/xl2tpd.conf
printf 'ipcp-accept-local\nipcp-accept-remote\nrefuse-eap\nnoccp\nnoauth\nmtu 1280\nmru 1280\nnodefaultroute\nname %s\npassword %s\n' "$1" "$2" >/etc/ppp/options.client
systemctl restart strongswan-starter xl2tpd
# charon answers before it has the conn, and ipsec up of what it has not is a success
n=0; until ipsec statusall 2>/dev/null | grep -q ' l2tp: '; do n=$((n + 1)); [ $n -lt 150 ] || { echo strongSwan does not answer; exit 0; }; sleep 0.2; done
n=0; until timeout 30 ipsec up l2tp >/tmp/up.log 2>&1; do n=$((n + 1)); [ $n -lt 3 ] || { cat /tmp/up.log; exit 0; }; sleep 1; done
echo 'c hub' >/run/xl2tpd/l2tp-control
n=0
while [ $n -lt 120 ]; do
    a=$(ip -4 -o addr show | sed -n 's/.* ppp[0-9]* *inet \([0-9.]*\) .*/\1/p')
    [ -z "$a" ] || { echo "$a"; exit 0; }
    ! journalctl -q -t pppd --since "@$3" -o cat | grep -q 'authentication failed' || exit 0
    n=$((n + 1)); sleep 0.25
done
`

const hangUp = `
echo 'd hub' >/run/xl2tpd/l2tp-control 2>/dev/null
sleep 1
systemctl stop xl2tpd; ipsec down l2tp >/dev/null 2>&1; systemctl stop strongswan-starter
# pppd says good-bye for some seconds, and the next one would be ppp1
n=0; while ip -br link | grep -q '^ppp' && [ $n -lt 60 ]; do n=$((n + 1)); sleep 0.5; done
`

// The whole truth once, on kernels of their own: tunnels by kernel IPsec, relay
// through the packet filter, L2TP clients as Windows is one, and nothing but ESP
// in UDP on the internet.
func TestE2EL2TP(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}, {Name: "osaka", Place: "2", Layer: b.layer},
		{Name: "laptop", Place: "3", Layer: "starter"},
	}})
	// what goes leaves a service as it was before vpnpush came: here it was off
	l.MustRun("vps", "sh", "-c", "systemctl disable xl2tpd; systemctl stop xl2tpd") // --now stops no SysV service
	b.write(t, l, trueLab, dave)
	vpnpush(t, l, 0, "apply", "--yes")
	unchanged(t, l)

	call := func(user, password string) string {
		since := strings.TrimSpace(l.MustRun("laptop", "date", "+%s"))
		return strings.TrimSpace(l.MustRun("laptop", "sh", "-c", dial, "sh", user, password, since))
	}
	end := func() {
		l.MustRun("laptop", "sh", "-c", hangUp)
		// xl2tpd keeps the socket of a tunnel for up to a minute after its client
		// went, and a new one from the same address and port talks to that
		l.MustRun("vps", "systemctl", "restart", "xl2tpd")
		l.Wait(60*time.Second, "the hub is done with the client", func() bool {
			return !strings.Contains(l.MustRun("vps", "ip", "-br", "addr"), "ppp")
		})
	}

	// what is on the wire of the "internet" meanwhile, but for our own ssh
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wire strings.Builder
	dump := exec.CommandContext(ctx, "testdata/lab/in.sh", l.Dir, "tcpdump", "-lni", "br-wan", "ip and not tcp")
	dump.Dir, dump.Stdout = "../..", &wire
	// what in.sh started goes with it, and is not waited for
	dump.SysProcAttr, dump.WaitDelay = &syscall.SysProcAttr{Setpgid: true}, 2*time.Second
	dump.Cancel = func() error { return syscall.Kill(-dump.Process.Pid, syscall.SIGTERM) }
	if err := dump.Start(); err != nil {
		t.Fatal(err)
	}

	for _, p := range [][2]string{{"tokyo", "203.0.113.10"}, {"osaka", "192.168.1.10"}, {"tokyo", "192.168.2.10"}} {
		l.Wait(20*time.Second, p[0]+" reaches "+p[1]+" through the tunnel", func() bool { return l.Ping(p[0], p[1], 3) == 3 })
	}
	if got := call("bob", "wrong"); got != "" {
		t.Errorf("a wrong password got the address %s", got)
	}
	if out := l.MustRun("vps", "journalctl", "-t", "pppd", "-o", "cat", "--no-pager"); !strings.Contains(out, "failed CHAP authentication") {
		t.Errorf("the hub did not turn the password down, something else did:\n%s", out)
	}
	end()
	if got := call("bob", "@bob-canary"); got != "192.168.200.20" {
		t.Errorf("bob got the address %q, his is 192.168.200.20", got)
	}
	end()
	got := call("alice", "alice-canary")
	if !regexp.MustCompile(`^192\.168\.200\.([2-9]|[12][0-9])$`).MatchString(got) || got == "192.168.200.20" {
		t.Errorf("alice got the address %q, not one of the pool", got)
	}
	if r := vpnpush(t, l, 0, "status"); !regexp.MustCompile(`(?m)^alice +` + regexp.QuoteMeta(got)).MatchString(r.Stdout) {
		t.Errorf("status does not show alice at %s:\n%s", got, r.Stdout)
	}
	// her link is no network that is in use already; an interface of the hub's is
	unchanged(t, l)
	l.MustRun("vps", "ip", "addr", "add", "192.168.200.77/24", "dev", "eth0")
	if r := vpnpush(t, l, 4, "plan"); !strings.Contains(r.Stdout+r.Stderr, "l2tp.local_ip 192.168.200.1 and l2tp.pool 192.168.200.2-192.168.200.30 are in use at the hub: eth0 has 192.168.200.77/24") {
		t.Errorf("a plan goes on where the network of the clients is in use:\n%s%s", r.Stdout, r.Stderr)
	}
	l.MustRun("vps", "ip", "addr", "del", "192.168.200.77/24", "dev", "eth0")
	l.MustRun("laptop", "ip", "route", "replace", "192.168.1.0/24", "dev", "ppp0")
	for _, to := range []string{"192.168.200.1", "192.168.1.10"} {
		if l.Ping("laptop", to, 3) != 3 {
			t.Errorf("alice does not reach %s", to)
		}
	}
	cancel()
	dump.Wait()
	esp := regexp.MustCompile(`IP (203\.0\.113\.5[123]\.4500 > 203\.0\.113\.10\.4500|203\.0\.113\.10\.4500 > 203\.0\.113\.5[123]\.4500): UDP-encap: ESP`)
	ike := regexp.MustCompile(`IP 203\.0\.113\.\d+\.(500|4500) > 203\.0\.113\.\d+\.(500|4500): (NONESP-encap: )?(isakmp|\[\|isakmp)|isakmp-nat-keep-alive`)
	// The client we play takes its IPsec down before its pppd has ended. What it
	// says in the clear then gets no answer in the clear.
	fromClient := regexp.MustCompile(`IP 203\.0\.113\.53\.1701 > 203\.0\.113\.10\.1701:`)
	n := 0
	for line := range strings.Lines(strings.TrimSpace(wire.String())) {
		switch {
		case esp.MatchString(line):
			n++
		case !ike.MatchString(line) && !fromClient.MatchString(line):
			t.Errorf("neither ESP in UDP nor IKE on the wire: %s", line)
		}
	}
	if n < 20 {
		t.Errorf("%d packets of ESP in UDP were seen:\n%s", n, wire.String())
	}

	// a removed user is out, now: alice's own session stays when dave goes
	b.write(t, l, trueLab)
	vpnpush(t, l, 0, "apply", "--yes")
	if l.Ping("laptop", "192.168.200.1", 2) == 0 {
		t.Error("dave was removed, and alice's session with him")
	}
	// as docs/day-two.md has it, "To get somebody out, now"
	start := time.Now()
	vpnpush(t, l, 0, "user", "remove", "alice")
	if r := vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps"); !strings.Contains(r.Stdout, "session of alice") {
		t.Errorf("alice was removed, and the plan says nothing of her session:\n%s", r.Stdout)
	}
	t.Logf("alice was out %s after the command", time.Since(start).Round(100*time.Millisecond))
	if out := l.MustRun("vps", "ip", "-br", "addr"); strings.Contains(out, "ppp") {
		t.Errorf("alice was removed, and her session lives:\n%s", out)
	}
	end()

	// no L2TP in the clear
	l.MustRun("laptop", "sh", "-c", "systemctl restart xl2tpd; sleep 1; echo 'c hub' >/run/xl2tpd/l2tp-control; sleep 4")
	if out := l.MustRun("vps", "iptables", "-nvxL", "VPNPUSH-IN"); !regexp.MustCompile(`(?m)^ *[1-9]\d* +\d+ DROP .*dpt:1701`).MatchString(out) {
		t.Errorf("cleartext L2TP was not dropped:\n%s", out)
	}
	if out := l.MustRun("vps", "journalctl", "-t", "xl2tpd", "--since", "-10s", "-o", "cat"); strings.Contains(out, "Connection established") {
		t.Errorf("cleartext L2TP was answered:\n%s", out)
	}
	l.MustRun("laptop", "systemctl", "stop", "xl2tpd")

	// the key that all L2TP users know opens no site's tunnel
	l.MustRun("tokyo", "systemctl", "stop", b.unit)
	l.Wait(20*time.Second, "tokyo is gone from the hub", func() bool { return len(sas(t, l, "vps")["tokyo"]) == 0 })
	l.MustRun("laptop", "sh", "-c", `cat >/etc/ipsec.conf <<'X'
conn thief
    keyexchange=ikev2
    authby=secret
    ike=aes256-sha256-modp2048!
    esp=aes256-sha256!
    left=%defaultroute
    leftid=@tokyo
    leftsubnet=192.168.1.0/24
    right=203.0.113.10
    rightid=@vps
    rightsubnet=203.0.113.10/32
    auto=add
X
echo '@vps : PSK "l2tp-canary-0123456789abcdef"' >/etc/ipsec.secrets
systemctl restart strongswan-starter; sleep 2; timeout 20 ipsec up thief; true`)
	if got := sas(t, l, "vps"); len(got["tokyo"]) != 0 {
		t.Errorf("the L2TP key opened tokyo's tunnel: %v", got)
	}
	if out := l.MustRun("vps", "journalctl", "-u", b.unit, "--no-pager", "-o", "cat"); !strings.Contains(out, "MAC mismatched") {
		t.Errorf("the hub did not turn the key down, something else did:\n%s", out)
	}

	// L2TP that is no longer in the inventory is gone from the hub
	head, _, _ := strings.Cut(trueLab, "[l2tp]")
	b.write(t, l, head)
	vpnpush(t, l, 0, "apply", "--yes")
	for _, c := range []string{"! systemctl is-active xl2tpd", "test ! -e " + b.conf("l2tp"), "! grep -q canary /etc/ppp/chap-secrets", "! iptables-save | grep -q 1701"} {
		if _, code := l.Run("vps", "sh", "-c", c); code != 0 {
			t.Errorf("L2TP was removed, but not %s", c)
		}
	}
	if r := l.Vpnpush("plan", "--limit", "vps"); !strings.HasPrefix(r.Stdout, "No changes.") {
		t.Error(fmt.Sprint("a second plan is not empty:\n", r.Stdout))
	}
}

// Who is out is out. A user's new password ends the sessions that began with the old
// one, and nobody else's; a new key ends all; the plan says whose. Status tells where
// they come from. Who was cut off without a word can dial again.
func TestE2ENewSecrets(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "laptop", Place: "3", Layer: "starter"}, {Name: "phone", Place: "4", Layer: "starter"},
	}})
	trueLab := strings.Replace(trueLab, "[l2tp]\n", "[l2tp]\nreach = [\"0.0.0.0/0\"]\n", 1) // everything
	b.write(t, l, trueLab)
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	call := func(host, user, password string, psk ...string) string {
		args := append([]string{"sh", "-c", dial, "sh", user, password, strings.TrimSpace(l.MustRun(host, "date", "+%s"))}, psk...)
		return strings.TrimSpace(l.MustRun(host, args...))
	}
	sessions := func() string {
		return l.MustRun("vps", "sh", "-c", "grep -hs ^user /run/vpnpush/ppp/*; ip -br addr | grep -c ^ppp; true")
	}
	change := func(say []string, not string, files ...string) {
		t.Helper()
		b.write(t, l, files...)
		r := vpnpush(t, l, 0, "plan", "--limit", "vps")
		mustSay(t, r, say...)
		if not != "" && strings.Contains(r.Stdout, not) {
			t.Errorf("the plan says %q:\n%s", not, r.Stdout)
		}
		vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	}
	for _, c := range [][3]string{{"laptop", "alice", "alice-canary"}, {"phone", "bob", "@bob-canary"}} {
		if got := call(c[0], c[1], c[2]); got == "" {
			t.Fatalf("%s does not get in", c[1])
		}
	}
	l.Wait(20*time.Second, "where bob comes from is noted", func() bool {
		return strings.Contains(l.MustRun("vps", "sh", "-c", "cat /run/vpnpush/ppp/*"), "203.0.113.54")
	})
	r := vpnpush(t, l, 2, "status", "--limit", "vps") // no site dials here
	for _, want := range []string{`(?m)^alice .* 203\.0\.113\.53$`, `(?m)^bob .* 203\.0\.113\.54$`} {
		if !regexp.MustCompile(want).MatchString(r.Stdout) {
			t.Errorf("status does not tell where they come from:\n%s", r.Stdout)
		}
	}

	second := strings.Replace(trueLab, "@bob-canary", "bob-second", 1)
	change([]string{"- delete l2tp:sessions", "new password: bob", "session of bob: 192.168.200.20 on ppp", "-> ended"}, "session of alice", second)
	if got := sessions(); got != "user\talice\n1\n" {
		t.Errorf("bob has a new password, and these are on:\n%s", got)
	}
	if l.Ping("laptop", "192.168.200.1", 2) == 0 {
		t.Error("bob has a new password, and alice's session is dead")
	}
	if got := call("phone", "bob", "@bob-canary"); got != "" {
		t.Errorf("bob's old password got the address %s", got)
	}
	// the hub holds the tunnel of a call that it refused for up to a minute, and what
	// comes from the same address and port goes there
	var got string
	for n := 0; n < 4 && got == ""; n++ {
		l.MustRun("phone", "sh", "-c", hangUp)
		got = call("phone", "bob", "bob-second")
	}
	if got != "192.168.200.20" {
		t.Fatalf("bob's new password got the address %q", got)
	}
	l.Wait(20*time.Second, "bob is noted again", func() bool { return strings.Contains(sessions(), "bob") })

	const key = "l2tp-second-0123456789abcdef"
	change([]string{"new L2TP PSK", "session of alice: 192.168.200.", "session of bob: 192.168.200.20 on ppp"}, "new password", strings.Replace(second, "l2tp-canary-0123456789abcdef", key, 1))
	if got := sessions(); got != "0\n" {
		t.Errorf("there is a new key, and these are on:\n%s", got)
	}
	if got := sas(t, l, "vps")["l2tp"]; len(got) > 0 {
		t.Errorf("there is a new key, and SAs of the old one: %v", got)
	}
	l.MustRun("laptop", "sh", "-c", "timeout 8 ipsec up l2tp; true") // the old key is still there
	if got := sas(t, l, "vps")["l2tp"]; len(got) > 0 {
		t.Errorf("the old key opens: %v", got)
	}
	// who was cut off without a word gets in at once, from the same address and port; so
	// does who died, once that is noticed: in seconds here, not in 50
	l.MustRun("vps", "sed", "-i", "s/^lcp-echo-interval .*/lcp-echo-interval 2/; s/^lcp-echo-failure .*/lcp-echo-failure 2/", "/etc/ppp/options.xl2tpd")
	if got := call("phone", "bob", "bob-second", key); got != "192.168.200.20" {
		t.Errorf("bob's new key got the address %q", got)
	}
	l.Wait(20*time.Second, "bob is noted", func() bool { return strings.Contains(sessions(), "bob") })
	l.MustRun("phone", "sh", "-c", "kill -9 $(pidof xl2tpd pppd starter charon); ip xfrm state flush; ip xfrm policy flush; rm -f /run/*.pid")
	l.Wait(20*time.Second, "the hub notices that bob is dead", func() bool { return !strings.Contains(sessions(), "bob") })
	if got := call("phone", "bob", "bob-second", key); got != "192.168.200.20" {
		t.Errorf("bob died, and got the address %q when he came again", got)
	}
}
