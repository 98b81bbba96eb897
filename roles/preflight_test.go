package roles

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

func secretOf(s string) secret.Value { return secret.New(s) }

// A host that cannot carry its role is told so by plan, with the mend, and
// nothing is touched there; one that can is not bothered.
func TestPreflight(t *testing.T) {
	for _, tt := range []struct {
		name    string
		inv     func() *inventory.Inventory
		site    bool
		host    func(*probed)
		refusal string // part of the one refusal; "" for none
		mend    string
		warning string
	}{
		{name: "a fresh Debian 12", inv: full},
		{name: "a fresh Debian 13", inv: full, host: func(h *probed) {
			h.os = "ID=debian\nVERSION_ID=13\n"
			h.candidates["libstrongswan"] = "6.0.1-6+deb13u7"
		}},
		{name: "Debian 10", inv: minimal, host: func(h *probed) { h.os = "ID=debian\nVERSION_ID=10\n" }, refusal: "Debian 10", mend: "upgrade"},
		{name: "sid has no number", inv: minimal, host: func(h *probed) { h.os = "ID=debian\nVERSION_CODENAME=sid\n" }},
		{name: "Ubuntu", inv: minimal, host: func(h *probed) { h.os = "ID=ubuntu\nPRETTY_NAME=\"Ubuntu 24.04\"\n" }, refusal: "Ubuntu 24.04", mend: "Debian"},
		{name: "no systemd", inv: minimal, host: func(h *probed) { h.systemd = false }, refusal: "systemd", mend: "boot"},
		{name: "read-only /etc", inv: minimal, host: func(h *probed) { h.readOnly = []string{"/etc"} }, refusal: "/etc cannot be written", mend: "remount"},
		{name: "no room for packages", inv: minimal, host: func(h *probed) { h.free["/var"] = 49 << 10 }, refusal: "free for /var", mend: "apt-get clean"},
		{name: "room enough where nothing is to be installed", inv: minimal, host: func(h *probed) {
			h.free["/var"] = 2 << 10
			h.packages = map[string]string{
				"strongswan-starter": "1", "strongswan-charon": "1", "libstrongswan-standard-plugins": "1", "libstrongswan": "5.9.8-5+deb12u6",
				"iptables": "1", "iptables-persistent": "1",
			}
		}},
		{name: "rules.v4 is there, and its service installed but not running", inv: minimal, host: func(h *probed) {
			h.packages = map[string]string{"iptables-persistent": "1"}
			h.files = map[string]string{"/etc/iptables/rules.v4": "*filter\nCOMMIT\n"}
		}, warning: "the next boot will load it"},
		{name: "l2tp without a packet filter of ours", inv: func() *inventory.Inventory {
			inv := full()
			inv.Firewall.Backend = "none"
			return inv
		}, warning: "in the clear"},
		{name: "the hub has a uniqueids of its own", inv: minimal, host: func(h *probed) {
			h.files = map[string]string{"/etc/ipsec.conf": "config setup\n\tuniqueids=never\n"}
		}, warning: "sets uniqueids"},
		{name: "a stray file among ours", inv: minimal, host: func(h *probed) {
			h.files = map[string]string{"/etc/ipsec.d/vpnpush/mine.conf": "conn mine\n"}
		}, warning: "mine.conf is not vpnpush's"},
		{name: "no room for backups", inv: minimal, host: func(h *probed) { h.free["/var/lib/vpnpush"] = 0 }, refusal: "0 KiB are free for /var/lib/vpnpush, the backups take 1024 KiB", mend: "du -xm /var/lib/vpnpush"},
		{name: "no room for notes", inv: minimal, host: func(h *probed) { h.free["/run"] = 128 }, refusal: "128 KiB are free for /run", mend: "du -xm /run"},
		{name: "no room where packages go", inv: minimal, host: func(h *probed) { h.free["/usr"] = 49 << 10 }, refusal: "free for /usr", mend: "apt-get clean"},
		{name: "no room for a file", inv: minimal, host: func(h *probed) { h.free["/etc"] = 100 }, refusal: "free for /etc", mend: "free some room"},
		{name: "l2tp on strongSwan 6.1", inv: full, host: func(h *probed) {
			h.os = "ID=debian\nVERSION_CODENAME=sid\n"
			h.candidates["libstrongswan"] = "6.1.0-2"
		}, refusal: "IKEv1", mend: "Debian 13"},
		{name: "l2tp where 6.1 is installed", inv: full, host: func(h *probed) { h.packages = map[string]string{"libstrongswan": "6.1.0-2"} }, refusal: "IKEv1", mend: "Debian 13"},
		{name: "strongSwan 6.1 without l2tp", inv: minimal, host: func(h *probed) { h.candidates["libstrongswan"] = "6.1.0-2" }},
		{name: "strongSwan 6.1 on a site", inv: full, site: true, host: func(h *probed) { h.candidates["libstrongswan"] = "6.1.0-2" }},
		{name: "l2tp on a cloud kernel", inv: full, host: func(h *probed) { h.ppp, h.kernel = false, "6.12.117+deb13-cloud-amd64" }, refusal: "PPP", mend: "linux-image-amd64"},
		{name: "no PPP on a site", inv: full, site: true, host: func(h *probed) { h.ppp = false }},
		{name: "ufw", inv: minimal, host: func(h *probed) { h.active = []string{"ufw.service"} }, refusal: "ufw.service", mend: `"none"`},
		{name: "firewalld", inv: minimal, host: func(h *probed) { h.active = []string{"firewalld.service"} }, refusal: "firewalld.service", mend: `"none"`},
		{name: "nftables", inv: minimal, host: func(h *probed) { h.active = []string{"nftables.service"} }, refusal: "nftables.service", mend: `"none"`},
		{name: "ufw with a filter of its own", inv: unfiltered, host: func(h *probed) { h.active = []string{"ufw.service"} }},
		{name: "the other daemon, with nothing in it", inv: byIPsecConf, host: func(h *probed) { h.active = []string{"strongswan.service"} }},
		{name: "the other daemon, with a conn", inv: byIPsecConf, host: func(h *probed) {
			h.active = []string{"strongswan.service"}
			h.files = map[string]string{"/etc/swanctl/conf.d/mine.conf": "connections {\n  mine {\n  }\n}\n"}
		}, refusal: "strongswan.service runs strongSwan here with conns that are not vpnpush's, and would not any more: /etc/swanctl/conf.d/mine.conf:2: conn mine", mend: `backend = "swanctl"`},
		{name: "starter, with a conn, by swanctl", inv: bySwanctl, host: func(h *probed) {
			h.active = []string{"strongswan-starter.service"}
			h.commands = map[string]string{"addresses": hasAll, "routes": "", "ipsec-files": listing("conn mine\n\tauto=add\n")}
		}, refusal: "/etc/ipsec.conf:1: conn mine", mend: `backend = "ipsec.conf"`},
		{name: "a conn with the name of ours, by swanctl", inv: bySwanctl, host: func(h *probed) {
			h.files = map[string]string{"/etc/swanctl/conf.d/mine.conf": "connections { tokyo {\n } }\n"}
		}, refusal: "/etc/swanctl/conf.d/mine.conf:1 has a conn tokyo of its own", mend: "rename"},
		{name: "a stray file among ours, by swanctl", inv: bySwanctl, host: func(h *probed) {
			h.files = map[string]string{"/etc/swanctl/conf.d/vpnpush-mine.conf": "connections { }\n"}
		}, warning: "vpnpush-mine.conf is not vpnpush's"},
		{name: "Libreswan", inv: minimal, host: otherIPsec("4.10-2+deb12u1", ""),
			refusal: "the package libreswan 4.10-2+deb12u1 has the host's IPsec; it", mend: "apt-get remove libreswan"},
		{name: "Libreswan, running", inv: minimal, site: true, host: otherIPsec("4.10-2+deb12u1", "pluto\n"),
			refusal: "and its pluto runs", mend: "systemctl disable --now ipsec.service"},
		{name: "a pluto", inv: minimal, host: otherIPsec("", "pluto\n"), refusal: "pluto, the daemon", mend: "stop it"},
		{name: "an Openswan of its own", inv: minimal, host: func(h *probed) {
			h.errors = map[string]string{"ipsec-statusall": "/usr/local/sbin/ipsec: unknown IPsec command \"statusall\" (\"ipsec --help\" for list)\n"}
		}, refusal: "command ipsec is not strongSwan's", mend: "command -v ipsec"},
		{name: "rules.v4 not loaded", inv: minimal, host: func(h *probed) { h.files = map[string]string{rulesV4: "*filter\nCOMMIT\n"} }, refusal: "not loaded", mend: "iptables-save"},
		{name: "rules.v6 not loaded", inv: minimal, host: func(h *probed) { h.files = map[string]string{"/etc/iptables/rules.v6": "*filter\nCOMMIT\n"} }, refusal: "rules.v6 is there but not loaded", mend: "ip6tables-save"},
		{name: "rules.v4 loaded", inv: minimal, host: func(h *probed) {
			h.files, h.active = map[string]string{rulesV4: "*filter\nCOMMIT\n"}, []string{"netfilter-persistent.service"}
		}},
		{name: "a conn of the user's with our name", inv: minimal, host: func(h *probed) {
			h.files = map[string]string{ipsecConf: "conn other\n\tauto=add\nconn tokyo\n\tauto=add\n"}
		}, refusal: "conn tokyo", mend: "rename"},
		{name: "conn %default", inv: minimal, host: func(h *probed) { h.files = map[string]string{ipsecConf: "conn %default\n"} }, warning: "%default"},
		{name: "a strongSwan with holes", inv: minimal, host: func(h *probed) {
			h.os = "ID=debian\nVERSION_ID=13\n"
			h.packages = map[string]string{"libstrongswan": "6.0.1-6+deb13u6"}
		}, warning: "CVE-2026-78135"},
		{name: "a strongSwan with holes is all that apt has", inv: minimal, site: true, host: func(h *probed) { h.candidates["libstrongswan"] = "5.9.8-5+deb12u5" },
			warning: "what apt would install, libstrongswan 5.9.8-5+deb12u5 has known holes"},
		{name: "a pppd with holes", inv: full, host: func(h *probed) { h.packages = map[string]string{"ppp": "2.4.7-2+4"} }, warning: "CVE-2020-8597"},
		{name: "a pppd that nothing uses", inv: minimal, host: func(h *probed) { h.packages = map[string]string{"ppp": "2.4.7-2+4"} }},
		{name: "Debian 11", inv: minimal, host: func(h *probed) {
			h.os = "ID=debian\nVERSION_ID=11\n"
			h.candidates["libstrongswan"] = "5.9.1-1+deb11u4"
		}, warning: "Debian 11 has had no security updates since 2026-08-31"},
		{name: "clients without DNS", inv: func() *inventory.Inventory { inv := full(); inv.L2TP.DNS = nil; return inv }, warning: "l2tp.dns"},
		{name: "a hub behind NAT that lacks its subnet", inv: func() *inventory.Inventory { inv := nated(); inv.Hub.Subnets = nets("203.0.113.10/32"); return inv }, warning: "hub.subnets"},
		{name: "a hub behind NAT", inv: nated},
		{name: "the hub's address is on no interface", inv: minimal, host: has("2: eth0    inet 10.0.0.5/24 scope global eth0\n"),
			refusal: "no interface has 203.0.113.10; the host has 10.0.0.5", mend: "set hub.local_address"},
		{name: "the hub's local address is on no interface", inv: nated, host: has("2: eth0    inet 203.0.113.10/24 scope global eth0\n3: eth1    inet 10.0.0.9/24 scope global eth1\n"),
			refusal: "no interface has 10.0.0.5; the host has 203.0.113.10, 10.0.0.9", mend: "bring it up there first"},
		{name: "a site's address is on no interface", inv: full, site: true, host: has("2: eth0    inet 192.168.1.20/24 scope global eth0\n"),
			refusal: "no interface has 192.168.1.10; the host has 192.168.1.20", mend: "set address of the site"},
		{name: "a site that takes any address", inv: minimal, site: true, host: has("2: eth0    inet 192.168.1.20/24 scope global eth0\n")},
		{name: "a LAN of the site is not there", inv: minimal, site: true, host: has("2: eth0    inet 10.9.0.7/24 scope global eth0\n"), warning: "192.168.1.0/24"},
		{name: "a LAN of the site is behind a route", inv: minimal, site: true, host: func(h *probed) {
			h.commands = map[string]string{"addresses": "2: eth0    inet 10.9.0.7/24 scope global eth0\n", "routes": "192.168.0.0/16 via 10.9.0.1 dev eth0\n"}
		}},
		{name: "a LAN of the hub is not there", inv: full, host: has("2: eth0    inet 203.0.113.10/24 scope global eth0\n"), warning: "10.10.0.0/24"},
		{name: "the pool is in a LAN of the hub", inv: full, host: has(hubLANs + "4: eth2    inet 192.168.200.77/24 brd 192.168.200.255 scope global eth2\n"),
			refusal: "l2tp.local_ip 192.168.200.1 and l2tp.pool 192.168.200.2-192.168.200.32 are in use at the hub: eth2 has 192.168.200.77/24",
			mend:    `take a network that is in use nowhere, such as local_ip = "192.168.201.1" and pool = "192.168.201.2-192.168.201.254"`},
		{name: "local_ip alone is on an interface", inv: full, host: has(hubLANs + "4: dummy0    inet 192.168.200.1/32 scope global dummy0\n"),
			refusal: "l2tp.local_ip 192.168.200.1 is in use at the hub: dummy0 has 192.168.200.1/32", mend: "take a network"},
		{name: "the pool alone is in a LAN of the hub", inv: full, host: has(hubLANs + "4: br0    inet 192.168.200.33/27 scope global br0\n5: br1    inet 192.168.200.17/28 scope global br1\n"),
			refusal: "l2tp.pool 192.168.200.2-192.168.200.32 is in use at the hub: br0 has 192.168.200.33/27", mend: "take a network"},
		{name: "a route of the hub leads to the pool", inv: full, host: func(h *probed) {
			has(hubLANs)(h)
			h.commands["routes"] = "default via 203.0.113.1 dev eth0 \n192.168.0.0/16 via 10.10.0.254 dev eth1 proto static \n"
		}, refusal: "are in use at the hub: a route leads to 192.168.0.0/16 by eth1", mend: `local_ip = "172.30.200.1"`},
		{name: "clients are connected, some at what the inventory said before", inv: full, host: func(h *probed) {
			has(hubLANs + "9: ppp0    inet 192.168.200.1 peer 192.168.200.10/32 scope global ppp0\n10: ppp1    inet 192.168.200.254 peer 192.168.200.3/32 scope global ppp1\n")(h)
			h.commands["routes"] = "default via 203.0.113.1 dev eth0 \n192.168.200.10 dev ppp0 proto kernel scope link src 192.168.200.1 \n192.168.200.3 dev ppp1 proto kernel scope link src 192.168.200.254 \n" +
				"blackhole 192.168.0.0/16 \n"
		}},
		{name: "the pool is in a LAN of a site that is not in the inventory", inv: full, site: true, host: has("2: eth0    inet 192.168.1.10/24 scope global eth0\n3: eth1    inet 192.168.200.77/24 scope global eth1\n")},
		{name: "no iproute2", inv: minimal, host: func(h *probed) { h.commands = nil }, warning: "not known"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := bookworm()
			h.candidates = maps.Clone(h.candidates)
			if tt.host != nil {
				tt.host(&h)
			}
			inv, name := tt.inv(), "vps"
			if tt.site {
				name = "tokyo"
			}
			refusals, warnings := of(t, inv, name).Preflight(h.facts(t, inv, name))
			switch {
			case tt.refusal == "" && len(refusals) > 0:
				t.Errorf("refused: %v", refusals)
			case tt.refusal != "" && len(refusals) != 1:
				t.Errorf("%d refusals, want 1 with %q: %v", len(refusals), tt.refusal, refusals)
			case tt.refusal != "":
				var hint transport.Hinter
				if !strings.Contains(refusals[0].Error(), tt.refusal) || !errors.As(refusals[0], &hint) || !strings.Contains(hint.Hint(), tt.mend) {
					t.Errorf("refusal %+v, want %q with mend %q", refusals[0], tt.refusal, tt.mend)
				}
			}
			if got := strings.Join(warnings, "\n"); (tt.warning == "") != (got == "") || !strings.Contains(got, tt.warning) {
				t.Errorf("warnings %q, want %q", got, tt.warning)
			}
		})
	}
}

