package lab

import (
	"strings"
	"testing"
	"time"
)

// The tests that use a lab trust it to be what it says: bare hosts, real NAT, and
// pings that are counted right.
func TestE2ELab(t *testing.T) {
	l := Start(t, Options{Hosts: []Host{
		{Name: "vps", Place: "hub"},
		{Name: "tokyo", Place: "1", Suite: "trixie"},
	}})
	for _, h := range []string{"vps", "tokyo"} {
		if out, code := l.Control("ssh", h, "hostname"); code != 0 || out != h+"\n" {
			t.Errorf("ssh %s: exit code %d, %q", h, code, out)
		}
		for _, p := range []string{"strongswan-starter", "charon-systemd", "xl2tpd", "ppp", "iptables-persistent"} {
			if out, code := l.Run(h, "dpkg-query", "-W", p); code == 0 {
				t.Errorf("%s is not bare: %s", h, out)
			}
		}
		if out, code := l.Run(h, "sh", "-c", "command -v python3 || command -v ipsec"); code == 0 {
			t.Errorf("%s is not bare: %s", h, out)
		}
	}
	if out := l.MustRun("tokyo", "cat", "/etc/os-release"); !strings.Contains(out, "trixie") {
		t.Errorf("tokyo is not a trixie:\n%s", out)
	}
	for user, script := range map[string]string{
		"admin":   "sudo -n true",
		"pwadmin": "! sudo -n true && echo lab | sudo -S true",
	} {
		if _, code := l.Control("ssh", user+"@tokyo", script); code != 0 {
			t.Errorf("%s@tokyo: %s: exit code %d", user, script, code)
		}
	}

	if got := l.Ping("tokyo", "203.0.113.10", 3); got != 3 {
		t.Errorf("tokyo reaches the hub through the NAT: %d of 3", got)
	}
	if got := l.Ping("vps", "192.168.1.10", 1); got != 0 {
		t.Error("vps reaches the site without a tunnel")
	}

	stop := l.StartPing("tokyo", "203.0.113.10", 50*time.Millisecond)
	time.Sleep(500 * time.Millisecond)
	l.MustRun("vps", "iptables", "-I", "INPUT", "-p", "icmp", "-j", "DROP")
	time.Sleep(500 * time.Millisecond)
	l.MustRun("vps", "iptables", "-D", "INPUT", "-p", "icmp", "-j", "DROP")
	time.Sleep(500 * time.Millisecond)
	if sent, lost := stop(); lost == 0 || lost >= sent {
		t.Errorf("ping over an outage: %d sent, %d lost", sent, lost)
	}

	l.Put("tokyo", "/etc/kept", "1\n")
	for name, reboot := range map[string]func(string){"reboot": l.Reboot, "power cycle": l.PowerCycle} {
		l.MustRun("tokyo", "touch", "/run/gone")
		under := make(chan int, 1)
		go func() { _, code := l.Run("tokyo", "sleep", "200"); under <- code }()
		time.Sleep(500 * time.Millisecond)
		reboot("tokyo")
		select {
		case code := <-under:
			if code == 0 {
				t.Errorf("%s: a command on the host outlives it", name)
			}
		case <-time.After(30 * time.Second):
			t.Errorf("%s: a command on the host hangs when the host is gone", name)
		}
		if _, code := l.Run("tokyo", "test", "-e", "/run/gone"); code != 1 {
			t.Errorf("%s: /run outlives it", name)
		}
		if out := l.MustRun("tokyo", "cat", "/etc/kept"); out != "1\n" {
			t.Errorf("%s: the disk does not outlive it: %q", name, out)
		}
	}

	l.Add(Host{Name: "osaka", Place: "2"})
	if got := l.Ping("osaka", "203.0.113.10", 1); got != 1 {
		t.Error("osaka, added, does not reach the hub")
	}
}

// Two labs have the same addresses and names, and nothing of each other.
func TestE2ELabsSideBySide(t *testing.T) {
	hub := Options{Hosts: []Host{{Name: "vps", Place: "hub", Init: "sshd"}}}
	a, b := Start(t, hub), Start(t, hub)
	a.Put("vps", "/etc/whose", "a")
	if out, code := b.Run("vps", "cat", "/etc/whose"); code == 0 {
		t.Errorf("the other lab's file is there: %q", out)
	}
	if out, _ := a.Control("ssh", "vps", "cat /etc/whose"); out != "a" {
		t.Errorf("own file over ssh: %q", out)
	}
}

// A lab that was kept is begun from again and again: what was on a disk is there, what was
// deleted is not, nothing of it is on the other's, and who is at the control gets in.
func TestE2EKept(t *testing.T) {
	hub := Options{Hosts: []Host{{Name: "vps", Place: "hub", Init: "sshd"}}}
	a := Start(t, hub)
	a.Put("vps", "/etc/kept", "1\n")
	a.MustRun("vps", "rm", "/etc/issue")
	hub.From = a.Keep()
	a.Put("vps", "/etc/later", "")
	for range 2 {
		b := Start(t, hub)
		if out, code := b.Control("ssh", "vps", "cat /etc/kept; ls /etc/issue /etc/later /etc/shared 2>/dev/null"); out != "1\n" || code == 0 {
			t.Errorf("exit code %d, %q", code, out)
		}
		b.Put("vps", "/etc/shared", "")
	}
}

// A machine has a kernel of its own, with what the namespaces lack.
func TestE2EVMLab(t *testing.T) {
	l := StartVM(t, Options{Hosts: []Host{{Name: "vps", Place: "hub"}, {Name: "tokyo", Place: "1"}}})
	ours, _ := l.Control("uname", "-r")
	if out := l.MustRun("vps", "uname", "-r"); out == ours {
		t.Errorf("vps runs this machine's kernel %s", out)
	}
	l.MustRun("vps", "modprobe", "-a", "esp4", "l2tp_ppp", "ppp_generic")
	if got := l.Ping("tokyo", "203.0.113.10", 3); got != 3 {
		t.Errorf("tokyo reaches the hub through the NAT: %d of 3", got)
	}
	l.PowerCycle("tokyo")
	if got := l.Ping("tokyo", "203.0.113.10", 1); got != 1 {
		t.Error("tokyo does not reach the hub after a power cycle")
	}
}
