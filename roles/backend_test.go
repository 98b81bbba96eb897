package roles

import (
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// With "auto" a host keeps what it has: what an apply has made before, whatever runs by
// now, then what runs, then what is installed; a bare one gets what its release is made
// for. A host's own word is above all of that.
func TestBackendOfAHost(t *testing.T) {
	manifest := func(daemon string) string {
		return `{"format_version": 2, "owner": "x", "host": "vps", "tasks": [{"id": "ipsec:loaded", "kind": "ipsec", "digest": "d", "daemon": "` + daemon + `"}]}`
	}
	debian := func(v string) func(*probed) {
		return func(h *probed) { h.os = "ID=debian\nVERSION_ID=\"" + v + "\"\n" }
	}
	for name, tt := range map[string]struct {
		network, own inventory.Backend
		host         []func(*probed)
		want         string
	}{
		"nothing known":        {host: []func(*probed){func(h *probed) { h.os = "" }}, want: "starter"},
		"bare Debian 11":       {host: []func(*probed){debian("11")}, want: "starter"},
		"bare Debian 12":       {host: []func(*probed){debian("12")}, want: "starter"},
		"bare Debian 13":       {host: []func(*probed){debian("13")}, want: "swanctl"},
		"a Debian to come":     {host: []func(*probed){func(h *probed) { h.os = "ID=debian\nVERSION_CODENAME=forky\n" }}, want: "swanctl"},
		"starter runs":         {host: []func(*probed){debian("13"), func(h *probed) { h.active = []string{"strongswan-starter.service"} }}, want: "starter"},
		"charon-systemd runs":  {host: []func(*probed){debian("12"), func(h *probed) { h.active = []string{"strongswan.service"} }}, want: "swanctl"},
		"starter is installed": {host: []func(*probed){debian("13"), func(h *probed) { h.packages = map[string]string{"strongswan-charon": "1"} }}, want: "starter"},
		"applied by starter": {host: []func(*probed){debian("13"), func(h *probed) {
			h.active = []string{"strongswan.service"}
			h.files = map[string]string{"/var/lib/vpnpush/manifest.json": manifest("starter")}
		}}, want: "starter"},
		"applied by swanctl": {host: []func(*probed){debian("12"), func(h *probed) {
			h.files = map[string]string{"/var/lib/vpnpush/manifest.json": manifest("swanctl")}
		}}, want: "swanctl"},
		"the network's word": {network: inventory.BackendSwanctl, host: []func(*probed){debian("12")}, want: "swanctl"},
		"the host's word":    {network: inventory.BackendSwanctl, own: inventory.BackendIPsecConf, host: []func(*probed){debian("13")}, want: "starter"},
		"the host's auto":    {network: inventory.BackendIPsecConf, own: inventory.BackendAuto, host: []func(*probed){debian("13")}, want: "swanctl"},
	} {
		inv := minimal()
		inv.Tunnel.Backend, inv.Hub.Backend = tt.network, tt.own
		h := bookworm()
		for _, f := range tt.host {
			f(&h)
		}
		if got := of(t, inv, "vps").Daemon(h.facts(t, inv, "vps")).Name; got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// A swap is planned where the other daemon stands, with the packages that are to come,
// and nothing of it once it is done.
func TestSwapIsPlanned(t *testing.T) {
	inv := bySwanctl()
	for name, tt := range map[string]struct {
		host func(*probed)
		do   string // "" for no change
	}{
		"bare": {func(*probed) {}, ""},
		"starter runs": {func(h *probed) {
			h.active = []string{"strongswan-starter.service"}
			h.packages = map[string]string{"strongswan-charon": "1", "libstrongswan-standard-plugins": "1"}
		}, "swap_fetch strongswan-charon charon-systemd strongswan-swanctl\nswap_over strongswan-starter.service strongswan.service charon-systemd strongswan-swanctl"},
		// both are on the host, as Debian 12 allows: nothing is to be fetched
		"both run": {func(h *probed) {
			h.active = []string{"strongswan-starter.service", "strongswan.service"}
			h.packages = map[string]string{"strongswan-charon": "1", "libstrongswan-standard-plugins": "1", "charon-systemd": "1", "strongswan-swanctl": "1"}
		}, "swap_over strongswan-starter.service strongswan.service"},
		"starter is installed, and does not run": {func(h *probed) { h.packages = map[string]string{"strongswan-charon": "1"} }, "swap_fetch strongswan-charon charon-systemd strongswan-swanctl libstrongswan-standard-plugins"},
		"it is done": {func(h *probed) {
			h.active = []string{"strongswan.service"}
			h.packages = map[string]string{"strongswan-charon": "1", "charon-systemd": "1"}
		}, ""},
	} {
		h := bookworm()
		tt.host(&h)
		f := h.facts(t, inv, "vps")
		swap := swanctl.swaps()[0]
		c, err := swap.Check(f)
		if err != nil {
			t.Fatal(err)
		}
		if c == nil {
			if tt.do != "" {
				t.Errorf("%s: nothing is planned", name)
			}
			continue
		}
		var do []string
		for _, s := range c.Do {
			do = append(do, s.Shell)
		}
		if got := strings.Join(do, "\n"); tt.do == "" || !strings.HasPrefix(got, tt.do) {
			t.Errorf("%s: it does\n%s\nwant %s", name, got, tt.do)
		}
		// what the swap installs is shown with the packages, and done once
		for _, pkg := range of(t, inv, "vps").packages(swanctl)[:3] {
			p, err := pkg.Check(f)
			if err != nil {
				t.Fatal(err)
			}
			if p != nil && len(p.Do) > 0 {
				t.Errorf("%s: %s is installed twice", name, pkg.Name)
			}
		}
	}
}
