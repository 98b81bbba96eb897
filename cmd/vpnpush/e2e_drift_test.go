package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// driftJSON is what the tests read of `drift --json`.
type driftJSON struct {
	Hosts []struct {
		Name, Result, Error, Busy string
		Changes                   []struct{ Task, State, Diff string }
	}
}

// drift runs drift and gives all that it found, as "HOST STATE TASK", and hosts
// that it could not judge as "HOST RESULT".
func drift(t *testing.T, l *lab.Lab, code int, args ...string) []string {
	t.Helper()
	r := vpnpush(t, l, code, append([]string{"drift", "--json"}, args...)...)
	var doc driftJSON
	if err := json.Unmarshal([]byte(r.Stdout), &doc); err != nil {
		t.Fatalf("%v\n%s\n%s", err, r.Stdout, r.Stderr)
	}
	var got []string
	for _, h := range doc.Hosts {
		if h.Result != "ok" && h.Result != "drifted" && h.Result != "pending" {
			got = append(got, h.Name+" "+h.Result)
		}
		for _, c := range h.Changes {
			got = append(got, h.Name+" "+c.State+" "+c.Task)
		}
	}
	slices.Sort(got)
	return got
}

// silent runs drift on a network that is well: not a byte, and 0.
func silent(t *testing.T, l *lab.Lab) {
	t.Helper()
	if r := vpnpush(t, l, 0, "drift"); r.Stdout != "" || r.Stderr != "" {
		t.Errorf("all is well, and drift says\n%s\n%s", r.Stdout, r.Stderr)
	}
}

// Every kind of drift that the documentation claims is seen is made by hand, and
// seen, and nothing else is; put right by hand, nothing is left of it.
func TestE2EDrift(t *testing.T) { both(t, testDrift) }

func testDrift(t *testing.T, b backend) {
	l := applied(t, b, labHub, labTokyo, labOsaka)

	stamp := "touch /tmp/stamp; sleep 1.1"
	for _, h := range []string{"vps", "tokyo", "osaka"} {
		l.MustRun(h, "sh", "-c", stamp)
	}
	for range 5 {
		silent(t, l)
	}
	for _, h := range []string{"vps", "tokyo", "osaka"} {
		if out := l.MustRun(h, "sh", "-c", "run=/run/vpnpush; [ -e $run ] || run=; find /etc /var/lib/vpnpush $run -newer /tmp/stamp"); out != "" {
			t.Errorf("drift wrote on %s:\n%s", h, out)
		}
	}

	type hand struct{ host, do, undo, see string }
	keep := func(path, do string) (string, string) {
		return "cp -a " + path + " /root/kept; " + do, "mv /root/kept " + path
	}
	edit := func(host, path, sed, see string) hand {
		do, undo := keep(path, "sed -i '"+sed+"' "+path)
		return hand{host, do, undo, see}
	}
	remove := func(host, path, see string) hand {
		do, undo := keep(path, "rm "+path)
		return hand{host, do, undo, see}
	}
	shared := edit("osaka", "/etc/ipsec.conf", "/include.*vpnpush/d", "drifted line:/etc/ipsec.conf")
	if b.name == bySwanctl.name { // no line of ours, and ours are read by it
		shared = edit("osaka", "/etc/swanctl/swanctl.conf", "/^include conf/d", "drifted include:/etc/swanctl/swanctl.conf")
	}
	for name, round := range map[string][]hand{
		"files": {
			edit("vps", b.conf("tokyo"), "s/10s/300s/", "drifted file:"+b.conf("tokyo")),
			remove("tokyo", "/etc/sysctl.d/60-vpnpush.conf", "drifted file:/etc/sysctl.d/60-vpnpush.conf"),
			edit("osaka", b.secrets("osaka"), `s/".*"/"put here by somebody"/`, "drifted file:"+b.secrets("osaka")),
		},
		"modes, lines": {
			{"vps", "chmod 644 " + b.secrets("tokyo"), "chmod 600 " + b.secrets("tokyo"), "drifted file:" + b.secrets("tokyo")},
			{"tokyo", "chown daemon " + b.conf("tokyo"), "chown root " + b.conf("tokyo"), "drifted file:" + b.conf("tokyo")},
			shared,
		},
		"services": {
			{"vps", "systemctl disable -q netfilter-persistent", "systemctl enable -q netfilter-persistent", "drifted unit:netfilter-persistent.service"},
			{"tokyo", "systemctl disable -q " + b.unit, "systemctl enable -q " + b.unit, "drifted unit:" + b.unit + ".service"},
			{"osaka", "systemctl stop " + b.unit, "systemctl start " + b.unit, "drifted unit:" + b.unit + ".service"},
		},
		"packages, parameters": {
			{"vps", "sysctl -qw net.ipv4.conf.all.rp_filter=1", "sysctl -qw net.ipv4.conf.all.rp_filter=2", "drifted sysctl:net.ipv4.conf.all.rp_filter"},
			{"tokyo", "apt-get -qq -y remove iptables-persistent >/dev/null", "apt-get -qq -y install iptables-persistent >/dev/null", "drifted package:iptables-persistent"},
			edit("osaka", "/etc/iptables/rules.v4", "/--pol ipsec/d", "drifted file:/etc/iptables/rules.v4"),
		},
		"live chains": {
			{"vps", "iptables -I INPUT 1 -s 192.0.2.7 -j DROP", "iptables -D INPUT 1", "drifted firewall:live"},
			{"tokyo", "iptables -D FORWARD -j VPNPUSH-FWD", "iptables -I FORWARD 1 -j VPNPUSH-FWD", "drifted firewall:live"},
			{"osaka", "iptables-save -t filter >/root/kept; iptables -F VPNPUSH-IN", "iptables-restore /root/kept", "drifted firewall:live"},
		},
		"strongSwan": {
			{"vps", quiet(of(b.forget, "tokyo")), quiet(b.remember), "drifted ipsec:loaded"},
			// what would dial it at once holds still
			{"osaka", "pkill -STOP -f '[r]edial.sh'; " + quiet(of(b.down, "osaka")), "pkill -CONT -f '[r]edial.sh'; " + quiet(of(b.up, "osaka")), "down tunnel:osaka"},
		},
		"a revert that failed": {
			{"tokyo", "echo 7 >/var/lib/vpnpush/revert-failed", "rm /var/lib/vpnpush/revert-failed", "drifted file:/var/lib/vpnpush/revert-failed"},
		},
	} {
		var want []string
		for _, h := range round {
			l.MustRun(h.host, "sh", "-ec", h.do)
			want = append(want, h.host+" "+h.see)
		}
		slices.Sort(want)
		if d := cmp.Diff(want, drift(t, l, 2)); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
		text := vpnpush(t, l, 2, "drift", "-v")
		if strings.Contains(text.Stdout+text.Stderr, "put here by somebody") {
			t.Errorf("a secret of the host is shown:\n%s", text.Stdout)
		}
		for _, h := range round {
			l.MustRun(h.host, "sh", "-ec", h.undo)
		}
		l.Wait(30*time.Second, "all is put right after "+name, func() bool { return vpnpushCode(l, "drift") == 0 })
	}
}

