package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// A box that nothing reaches is set up over a line that it opens to the hub, although the
// tunnel takes what is for the hub's address, the line with it: the plan says so, and the
// apply is confirmed through the tunnel.
func TestE2EReverseLine(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1", Layer: b.layer}}})
	line := `
address = "192.168.1.10"
ssh = { host = "127.0.0.1", port = 2201, jump = "hub", accept_new = true }
`
	hub := strings.Replace(labHub, "[\"10.10", "[\"203.0.113.10/32\", \"10.10", 1)
	b.write(t, l, hub, labTokyo+line)
	// the operator is not on the office's LAN
	if out, code := l.Control("ip", "route", "del", "192.168.1.0/24"); code != 0 {
		t.Fatalf("take away the route to the LAN: %s", out)
	}
	// else it holds the port of a line that broke, of which it does not hear
	l.MustRun("vps", "sh", "-ec", `printf 'ClientAliveInterval 2\nClientAliveCountMax 2\n' >/etc/ssh/sshd_config.d/line.conf; systemctl reload ssh`)
	// what invite says, by a key that may do nothing else on the hub
	invited := vpnpush(t, l, 0, "invite", "tokyo").Stdout
	keep := regexp.MustCompile(`(?m)^ +(systemd-run .*) ssh (-N -R 2201:.*)$`).FindStringSubmatch(invited)
	may := regexp.MustCompile(`(?m)^ +(restrict,.*)$`).FindStringSubmatch(invited)
	if keep == nil || may == nil {
		t.Fatalf("invite says\n%s", invited)
	}
	l.MustRun("tokyo", "sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /root/key")
	l.MustRun("vps", "sh", "-c", `printf '%s\n' "$0" >>/root/.ssh/authorized_keys`, may[1]+" "+l.MustRun("tokyo", "cat", "/root/key.pub"))
	l.MustRun("tokyo", "sh", "-c", keep[1]+" ssh -i /root/key -o StrictHostKeyChecking=no "+keep[2])
	l.Wait(10*time.Second, "the line is there", func() bool {
		_, code := l.Run("vps", "sh", "-c", "ss -Hltn 'sport = 2201' | grep -q .")
		return code == 0
	})

	mustSay(t, vpnpush(t, l, 0, "plan", "tokyo"), "warning: the way in is a line that this box opens to the hub, and 203.0.113.10 is in hub.subnets")
	mustSay(t, vpnpush(t, l, 0, "apply", "--yes"), "tokyo  site  changed", "1 of 1 tunnel up")

	l.Wait(40*time.Second, "the line is there again, through the tunnel", func() bool {
		_, code := l.Run("vps", "sh", "-c", "ss -Hltn 'sport = 2201' | grep -q . && ss -Htn state established 'sport = 22' | grep -q 192.168.1.10")
		return code == 0
	})

	// and from then on it is reached through the tunnel; 2201 is no port of ssh any more
	b.write(t, l, hub, labTokyo+strings.NewReplacer("127.0.0.1", "192.168.1.10", "port = 2201, ", "").Replace(line))
	out := vpnpush(t, l, 0, "plan", "tokyo")
	mustSay(t, out, "tokyo (site): 2 changes")
	if strings.Contains(out.Stdout, "warning:") {
		t.Errorf("the line is not the way in any more:\n%s", out.Stdout)
	}

	// A wrong key at the box: the tunnel comes up while the apply is looked at over the line,
	// and takes the line with it.
	b.write(t, l, hub, labTokyo+line)
	l.MustRun("tokyo", "sh", "-ec", "sed -i s/tokyo-canary/wrong-canary/ "+b.secrets("tokyo")+"; systemctl restart "+b.unit)
	l.Wait(60*time.Second, "the line is there, beside the tunnel", func() bool {
		_, code := l.Run("vps", "sh", "-c", "ssh-keyscan -T 2 -p 2201 127.0.0.1 2>/dev/null | grep -q . && ss -Htn state established 'sport = 22' | grep -q 203.0.113.51")
		return code == 0 && len(sas(t, l, "vps")["tokyo"]) == 0
	})
	mustSay(t, vpnpush(t, l, 0, "apply", "--yes"), "tokyo  site  changed", "1 of 1 tunnel up")
}
