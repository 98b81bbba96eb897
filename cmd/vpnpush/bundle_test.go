package main

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

const bundled = `
[hub]
name = "vps"
address = "203.0.113.10"
[sites.tokyo]
address = "192.168.1.10"
subnets = ["192.168.1.0/24"]
psk = "KANARIvogel-tokyo"
ssh = { jump = "hub", become_password = "KANARIvogel-sudo" }
[sites.osaka]
subnets = ["192.168.2.0/24"]
psk = "KANARIvogel-osaka"
[l2tp]
psk = "KANARIvogel-l2tp"
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.32"
[l2tp.users.alice]
password = "KANARIvogel-alice"
`

// bundleOf returns the script for tokyo's box, made at a time, for a day.
func bundleOf(t *testing.T, made time.Time) string {
	t.Helper()
	inv, diags := inventory.Parse("vpnpush.toml", []byte(bundled))
	if inv == nil {
		t.Fatal(diags)
	}
	script, err := newBundle(inv, "tokyo", engine.BundleOptions{Made: made, Expires: made.Add(24 * time.Hour), Login: "root", KnownAs: "192.168.1.10"})
	if err != nil {
		t.Fatal(err)
	}
	return script.Reveal()
}

// A script that somebody carries to a box is clean in the eyes of shellcheck and of each
// shell, the applies in it too; it has the key of that box's tunnel, and no other secret.
func TestBundleScript(t *testing.T) {
	t.Parallel()
	script := bundleOf(t, time.Now())
	transporttest.CleanShell(t, script)
	applies := 0
	for _, part := range strings.Split(script, "<<'VPNPUSH_END_OF_SCRIPT'\n")[1:] {
		text, _, ok := strings.Cut(part, "\nVPNPUSH_END_OF_SCRIPT\n")
		if !ok {
			t.Fatal("a part does not end")
		}
		if strings.HasPrefix(text, "#!/bin/sh\n") {
			applies++
			transporttest.CleanShell(t, text+"\n")
		}
	}
	if applies != 2 { // by ipsec.conf and by swanctl
		t.Errorf("%d applies", applies)
	}
	if n := strings.Count(script, "KANARIvogel-tokyo"); n != 2 {
		t.Errorf("its own key is there %d times", n)
	}
	if n := strings.Count(script, "KANARIvogel"); n != 2 {
		t.Errorf("there are %d secrets in it", n)
	}
	// cut on the way it does nothing
	for _, n := range []int{len(script) - 2, len(script) - 12, len(script) / 2, 2000} {
		out, err := exec.Command("sh", "-c", script[:n]+"\n", "bundle", "--no-such").CombinedOutput()
		if strings.Contains(string(out), "usage") {
			t.Errorf("cut after %d of %d bytes it runs: %v, %s", n, len(script), err, out)
		}
	}
}

// in runs shell with the functions of a bundle, and others in the place of programs.
func inBundle(t *testing.T, argv []string, made time.Time, shell string) (string, error) {
	t.Helper()
	functions, ok := strings.CutSuffix(bundleOf(t, made), "\nmain \"$@\"\n")
	if !ok {
		t.Fatal("the script ends otherwise")
	}
	cmd := exec.Command(argv[0], append(argv[1:], "-s")...)
	cmd.Stdin = strings.NewReader(functions + "\n" + shell + "\n")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// By the clock of the box the script runs from when it was made, give or take, until its
// time is over.
func TestBundleIsTimely(t *testing.T) {
	made := time.Unix(1700000000, 0)
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct {
			now, want string
		}{
			{"1700000000", ""}, {"1699999000", ""}, {"1700086400", ""},
			{"1700086401", "this script ran out on 2023-11-15 22:13 UTC, and the clock of this box says 2023-11-15 22:13 UTC; nothing was changed"},
			{"86400", "the clock of this box says 1970-01-02 00:00 UTC, and this script was made 2023-11-14 22:13 UTC; nothing was changed"},
		} {
			out, err := inBundle(t, argv, made, "date() { case $1 in +%s) echo "+tt.now+" ;; *) command date \"$@\" ;; esac; }\ntimely")
			if (err == nil) != (tt.want == "") || !strings.Contains(out, tt.want) {
				t.Errorf("%s: at %s: %v, %q", name, tt.now, err, out)
			}
		}
	}
}

// strongSwan is run by what runs it already, or is to, or is installed, else by what the
// release of Debian is made for, as an apply from afar would have it.
func TestBundlePicks(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ release, systemctl, dpkg, want string }{
			{"11", "false", "false", "starter"}, {"12", "false", "false", "starter"}, {"13", "false", "false", "swanctl"}, {"", "false", "false", "swanctl"},
			{"13", `[ "$*" = '--quiet is-active strongswan-starter.service' ]`, "false", "starter"},
			{"12", `[ "$*" = '--quiet is-enabled strongswan.service' ]`, "false", "swanctl"},
			{"12", "false", `[ "$4" = charon-systemd ] && echo installed`, "swanctl"},
		} {
			out, err := inBundle(t, argv, time.Now(), "systemctl() { "+tt.systemctl+"; }\ndpkg-query() { "+tt.dpkg+"; }\nrelease="+tt.release+"\npick")
			if strings.Contains(out, "not a valid identifier") || strings.Contains(out, "bad function name") || strings.Contains(out, "yntax error") {
				// the name of a program is none of a function's in every shell
				continue
			}
			if err != nil || out != tt.want+"\n" {
				t.Errorf("%s: %+v: %v, %q", name, tt, err, out)
			}
		}
	}
}