func vpnpushCode(l *lab.Lab, args ...string) int { return l.Vpnpush(args...).Code }

// Who moved is told: the inventory, the host, or both. What is known is ignored
// to its day, the same drift is told once, and a host that cannot be judged is
// never taken for one that is well.
func TestE2EDriftReports(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	// not applied's: what is told of a file that was edited and put back is by what charon
	// was given, which a boot forgets
	l := lab.Start(t, lab.Options{Layer: b.layer})
	b.write(t, l, labHub, labTokyo, labOsaka)
	vpnpush(t, l, 0, "apply", "--yes")
	l.Wait(30*time.Second, "tunnels are up", func() bool { return vpnpushCode(l, "status") == 0 })
	silent(t, l)
	conf := b.conf("tokyo")

	slower := strings.Replace(labTokyo, "subnets", "# a remark\nsubnets", 1)
	b.write(t, l, labHub, slower, labOsaka)
	silent(t, l) // a remark is no change
	b.write(t, l, labHub, strings.Replace(labTokyo, "192.168.1.0/24", "192.168.1.0/25", 1), labOsaka)
	for _, f := range drift(t, l, 2) {
		if w := strings.Fields(f); w[1] != "pending" || w[0] == "osaka" {
			t.Errorf("tokyo's subnet is another in the inventory, and drift says %s", f)
		}
	}
	l.MustRun("tokyo", "sed", "-i", "s/10s/300s/", conf)
	if got := drift(t, l, 2); !slices.Contains(got, "tokyo drifted file:"+conf) || !slices.Contains(got, "vps pending file:"+conf) {
		t.Errorf("both moved: %q", got)
	}
	mustSay(t, vpnpush(t, l, 2, "drift"), "the inventory has moved on since the last apply", "vps (hub): pending", "vpnpush plan --limit vps,tokyo")
	b.write(t, l, labHub, labTokyo, labOsaka)

	// the same is told once
	vpnpush(t, l, 2, "drift")
	if r := vpnpush(t, l, 2, "drift", "--changed-only"); r.Stdout != "" {
		t.Errorf("told again:\n%s", r.Stdout)
	}
	l.MustRun("osaka", "sysctl", "-qw", "net.ipv4.ip_forward=0")
	mustSay(t, vpnpush(t, l, 2, "drift", "--changed-only"), "osaka (site): drifted", "value: inventory 1, host 0")

	rule := func(until string) string {
		return "\n[[drift.ignore]]\nhost = \"*\"\ntask = \"sysctl:*\"\nreason = \"ticket 4711\"\nuntil = " + until + "\n"
	}
	b.write(t, l, labHub, labTokyo, labOsaka, rule("2099-12-31"))
	if got, want := drift(t, l, 2), "tokyo drifted file:"+conf; !slices.Contains(got, want) || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "osaka drifted") }) {
		t.Errorf("osaka is to be ignored: %q", got)
	}
	vpnpush(t, l, 0, "drift", "--limit", "osaka")
	b.write(t, l, labHub, labTokyo, labOsaka, rule("2020-01-01"))
	mustSay(t, vpnpush(t, l, 2, "drift", "--limit", "osaka"), "was ignored until 2020-01-01: ticket 4711")
	b.write(t, l, labHub, labTokyo, labOsaka)

	// two at once, and metrics
	prom := filepath.Join(l.Dir, "vpnpush.prom")
	var wg sync.WaitGroup
	codes := make([]int, 2)
	for i := range codes {
		wg.Go(func() { codes[i] = l.Vpnpush("drift", "--prom", prom).Code })
	}
	wg.Wait()
	if codes[0] != 2 || codes[1] != 2 {
		t.Errorf("two at once: exit codes %v", codes)
	}
	metrics, err := os.ReadFile(prom)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`vpnpush_drift_host_findings{inventory="lab",host="tokyo",role="site",state="drifted"} 1`,
		`vpnpush_drift_host_checked{inventory="lab",host="osaka",role="site"} 1`,
		`vpnpush_tunnel_up{inventory="lab",host="vps",tunnel="osaka",peer="osaka"} 1`,
	} {
		if !strings.Contains(string(metrics), line+"\n") {
			t.Errorf("no %s in\n%s", line, metrics)
		}
	}

	// not checked, with when it last was; and drift elsewhere is told all the same
	l.MustRun("osaka", "systemctl", "stop", "ssh.socket", "ssh")
	r := vpnpush(t, l, 6, "drift")
	mustSay(t, r, "osaka (site): NOT CHECKED, last checked 20", "tokyo (site): drifted")
	l.MustRun("osaka", "systemctl", "start", "ssh")
	l.MustRun("osaka", "sysctl", "-qw", "net.ipv4.ip_forward=1")
	mustSay(t, vpnpush(t, l, 4, "drift", "--timeout", "1ns"), "the time for the whole run was up")

	// a run at work is told as such, and so is one that waits
	l.MustRun("tokyo", "systemd-run", "-q", "--unit=holder", "sh", "-c", "exec 9>/run/vpnpush/lock; flock 9; exec sleep 300")
	l.Wait(10*time.Second, "the lock is held", func() bool { return slices.Equal(drift(t, l, 4), []string{"tokyo locked"}) })
	mustSay(t, vpnpush(t, l, 4, "drift"), "tokyo (site): NOT CHECKED, a run is at work there")
	l.MustRun("tokyo", "systemctl", "stop", "holder")
	l.Put("tokyo", "/var/lib/vpnpush/pending", "20261123T040000-ab12\n")
	mustSay(t, vpnpush(t, l, 4, "drift"), "apply 20261123T040000-ab12 waits to be confirmed")
	l.MustRun("tokyo", "rm", "/var/lib/vpnpush/pending")

	l.MustRun("tokyo", "sed", "-i", "s/300s/10s/", conf)
	silent(t, l)
}

