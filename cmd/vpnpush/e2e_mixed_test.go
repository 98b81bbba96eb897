package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A hub by the one backend and sites by the other, because the inventory says so of a
// host, or because it is what its release is made for, on Debian 12 and 13: the ends
// agree, and a key and networks change on both of them.
func TestE2EMixed(t *testing.T) {
	t.Parallel()
	type host struct {
		backend
		suite string
		says  bool // the inventory says it
		bare  bool // an apply installs it: two do, and it is the costliest part
	}
	for name, hosts := range map[string]map[string]host{
		"hub by swanctl": {
			"vps": {bySwanctl, "trixie", false, true}, "tokyo": {byStarter, "bookworm", false, true}, "osaka": {byStarter, "trixie", true, false},
		},
		"hub by ipsec.conf": {
			"vps": {byStarter, "bookworm", false, false}, "tokyo": {bySwanctl, "trixie", false, false}, "osaka": {bySwanctl, "bookworm", true, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var at []lab.Host
			for name, place := range map[string]string{"vps": "hub", "tokyo": "1", "osaka": "2"} {
				h := lab.Host{Name: name, Place: place, Suite: hosts[name].suite}
				if !hosts[name].bare {
					h.Layer = hosts[name].layer
				}
				at = append(at, h)
			}
			l := lab.Start(t, lab.Options{Hosts: at})
			inventory := func(tokyo, osaka string) {
				for name, text := range map[string]*string{"tokyo": &tokyo, "osaka": &osaka} {
					if h := hosts[name]; h.says {
						*text += fmt.Sprintf("backend = %q\n", h.name)
					}
				}
				write(t, l, labHub, tokyo, osaka)
			}
			inventory(labTokyo, labOsaka)
			vpnpush(t, l, 0, "apply", "--yes")
			for name, h := range hosts {
				if out := l.MustRun(name, "sh", "-c", "systemctl is-active "+h.unit+"; ls "+h.ours+"*.conf"); !strings.HasPrefix(out, "active\n") {
					t.Errorf("%s does not run strongSwan by %s:\n%s", name, h.name, out)
				}
			}
			pass := func(when string) {
				t.Helper()
				for from, to := range map[string]string{"tokyo": "10.10.0.1", "osaka": "10.10.0.1", "vps": "192.168.1.10"} {
					if l.Ping(from, to, 3) != 3 {
						t.Errorf("%s: %s does not reach %s", when, from, to)
					}
				}
				unchanged(t, l)
				silent(t, l)
			}
			pass("first")
			before := sas(t, l, "vps")

			// a new key, and who has it can dial anew; the other keeps its tunnel
			inventory(strings.Replace(labTokyo, "tokyo-canary", "second-canary", 1), labOsaka)
			vpnpush(t, l, 0, "apply", "--yes")
			if after := sas(t, l, "vps"); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("a new key took a tunnel down: %v, then %v", before, after)
			}
			l.MustRun("tokyo", "systemctl", "restart", hosts["tokyo"].unit)
			l.Wait(30*time.Second, "tokyo is back with its new key", func() bool { return l.Ping("tokyo", "10.10.0.1", 1) == 1 })

			// networks, on both ends of one tunnel
			l.MustRun("osaka", "ip", "addr", "add", "192.168.22.1/24", "dev", "lo")
			inventory(strings.Replace(labTokyo, "tokyo-canary", "second-canary", 1), strings.Replace(labOsaka, `.0/24"]`, `.0/24", "192.168.22.0/24"]`, 1))
			stop := l.StartPing("tokyo", "10.10.0.1", 50*time.Millisecond)
			vpnpush(t, l, 0, "apply", "--yes")
			if sent, lost := stop(); lost > 0 {
				t.Errorf("tokyo lost %d of %d packets while osaka changed", lost, sent)
			}
			for _, on := range []string{"vps", "osaka"} {
				if got := strings.Join(selectors(t, l, on, "osaka"), " "); got != "192.168.2.0/24 192.168.22.0/24" {
					t.Errorf("on %s osaka's tunnel carries %s", on, got)
				}
			}
			pass("changed")
		})
	}
}
