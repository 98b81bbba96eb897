package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// twoHosts is a fast lab of the hub, and of one site that is bare.
func twoHosts(t *testing.T, b backend) *lab.Lab {
	t.Helper()
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: b.layer}, {Name: "tokyo", Place: "1"}}})
	b.write(t, l, labHub, labTokyo)
	return l
}

// mustSay fails the test when a run did not print something.
func mustSay(t *testing.T, r lab.Result, what ...string) {
	t.Helper()
	for _, w := range what {
		if !strings.Contains(r.Stdout+r.Stderr, w) {
			t.Errorf("no %q in\n%s\n%s", w, r.Stdout, r.Stderr)
		}
	}
}

// A saved plan holds no secret, is read where there is nothing but its file, is applied
// without a question while nothing has moved, and otherwise changes no host at all.
func TestE2ESavedPlan(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := twoHosts(t, b)
	file := filepath.Join(t.TempDir(), "plan")
	comment := vpnpush(t, l, 0, "plan", "--out", file, "--markdown").Stdout
	if fi, err := os.Stat(file); err != nil || fi.Mode() != 0o600 {
		t.Errorf("plan file: %v, %v", fi, err)
	}
	if b, err := os.ReadFile(file); err != nil || strings.Contains(string(b), "canary") {
		t.Errorf("a secret is in the plan file, %v", err)
	}
	inventory := l.Inventory
	l.Inventory = ""
	shown := vpnpush(t, l, 0, "show", file)
	told := vpnpush(t, l, 0, "show", file, "--markdown").Stdout
	l.Inventory = inventory
	mustSay(t, shown, "vpnpush plan of lab, ", "\n  + create file:"+b.secrets("tokyo")+"\n", "(secret)")
	if i := strings.Index(told, "<details>"); i < 0 || !strings.HasSuffix(comment, told[i:]) {
		t.Errorf("a comment on the plan:\n%s\nand on its file:\n%s", comment, told)
	}

	untouched := func() {
		t.Helper()
		for _, h := range []string{"vps", "tokyo"} {
			if _, code := l.Run(h, "test", "-e", "/var/lib/vpnpush/manifest.json"); code == 0 {
				t.Errorf("%s was changed", h)
			}
		}
	}
	theirs := "/etc/ipsec.conf"
	if b.name == bySwanctl.name { // which shares no file with the admin
		theirs = "/etc/sysctl.d/60-vpnpush.conf"
	}
	l.Put("tokyo", theirs, "# the admin's\n")
	r := vpnpush(t, l, 7, "apply", file)
	mustSay(t, r, theirs+" is not what it was", "not tried: the plan is stale on tokyo")
	untouched()
	l.MustRun("tokyo", "rm", theirs)

	b.write(t, l, labHub, labTokyo, "\n# a remark\n")
	mustSay(t, vpnpush(t, l, 7, "apply", file), "the inventory file has changed")
	b.write(t, l, labHub, strings.Replace(labTokyo, "0123", "4567", 1))
	mustSay(t, vpnpush(t, l, 7, "apply", file), "a secret of the inventory has changed")
	b.write(t, l, labHub, labTokyo)
	mustSay(t, vpnpush(t, l, 1, "apply", file, "--limit", "vps"), "a saved plan names its own hosts")
	untouched()

	mustSay(t, vpnpush(t, l, 0, "apply", file), "Apply: 2 hosts, 2 changed.")
	mustSay(t, vpnpush(t, l, 0, "plan"), "No changes.")
	mustSay(t, vpnpush(t, l, 7, "apply", file), "it was applied to since (generation 1, planned on 0)")
	mustSay(t, vpnpush(t, l, 0, "show", file), "\n  + create file:"+b.secrets("tokyo")+"\n") // as it was
}

