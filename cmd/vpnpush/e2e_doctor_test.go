package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// diagnosed runs doctor, and gives what it found but for notes: "HOST CHECK SEVERITY",
// in the order of the output, and the whole output.
func diagnosed(t *testing.T, l *lab.Lab, code int, args ...string) ([]string, string) {
	t.Helper()
	r := vpnpush(t, l, code, append([]string{"doctor", "--json"}, args...)...)
	var d struct {
		Hosts []struct {
			Name, Result string
			Findings     []struct{ Check, Severity, What, Why, Mend string }
			Unchecked    []string
		}
	}
	if err := json.Unmarshal([]byte(r.Stdout), &d); err != nil {
		t.Fatalf("doctor --json: %v\n%s", err, r.Stdout)
	}
	var found []string
	for _, h := range d.Hosts {
		if h.Result != "ok" {
			found = append(found, h.Name+" "+h.Result)
		}
		for _, f := range h.Findings {
			if f.Severity != "note" {
				found = append(found, fmt.Sprintf("%s %s %s", h.Name, f.Check, f.Severity))
			}
			if f.What == "" || f.Why == "" || f.Mend == "" && f.Check != "plan" {
				t.Errorf("%s: half a finding: %+v", h.Name, f)
			}
		}
		for range h.Unchecked {
			found = append(found, h.Name+" unchecked")
		}
	}
	return found, r.Stdout
}

