package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// rehearsing prints what a rehearsal must leave alone: the files, the daemon with its SAs,
// and whatever is mounted or runs beside it; and what of one is still there.
const rehearsing = `
find /etc /var/lib/vpnpush -type f -print0 | sort -z | xargs -0 sha256sum
cat /run/charon.pid /proc/mounts
ipsec statusall | grep -o -e 'SPIs: .*' -e ' [0-9a-f]*_i [0-9a-f]*_o'
ls -1 /proc/[0-9]*/ns/net | xargs -n 1 readlink 2>/dev/null | sort -u
pgrep -c charon
pgrep -f '[r]ehearse.sh'; ip -br link; ip netns; ls /tmp /run/netns 2>/dev/null
:`

// A mistake that each end by itself is fine with shows only once the two ends meet. In a
// rehearsal they do, as twins on the hub, and it is told in charon's words, with the line
// of the inventory; the hub's tunnels, files, processes and mounts are as they were, also
// when it is killed half-way.
func TestE2ERehearse(t *testing.T) {
	t.Parallel()
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}, {Name: "osaka", Place: "2", Layer: "starter"},
	}})
	write(t, l, labHub, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	write(t, l, labHub, labTokyo, labOsaka)
	const conf, keys = "/etc/ipsec.d/vpnpush/tokyo.conf", "/etc/ipsec.d/vpnpush/tokyo.secrets"

	before := l.MustRun("vps", "sh", "-c", rehearsing)
	still := func(t *testing.T) {
		t.Helper()
		if after := l.MustRun("vps", "sh", "-c", rehearsing); after != before {
			t.Errorf("the hub is not as it was:\n%s", lineDiff(before, after))
		}
	}
	r := vpnpush(t, l, 0, "rehearse")
	mustSay(t, r, "IPsec in user space, each site behind a NAT\n", "  osaka  up in ", "  tokyo  up in ", "s, 192.168.1.0/24 === 10.10.0.0/24\n", "Rehearsal: 2 tunnels, all up.\n")
	still(t)

	// conn is a conn of somebody else's on the hub
	conn := func(file, name, set string) string {
		return "cat >" + file + " <<'X'\nconn " + name + `
    keyexchange=ikev2
    authby=secret
    left=203.0.113.10
    leftid=@vps
    leftsubnet=10.10.0.0/24
    right=%any
    rightid=@tokyo
    rightsubnet=192.168.1.0/24
    ike=aes256-sha256-modp2048!
    esp=aes256-sha256!
` + set + "    auto=add\nX\n"
	}
	const included = "\nsed -i '1i include /etc/ipsec.d/old.conf' /etc/ipsec.conf"
	const notIncluded = "rm /etc/ipsec.d/old.conf; sed -i 1d /etc/ipsec.conf"
	for _, tt := range []struct {
		name, make, undo string
		code             int
		say              []string
	}{
		{"a wrong key on one end", `echo '@tokyo : PSK "another-canary-0123456789abcdef"' >` + keys, "rm " + keys, 6,
			[]string{"tokyo  not up: the keys differ: vps has another one for tokyo than tokyo sends\n",
				"charon on vps: tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched\n", "vpnpush.toml:10: sites.tokyo.psk\n",
				"blocked: file:" + keys, "mend: mend first what is blocked on vps"}},
		{"proposals for IKE", conn(conf, "tokyo", "    ike=aes128-sha256-modp3072!\n"), "rm " + conf, 6,
			[]string{"tokyo  not up: no proposal for IKE is in both lists", "charon on vps: ignore candidate 'tokyo' without matching IKE proposal\n", "vpnpush.toml: tunnel.ike, which is not set\n"}},
		{"proposals for ESP", conn(conf, "tokyo", "    esp=aes128-sha1!\n"), "rm " + conf, 6,
			[]string{"tokyo  not up: no proposal for ESP is in both lists", "charon on vps: no acceptable proposal found\n", "vpnpush.toml: tunnel.esp, which is not set\n"}},
		{"networks", conn(conf, "tokyo", "    rightsubnet=10.99.0.0/24\n"), "rm " + conf, 6,
			[]string{"tokyo  not up: the networks differ: vps has others than tokyo asks for\n", "charon on vps: traffic selectors ", "vpnpush.toml:9: sites.tokyo.subnets\n", "vpnpush.toml:6: hub.subnets\n"}},
		{"fewer networks", conn(conf, "tokyo", "    rightsubnet=192.168.1.0/25\n"), "rm " + conf, 6,
			[]string{"tokyo  not up: the networks differ: the two ends agree on 192.168.1.0/25 ==="}},
		{"overlapping ids, the other first", conn("/etc/ipsec.d/old.conf", "old-tokyo", "") + included, notIncluded, 2,
			[]string{"tokyo  not up: vps answers the call with its conn old-tokyo, not with tokyo\n", "charon on vps: selected peer config 'old-tokyo'\n",
				"beside: /etc/ipsec.d/old.conf:1: conn old-tokyo is not vpnpush's", "vpnpush.toml:8: sites.tokyo\n", "mend: look on vps for a conn of somebody else's"}},
		{"overlapping ids, ours first", conn("/etc/ipsec.d/old.conf", "old-tokyo", "") + "\necho 'include /etc/ipsec.d/old.conf' >>/etc/ipsec.conf", "rm /etc/ipsec.d/old.conf; sed -i '$d' /etc/ipsec.conf", 0,
			[]string{"tokyo  up in ", "warning: on vps old-tokyo fits this call just as well", "beside: /etc/ipsec.d/old.conf:1: conn old-tokyo is not vpnpush's"}},
		{"a conn for L2TP", conn("/etc/ipsec.d/old.conf", "L2TP-PSK", "    type=transport\n    leftsubnet=\n    rightsubnet=\n    leftprotoport=17/1701\n    rightprotoport=17/%any\n") + included, notIncluded, 2,
			[]string{"tokyo  not up: vps answers the call with its conn L2TP-PSK, not with tokyo;", "charon on vps: selected peer config 'L2TP-PSK'\n"}},
		{"a strongSwan that does not start", "chmod -x /usr/lib/ipsec/starter", "chmod +x /usr/lib/ipsec/starter", 4,
			[]string{"vps (hub): failed\n", "the hub cannot rehearse: strongSwan did not start in the twin of the hub\n", "strongSwan does not run", "tokyo  not tried\n", "hint: nothing of the plan was proved, and nothing was changed"}},
		{"no namespaces", "printf '#!/bin/sh\\necho \"unshare: unshare failed: Operation not permitted\" >&2\\nexit 1\\n' >/usr/local/sbin/unshare; chmod 755 /usr/local/sbin/unshare", "rm /usr/local/sbin/unshare", 4,
			[]string{"the hub cannot rehearse: unshare: unshare failed: Operation not permitted\n", "tokyo  not tried\n"}},
		{"no IPsec at all", "mv /usr/lib/ipsec/plugins/libstrongswan-kernel-libipsec.so /root/", "mv /root/libstrongswan-kernel-libipsec.so /usr/lib/ipsec/plugins/", 4,
			[]string{"the hub cannot rehearse: the kernel has no IPsec (", "tokyo  not tried\n"}},
		{"no NAT", "printf '#!/bin/sh\\necho \"iptables: no nat here\" >&2\\nexit 3\\n' >/usr/local/sbin/iptables; chmod 755 /usr/local/sbin/iptables", "rm /usr/local/sbin/iptables", 0,
			[]string{"no NAT between the twins: iptables: no nat here\n", "tokyo  up in "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.MustRun("vps", "sh", "-ec", tt.make)
			mustSay(t, vpnpush(t, l, tt.code, "rehearse", "tokyo"), tt.say...)
			l.MustRun("vps", "sh", "-ec", tt.undo)
			still(t)
		})
	}

	t.Run("as JSON", func(t *testing.T) {
		var d struct {
			Command string
			Hub     struct{ IPsec string }
			Sites   []struct {
				Name, Result string
				Seconds      float64
			}
		}
		if err := json.Unmarshal([]byte(vpnpush(t, l, 0, "rehearse", "--json").Stdout), &d); err != nil {
			t.Fatal(err)
		}
		if d.Command != "rehearse" || d.Hub.IPsec != "user space" || len(d.Sites) != 2 || d.Sites[1].Name != "tokyo" || d.Sites[1].Result != "up" || d.Sites[1].Seconds <= 0 {
			t.Errorf("got %+v", d)
		}
	})

	// the client's line is cut, or the first of the rehearsal's processes dies, while the
	// hub's twin hangs with all keys in it
	for name, kill := range map[string]func(pid int){
		"the client": func(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) },
		"on the hub": func(int) {
			l.MustRun("vps", "sh", "-c", `kill -KILL "$(pgrep -o -f 'setpriv --pdeathsig KILL [u]nshare|[u]nshare --net --mount --pid')"`)
		},
	} {
		t.Run("killed: "+name, func(t *testing.T) {
			l.MustRun("vps", "sh", "-ec", `printf '#!/bin/sh\ncase "$*" in *" /var/log") sleep 300 ;; esac\nexec /bin/mount "$@"\n' >/usr/local/sbin/mount; chmod 755 /usr/local/sbin/mount`)
			cmd := l.Command(t.Context(), "rehearse")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			l.Wait(30*time.Second, "the twin hangs", func() bool {
				_, code := l.Run("vps", "pgrep", "-f", "[s]leep 300")
				return code == 0
			})
			if out := l.MustRun("vps", "sh", "-c", `cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -c "[c]anary"; grep -rlI "tokyo-[c]anary" /etc /tmp /run /var/lib /var/tmp /dev/shm 2>/dev/null; :`); strings.TrimSpace(out) != "0" {
				t.Errorf("a key can be seen outside of the rehearsal:\n%s", out)
			}
			kill(cmd.Process.Pid)
			_ = cmd.Wait()
			l.MustRun("vps", "rm", "/usr/local/sbin/mount")
			l.Wait(20*time.Second, "nothing of the rehearsal is left", func() bool { return l.MustRun("vps", "sh", "-c", rehearsing) == before })
		})
	}

	t.Run("before an apply", func(t *testing.T) {
		// the hub is not in the run, and has not heard of tokyo
		r := vpnpush(t, l, 2, "apply", "--rehearse", "--yes", "--limit", "tokyo")
		mustSay(t, r, "tokyo  not up: vps has no conn that fits who tokyo says it is", "mend: vps is not in this run, and stays as it is: apply to it too", "not applied: the rehearsal did not show every tunnel up")
		mustSay(t, vpnpush(t, l, 1, "apply", "--rehearse", "--yes", "--limit", "vps"), "no site of this run can be changed")
		still(t)
		r = vpnpush(t, l, 0, "apply", "--rehearse", "--yes")
		mustSay(t, r, "tokyo  up in ", "Rehearsal: 2 tunnels, all up.\n", "Apply: 3 hosts, ")
		mustSay(t, vpnpush(t, l, 0, "status"), "2 of 2 tunnels up")
		if r := vpnpush(t, l, 0, "apply", "--rehearse", "--yes"); strings.Contains(r.Stdout, "Rehearsal") {
			t.Errorf("there was nothing to apply, and it was rehearsed:\n%s", r.Stdout)
		}
	})

	t.Run("an inventory with everything", func(t *testing.T) {
		// the provider maps the hub's address, sites reach each other and have addresses of
		// their own; more than go side by side; and most are boxes that are not there yet
		write(t, l, `
id = "lab"
[ssh]
connect_timeout = "2s"
[tunnel]
relay = true
[hub]
name = "vps"
address = "203.0.113.99"
local_address = "203.0.113.10"
subnets = ["10.10.0.0/24", "203.0.113.99/32"]
ssh.host = "203.0.113.10"
`, labTokyo, "address = \"192.168.1.10\"\n", labOsaka, `
[sites.kobe]
subnets = ["10.20.0.0/16", "10.30.0.1/32"]
psk = "kobe-canary-0123456789abcdef"
ssh.host = "203.0.113.201"
[sites.nara]
subnets = ["192.168.4.0/24"]
psk = "nara-canary-0123456789abcdef"
ssh.host = "203.0.113.202"
[sites.gifu]
subnets = ["192.168.5.0/24"]
psk = "gifu-canary-0123456789abcdef"
ssh.host = "203.0.113.203"
[sites.tsu]
subnets = ["192.168.6.0/24"]
psk = "tsu-canary-0123456789abcdef"
ssh.host = "203.0.113.204"
`)
		mustSay(t, vpnpush(t, l, 0, "rehearse"), "Rehearsal: 6 tunnels, all up.\n", "10.20.0.0/16 10.30.0.1/32 ===", "not looked at: ")
		write(t, l, labHub, labTokyo, labOsaka)
	})

	t.Run("a box that is not reached", func(t *testing.T) {
		l.MustRun("tokyo", "systemctl", "stop", "ssh.socket", "ssh.service")
		mustSay(t, vpnpush(t, l, 0, "rehearse", "tokyo"), "tokyo  up in ", "not looked at: ", "its twin had what the inventory says")
		// it is not part of an apply, and keeps nobody from one
		write(t, l, labHub, labTokyo, labOsaka, "[tunnel]\ndpd_delay = \"12s\"\n")
		r := vpnpush(t, l, 4, "apply", "--rehearse", "--yes")
		mustSay(t, r, "Rehearsal: 1 tunnel, all up.\n", "osaka  site  changed")
	})
}

