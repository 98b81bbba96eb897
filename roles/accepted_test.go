package roles

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/BurntSushi/toml"

	"github.com/vpnpush/vpnpush/inventory"
)

// picker makes choices by bytes, the first one when they are used up: what the fuzzer
// changes is then one choice, where a change of a text would mostly be one that is no
// TOML.
type picker struct {
	bytes []byte
	text  string // one more of the odd words of each kind
	// how many were made: most are to be of their own
	subnets, names int
}

func (p *picker) n(below int) int {
	if len(p.bytes) == 0 {
		return 0
	}
	b := p.bytes[0]
	p.bytes = p.bytes[1:]
	return int(b) % below
}

// one chooses a good word, or one time in eight an odd one.
func (p *picker) one(good []string, odd ...string) string {
	if p.n(8) == 7 {
		return append(odd, p.text)[p.n(len(odd)+1)]
	}
	return good[p.n(len(good))]
}

func (p *picker) maybe(t map[string]any, key string, value func() any) {
	if p.n(2) == 1 {
		t[key] = value()
	}
}

func (p *picker) some(upTo int, of func() string) []string {
	out := []string{of()}
	for range p.n(upTo) {
		out = append(out, of())
	}
	return out
}

func (p *picker) address(good ...string) string {
	return p.one(good, "203.0.113.10", "10.0.0.5", "192.168.200.1", "10.1.0.7", "192.168.200.254", "203.0.113.11",
		"127.0.0.1", "169.254.7.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "0.1.2.3", "1.0.0.0", "223.255.255.255")
}

func (p *picker) subnet() string {
	p.subnets++
	return p.one([]string{fmt.Sprintf("10.%d.0.0/16", p.subnets%64), fmt.Sprintf("10.%d.%d.0/24", p.subnets%64, p.n(256)), fmt.Sprintf("172.20.%d.%d/32", p.subnets%64, p.n(256))},
		"203.0.113.10/32", "203.0.113.0/24", "0.0.0.0/0", "64.0.0.0/2", "128.0.0.0/1", "192.168.200.0/24", "192.168.200.0/32", "192.168.200.31/32", "240.0.0.0/4",
		"169.254.0.0/16", "127.0.0.0/8", "10.0.0.0/8", fmt.Sprintf("%d.0.0.0/%d", p.n(256), p.n(33)))
}

func (p *picker) list() []string {
	out := p.some(4, p.subnet)
	if p.n(8) == 7 { // about as many as a tunnel carries
		for i := range 245 + p.n(16) {
			out = append(out, fmt.Sprintf("172.%d.%d.%d/32", 21+p.n(2), i/250, i%250))
		}
	}
	return out
}

func (p *picker) secret() string {
	return p.one([]string{"not-a-secret-0123456789", "@Summer2026!-0123456789", "0x0123456789abcdef", "0sAAAAAAAAAAAAAAAAAAAAAA==", "%prompt-0123456789abc",
		"# no comment 0123456789", "{ tld-0123456789abcdef }", "include /etc/shadow", "'0123456789abcdef'", " 0123456789abcdef ", "$(reboot) `reboot` 0123456789"},
		"@/etc/shadow-0123456789", `with \backslash 0123456789`, `with "quotes" 0123456789`, "日本語 0123456789abcdef", "two\nlines 0123456789abc", "short")
}

func (p *picker) name() string {
	p.names++
	return p.one([]string{fmt.Sprintf("s%d", p.names), fmt.Sprintf("%d", p.names), fmt.Sprintf("conn-%d", p.names), "conn", "any", "setup", "0", "x-", "a_b", "tokyo", "config", "include",
		"a23456789012345678901234567890123456789012345678901234567890123"},
		"l2tp", "L2TP", "vps", "hub", "-x", "%default", "a.b", "TOKYO", "a234567890123456789012345678901234567890123456789012345678901234")
}

// inventory returns an inventory as the bytes have it, good or bad.
func (p *picker) inventory() []byte {
	hub := map[string]any{"address": p.address("203.0.113.10", "198.51.100.9")}
	p.maybe(hub, "name", func() any { return p.name() })
	p.maybe(hub, "local_address", func() any { return p.address("192.0.2.7") })
	p.maybe(hub, "subnets", func() any { return p.list() })
	p.maybe(hub, "allow_private", func() any { return true })
	all := map[string]any{"hub": hub}
	p.maybe(all, "id", func() any { return p.name() })
	p.maybe(all, "tunnel", func() any {
		t := map[string]any{}
		p.maybe(t, "relay", func() any { return true })
		p.maybe(t, "backend", func() any { return p.one([]string{"auto", "ipsec.conf"}, "swanctl") })
		p.maybe(t, "allow_weak", func() any { return true })
		p.maybe(t, "dpd_delay", func() any { return p.one([]string{"10s", "1s", "1h"}, "90m", "1500ms") })
		p.maybe(t, "mss", func() any { return 536 + 4*p.n(240) })
		p.maybe(t, "ike", func() any {
			return p.some(3, func() string {
				return p.one([]string{"aes256-sha256-modp2048", "aes256gcm16-prfsha384-ecp384"}, "3des-md5-modp1024", "aes256-sha256", "aes256-sha256-modp2048!", "default")
			})
		})
		p.maybe(t, "esp", func() any {
			return p.some(3, func() string {
				return p.one([]string{"aes256-sha256", "aes256gcm16-ecp384"}, "null-sha1", "aes256-sha256-modp2048-esn", "aes256,aes128", "sha256")
			})
		})
		return t
	})
	sites := map[string]any{}
	for range p.n(5) {
		s := map[string]any{"subnets": p.list(), "psk": fmt.Sprintf("%d%s", len(sites), p.secret())}
		p.maybe(s, "address", func() any { return p.address(fmt.Sprintf("192.168.1.%d", p.names%256)) })
		p.maybe(s, "ssh", func() any { return map[string]any{"port": 1 + p.n(256)} })
		sites[p.name()] = s
	}
	all["sites"] = sites
	p.maybe(all, "l2tp", func() any {
		l := map[string]any{"psk": "clients " + p.secret(), "local_ip": p.address("192.168.200.1", "192.168.200.1", "192.168.201.254", "192.168.200.33"),
			"pool": p.one([]string{"192.168.200.2-192.168.200.32", "192.168.200.2-192.168.200.30", "192.168.200.64-192.168.203.200", "192.168.200.9-192.168.200.9"},
				"203.0.113.5-203.0.113.20", "10.1.0.2-10.1.0.9", "126.0.0.1-128.0.0.1", "1.0.0.0-9.255.255.255", "0.0.0.0-255.255.255.255", "223.255.255.255-224.0.0.1")}
		p.maybe(l, "reach", func() any { return p.list() })
		p.maybe(l, "dns", func() any { return p.some(2, func() string { return p.address("9.9.9.9", "192.168.200.1") }) })
		p.maybe(l, "mtu", func() any { return 576 + 4*p.n(230) })
		users := map[string]any{}
		for range p.n(4) {
			u := map[string]any{"password": p.secret()}
			p.maybe(u, "address", func() any {
				return p.one([]string{"192.168.200.10", "192.168.200.2", "192.168.200.9"}, "192.168.200.32", "10.64.1.1")
			})
			users[p.one([]string{"alice", "bob@example.com", "a.b", "c+d"}, "-x", "*", `"q"`, "with space")] = u
		}
		l["users"] = users
		return l
	})
	p.maybe(all, "firewall", func() any {
		return map[string]any{"backend": p.one([]string{"iptables", "iptables", "none"}, "nftables"), "masquerade": p.n(2) == 1}
	})
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(all); err != nil {
		return nil // text is a key that TOML has none for
	}
	return b.Bytes()
}

// What validate calls good can be put down for every host: whoever has a good inventory
// does not learn on a host's turn that it is none. picks are the choices of which an
// inventory is made; without them it is text.
func FuzzValidateRenders(f *testing.F) {
	files, err := filepath.Glob("../testdata/inventories/*.toml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no inventories: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), []byte(nil))
	}
	const head = "[hub]\naddress = '203.0.113.10'\n"
	const clients = "[l2tp]\npsk = '@not-a-secret-0123'\npool = '192.168.200.2-192.168.200.32'\n"
	for _, text := range []string{
		head + clients + "local_ip = '203.0.113.10'\n",
		head + "subnets = ['10.10.0.0/24']\n" + clients + "local_ip = '203.0.113.11'\n[sites.a]\nsubnets = ['10.20.0.0/24']\npsk = 'not-a-secret-0123'\n",
		head + clients + "local_ip = '192.168.200.1'\n[l2tp.users.alice]\npassword = '@Summer2026!'\n",
		head + "[sites.l2tp]\nsubnets = ['10.20.0.0/24']\npsk = 'not-a-secret-0123'\n",
		head + "subnets = ['10.10.0.0/24']\n[sites.a]\nsubnets = ['203.0.113.0/24', '64.0.0.0/2']\naddress = '203.0.113.10'\npsk = 'not-a-secret-0123'\n",
	} {
		f.Add(text, []byte(nil))
	}
	for i := range 64 { // each choice once alone, and all of them
		f.Add("x", slices.Concat(make([]byte, i), []byte{1}))
		f.Add("@x", bytes.Repeat([]byte{byte(i)}, 400))
	}
	f.Fuzz(func(t *testing.T, text string, picks []byte) {
		data := []byte(text)
		if len(picks) > 0 {
			data = (&picker{bytes: picks, text: text}).inventory()
		}
		inv, _ := inventory.Parse("x.toml", data)
		if inv == nil || slices.ContainsFunc(inv.Sites, func(s inventory.Site) bool { return s.PSK.IsZero() }) || inv.L2TP != nil && inv.L2TP.PSK.IsZero() {
			return // refused, or its secrets are elsewhere
		}
		ends := map[string][2][]string{}
		for _, at := range inv.Hosts() {
			h, err := Of(inv, at.Name)
			if err != nil {
				t.Fatalf("%v\n%s", err, data)
			}
			if _, err := h.Render(); err != nil {
				t.Fatalf("render %s: %v\n%s", at.Name, err, data)
			}
			facts := bare(h)
			ts, err := h.Tasks(facts, nil)
			if err != nil {
				t.Fatalf("tasks of %s: %v\n%s", at.Name, err, data)
			}
			seen := map[string]bool{}
			for _, task := range ts {
				if seen[task.ID()] {
					t.Fatalf("%s has two tasks %s\n%s", at.Name, task.ID(), data)
				}
				seen[task.ID()] = true
			}
			h.Preflight(facts)
			for _, tunnel := range h.Tunnels() {
				if len(tunnel.Local) > inventory.MaxSelectors || len(tunnel.Remote) > inventory.MaxSelectors {
					t.Fatalf("%s: tunnel %s has %d and %d subnets\n%s", at.Name, tunnel.Conn, len(tunnel.Local), len(tunnel.Remote), data)
				}
				end := [2][]string{tunnel.Local, tunnel.Remote}
				if at.Role == inventory.RoleHub {
					end[0], end[1] = end[1], end[0]
				}
				if other, ok := ends[tunnel.Conn]; ok && (!slices.Equal(other[0], end[0]) || !slices.Equal(other[1], end[1])) {
					t.Fatalf("tunnel %s has two ends that differ: %q and %q\n%s", tunnel.Conn, other, end, data)
				}
				ends[tunnel.Conn] = end
			}
		}
	})
}