// What a doctor claims to see, it sees: each thing is broken for real, the
// finding must appear, alone, and go when it is mended.
func TestE2EDoctor(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub"}, {Name: "tokyo", Place: "1"}}})
	sh := func(host, script string) func() {
		return func() { t.Helper(); l.MustRun(host, "bash", "-ec", script) }
	}
	router := func(script string) func() {
		return func() {
			t.Helper()
			if out, code := l.Control("ip", "netns", "exec", "r1", "bash", "-ec", script); code != 0 {
				t.Fatalf("router: %s: exit code %d\n%s", script, code, out)
			}
		}
	}
	inventory := func(parts ...string) func() { return func() { t.Helper(); b.write(t, l, parts...) } }
	well := inventory(labHub, labTokyo)

	type ailment struct {
		name   string
		break_ func()
		mend   func()
		code   int
		want   []string
		says   string
		args   []string
	}
	run := func(t *testing.T, cases []ailment) {
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				c.break_()
				defer c.mend()
				got, out := diagnosed(t, l, c.code, c.args...)
				if !slices.Equal(got, c.want) {
					t.Errorf("found %q, want %q\n%s", got, c.want, out)
				}
				if !strings.Contains(out, c.says) {
					t.Errorf("it does not say %q:\n%s", c.says, out)
				}
			})
			if t.Failed() {
				break // the next would find what this one left
			}
		}
		if got, out := diagnosed(t, l, 0); got != nil {
			t.Errorf("all is mended, but found %q\n%s", got, out)
		}
	}

	well()
	// A kernel sends an address six refusals at once and one a second after that
	// (icmp_ratelimit in ip-sysctl.rst): who asks twice for one that it has, takes it
	// from the sites behind the same address, and those are told that packets are lost.
	refusals := func() int {
		t.Helper()
		out := l.MustRun("vps", "nstat", "-asz", "IcmpOutDestUnreachs")
		f := strings.Fields(out)
		n, err := strconv.Atoi(f[len(f)-2])
		if err != nil {
			t.Fatalf("nstat: %v\n%s", err, out)
		}
		return n
	}
	before := refusals()
	if got, out := diagnosed(t, l, 0); got != nil {
		t.Fatalf("bare and well: found %q\n%s", got, out)
	}
	if n := refusals() - before; n != 2 {
		t.Errorf("the hub refused %d datagrams, want one on each of two ports", n)
	}
	run(t, []ailment{
		{name: "no name for the mirror", code: 2, want: []string{"tokyo dns problem"}, says: "mirror.invalid",
			break_: sh("tokyo", "echo 'deb http://mirror.invalid/debian bookworm main' >/etc/apt/sources.list.d/x.list"),
			mend:   sh("tokyo", "rm /etc/apt/sources.list.d/x.list")},
		{name: "no modules", code: 2, want: []string{"tokyo kernel problem"}, says: "esp4",
			break_: sh("tokyo", "cd /usr/lib/ipsec/plugins; mv libstrongswan-kernel-libipsec.so /root"),
			mend:   sh("tokyo", "cd /usr/lib/ipsec/plugins; mv /root/libstrongswan-kernel-libipsec.so .")},
		{name: "modules of another kernel", code: 2, want: []string{"tokyo kernel problem"}, says: "reboot",
			break_: sh("tokyo", "mkdir -p /lib/modules/1.2.3; cd /usr/lib/ipsec/plugins; mv libstrongswan-kernel-libipsec.so /root"),
			mend:   sh("tokyo", "rmdir /lib/modules/1.2.3; cd /usr/lib/ipsec/plugins; mv /root/libstrongswan-kernel-libipsec.so .")},
		{name: "an address the site has not", code: 2, want: []string{"tokyo address problem"}, says: "192.168.1.99",
			break_: inventory(labHub, labTokyo, "address = \"192.168.1.99\"\nssh.host = \"192.168.1.10\"\n"), mend: well},
		{name: "a subnet that is not there", code: 0, want: []string{"tokyo lan warning"}, says: "172.31.0.0/24",
			break_: inventory(labHub, strings.Replace(labTokyo, "192.168.1.0/24", "172.31.0.0/24", 1)), mend: well},
		{name: "the LAN inside of what is beyond the tunnel", code: 2, want: []string{"tokyo lan problem"}, says: "10.10.0.0/25",
			break_: sh("tokyo", "ip addr add 10.10.0.5/25 dev eth0"), mend: sh("tokyo", "ip addr del 10.10.0.5/25 dev eth0")},
		{name: "a part of the LAN beyond the tunnel", code: 0, want: []string{"tokyo lan warning"}, says: "10.10.0.0/16",
			break_: sh("tokyo", "ip addr add 10.10.7.5/16 dev eth0"), mend: sh("tokyo", "ip addr del 10.10.7.5/16 dev eth0")},
		{name: "another program has the port", code: 2, want: []string{"tokyo ports problem"}, says: "perl",
			break_: sh("tokyo", `systemd-run -q -u holder perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 500) or die; sleep'; for i in $(seq 50); do ss -Hlunp | grep -q perl && exit; sleep 0.1; done; exit 1`),
			mend:   sh("tokyo", "systemctl stop holder")},
		{name: "another firewall drops", code: 0, want: []string{"tokyo filter warning"}, says: "inet mine",
			break_: sh("tokyo", "nft 'table inet mine { chain in { type filter hook input priority 5; policy drop; ct state established,related accept; tcp dport 22 accept; icmp type echo-reply accept; }; }'"),
			mend:   sh("tokyo", "nft delete table inet mine")},
		{name: "another firewall's service", code: 2, want: []string{"tokyo plan problem"}, says: "nftables",
			break_: sh("tokyo", "systemctl start nftables"), mend: sh("tokyo", "systemctl stop nftables; systemctl reset-failed nftables || :")},
		{name: "a clock that is ahead", code: 0, want: []string{"tokyo clock warning"}, says: "ahead of",
			break_: sh("tokyo", `printf '#!/bin/sh\necho $(( $(/bin/date +%%s) + 300 ))\n' >/usr/local/sbin/date; chmod +x /usr/local/sbin/date`),
			mend:   sh("tokyo", "rm /usr/local/sbin/date")},
		{name: "a router that tells its MTU", code: 0, want: []string{"tokyo mtu warning"}, says: "1400",
			break_: router("ip link set wan mtu 1400"), mend: func() {
				router("ip link set wan mtu 1500")()
				sh("tokyo", "ip route flush cache")()
			}},
		{name: "a router that swallows what is too big", code: 2, want: []string{"tokyo mtu problem"}, says: "more than 1280",
			break_: router("iptables -I FORWARD -d 203.0.113.10 -m length --length 1301:65535 -j DROP"), // not ssh's
			mend:   router("iptables -F FORWARD")},
		{name: "two routers with private addresses", code: 0, want: []string{"tokyo nat warning"}, says: "10.99.0.2",
			break_: func() {
				script := `ip netns add outer
ip link add o-wan type veth peer name wan netns outer; ip link set o-wan master br-wan up
ip link add lan netns outer type veth peer name outer netns r1
ip -n outer addr add 203.0.113.61/24 dev wan; ip -n outer addr add 10.99.0.2/24 dev lan
ip -n outer link set wan up; ip -n outer link set lan up
ip -n r1 addr add 10.99.0.1/24 dev outer; ip -n r1 link set outer up
ip netns exec outer bash -c "echo 1 >/proc/sys/net/ipv4/ip_forward"
ip netns exec outer iptables -w -t nat -A POSTROUTING -o wan -j MASQUERADE
ip netns exec r1 iptables -w -t nat -A POSTROUTING -o outer -j MASQUERADE
ip -n r1 route add 203.0.113.10/32 via 10.99.0.2`
				if out, code := l.Control("bash", "-ec", script); code != 0 {
					t.Errorf("a second router: %s", out)
				}
			},
			mend: func() {
				l.Control("bash", "-ec", "ip -n r1 route del 203.0.113.10/32; ip -n r1 link del outer; ip netns del outer")
			}},
		{name: "a hub that answers no ping", code: 0, want: []string{"tokyo unchecked"}, says: "pings",
			break_: sh("vps", "iptables -I INPUT -p icmp --icmp-type echo-request -j DROP"), mend: sh("vps", "iptables -F INPUT")},
		{name: "silence, and no hub yet", code: 0, want: []string{"tokyo udp warning"}, says: "nothing listens there yet",
			break_: sh("vps", "iptables -I INPUT -p udp -j DROP"), mend: sh("vps", "iptables -F INPUT")},
		{name: "refused, and the hub was not asked", code: 0, want: []string{"tokyo udp warning"}, says: "is refused",
			break_: func() {}, mend: func() {}, args: []string{"tokyo"}},
		{name: "no PPP for L2TP", code: 2, want: []string{"vps plan problem"}, says: "l2tp needs PPP",
			break_: inventory(labHub, labTokyo, "\n[l2tp]\npsk = \"l2tp-canary-0123456789abcdef\"\npool = \"192.168.200.2-192.168.200.32\"\nlocal_ip = \"192.168.200.1\"\ndns = [\"192.168.200.1\"]\n[l2tp.users.alice]\npassword = \"alice-canary-0123456789\"\n"),
			mend:   well},
		{name: "one machine under two names", code: 2, want: []string{"kyoto lan warning", "tokyo twin problem"}, says: "same machine as",
			break_: inventory(labHub, labTokyo, "\n[sites.kyoto]\nsubnets = [\"172.30.0.0/24\"]\npsk = \"kyoto-canary-0123456789abcdef\"\nssh.host = \"192.168.1.10\"\n"),
			mend:   well},
		{name: "a host that is down", code: 4, want: []string{"tokyo unreachable"}, says: "",
			break_: sh("tokyo", "systemctl stop ssh.socket ssh.service"), mend: sh("tokyo", "systemctl start ssh.service")},
		{name: "down, and a problem elsewhere", code: 6, want: []string{"vps lan problem", "tokyo unreachable"}, says: "192.168.1.0/25",
			break_: func() {
				sh("tokyo", "systemctl stop ssh.socket ssh.service")()
				sh("vps", "ip addr add 192.168.1.77/25 dev eth0")()
			},
			mend: func() {
				sh("tokyo", "systemctl start ssh.service")()
				sh("vps", "ip addr del 192.168.1.77/25 dev eth0")()
			}},
	})
	if t.Failed() {
		return
	}

	vpnpush(t, l, 0, "apply", "--yes")
	l.Wait(20*time.Second, "the tunnel is up", func() bool { return len(sas(t, l, "vps")["tokyo"]) == 1 })
	sh("tokyo", "systemctl stop vpnpush-redial")() // a tunnel that is taken down stays so
	down := sh("tokyo", quiet(of(b.down, "tokyo")))
	up := sh("tokyo", quiet(of(b.up, "tokyo")))
	run(t, []ailment{
		{name: "4500 is dropped on the way", code: 2, want: []string{"tokyo tunnel problem", "tokyo udp problem"}, says: "UDP 4500 of the hub (203.0.113.10) gives no answer, though charon listens there",
			break_: func() { down(); router("iptables -I FORWARD -p udp --dport 4500 -j DROP")() },
			mend:   func() { router("iptables -F FORWARD")(); up() }},
		{name: "500 is refused on the way", code: 2, want: []string{"tokyo tunnel problem", "tokyo udp problem"}, says: "UDP 500 of the hub (203.0.113.10) is refused, though charon listens there",
			break_: func() { down(); router("iptables -I FORWARD -p udp --dport 500 -j REJECT")() },
			mend:   func() { router("iptables -F FORWARD")(); up() }},
		{name: "another answers for the hub", code: 2, want: []string{"tokyo tunnel problem", "tokyo udp problem"}, says: "no IKE daemon",
			break_: func() {
				down()
				sh("vps", `systemd-run -q -u echo perl -MIO::Socket::INET -e 'my $s = IO::Socket::INET->new(Proto => "udp", LocalPort => 5000) or die; while ($s->recv(my $m, 99)) { $s->send("hello, this is another") }'; for i in $(seq 50); do ss -Hlun | grep -q :5000 && exit; sleep 0.1; done; exit 1`)()
				router("iptables -t nat -I PREROUTING -p udp --dport 500 -j DNAT --to 203.0.113.10:5000")()
				sh("vps", "iptables -I INPUT -p udp --dport 5000 -j ACCEPT")()
			},
			mend: func() {
				router("iptables -t nat -F PREROUTING")()
				sh("vps", "systemctl stop echo; iptables -D INPUT -p udp --dport 5000 -j ACCEPT")()
				up()
			}},
		{name: "the hub drops it before vpnpush's rules", code: 2, want: []string{"vps filter problem", "tokyo tunnel problem", "tokyo udp problem"}, says: "rule 1 of INPUT, -p udp -j DROP, stands before vpnpush's own",
			break_: func() { down(); sh("vps", "iptables -I INPUT -p udp -j DROP")() },
			mend:   func() { sh("vps", "iptables -D INPUT -p udp -j DROP")(); up() }},
		{name: "a tunnel by another conn", code: 0, want: []string{"tokyo beside warning"}, says: "by-hand",
			break_: func() {
				sh("tokyo", `mkdir -p /root/was; mv /var/lib/vpnpush/manifest.json `+b.conf("tokyo")+` /root/was; `+b.alike+`
`+quiet(of(b.down, "tokyo")+"; "+b.load)+`; until `+b.conns+` | grep -q by-hand:; do sleep 0.1; done; `+quiet(of(b.up, "by-hand")))()
			},
			mend: func() {
				sh("tokyo", ``+quiet(of(b.down, "by-hand")+"; "+b.unlike)+`; mv /root/was/manifest.json /var/lib/vpnpush/; mv /root/was/*tokyo.conf `+b.conf("tokyo")+`
`+quiet(b.load)+`; until `+b.conns+` | grep -q tokyo:; do sleep 0.1; done; `+quiet(of(b.up, "tokyo")))()
			}},
		{name: "a strongSwan with known holes", code: 2, want: []string{"vps security problem", "tokyo security warning"}, says: "libstrongswan 5.9.8-5+deb12u5 has known holes",
			break_: func() {
				for _, h := range []string{"vps", "tokyo"} {
					sh(h, `cp /var/lib/dpkg/status /root; sed -i '/^Package: libstrongswan$/,/^$/s/^Version: .*/Version: 5.9.8-5+deb12u5/' /var/lib/dpkg/status`)()
				}
			},
			mend: func() {
				for _, h := range []string{"vps", "tokyo"} {
					sh(h, "mv /root/status /var/lib/dpkg/status")()
				}
			}},
		{name: "no probe, but the tunnel is up", code: 0, break_: router("iptables -I FORWARD -p udp --dport 500 -j DROP"), mend: router("iptables -F FORWARD")},
		{name: "no charon on the hub", code: 2, want: []string{"vps ports problem", "tokyo tunnel problem"}, says: "set this host up",
			break_: func() { down(); sh("vps", "systemctl stop "+b.unit)() },
			mend: func() {
				sh("vps", "systemctl start "+b.unit+"; until "+b.conns+" | grep -q tokyo:; do sleep 0.1; done")()
				up()
			}},
	})

	// The same lab, for the picture: one question to the hub colours it.
	if r := vpnpush(t, l, 0, "map", "--live", "-o", "-"); !strings.Contains(r.Stdout, ">up: 1<") || !strings.Contains(r.Stdout, ">down: 0<") {
		t.Errorf("map --live, the tunnel up:\n%s", r.Stdout)
	}
	down()
	if r := vpnpush(t, l, 0, "map", "--live", "-o", "-"); !strings.Contains(r.Stdout, ">up: 0<") || !strings.Contains(r.Stdout, ">down: 1<") {
		t.Errorf("map --live, the tunnel down:\n%s", r.Stdout)
	}
}

