package roles

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// inStarter runs shell with the functions of starter's part, as an apply script does.
func inStarter(t *testing.T, argv []string, shell string) (string, error) {
	t.Helper()
	script := tasks.PartFiles.Text + tasks.PartUnits.Text + starter.Part.Text + "set -eu\n" + shell
	out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).CombinedOutput()
	return string(out), err
}

// A package that is none of strongSwan's brings no restart of charon: that
// would take down every tunnel of the hub that gets its L2TP layer.
func TestLoadRestartsOnlyFreshStrongSwan(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ installed, did string }{
			{"", "ipsec update"},
			{" ppp xl2tpd iptables-persistent", "ipsec update"},
			{" strongswan-starter strongswan-charon libstrongswan-standard-plugins xl2tpd", "systemctl restart strongswan-starter.service"},
			{" libstrongswan-standard-plugins", "systemctl restart strongswan-starter.service"},
		} {
			out, err := inStarter(t, argv, `sleep() { :; }
ipsec() { [ "$1" = status ] || echo "ipsec $*"; }
systemctl() { [ "$1" = --quiet ] || echo "systemctl $*"; }
installed='`+tt.installed+`'
starter_load strongswan-starter.service`)
			if err != nil {
				t.Fatalf("%s, %q: %v\n%s", name, tt.installed, err, out)
			}
			if !strings.Contains(out, tt.did+"\n") || strings.Contains(out, "restart") != strings.Contains(tt.did, "restart") {
				t.Errorf("%s: with%q installed it did\n%swant %s", name, tt.installed, out, tt.did)
			}
		}
	}
}