// A rollback puts back what an apply changed, and nothing that others changed
// since; what ran then runs again, old secrets stay hidden, and the rollback
// itself can be taken back.
func TestE2ERollback(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := twoHosts(t, b)
	vpnpush(t, l, 0, "apply", "--yes")
	state := func(host string) string {
		t.Helper()
		files := l.MustRun(host, "sh", "-c", "sha256sum "+b.ours+"* /etc/iptables/rules.v4 /etc/sysctl.d/60-vpnpush.conf; stat -c '%a %U %n' "+b.ours+"*")
		rules := l.MustRun(host, "iptables-save")
		return files + regexp.MustCompile(`(?m)^#.*\n|\[\d+:\d+\]`).ReplaceAllString(rules, "")
	}
	before := map[string]string{"vps": state("vps"), "tokyo": state("tokyo")}

	b.write(t, l, labHub, strings.Replace(labTokyo, "0123", "4567", 1), labOsaka, "\n[tunnel]\ndpd_delay = \"15s\"\n")
	vpnpush(t, l, 0, "apply", "--yes", "--limit", "vps,tokyo")
	l.MustRun("vps", "sh", "-c", "echo '# the admin' >>"+b.mine+"; iptables -A INPUT -p tcp --dport 8080 -j ACCEPT")
	after := state("vps")

	for _, h := range []string{"vps", "tokyo"} {
		r := vpnpush(t, l, 0, "rollback", h, "--yes")
		mustSay(t, r, "(secret, changed)", "Apply: 1 host, 1 changed", "until you change it")
		got := strings.ReplaceAll(state(h), "-A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT\n", "")
		if got != before[h] {
			t.Errorf("%s is not as before:\n%s\nbut\n%s", h, before[h], got)
		}
	}
	if conf := l.MustRun("vps", "cat", b.mine); !strings.Contains(conf, "# the admin\n") {
		t.Error("the admin's line went with the rollback")
	}
	if l.Ping("tokyo", "10.10.0.1", 3) == 0 {
		t.Error("with the old key on both ends, the tunnel carries nothing")
	}
	if conns := l.MustRun("vps", "sh", "-c", b.conns); strings.Contains(conns, "osaka") {
		t.Error("the hub still knows osaka")
	}
	r := vpnpush(t, l, 0, "history", "vps")
	mustSay(t, r, "rolled back", "back to before", "the last step of", "4 entries, 4 backups kept")
	for line := range strings.Lines(r.Stdout) {
		if len(line) > 81 {
			t.Errorf("wider than 80 columns: %s", line)
		}
	}

	// the way back of the way back
	vpnpush(t, l, 0, "rollback", "vps", "--yes")
	if got := state("vps"); got != after {
		t.Errorf("the rollback was not taken back:\n%s\nbut\n%s", after, got)
	}

	// to before the first apply of all
	first := regexp.MustCompile(`\d{8}T\d{6}-[0-9a-f]{8}`).FindAllString(vpnpush(t, l, 0, "history", "tokyo").Stdout, -1)
	r = vpnpush(t, l, 0, "rollback", "tokyo", first[len(first)-1], "--yes")
	mustSay(t, r, "packages stay installed", "stay as they are until the next boot")
	left := l.MustRun("tokyo", "sh", "-c", "ls -d "+b.ours+"*; ls -A /etc/iptables /etc/ipsec.d/vpnpush; grep -rl vpnpush /etc/ipsec.conf /etc/ipsec.secrets /etc/swanctl; iptables-save | grep VPNPUSH; systemctl is-active "+b.unit+"; :")
	if strings.TrimSpace(strings.ReplaceAll(strings.ReplaceAll(left, "/etc/ipsec.d/vpnpush:", ""), "/etc/iptables:", "")) != "inactive" {
		t.Errorf("left on tokyo:\n%s", left)
	}

	// and back once more: what was stopped runs; but the hub has the new key
	r = vpnpush(t, l, 4, "rollback", "tokyo", "--yes")
	mustSay(t, r, "all is in place, but the tunnel tokyo is not up")
	if got := state("tokyo"); got != before["tokyo"] {
		t.Errorf("tokyo is not as before:\n%s\nbut\n%s", before["tokyo"], got)
	}
	l.MustRun("tokyo", "sh", "-c", "systemctl is-active "+b.unit+" && systemctl is-enabled "+b.unit)
	mustSay(t, vpnpush(t, l, 1, "rollback", "tokyo", "20200101T000000-00000000"), "there is no confirmed apply")
}
