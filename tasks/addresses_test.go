package tasks

import (
	"net/netip"
	"strings"
	"testing"
)

// What a host prints of its networks is read without a panic, each network is one, and a
// host that has an address does not lack it, and uses it.
func FuzzNetworks(f *testing.F) {
	f.Add("2: eth0    inet 192.168.1.10/24 brd 192.168.1.255 scope global eth0\\       valid_lft forever\n", "default via 192.168.1.1 dev eth0 \n10.0.0.0/8 via 192.168.1.2\n")
	f.Add("3: ppp0    inet 10.0.0.1 peer 10.0.0.2/32 scope global ppp0\n", "unicast 10.1.0.0/16 dev x\n")
	f.Fuzz(func(t *testing.T, addresses, routes string) {
		n, err := NetworksFrom(answered(map[string]CommandState{"addresses": says(addresses), "routes": says(routes)}))
		if err != nil {
			return
		}
		for _, a := range n.Addresses {
			if !a.Net.IsValid() || a.Net != a.Net.Masked() {
				t.Errorf("network %v", a.Net)
			}
			if says, _ := n.Lacks(a.Addr, RoleSite); says != "" {
				t.Errorf("it has %s, but: %s", a.Addr, says)
			}
			if n.InUse([]netip.Prefix{netip.PrefixFrom(a.Addr, a.Addr.BitLen())}) == "" && !strings.HasPrefix(a.Dev, "ppp") {
				t.Errorf("%s of %s is not in use", a.Addr, a.Dev)
			}
		}
	})
}
