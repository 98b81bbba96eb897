package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A box that nothing reaches is set up by a script that somebody runs there: it is as an
// apply would have left it, and reached through its tunnel from then on. A script that is
// no good any more, or whose key is not the hub's, or that is killed, leaves the box as it
// was, and the next one does not mind.
func TestE2EBundle(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1"}}})
	tokyo := labTokyo + "address = \"192.168.1.10\"\n" + viaHub
	b.write(t, l, labHub, tokyo, labOsaka)
	// the operator is not on the office's LAN, and knows nothing of the box
	for _, argv := range [][]string{{"ip", "route", "del", "192.168.1.0/24"}, {"sed", "-i", "/^192.168.1.10 /d; /^tokyo/d", l.Dir + "/known_hosts"}} {
		if out, code := l.Control(argv...); code != 0 {
			t.Fatalf("%q: %s", argv, out)
		}
	}
	l.MustRun("tokyo", "rm", "/root/.ssh/authorized_keys")
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps")
	mustSay(t, vpnpush(t, l, 4, "plan", "tokyo"), "vpnpush bundle tokyo", "vpnpush invite tokyo")

	script := func(name string, changed ...string) string {
		t.Helper()
		file := filepath.Join(l.Dir, name)
		vpnpush(t, l, 0, "bundle", "tokyo", "--out", file, "--authorize", l.Dir+"/id_ed25519.pub")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		l.Put("tokyo", "/root/"+name, strings.NewReplacer(changed...).Replace(string(text)))
		return string(text)
	}
	run := func(name string, code int) string {
		t.Helper()
		start := time.Now()
		out, got := l.Run("tokyo", "sh", "-c", "sh /root/"+name+" 2>&1")
		t.Logf("%s: %s\n%s", name, time.Since(start).Round(100*time.Millisecond), out)
		if got != code {
			t.Fatalf("%s: exit code %d, want %d\n%s", name, got, code, out)
		}
		return out
	}
	const look = "find /etc /var/lib/vpnpush -newer /root/began -type f 2>/dev/null | sort; systemctl list-timers --all | grep vpnpush-; iptables-save | grep VPNPUSH; cat /proc/sys/net/ipv4/ip_forward; grep -rl canary /root/.ssh /tmp /var/tmp /run /etc /var/lib/vpnpush 2>/dev/null; ls /root/.ssh"
	began := func() { l.MustRun("tokyo", "sh", "-c", "touch -d '1 second ago' /root/began") }

	// no other's secret
	good := script("good.sh")
	if !strings.Contains(good, "tokyo-canary") || regexp.MustCompile(`osaka|l2tp`).MatchString(good) {
		t.Error("the script has not the secrets of its own site alone")
	}
	began()
	before := l.MustRun("tokyo", "sh", "-c", look)
	script("late.sh", "\nexpires=", "\nexpires=1 # ")
	if out := run("late.sh", 1); !strings.Contains(out, "this script ran out on 1970-01-01") {
		t.Errorf("late:\n%s", out)
	}
	l.MustRun("tokyo", "iptables", "-P", "FORWARD", "DROP")
	if out := run("good.sh", 1); !strings.Contains(out, "the policy of FORWARD in its packet filter (filter) is DROP") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("a box with a packet filter:\n%s", out)
	}
	l.MustRun("tokyo", "iptables", "-P", "FORWARD", "ACCEPT")
	if after := l.MustRun("tokyo", "sh", "-c", look); after != before {
		t.Errorf("what was refused has left something:\n%s\nand before\n%s", after, before)
	}

	// a key that is not the hub's
	script("wrong.sh", "tokyo-canary-", "wrong-canary-", "\npatience=60\n", "\npatience=5\n")
	if out := run("wrong.sh", 5); !strings.Contains(out, "the other end refuses this end's key or name (charon: received AUTHENTICATION_FAILED notify error); this box stands as before") {
		t.Errorf("another key:\n%s", out)
	}
	if out, _ := l.Run("tokyo", "sh", "-c", "ls 2>/dev/null "+b.conf("tokyo")+" /var/lib/vpnpush/manifest.json /root/.ssh/authorized_keys; grep -rl canary /etc /var/lib/vpnpush; iptables-save 2>/dev/null | grep VPNPUSH; systemctl list-timers --all | grep vpnpush-"); strings.TrimSpace(out) != "" {
		t.Errorf("what was put back has left\n%s", out)
	}
	if out := l.MustRun("tokyo", "cat", "/proc/sys/net/ipv4/ip_forward"); strings.TrimSpace(out) != "0" {
		t.Errorf("ip_forward is %s", out)
	}

	// who runs it is gone: the box puts everything back by itself
	script("killed.sh", "tokyo-canary-", "wrong-canary-", "\nconfirm_timeout=120\n", "\nconfirm_timeout=3\n")
	l.MustRun("tokyo", "systemd-run", "--quiet", "--unit=killed", "sh", "/root/killed.sh")
	l.Wait(time.Minute, "the script waits for the tunnel", func() bool {
		_, code := l.Run("tokyo", "sh", "-c", "journalctl -u killed | grep -q 'waiting for the tunnel'")
		return code == 0
	})
	l.MustRun("tokyo", "systemctl", "kill", "-s", "KILL", "killed")
	l.Wait(30*time.Second, "all is put back", func() bool {
		_, code := l.Run("tokyo", "sh", "-c", "[ ! -e /var/lib/vpnpush/pending ] && [ ! -e "+b.conf("tokyo")+" ]")
		return code == 0
	})

	// the good one, after all that
	out := run("good.sh", 0)
	if !strings.Contains(out, "its tunnel to vps is up: local 192.168.1.0/24, remote 10.10.0.0/24") {
		t.Errorf("the script does not tell of its tunnel:\n%s", out)
	}
	known := regexp.MustCompile(`(?m)^192\.168\.1\.10 ssh-.*$`).FindAllString(out, -1)
	f, err := os.OpenFile(l.Dir+"/known_hosts", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(strings.Join(known, "\n") + "\n"); err != nil || f.Close() != nil || len(known) == 0 {
		t.Fatalf("no keys for known_hosts: %v\n%s", err, out)
	}
	if r := vpnpush(t, l, 0, "plan", "tokyo", "vps", "--detailed-exitcode"); !strings.Contains("\n"+r.Stdout, "\nNo changes. ") {
		t.Errorf("the box is not as an apply leaves it:\n%s", r.Stdout)
	}
	mustSay(t, vpnpush(t, l, 0, "history", "tokyo"), "applied", "reverted")

	// once more is once too often, and harmless
	if out := run("good.sh", 0); !strings.Contains(out, "this box is set up already, by this script: nothing was changed") {
		t.Errorf("a second run:\n%s", out)
	}
	if keys := l.MustRun("tokyo", "cat", "/root/.ssh/authorized_keys"); strings.Count(keys, "\n") != 1 {
		t.Errorf("the key is let in more than once:\n%s", keys)
	}
	if out, _ := l.Run("tokyo", "sh", "-c", "grep -rl canary /tmp /var/tmp /run /var/lib/vpnpush"); out != "" {
		t.Errorf("a key is left in\n%s", out)
	}
}
