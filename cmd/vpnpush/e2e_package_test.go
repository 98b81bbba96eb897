package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// The Debian package on hosts of two releases: it is clean for lintian, the timer's service
// tells drift from within its sandbox, of hosts over SSH and of the very machine, writes
// nothing but its state, and a purge leaves the inventory and what was applied, and
// nothing else.
func TestE2EPackage(t *testing.T) {
	if os.Getenv("LAB_DEB") == "" {
		t.Skip("nfpm is fetched and built for it: run make test-all")
	}
	t.Parallel()
	starterOnly(t, "a package is the same for either")
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}, {Name: "desk", Place: "e1", Suite: "trixie"}}})
	deb := makeDeb(t)
	write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes")
	key := read(t, filepath.Join(l.Dir, "id_ed25519"))
	known := read(t, filepath.Join(l.Dir, "known_hosts"))

	for host, hub := range map[string]string{"desk": `ssh.host = "203.0.113.10"`, "vps": `ssh.connection = "local"`} {
		before := packageState(l, host)
		l.Put(host, "/root/vpnpush.deb", deb)
		l.MustRun(host, "dpkg", "-i", "/root/vpnpush.deb")
		if out := l.MustRun(host, "vpnpush", "--version"); !strings.HasPrefix(out, "vpnpush ") {
			t.Errorf("%s: --version says %q", host, out)
		}
		if out, _ := l.Run(host, "systemctl", "is-enabled", "vpnpush-drift.timer"); out != "disabled\n" {
			t.Errorf("%s: the timer is %s", host, out)
		}
		// with no inventory the service does nothing, and does not fail
		l.MustRun(host, "systemctl", "start", "vpnpush-drift.service")

		l.MustRun(host, "install", "-d", "-m", "700", "/etc/vpnpush")
		l.Put(host, "/etc/vpnpush/key", key)
		l.Put(host, "/etc/vpnpush/known_hosts", known)
		l.Put(host, "/etc/vpnpush/vpnpush.toml", strings.Replace(labHub, "address =", hub+"\naddress =", 1)+labTokyo+
			"ssh = { host = \"192.168.1.10\", jump = \"hub\" }\n[ssh]\nuser = \"root\"\nidentity_file = \"/etc/vpnpush/key\"\nknown_hosts = \"/etc/vpnpush/known_hosts\"\n")
		l.MustRun(host, "chmod", "600", "/etc/vpnpush/vpnpush.toml", "/etc/vpnpush/key")
		if host == "vps" {
			l.MustRun(host, "mkdir", "/etc/systemd/system/vpnpush-drift.service.d")
			l.Put(host, "/etc/systemd/system/vpnpush-drift.service.d/local.conf", read(t, "packaging/examples/vpnpush-drift-local.conf"))
		}
		l.MustRun(host, "systemctl", "enable", "--now", "vpnpush-drift.timer")

		said := func() string {
			l.Run(host, "systemctl", "start", "vpnpush-drift.service")
			return l.MustRun(host, "sh", "-c", `journalctl --sync; journalctl -o cat _SYSTEMD_INVOCATION_ID="$(systemctl show -P InvocationID vpnpush-drift.service)"`)
		}
		if out := said(); out != "" {
			t.Errorf("%s: all is well, and the service says\n%s", host, out)
		}
		l.MustRun("tokyo", "chmod", "600", "/etc/ipsec.d/vpnpush/tokyo.conf")
		if out := said(); !strings.Contains(out, "tokyo (site): drifted\n  drifted  file:/etc/ipsec.d/vpnpush/tokyo.conf\n") || !strings.Contains(out, "As it should be: vps\n") {
			t.Errorf("%s: the service says\n%s", host, out)
		}
		l.MustRun("tokyo", "chmod", "644", "/etc/ipsec.d/vpnpush/tokyo.conf")
		if out := l.MustRun(host, "find", "/var/lib/vpnpush-drift", "-type", "f"); !strings.HasPrefix(out, "/var/lib/vpnpush-drift/vpnpush/") {
			t.Errorf("%s: the state is in %s", host, out)
		}

		// an upgrade keeps the timer as it is, a removal stops it
		l.MustRun(host, "dpkg", "-i", "/root/vpnpush.deb")
		if out := l.MustRun(host, "systemctl", "is-active", "vpnpush-drift.timer"); out != "active\n" {
			t.Errorf("%s: after an upgrade the timer is %s", host, out)
		}
		l.MustRun(host, "dpkg", "-r", "vpnpush")
		if out, _ := l.Run(host, "systemctl", "is-active", "vpnpush-drift.timer"); out != "inactive\n" {
			t.Errorf("%s: after a removal the timer is %s", host, out)
		}
		l.MustRun(host, "dpkg", "--purge", "vpnpush")
		l.MustRun(host, "rm", "-rf", "/root/vpnpush.deb", "/etc/systemd/system/vpnpush-drift.service.d")
		l.MustRun(host, "test", "-s", "/etc/vpnpush/vpnpush.toml")
		l.MustRun(host, "rm", "-r", "/etc/vpnpush")
		if after := packageState(l, host); after != before {
			t.Errorf("%s: a purge leaves\n%s\nbefore there was\n%s", host, after, before)
		}
	}
	vpnpush(t, l, 0, "plan", "--detailed-exitcode") // the hub is as it was applied
	l.Wait(30*time.Second, "drift has nothing to say", func() bool { return vpnpushCode(l, "drift") == 0 })
}

// makeDeb makes the package, which lintian must take, and returns it.
func makeDeb(t *testing.T) string {
	t.Helper()
	make := exec.Command("make", "deb")
	make.Dir = filepath.Join("..", "..")
	out, err := make.CombinedOutput()
	if err != nil && strings.Contains(string(out), "proxy.golang.org") {
		t.Skipf("NOT TESTED: nfpm cannot be fetched\n%s", out)
	}
	made := regexp.MustCompile(`created package: (\S+\.deb)`).FindSubmatch(out)
	if err != nil || made == nil {
		t.Fatalf("make deb: %v\n%s", err, out)
	}
	file := filepath.Join(make.Dir, string(made[1]))
	if _, err := exec.LookPath("lintian"); err != nil {
		t.Log("SKIPPED: there is no lintian here")
	} else if out, err := exec.Command("lintian", "--allow-root", "--fail-on", "error,warning", file).CombinedOutput(); err != nil {
		t.Errorf("lintian: %v\n%s", err, out)
	}
	return read(t, file)
}

// packageState is what a package may leave behind on a host.
func packageState(l *lab.Lab, host string) string {
	return l.MustRun(host, "sh", "-c", `find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/lib/dpkg \) -prune -o -iname '*vpnpush*' -print | sort; cat /var/lib/vpnpush/manifest.json 2>/dev/null; find /etc/systemd /var/lib/systemd -name '*drift*'`)
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
