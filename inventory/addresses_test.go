package inventory

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// An address that has two owners, and a subnet that cannot be routed, is refused with
// its line: the apply would go through, and a network would be lost.
func TestAddressesHaveOneOwner(t *testing.T) {
	const base = `[hub]
address = "203.0.113.10"
subnets = ["10.10.0.0/24"]
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "osaka-Ahquai3ohGhaeXo8"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
[l2tp]
psk = "l2tp-Quoo9eeChooy6aeT"
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.30"
`
	const (
		hub, hubNets, tokyoPSK = `address = "203.0.113.10"`, `subnets = ["10.10.0.0/24"]`, `psk = "tokyo-`
		osaka, tokyo           = `subnets = ["192.168.2.0/24"]`, `subnets = ["192.168.1.0/24"]`
		localIP, pool          = `local_ip = "192.168.200.1"`, `pool = "192.168.200.2-192.168.200.30"`
		reach                  = pool + "\nreach = "
		free                   = `take a network that is in use nowhere, such as local_ip = "192.168.200.1" and pool = "192.168.200.2-192.168.200.254"`
		alone                  = "; if it is the clients' alone, leave it out of hub.subnets: the sites that l2tp.reach names know of it"
		office                 = `write the network of the office, such as "192.168.1.0/24"`
		address                = `write an IPv4 address, such as "192.0.2.1"`
		box                    = "write the address of the site's own box, or leave it out for that of its default route"
	)
	type edit [2]string // a line, and what stands in its place
	for _, tt := range []struct {
		name  string
		edits []edit
		want  []string
	}{
		{"good", nil, nil},
		{"local_ip is the hub's address", []edit{{localIP, `local_ip = "203.0.113.10"`}}, []string{
			"12: l2tp.local_ip 203.0.113.10 is hub.address (line 2); " + free}},
		{"local_ip is the hub's address, which is its subnet too", []edit{{localIP, `local_ip = "203.0.113.10"`}, {hubNets, ""}}, []string{
			"12: l2tp.local_ip 203.0.113.10 is hub.address (line 2); " + free}},
		{"local_ip is the hub's address behind NAT", []edit{{localIP, `local_ip = "10.0.0.5"`}, {hub, hub + "\nlocal_address = '10.0.0.5'"}}, []string{
			"13: l2tp.local_ip 10.0.0.5 is hub.local_address (line 3); " + free}},
		{"a pool in the hub's LAN", []edit{{localIP, `local_ip = "10.10.0.1"`}, {pool, `pool = "10.10.0.100-10.10.0.120"`}}, []string{
			"12: l2tp.local_ip 10.10.0.1 overlaps hub.subnets 10.10.0.0/24 (line 3); " + free + alone,
			"13: l2tp.pool 10.10.0.100-10.10.0.120 overlaps hub.subnets 10.10.0.0/24 (line 3); " + free + alone}},
		{"the usual network is the hub's", []edit{{hubNets, `subnets = ["192.168.200.0/23"]`}}, []string{
			`12: l2tp.local_ip 192.168.200.1 overlaps hub.subnets 192.168.200.0/23 (line 3); ` + strings.ReplaceAll(free, "192.168.200.", "192.168.202.") + alone,
			`13: l2tp.pool 192.168.200.2-192.168.200.30 overlaps hub.subnets 192.168.200.0/23 (line 3); ` + strings.ReplaceAll(free, "192.168.200.", "192.168.202.") + alone}},
		{"a pool with the hub's address", []edit{{pool, `pool = "203.0.113.5-203.0.113.20"`}}, []string{
			"13: l2tp.pool 203.0.113.5-203.0.113.20 holds hub.address 203.0.113.10 (line 2); " + free}},
		{"the hub's address in a site", []edit{{tokyo, `subnets = ["203.0.113.0/24"]`}}, []string{
			"8: sites.tokyo.subnets 203.0.113.0/24 holds hub.address 203.0.113.10 (line 2); write the networks of the office alone: the site must reach the hub outside of them"}},
		{"the hub's address in a site, told once", []edit{{hubNets, ""}, {tokyo, `subnets = ["203.0.113.0/24"]`}}, []string{
			"8: sites.tokyo.subnets 203.0.113.0/24 overlaps hub.subnets 203.0.113.10/32 (line 1); give every site a network of its own"}},
		{"the hub's local address in a site", []edit{{hub, hub + "\nlocal_address = '192.168.2.7'"}}, []string{
			"6: sites.osaka.subnets 192.168.2.0/24 holds hub.local_address 192.168.2.7 (line 3); write the networks of the office alone: the site must reach the hub outside of them"}},
		{"a site's box is the hub", []edit{{tokyoPSK, "address = '203.0.113.10'\n" + tokyoPSK}}, []string{
			"9: sites.tokyo.address 203.0.113.10 is hub.address (line 2); " + box}},
		{"a site's box is another's", []edit{{osaka, osaka + "\naddress = '10.8.0.9'"}, {tokyoPSK, "address = '10.8.0.9'\n" + tokyoPSK}}, []string{
			"10: sites.tokyo.address 10.8.0.9 is sites.osaka.address (line 6); " + box}},
		{"a site's box is in another's network", []edit{{tokyoPSK, "address = '192.168.2.9'\n" + tokyoPSK}}, []string{
			"9: sites.tokyo.address 192.168.2.9 is in sites.osaka.subnets 192.168.2.0/24 (line 5); " + box}},
		{"a site's box is in its own", []edit{{tokyoPSK, "address = '192.168.1.9'\n" + tokyoPSK}}, nil},
		{"a site's box is the hub's end of L2TP", []edit{{tokyoPSK, "address = '192.168.200.1'\n" + tokyoPSK}}, []string{
			"9: sites.tokyo.address 192.168.200.1 is l2tp.local_ip (line 13); " + box}},
		{"a site's box is in the pool", []edit{{tokyoPSK, "address = '192.168.200.7'\n" + tokyoPSK}}, []string{
			"9: sites.tokyo.address 192.168.200.7 is in l2tp.pool (line 14); " + box}},

		{"a subnet that holds loopback", []edit{{tokyo, `subnets = ["64.0.0.0/2", "126.0.0.0/7"]`}}, []string{
			`8: sites.tokyo.subnets: "126.0.0.0/7" is no subnet of a site or hub: 127.0.0.0/8 is loopback; ` + office,
			`8: sites.tokyo.subnets: "64.0.0.0/2" is no subnet of a site or hub: 127.0.0.0/8 is loopback; ` + office}},
		{"subnets that nobody routes", []edit{{hubNets, `subnets = ["240.0.0.0/4", "255.255.255.255/32", "169.254.0.0/16", "0.1.0.0/16", "239.0.0.0/8", "0.0.0.0/0"]`}}, []string{
			`3: hub.subnets: "0.0.0.0/0" is no subnet of a site or hub: 0.0.0.0/8 is no network; ` + office,
			`3: hub.subnets: "0.1.0.0/16" is no subnet of a site or hub: 0.0.0.0/8 is no network; ` + office,
			`3: hub.subnets: "169.254.0.0/16" is no subnet of a site or hub: 169.254.0.0/16 is link-local; ` + office,
			`3: hub.subnets: "239.0.0.0/8" is no subnet of a site or hub: 224.0.0.0/4 is multicast; ` + office,
			`3: hub.subnets: "240.0.0.0/4" is no subnet of a site or hub: 240.0.0.0/4 is reserved; ` + office,
			`3: hub.subnets: "255.255.255.255/32" is no subnet of a site or hub: 240.0.0.0/4 is reserved; ` + office}},
		{"a pool through loopback", []edit{{pool, `pool = "126.0.0.1-128.0.0.1"`}}, []string{
			`13: l2tp.pool 126.0.0.1-128.0.0.1 holds addresses of 127.0.0.0/8, which is loopback; ` + free}},
		{"a pool of class E", []edit{{pool, `pool = "240.0.0.2-240.0.0.9"`}}, []string{
			`13: l2tp.pool: "240.0.0.2" is no address of a host in a network; write first-last, such as pool = "192.168.200.2-192.168.200.30"`,
			`13: l2tp.pool: "240.0.0.9" is no address of a host in a network; write first-last, such as pool = "192.168.200.2-192.168.200.30"`}},
		{"a pool of link-local addresses", []edit{{localIP, `local_ip = "169.254.7.1"`}, {pool, `pool = "169.254.7.2-169.254.7.9"`}}, []string{
			`12: l2tp.local_ip: "169.254.7.1" is no address of a host in a network; ` + address,
			`13: l2tp.pool 169.254.7.2-169.254.7.9 holds addresses of 169.254.0.0/16, which is link-local; ` + free}},
		{"a hub of class E", []edit{{hub, `address = "240.0.0.1"`}}, []string{`2: hub.address: "240.0.0.1" is no address of a host in a network; ` + address}},
		{"a hub of no network", []edit{{hub, `address = "0.1.2.3"`}}, []string{`2: hub.address: "0.1.2.3" is no address of a host in a network; ` + address}},
		{"reach of loopback", []edit{{pool, reach + `["127.0.0.0/8", "224.0.0.0/8"]`}}, []string{
			`14: l2tp.reach: "127.0.0.0/8" cannot be reached: 127.0.0.0/8 is loopback; ` + office,
			`14: l2tp.reach: "224.0.0.0/8" cannot be reached: 224.0.0.0/4 is multicast; ` + office}},
		{"reach that is wide, or a cloud's", []edit{{pool, reach + `["0.0.0.0/0", "64.0.0.0/2", "169.254.169.254/32"]`}}, nil},
	} {
		text := base
		for _, e := range tt.edits {
			if strings.Count(text, e[0]) != 1 {
				t.Fatalf("%s: no line %s", tt.name, e[0])
			}
			text = strings.Replace(text, e[0], e[1], 1)
		}
		_, diags := Parse("x", []byte(text))
		var got []string
		for _, d := range diags {
			got = append(got, strings.TrimPrefix(d.String(), "x:"))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
		}
	}
}

