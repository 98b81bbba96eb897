package transporttest

import (
	"os"
	"strings"
	"testing"
)

// A script must see its own /etc and uid 0, and must not reach the machine.
func TestRootIsApart(t *testing.T) {
	r := NewRoot(t)
	r.Write("/etc/os-release", "ID=debian\nVERSION_ID=12\n", 0o644)
	got := r.Run(`id -u; . /etc/os-release; echo "$ID $VERSION_ID"; echo new >/etc/made; chmod 600 /etc/made`)
	if want := "0\ndebian 12\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := r.Read("/etc/made"); got != "new\n" {
		t.Errorf("file made in the root reads %q", got)
	}
	if _, err := os.Stat("/etc/made"); err == nil {
		t.Error("the file is on the machine")
	}
	if got := r.Run(`touch /usr/bin/made 2>/dev/null && echo written; echo 1 2>/dev/null >/proc/sys/kernel/panic_on_oops && echo written; true`); got != "" {
		t.Errorf("the machine's files can be written: %q", got)
	}
}

// What a program leaves behind must be there for the next one: live sysctls,
// background processes.
func TestRootLasts(t *testing.T) {
	r := NewRoot(t)
	r.Run(`echo 1 >/proc/sys/net/ipv4/ip_forward; sleep 100 >/dev/null 2>&1 & echo $! >/run/pid`)
	if got := r.Run(`cat /proc/sys/net/ipv4/ip_forward; kill -0 "$(cat /run/pid)" && echo runs`); got != "1\nruns\n" {
		t.Errorf("got %q", got)
	}
}

// A fake that agreed to everything would let a wrong command pass.
func TestFakeRefusesTheUnknown(t *testing.T) {
	r := NewRoot(t)
	r.Fake("systemctl", Case{"is-active strongswan*", "echo active"}, Case{"daemon-reload", ":"})
	got := r.Run(`systemctl is-active strongswan-starter; systemctl daemon-reload; echo $?; systemctl reboot 2>&1; echo $?`)
	want := "active\n0\nfake systemctl: unknown arguments: reboot\n64\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Programs run by a login name need that name in the root.
func TestRootUser(t *testing.T) {
	r := NewRoot(t)
	if _, err := r.Command("ghost", "true"); err == nil || !strings.Contains(err.Error(), "no user ghost") {
		t.Errorf("err = %v", err)
	}
}