// otherIPsec gives a host that Libreswan, and what runs of it.
func otherIPsec(version, runs string) func(*probed) {
	return func(h *probed) {
		if version != "" {
			h.packages = map[string]string{"libreswan": version}
		}
		h.commands = map[string]string{"addresses": hasAll, "routes": "", "other-ipsec": runs}
	}
}

// hubLANs are the addresses of the hub of full.
const hubLANs = "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 203.0.113.10/24 scope global eth0\n3: eth1    inet 10.10.0.1/24 scope global eth1\n"

// has gives a host these addresses, and no routes but theirs.
func has(addresses string) func(*probed) {
	return func(h *probed) {
		h.commands = map[string]string{"addresses": addresses, "routes": ""}
	}
}

// What was not read is not "absent": a host of which nothing is known is
// refused, not passed.
func TestPreflightOfUnknown(t *testing.T) {
	f := tasks.Facts{Host: tasks.Platform{OS: map[string]string{"ID": "debian", "VERSION_ID": "12"}, Systemd: true}}
	refusals, _ := of(t, minimal(), "vps").Preflight(f)
	if len(refusals) == 0 {
		t.Fatal("passed")
	}
	for _, err := range refusals {
		if !errors.Is(err, tasks.ErrUnknown) {
			t.Errorf("%v, want %v", err, tasks.ErrUnknown)
		}
	}
}

// strongSwan's version decides about IKEv1.
func TestVersions(t *testing.T) {
	for v, want := range map[string]bool{"6.1.0-2": true, "6.10.0-1": true, "7.0-1": true, "1:6.1.0-1": true, "6.0.1-6+deb13u7": false, "5.9.8-5": false, "": false, "x": false} {
		if got := atLeast(v, 6, 1); got != want {
			t.Errorf("atLeast(%q, 6, 1) = %t", v, got)
		}
	}
}
