package roles

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// A box that nobody has looked at gets what one of its release would get that was, and of
// its kernel nothing is taken for known: each parameter is set, and comes back as it was.
func TestBares(t *testing.T) {
	for _, tt := range []struct {
		backend inventory.Backend
		want    string
	}{
		{inventory.BackendAuto, "starter: 11 12; swanctl: 13"},
		{inventory.BackendIPsecConf, "starter: 11 12 13"},
		{inventory.BackendSwanctl, "swanctl: 11 12 13"},
	} {
		inv := full()
		inv.Tunnel.Backend = tt.backend
		h := of(t, inv, "tokyo")
		var got []string
		for _, b := range h.Bares() {
			got = append(got, b.Daemon.Name+": "+strings.Join(b.Releases, " "))
			ts, err := h.Tasks(b.Facts, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, task := range ts {
				c, err := task.Check(b.Facts)
				if err != nil || c != nil && c.Blocked != "" {
					t.Errorf("%s: %s: %v, %+v", b.Daemon.Name, task.ID(), err, c)
					continue
				}
				if s, ok := task.(tasks.Sysctl); ok && (c == nil || !slices.ContainsFunc(c.Undo, func(u tasks.Step) bool { return u.Shell == "live_back "+transport.Quote(tasks.SysctlPath(s.Key)) })) {
					t.Errorf("%s: %s: %+v", b.Daemon.Name, task.ID(), c)
				}
			}
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%q: %s, want %s", tt.backend, s, tt.want)
		}
	}
}

// What a host is supposed to be is looked for by clean shell, which says nothing of a host
// that has nothing, and names what is otherwise.
func TestSupposed(t *testing.T) {
	h := of(t, full(), "tokyo")
	fakes := map[string]string{ // of a host that has nothing
		"ip": "echo '2: eth0    inet 192.168.1.10/24 scope global eth0'", "systemctl": "exit 3", "dpkg-query": "exit 1",
		"df": "echo head; echo '/dev/x 1 1 900000 1% /'", "iptables-save": "printf '*filter\\n:INPUT ACCEPT [0:0]\\n:DOCKER - [0:0]\\n-A INPUT -j DROP\\nCOMMIT\\n'",
	}
	for _, b := range h.Bares() {
		for _, s := range b.Supposed {
			if s.Shell != listedBare(readFiles).Shell { // that is looked at by itself
				transporttest.CleanShell(t, "#!/bin/sh\n"+s.Shell+"\n")
			}
		}
		transporttest.CleanShell(t, "#!/bin/sh\n"+b.Watch)
	}
	for _, tt := range []struct{ program, does, want string }{
		{"ip", "echo '2: eth0    inet 10.0.0.7/24 scope global eth0'", "no interface has 192.168.1.10; this box has 10.0.0.7"},
		{"ip", "exit 1", "no interface has 192.168.1.10; this box has no address but loopback"},
		{"df", "echo head; echo '/dev/x 1 1 900 1% /'", "900 KiB are free for /var, packages take 51200 KiB"},
		{"iptables-save", "printf '*filter\\n:FORWARD DROP [0:0]\\nCOMMIT\\n'", "the policy of FORWARD in its packet filter (filter) is DROP"},
		{"iptables-save", "printf '*filter\\n:VPNPUSH-IN - [0:0]\\nCOMMIT\\n'", "its packet filter has the chain VPNPUSH-IN"},
		{"systemctl", "[ \"$2 $3\" = 'is-active ufw.service' ]", "ufw.service keeps the packet filter of the host"},
		{"systemctl", "[ \"$1\" = is-enabled ] && echo masked", "somebody has masked strongswan.service"},
		{"systemctl", "[ \"$3\" = strongswan-starter.service ]", "strongswan-starter.service runs strongSwan here, and strongswan.service is to"},
		{"dpkg-query", "echo 'libreswan installed 4.10-2'", "the package libreswan has its IPsec"},
		{"", "", ""},
	} {
		dir := t.TempDir()
		for name, does := range fakes {
			if name == tt.program {
				does = tt.does
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+does+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		script := "#!/bin/sh\nthere() { [ -e \"$1\" ]; }\nas_packaged() { return 0; }\n"
		for _, s := range h.Bares()[1].Supposed { // swanctl's
			script += s.Shell + "\n"
		}
		cmd := exec.Command("sh", "-c", script)
		cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), tt.want) || tt.want == "" && len(out) > 0 {
			t.Errorf("%s %s: %v: %q, want %q", tt.program, tt.does, err, out, tt.want)
		}
	}
}

// What a tunnel carries is told by who is on the box as it is by who reads charon's listing
// from afar.
func TestCarries(t *testing.T) {
	const dir = "../tasks/strongswan/testdata/"
	for _, tt := range []struct {
		pattern, program string
		b                backend
		parse            func([]byte) ([]strongswan.SA, error)
	}{
		{"*-site-*.txt", "ipsec", starter, strongswan.ParseStatusAll},
		{"*-swanctl-site-*.raw", "swanctl", swanctl, strongswan.ParseListSAs},
	} {
		files, err := filepath.Glob(dir + tt.pattern)
		if err != nil || len(files) < 8 {
			t.Fatalf("%s: %d files, %v", tt.pattern, len(files), err)
		}
		some := false
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sas, err := tt.parse(text)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string][]string{}
			for _, sa := range sas {
				for _, c := range sa.Children {
					if !c.Carries() {
						continue
					}
					name := sa.Conn
					if tt.program == "ipsec" {
						name = c.Name
					}
					for _, n := range c.LocalTS {
						want[name] = append(want[name], "local "+n)
					}
					for _, n := range c.RemoteTS {
						want[name] = append(want[name], "remote "+n)
					}
				}
			}
			want["nobody"] = nil
			for conn, nets := range want {
				if tt.program == "swanctl" && conn == "nobody" {
					continue // the listing is of the conn that is asked for
				}
				if slices.ContainsFunc(nets, func(n string) bool { return strings.ContainsAny(n, "[]|") }) {
					continue // with ports: of no site's tunnel
				}
				slices.Sort(nets)
				nets = slices.Compact(nets)
				some = some || len(nets) > 1
				for name, argv := range transporttest.Shells(t) {
					cmd := exec.Command(argv[0], append(argv[1:], "-euc", tt.b.carriesShell+"timeout() { shift; \"$@\"; }\n"+tt.program+"() { cat '"+file+"'; }\n"+tt.b.Name+"_carries "+conn)...)
					out, err := cmd.CombinedOutput()
					if got := strings.TrimSpace(string(out)); err != nil || got != strings.Join(nets, "\n") {
						t.Errorf("%s: %s: %s: %v: %q, want %q", name, filepath.Base(file), conn, err, got, nets)
					}
				}
			}
		}
		if !some {
			t.Errorf("%s: no tunnel carries anything", tt.pattern)
		}
	}
}
