package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A key and a password with what some language gives a meaning.
const roadWarriors = `
id = "lab"
[hub]
name = "vps"
address = "203.0.113.10"

[sites.tokyo]
subnets = ["192.168.1.0/24"]
psk = "tokyo-canary-0123456789abcdef"

[l2tp]
psk = "l2tp canary '$x` + "`" + ` <&> \\456"
pool = "192.168.200.2-192.168.200.30"
local_ip = "192.168.200.1"
dns = ["192.168.200.1"]
reach = ["192.168.1.0/24"]

[l2tp.users."alice@example.com"]
password = " al'ice $c <&> #;%=! "

[firewall]
masquerade = false
`

// What export writes is used as it is: NetworkManager of a laptop at home takes the file,
// dials in, and reaches an office through the VPN and the rest past it, or everything
// through it where the hub passes that on.
func TestE2EExport(t *testing.T) {
	if os.Getenv("LAB_EXPORT") == "" {
		t.Skip("NetworkManager gives a dial 25 s of the clock, whatever else the machine does: run make test-all")
	}
	t.Parallel()
	l := lab.StartVM(t, lab.Options{Hosts: []lab.Host{
		{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}, {Name: "laptop", Place: "3", Layer: "starter"},
	}})
	out, err := exec.Command(filepath.Join("..", "..", "testdata", "lab", "networkmanager.sh"), l.Dir, "laptop").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	write(t, l, roadWarriors)
	vpnpush(t, l, 0, "apply", "--yes")

	const name = "vpn-alice@example.com-linux.nmconnection"
	dial := func(folder string) (routes string) {
		t.Helper()
		folder = filepath.Join(l.Dir, folder)
		vpnpush(t, l, 0, "export", "alice@example.com", "--for", "linux", "--out", folder)
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		const use = `set -e
cd "$(mktemp -d)"
cat >"$1" <<'X'
` + "%s" + `X
install -m 600 "$1" /etc/NetworkManager/system-connections/
nmcli connection load "/etc/NetworkManager/system-connections/$1"
# who is not let in in time tries again
n=0; until nmcli -w 90 connection up 'VPN lab'; do n=$((n + 1)); [ $n -lt 5 ]; sleep 5; done`
		l.MustRun("laptop", "sh", "-c", strings.Replace(use, "%s", string(content), 1), "sh", name)
		return l.MustRun("laptop", "sh", "-c", "for a in 192.168.1.10 192.168.200.1 198.51.100.7 203.0.113.10; do ip route get $a | head -n 1; done; ip link show ppp0")
	}
	check := func(routes string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !regexp.MustCompile(`(?m)` + w).MatchString(routes) {
				t.Errorf("no route %s in\n%s", w, routes)
			}
		}
		if l.Ping("laptop", "192.168.1.10", 3) != 3 {
			t.Errorf("alice does not reach the office:\n%s", routes)
		}
	}
	check(dial("split"), `^192\.168\.1\.10 dev ppp0 `, `^192\.168\.200\.1 dev ppp0 `, `^198\.51\.100\.7 via 192\.168\.3\.1 dev eth0 `, `^203\.0\.113\.10 via 192\.168\.3\.1 dev eth0 `, `mtu 1280 `)
	if r := vpnpush(t, l, 0, "status"); !regexp.MustCompile(`(?m)^alice@example\.com +192\.168\.200\.\d+ `).MatchString(r.Stdout) {
		t.Errorf("status does not know of alice:\n%s", r.Stdout)
	}

	// the same connection, now for everything
	l.MustRun("laptop", "nmcli", "connection", "down", "VPN lab")
	l.MustRun("vps", "systemctl", "restart", "xl2tpd") // which keeps the old tunnel for a minute
	write(t, l, strings.Replace(roadWarriors, "masquerade = false", "masquerade = true", 1))
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	check(dial("full"), `^192\.168\.1\.10 dev ppp0 `, `^198\.51\.100\.7 dev ppp0 `, `^203\.0\.113\.10 via 192\.168\.3\.1 dev eth0 `)
	if got := strings.Count(l.MustRun("laptop", "nmcli", "-t", "-f", "NAME", "connection"), "VPN lab"); got != 1 {
		t.Errorf("the laptop has %d connections of that name", got)
	}
}