// IKEv2 carries 255 networks on a side of a tunnel: more are refused where they stand,
// and not when an apply is made of them.
func TestTooManySubnets(t *testing.T) {
	list := func(octet, n int) string {
		var out []string
		for i := range n {
			out = append(out, fmt.Sprintf(`"10.%d.%d.%d/32"`, octet, i/250, i%250))
		}
		return "[" + strings.Join(out, ", ") + "]"
	}
	// with the pool's prefixes, .64/26 and .1/32
	inv := func(hub, tokyo, osaka int, relay bool) string {
		return fmt.Sprintf(`[tunnel]
relay = %t
[hub]
address = "203.0.113.10"
subnets = %s
[sites.tokyo]
subnets = %s
psk = "tokyo-Ahquai3ohGhaeXo8"
[sites.osaka]
subnets = %s
psk = "osaka-Ahquai3ohGhaeXo8"
[l2tp]
psk = "l2tp-Quoo9eeChooy6aeT"
pool = "192.168.200.64-192.168.200.127"
local_ip = "192.168.200.1"
reach = ["10.2.0.0/16"]
`, relay, list(1, hub), list(2, tokyo), list(3, osaka))
	}
	const mend = "give the sites adjacent subnets, put one wider prefix into hub.subnets and turn tunnel.relay off"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"as many as there can be", inv(253, 255, 255, false), nil},
		{"a site's", inv(1, 256, 1, false), []string{"x:7: sites.tokyo.subnets has 256 subnets, and a tunnel carries 255 on each side; write fewer and wider ones"}},
		{"the hub's", inv(256, 1, 1, false), []string{"x:5: site osaka reaches 256 subnets through the hub, and a tunnel carries 255 on each side; " + mend}},
		{"the hub's, and the clients'", inv(254, 1, 1, false), []string{"x:5: site tokyo reaches 256 subnets through the hub, and a tunnel carries 255 on each side; " + mend}},
		{"with the other sites'", inv(3, 1, 251, true), []string{"x:2: site tokyo reaches 256 subnets through the hub, and a tunnel carries 255 on each side; " + mend}},
		{"with the other sites', as many as there can be", inv(3, 1, 250, true), nil},
	} {
		_, diags := Parse("x", []byte(tt.text))
		var got []string
		for _, d := range diags {
			got = append(got, d.String())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
