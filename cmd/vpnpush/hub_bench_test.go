package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/roles"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// hubInventory is a hub vps and many sites, each with a network of its own.
func hubInventory(tb testing.TB, sites int) string {
	tb.Helper()
	var s strings.Builder
	s.WriteString("id = \"lab\"\n[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\nsubnets = [\"192.168.0.0/24\"]\nssh.host = \"vps\"\n[firewall]\nbackend = \"none\"\n")
	for i := range sites {
		lan := netip.AddrFrom4([4]byte{10, byte(i >> 10), byte(i >> 2), byte(i << 6)})
		fmt.Fprintf(&s, "[sites.%s]\nsubnets = [\"%s/26\"]\npsk = \"key-of-%s-0123456789abcdef\"\n", siteName(i), lan, siteName(i))
	}
	inv := filepath.Join(tb.TempDir(), "vpnpush.toml")
	writeFile(tb, inv, s.String())
	return inv
}

// appliedHub returns a hub as an apply of the inventory leaves it, whose strongSwan has all
// conns loaded and no tunnel up.
func appliedHub(tb testing.TB, path string) *transporttest.Root {
	tb.Helper()
	inv, diags := inventory.Load(context.Background(), path)
	if inv == nil {
		tb.Fatal(diags)
	}
	h, err := roles.Of(inv, inv.Hub.Name)
	if err != nil {
		tb.Fatal(err)
	}
	r := bareDebian(tb)
	facts := h.Bares()[0].Facts
	ts, err := h.Tasks(facts, nil)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := tasks.NextManifest(nil, inv.ID, inv.Hub.Name, "me", time.Now(), ts, facts).Encode()
	if err != nil {
		tb.Fatal(err)
	}
	r.Write(tasks.ManifestPath, string(m), 0o600)
	var conns, loaded strings.Builder
	for _, t := range ts {
		switch t := t.(type) {
		case tasks.File:
			r.Write(t.Path, string(t.Content), t.Mode)
			switch note := tasks.SHA256(t.Content) + "  " + t.Path + "\n"; {
			case strings.Contains(t.Path, "/ipsec.d/"):
				loaded.WriteString(note)
			case strings.Contains(t.Path, "/strongswan.d/"):
				r.Write(tasks.LoadedDir+"/charon-settings", note, 0o600)
			}
		case tasks.Line:
			r.Write(t.Path, t.Line+"\n", t.Mode)
		case tasks.Sysctl:
			r.Run("echo " + t.Value + " >" + tasks.SysctlPath(t.Key))
		case tasks.IPsec:
			for _, c := range t.Conns {
				fmt.Fprintf(&conns, "   %[1]s:  203.0.113.10...%%any  IKEv2, dpddelay=10s\n   %[1]s:   local:  [vps] uses pre-shared key authentication\n   %[1]s:   remote: [%[1]s] uses pre-shared key authentication\n   %[1]s:   child:  %s === %s TUNNEL, dpdaction=none\n",
					c.Name, strings.Join(c.Tunnel.Local, " "), strings.Join(c.Tunnel.Remote, " "))
			}
		}
	}
	r.Write(tasks.LoadedDir+"/strongswan-starter.service", loaded.String(), 0o600)
	r.Write("/listing", "Status of IKE charon daemon (strongSwan 5.9.8, Linux 6.1.0, x86_64):\n  uptime: 2 minutes, since Nov 28 16:02:03 2026\nListening IP addresses:\n  203.0.113.10\nConnections:\n"+
		conns.String()+"Security Associations (0 up, 0 connecting):\n  none\n", 0o644)
	r.Fake("ipsec", transporttest.Case{Args: "statusall", Do: "cat /listing"}, transporttest.Case{Args: "--version", Do: "echo Linux strongSwan U5.9.8/K6.1.0"})
	r.Fake("dpkg-query", transporttest.Case{Args: "-W -f *", Do: `shift 3; x=0; for p; do case $p in strongswan-starter|strongswan-charon|libstrongswan*) printf '%s\tinstalled\t5.9.8-5+deb12u6\n\n' "$p";; *) x=1;; esac; done; exit $x`})
	r.Fake("systemctl", transporttest.Case{Args: "show -p Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic -- *", Do: `shift 4; n=
for u; do
l=not-found a=inactive e= t=0; case $u in strongswan-starter.service) l=loaded a=active e=enabled t=1;; esac
printf '%sId=%s\nLoadState=%s\nActiveState=%s\nUnitFileState=%s\nActiveEnterTimestampMonotonic=%s\n' "$n" "$u" $l $a "$e" $t; n='
'; done`})
	return r
}

// BenchmarkHub is the processor time of a plan and of a drift of a hub with many sites, all
// of whose tunnels are down, as its user has it: a process from its start to its end. The
// exponent of growth is that between the last two sizes.
func BenchmarkHub(b *testing.B) {
	for _, verb := range []string{"plan", "drift"} {
		var was float64
		for _, sites := range []int{12, 100, 1000, 5000} {
			b.Run(fmt.Sprintf("%s/%d", verb, sites), func(b *testing.B) {
				inv := hubInventory(b, sites)
				r := appliedHub(b, inv)
				n := newNet(b, b.TempDir())
				s := transporttest.NewServer(b, transporttest.Options{Root: r, Identity: n.id})
				answers := &fleet{root: r}
				s.OnExec(func(_ int, command string) transporttest.Fault {
					return transporttest.Fault{Play: func(p transporttest.Player) {
						io.WriteString(p.Stdout, answers.answer(command))
						p.Exit(0)
					}}
				})
				if err := n.add("vps", s.Addr(), "root"); err != nil {
					b.Fatal(err)
				}
				cpu := math.Inf(1)
				for b.Loop() {
					cmd := vpnpushCmd(b, "-i", inv, verb, "--limit", "vps")
					cmd.Env = append(os.Environ(), "VPNPUSH_SSH_CONFIG="+n.config, "SSH_AUTH_SOCK=", "XDG_STATE_HOME="+b.TempDir())
					out, err := cmd.CombinedOutput()
					code := cmd.ProcessState.ExitCode()
					if verb == "plan" && (code != 0 || !strings.Contains(string(out), "No changes")) || verb == "drift" && code != exitChanges {
						b.Fatalf("%v\n%.3000s", err, out)
					}
					cpu = min(cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
				}
				b.ReportMetric(cpu*1000, "ms-cpu")
				if was > 0 && sites == 5000 {
					b.ReportMetric(math.Log(cpu/was)/math.Log(5), "exponent")
				}
				was = cpu
			})
		}
	}
}
