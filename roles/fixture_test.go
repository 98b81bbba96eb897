package roles

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/tasks/host"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func nets(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// minimal is a hub and one site, everything else by default.
func minimal() *inventory.Inventory {
	return &inventory.Inventory{
		ID: "vps",
		Tunnel: inventory.Tunnel{
			Backend: inventory.BackendAuto, IKE: []string{"aes256-sha256-modp2048"}, ESP: []string{"aes256-sha256-modp2048", "aes256-sha256"},
			DPDDelay: 10 * time.Second, MSS: 1300,
		},
		Hub:      inventory.Hub{Name: "vps", Address: addr("203.0.113.10"), LocalAddress: addr("203.0.113.10"), Subnets: nets("203.0.113.10/32")},
		Sites:    []inventory.Site{{Name: "tokyo", Subnets: nets("192.168.1.0/24"), PSK: secret.New("not-a-secret-tokyo")}},
		Firewall: inventory.Firewall{Backend: "iptables"},
	}
}

// full has every layer: relay, a LAN behind the hub, L2TP, masquerading.
func full() *inventory.Inventory {
	inv := minimal()
	inv.Tunnel.Relay = true
	inv.Hub.Subnets = nets("203.0.113.10/32", "10.10.0.0/24")
	inv.Sites = []inventory.Site{
		{Name: "berlin", Subnets: nets("192.168.3.0/24", "10.30.0.0/16"), PSK: secret.New("not-a-secret-berlin")},
		{Name: "osaka", Subnets: nets("192.168.2.0/24"), PSK: secret.New("not-a-secret-osaka")},
		{Name: "tokyo", Address: addr("192.168.1.10"), Subnets: nets("192.168.1.0/24"), PSK: secret.New("not-a-secret-tokyo")},
	}
	inv.L2TP = &inventory.L2TP{
		PSK: secret.New("not-a-secret-l2tp"), PoolFrom: addr("192.168.200.2"), PoolTo: addr("192.168.200.32"),
		LocalIP: addr("192.168.200.1"), DNS: []netip.Addr{addr("192.168.200.1"), addr("9.9.9.9")}, MTU: 1280,
		Reach: nets("203.0.113.10/32", "192.168.1.0/24"),
		Users: []inventory.User{
			{Name: "alice", Password: secret.New("not-a-secret-alice"), Address: addr("192.168.200.10")},
			{Name: "bob", Password: secret.New(`not "a" \secret`)},
		},
	}
	inv.Firewall.Masquerade = true
	return inv
}

// nated is a hub whose provider maps the public address to another, with L2TP.
func nated() *inventory.Inventory {
	inv := full()
	inv.Tunnel.Relay = false
	inv.Hub.LocalAddress = addr("10.0.0.5")
	inv.Hub.Subnets = nets("10.0.0.5/32")
	inv.L2TP.Reach = nets("10.0.0.5/32")
	inv.Firewall.Masquerade = false
	return inv
}

// unfiltered leaves the packet filter to the user.
func unfiltered() *inventory.Inventory {
	inv := minimal()
	inv.Firewall.Backend = "none"
	return inv
}

// byIPsecConf is minimal, by the backend that a host is not asked for.
func byIPsecConf() *inventory.Inventory {
	inv := minimal()
	inv.Tunnel.Backend = inventory.BackendIPsecConf
	return inv
}

// bySwanctl is full, by the other backend.
func bySwanctl() *inventory.Inventory {
	inv := full()
	inv.Tunnel.Backend = inventory.BackendSwanctl
	return inv
}

var inventories = map[string]func() *inventory.Inventory{"minimal": minimal, "full": full, "nated": nated, "unfiltered": unfiltered, "swanctl": bySwanctl}