// A hub that runs swanctl rehearses by that, with sites that run either: the same mistakes
// are told in the same words.
func TestE2ERehearseSwanctl(t *testing.T) {
	t.Parallel()
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Suite: "trixie", Layer: "swanctl"}, {Name: "tokyo", Place: "1", Layer: "starter"}, {Name: "osaka", Place: "2", Suite: "trixie", Layer: "swanctl"},
	}})
	write(t, l, labHub, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	write(t, l, labHub, labTokyo, labOsaka)
	const state = `swanctl --list-sas --raw | grep -o 'uniqueid=[0-9]*\|spi-[a-z]*=[0-9a-f]*'; find /etc /var/lib/vpnpush -type f -print0 | sort -z | xargs -0 sha256sum; cat /proc/mounts; pgrep -a charon; ip -br link; ls /tmp`
	before := l.MustRun("vps", "sh", "-c", state)
	conn := func(file, name, remote string) string {
		return "cat >" + file + " <<'X'\nconnections {\n  " + name + " {\n    version = 2\n    local_addrs = 203.0.113.10\n    proposals = aes256-sha256-modp2048\n" +
			"    local {\n      auth = psk\n      id = @vps\n    }\n    remote {\n      auth = psk\n      id = @tokyo\n    }\n" +
			"    children {\n      " + name + " {\n        local_ts = 10.10.0.0/24\n        remote_ts = " + remote + "\n        esp_proposals = aes256-sha256\n      }\n    }\n  }\n}\nX\n"
	}
	const dir = "/etc/swanctl/conf.d/"
	for _, tt := range []struct {
		name, make, file string
		code             int
		say              []string
	}{
		{"as planned", ":", "", 0, []string{"strongSwan 6.0.1, IPsec in user space, each site behind a NAT\n", "osaka  up in ", "Rehearsal: 2 tunnels, all up.\n"}},
		{"a wrong key on one end", "printf 'secrets {\n  ike-t {\n    id = @tokyo\n    secret = another-canary-0123456789\n  }\n}\n' >" + dir + "vpnpush-tokyo.secrets.conf", dir + "vpnpush-tokyo.secrets.conf", 6,
			[]string{"tokyo  not up: the keys differ: vps has another one for tokyo than tokyo sends\n", "MAC mismatched\n", "vpnpush.toml:10: sites.tokyo.psk\n"}},
		{"networks", conn(dir+"vpnpush-tokyo.conf", "tokyo", "10.99.0.0/24"), dir + "vpnpush-tokyo.conf", 6, []string{"tokyo  not up: the networks differ: vps has others than tokyo asks for\n"}},
		{"overlapping ids", conn(dir+"a-old.conf", "old-tokyo", "192.168.1.0/24"), dir + "a-old.conf", 2,
			[]string{"tokyo  not up: vps answers the call with its conn old-tokyo, not with tokyo\n", "beside: " + dir + "a-old.conf:2: conn old-tokyo"}},
		{"a file that is not loaded", "printf 'connections {\n  mine {\n    proposals = nonsense\n  }\n}\n' >" + dir + "mine.conf", dir + "mine.conf", 4,
			[]string{"the hub cannot rehearse: strongSwan did not start in the twin of the hub\n", "loading connection 'mine' failed: "}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l.MustRun("vps", "sh", "-ec", tt.make)
			mustSay(t, vpnpush(t, l, tt.code, "rehearse"), tt.say...)
			l.MustRun("vps", "sh", "-ec", "rm -f "+tt.file)
			if after := l.MustRun("vps", "sh", "-c", state); after != before {
				t.Errorf("the hub is not as it was:\n%s", lineDiff(before, after))
			}
		})
	}
}