// What only a kernel of its own can show. On the site it is Debian 13's, whose log loses
// the lines by which Debian 12's tells that a profile was loaded anew.
func TestE2EDoctorKernel(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Suite: "trixie", Layer: b.layer}}})
	b.write(t, l, labHub, labTokyo)
	expect := func(what string, code int, want ...string) {
		t.Helper()
		if got, out := diagnosed(t, l, code); !slices.Equal(got, want) {
			t.Errorf("%s: found %q, want %q\n%s", what, got, want, out)
		}
	}
	expect("well", 0)
	l.Put("tokyo", "/etc/modprobe.d/hardened.conf", "install esp4 /bin/false\n")
	expect("esp4 switched off", 2, "tokyo kernel problem")
	l.MustRun("tokyo", "rm", "/etc/modprobe.d/hardened.conf")

	// A running kernel whose modules went with an upgrade.
	l.MustRun("tokyo", "sh", "-c", "mv /lib/modules/$(uname -r) /lib/modules/1.2.3")
	expect("modules gone", 2, "tokyo kernel problem")
	l.MustRun("tokyo", "sh", "-c", "mv /lib/modules/1.2.3 /lib/modules/$(uname -r)")

	l.MustRun("tokyo", "sh", "-ec", `mkdir /etc/vpn; echo '`+strings.TrimSpace(b.key("0123456789", "@x"))+`' | tee /etc/vpn/x.secrets >/root/x.secrets
printf 'include /etc/vpn/x.secrets\ninclude /root/x.secrets\n' >>`+b.keyring+`; `+b.reread+" || :")
	l.Wait(10*time.Second, "AppArmor denies", func() bool {
		out, _ := l.Run("tokyo", "journalctl", "-q", "-k", "-o", "cat")
		return strings.Contains(out, "/root/x.secrets")
	})
	expect("denials", 2, "tokyo apparmor problem", "tokyo apparmor warning")
	l.MustRun("tokyo", "sh", "-ec", "echo '/etc/vpn/** r,' >>/etc/apparmor.d/local/"+b.profile+"; systemctl reload apparmor")
	expect("allowed", 0)
}