// of returns a host that the inventory has.
func of(t testing.TB, inv *inventory.Inventory, name string) Host {
	t.Helper()
	h, err := Of(inv, name)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func hosts(inv *inventory.Inventory) []string {
	out := []string{inv.Hub.Name}
	for _, s := range inv.Sites {
		out = append(out, s.Name)
	}
	return out
}

// probed is what a probe brought of a host, from which facts are made.
type probed struct {
	os, kernel string
	uid        int
	ppp        bool
	systemd    bool
	readOnly   []string
	free       map[string]int64
	packages   map[string]string // installed: version
	candidates map[string]string
	active     []string
	files      map[string]string
	commands   map[string]string // what each prints; others are not there
	errors     map[string]string // what each says that exits with 1
}

// shells are commands of the shell, which print nothing of what is not there.
var shells = map[string]bool{"ipsec-files": true, "other-ipsec": true}

// hasAll are the addresses of a host that is anywhere in the networks of the inventories.
const hasAll = "1: lo    inet 127.0.0.1/8 scope host lo\n2: eth0    inet 203.0.113.10/24 scope global eth0\n3: eth1    inet 10.0.0.5/8 scope global eth1\n4: eth2    inet 192.168.1.10/17 scope global eth2\n"

// bookworm is a fresh Debian 12.
func bookworm() probed {
	return probed{
		os: "ID=debian\nVERSION_ID=\"12\"\n", kernel: "6.1.0-30-amd64", ppp: true, systemd: true,
		free:       map[string]int64{"/": 4 << 20},
		candidates: map[string]string{"libstrongswan": "5.9.8-5+deb12u6"},
		commands:   map[string]string{"addresses": hasAll, "routes": ""},
	}
}

// facts answers the reads of a host of inv as a probe would, through the same
// parser. It never lists a file or package that was not asked for.
func (h probed) facts(t testing.TB, inv *inventory.Inventory, name string) tasks.Facts {
	t.Helper()
	var b, archive bytes.Buffer
	section := func(body string, head ...string) {
		fmt.Fprintf(&b, "\n\x01%s\n%s", strings.Join(head, "\t"), body)
	}
	b.WriteString("vpnpush-facts 1")
	section(h.kernel, "host", "kernel")
	section(fmt.Sprint(h.uid), "host", "uid")
	section("amd64", "host", "arch")
	section("1000.00 1.0", "host", "uptime")
	section("1700000000", "host", "now")
	if h.systemd {
		section("", "host", "systemd")
	}
	if h.ppp {
		section("", "host", "ppp")
	}
	for _, d := range h.readOnly {
		section("", "host", "readonly", d)
	}
	var df string
	for _, m := range slices.Sorted(maps.Keys(h.free)) {
		df += fmt.Sprintf("/dev/vda 9 9 %d 1%% %s\n", h.free[m], m)
	}
	section(df, "host", "df")

	files := map[string]string{"/etc/os-release": h.os}
	maps.Copy(files, h.files)
	var names, packages, policy, units, states string
	tw := tar.NewWriter(&archive)
	asked := map[string]bool{}
	reads := append(of(t, inv, name).Reads(), tasks.Read{Kind: tasks.ReadFile, Arg: "/etc/os-release"}, tasks.Read{Kind: tasks.ReadFile, Arg: tasks.ManifestPath})
	for _, r := range reads {
		if r.Kind == tasks.ReadGlob {
			for p := range h.files {
				if ok, _ := path.Match(r.Arg, p); ok {
					reads = append(reads, tasks.Read{Kind: tasks.ReadFile, Arg: p})
				}
			}
		}
	}
	for _, r := range reads {
		if asked[string(r.Kind)+r.Arg] {
			continue
		}
		asked[string(r.Kind)+r.Arg] = true
		switch r.Kind {
		case tasks.ReadFile:
			text, ok := files[r.Arg]
			if !ok {
				section("", "absent", r.Arg)
				continue
			}
			if err := tw.WriteHeader(&tar.Header{Name: r.Arg, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg, Uname: "root", Gname: "root"}); err != nil {
				t.Fatal(err)
			}
			if _, err := tw.Write([]byte(text)); err != nil {
				t.Fatal(err)
			}
		case tasks.ReadGlob:
			section("", "glob", r.Arg)
		case tasks.ReadPackage:
			names += r.Arg + "\n"
			if v, ok := h.packages[r.Arg]; ok {
				packages += r.Arg + "\tinstalled\t" + v + "\n\n"
			} else if v, ok := h.candidates[r.Arg]; ok {
				policy += r.Arg + ":\n  Installed: (none)\n  Candidate: " + v + "\n"
			}
		case tasks.ReadCommand:
			out, ok := h.commands[r.Arg]
			section(out, "command", r.Arg)
			status := map[bool]string{true: "0", false: "127"}[ok || shells[r.Arg]]
			if h.errors[r.Arg] != "" {
				status = "1"
			}
			section(h.errors[r.Arg], "status", r.Arg, status)
		case tasks.ReadUnit:
			state := "inactive"
			if slices.Contains(h.active, r.Arg) {
				state = "active"
			}
			units += r.Arg + "\n"
			states += "Id=" + r.Arg + "\nLoadState=loaded\nActiveState=" + state + "\n\n"
		}
	}
	section(names, "package-names")
	section(packages, "packages")
	section("", "packages-status", "1")
	section(policy, "command", "apt-policy")
	section("", "status", "apt-policy", "0")
	if h.systemd {
		section(states, "command", "units")
		section("", "status", "units", "0")
		section(units, "unit-names")
	}
	if err := tw.Flush(); err != nil {
		t.Fatal(err)
	}
	b.WriteString("\n\x01files\n")
	b.Write(archive.Bytes())
	b.WriteString("\n\x01end\t0\n")
	f, err := host.ParseFacts(b.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// bare returns the facts of a host that has nothing of what is read there.
func bare(h Host) tasks.Facts {
	k := nothing(h.Reads())
	for key := range k.Sysctls {
		k.Sysctls[key] = tasks.SysctlState{Exists: true, Value: "0"}
	}
	if _, asked := k.Commands["ip-addr"]; asked { // iproute2 is on every host
		k.Commands["ip-addr"] = tasks.CommandState{Stdout: []byte("[]")}
	}
	return tasks.NewFacts(k)
}