// Status says what is up, by its exit code too, and asks the sites where the hub
// does not answer.
func TestE2EStatus(t *testing.T) {
	t.Parallel()
	b := chosen(t)
	l := applied(t, b, labHub, labTokyo, labOsaka)
	l.Ping("tokyo", "10.10.0.1", 3)
	r := vpnpush(t, l, 0, "status")
	mustSay(t, r, "2 of 2 tunnels up", "203.0.113.51", "203.0.113.52", "192.168.1.0/24", "192.168.2.0/24")
	var doc struct {
		Tunnels []struct {
			Site, State, Peer string
			BytesToHub        int `json:"bytes_to_hub"`
			BytesToSite       int `json:"bytes_to_site"`
		}
	}
	if err := json.Unmarshal([]byte(vpnpush(t, l, 0, "status", "--json", "--limit", "tokyo").Stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Tunnels) != 1 || doc.Tunnels[0].State != "up" || doc.Tunnels[0].BytesToHub < 3*64 || doc.Tunnels[0].BytesToSite < 3*64 || doc.Tunnels[0].Peer == "" {
		t.Errorf("%+v", doc.Tunnels)
	}

	l.MustRun("osaka", "sh", "-c", of(b.down, "osaka"))
	mustSay(t, vpnpush(t, l, 2, "status"), "1 of 2 tunnels up", "DOWN   no IKE SA")
	vpnpush(t, l, 0, "status", "--limit", "tokyo")
	l.MustRun("osaka", "sh", "-c", of(b.up, "osaka"))
	l.MustRun("vps", "systemctl", "stop", "ssh.socket", "ssh")
	mustSay(t, vpnpush(t, l, 4, "status"), "2 of 2 tunnels up", "this is how the sites see it")
	l.MustRun("vps", "systemctl", "start", "ssh")
}
