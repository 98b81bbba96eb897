package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// A plan of a host that was not talked to before costs one connection and one
// exec, 9 round trips (docs/speed.md): TCP; banners and KEXINIT; key
// exchange; service; "none"; is this key good; the signature; open a channel;
// exec. They are counted by cause and effect, not by the clock: whatever the
// client says after the ninth never reaches the host.
func TestPlanRoundTrips(t *testing.T) {
	id := transporttest.NewIdentity(t)
	d := transporttest.NewSSHD(t, id)
	addr := net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
	p := transporttest.NewProxy(t, addr, 20*time.Millisecond)
	p.Withhold(9)
	proxied := net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	id.Trust(t, proxied, d.HostKey)

	dir := t.TempDir()
	inv, config := proxiedHub(t, dir, p, id, d.User)
	t.Setenv("VPNPUSH_SSH_CONFIG", config)
	t.Setenv("SSH_AUTH_SOCK", "")
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // what is withheld is waited for
	defer cancel()
	code := run(ctx, nil, []string{"plan", "-i", inv, "--limit", "vps"}, strings.NewReader(""), &out, &errs)
	// What the plan says depends on the machine; that it was read does not.
	if !strings.HasPrefix(out.String(), "vps (hub): ") || strings.Contains(out.String(), "unreachable") {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errs.String())
	}
	if n := p.RoundTrips(); n != 9 {
		t.Errorf("%d round trips were counted, SSH alone takes 9", n)
	}
}

// proxiedHub writes an inventory whose hub is behind p, and the ssh_config that
// leads there.
func proxiedHub(t testing.TB, dir string, p *transporttest.Proxy, id *transporttest.Identity, user string) (inv, config string) {
	t.Helper()
	inv, config = filepath.Join(dir, "vpnpush.toml"), filepath.Join(dir, "ssh_config")
	writeFile(t, inv, `[hub]
name = "vps"
address = "203.0.113.10"
ssh.host = "vps"
[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-Ahquai3ohGhaeXo8"
`)
	writeFile(t, config, fmt.Sprintf("Host vps\n\tHostName %s\n\tPort %d\n\tUser %s\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tUserKnownHostsFile %s\n\tGlobalKnownHostsFile /dev/null\n",
		p.Host, p.Port, user, id.IdentityFile, id.KnownHosts))
	return inv, config
}