// With a kernel that has IPsec the twins use that: the SAs of the hub's own tunnels and
// those of the rehearsal are each in namespaces of their own. AppArmor is on.
func TestE2ERehearseInTheKernel(t *testing.T) {
	t.Parallel()
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}}})
	write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes")
	const state = "ip xfrm state | grep -e ^src -e spi | sort; ip xfrm policy | grep -c ^src; ip -br link; iptables -w -t nat -S; cat /proc/mounts; pgrep -c charon"
	before := l.MustRun("vps", "sh", "-c", state)
	if !strings.Contains(before, "spi 0x") {
		t.Fatalf("no tunnel is up:\n%s", before)
	}
	write(t, l, labHub, labTokyo, "[tunnel]\nike = [\"aes256-sha256-modp3072\"]\n")
	mustSay(t, vpnpush(t, l, 0, "rehearse"), ", the kernel's IPsec, each site behind a NAT\n", "tokyo  up in ")
	if after := l.MustRun("vps", "sh", "-c", state); after != before {
		t.Errorf("the hub is not as it was:\n%s", lineDiff(before, after))
	}
	if denied := l.MustRun("vps", "sh", "-c", "dmesg | grep DENIED || :"); denied != "" {
		t.Errorf("AppArmor is in the way:\n%s", denied)
	}
}
