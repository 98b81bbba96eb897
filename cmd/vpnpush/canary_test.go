package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// canary is in every secret of this test, and in nothing else. It has no
// character that any syntax escapes, so that no escaping hides it.
const canary = "KANARIvogel"

const canaryInventory = `
[ssh]
become_password = { env = "CANARY_SUDO" }

[hub]
name = "vps"
address = "203.0.113.10"
ssh.host = "vps"

[sites.literal]
subnets = ["192.168.1.0/24"]
psk = "` + canary + `-literal-1"
[sites.env]
subnets = ["192.168.2.0/24"]
psk = { env = "CANARY_PSK" }
[sites.file]
subnets = ["192.168.3.0/24"]
psk = { file = "file.psk" }
[sites.command]
subnets = ["192.168.4.0/24"]
psk = { command = ["sh", "-c", "echo ` + canary + `-command-1"] }
[sites.sealed]
subnets = ["192.168.5.0/24"]
psk = "SEALED"

[l2tp]
psk = "` + canary + `-l2tp-is-long"
local_ip = "192.168.200.1"
pool = "192.168.200.2-192.168.200.32"
[l2tp.users.alice]
password = "` + canary + `'s pass #1"
[l2tp.users.bob]
password = """` + canary + `+b/ob="""
`

// onHost are the files of a host that has secrets of its own, which no
// inventory and so no redactor has seen: those of a hand-made setup, of another
// tool, and ours of last year.
var onHost = map[string]string{
	"/etc/ipsec.secrets": "# old: 203.0.113.10 : PSK \"" + canary + "-commented\"\n" +
		"# " + canary + " was my dog's name\n" +
		": PSK \"" + canary + "-everyone\"\n" +
		"@fax %any : PSK 0s" + canary + "\n" +
		"carol : EAP \"" + canary + "-eap\"\n" +
		"  : XAUTH '" + canary + "-xauth'\n" +
		": RSA key.pem \"" + canary + "-passphrase\"\n" +
		"not a line of this syntax " + canary + "\n",
	"/etc/ipsec.d/vpnpush/literal.secrets": "# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.\n@literal : PSK \"" + canary + "-of-last-year\"\n",
	"/etc/ipsec.d/vpnpush/env.secrets":     "@env : PSK \"" + canary + "-foreign\"\n",
	"/etc/ipsec.d/vpnpush/l2tp.secrets":    "203.0.113.10 : PSK " + canary + "-unquoted\n",
	"/etc/ppp/chap-secrets": "#dave * " + canary + "-dave *\n" +
		"erin\t*\t\"" + canary + " with blanks\"\t*\n" +
		"frank * " + canary + "\\\nline2 *\n" +
		"# BEGIN vpnpush\nalice * \"" + canary + "-alice-of-last-year\" *\n# END vpnpush\n",
	"/etc/ppp/options.xl2tpd": "name vpn\npassword " + canary + "-ppp\nuser somebody\n",
	"/etc/xl2tpd/xl2tpd.conf": "[lns default]\nppp debug = yes\n",
	"/etc/swanctl/conf.d/vpnpush-literal.secrets.conf": "# vpnpush owner=vps. Written by vpnpush: change the inventory, not this file.\n" +
		"secrets {\n    ike-vpnpush-literal {\n        id = @literal\n        secret = \"" + canary + "-of-last-year\"\n    }\n}\n",
	"/etc/swanctl/conf.d/vpnpush-env.secrets.conf": "secrets { ike-env { secret = " + canary + "-foreign } }\n",
	"/etc/swanctl/conf.d/old.conf": "# " + canary + " was my dog's name\nsecrets {\n    ike-everyone {\n        secret = " + canary + "-everyone\n    }\n" +
		"    eap-carol {\n        id = carol\n        secret = \"" + canary + "\\\"-eap\n on two lines\"\n    }\n    private-key {\n        file = key.pem\n        secret = " + canary + "-passphrase\n    }\n" +
		"    ike-b64 {\n        secret = 0s" + canary + "\n    }\n#    ike-off { secret = " + canary + "-commented }\n",
}

// No secret may be seen: neither the inventory's nor one that only the host
// knows, in whatever is printed or written, however a run comes out; and none
// may be in the arguments of a program on the host, where its users see them.
func TestNoSecretIsShown(t *testing.T) {
	for _, b := range []backend{byStarter, bySwanctl} {
		t.Run(b.name, func(t *testing.T) { noSecretIsShown(t, b) })
	}
}

func noSecretIsShown(t *testing.T, b backend) {
	dir := t.TempDir()
	n := newNet(t, dir)
	t.Setenv("VPNPUSH_SSH_CONFIG", n.config)
	t.Setenv("CANARY_PSK", canary+"-from-env-1")
	t.Setenv("CANARY_SUDO", canary+"-sudo")
	t.Setenv("HOME", dir)
	inv := filepath.Join(dir, "vpnpush.toml")
	identity, to, err := secret.GenerateIdentity()
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := secret.Seal(secret.New(canary+"-sealed-1"), []secret.Recipient{to})
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, inv, strings.Replace(canaryInventory, "SEALED", sealed, 1))
	writeFile(t, filepath.Join(dir, "file.psk"), canary+"-in-a-file\n")

	var argv argvLog
	text, err := os.ReadFile(inv)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, inv, string(text)+"\n[tunnel]\nbackend = \""+b.name+"\"\n")
	start := func(name string, options ...string) *transporttest.Root {
		t.Helper()
		if err := n.start(name, options...); err != nil {
			t.Fatal(err)
		}
		n.servers[name].OnExec(argv.exec)
		r := n.roots[name]
		// What runs in the root beyond the shell's builtins says with what.
		for _, f := range []string{"systemctl", "dpkg-query", "apt-cache", "ipsec", "iptables-save", "swanctl"} {
			r.Write("/.local/sbin/"+f, strings.Replace(r.Read("/.local/sbin/"+f), "\n", "\necho \"$0 $*\" >>/tmp/argv\n", 1), 0o755)
		}
		return r
	}
	vps := start("vps")
	for path, content := range onHost {
		vps.Write(path, content, 0o600)
	}
	// a host whose programs fail and babble
	babble := start("literal")
	babble.Bin("ipsec", "#!/bin/sh\necho 'secret is "+canary+"-literal-1' >&2\nexit 1\n")
	babble.Bin("systemctl", "#!/bin/sh\necho 'cannot: "+canary+"-literal-1'; echo 'no: "+canary+"-l2tp-is-long' >&2\nexit 3\n")
	// a host whose sudo is told a password that is wrong
	start("env", "-user", "admin")
	n.roots["env"].Write("/.local/bin/sudo", "#!/bin/sh\necho \"sudo $*\" >>/tmp/argv\nIFS= read -r p\necho \"sudo: wrong password: $p\" >&2\nexit 1\n", 0o755)
	if err := n.down("file"); err != nil {
		t.Fatal(err)
	}
	if err := n.start("command", "-refused"); err != nil {
		t.Fatal(err)
	}
	start("sealed")

	plan := filepath.Join(dir, "plan.json")
	prom := filepath.Join(dir, "vpnpush.prom")
	for _, c := range []struct {
		args  string
		stdin string
	}{
		{"validate", ""},
		{"validate --json", ""},
		{"plan", ""},
		{"plan -v --color always", ""},
		{"plan --json", ""},
		{"plan --out " + plan, ""},
		{"plan --markdown", ""},
		{"show " + plan, ""},
		{"show --json " + plan, ""},
		{"show --markdown " + plan, ""},
		{"apply", "no\n"},
		{"apply -v", "no\n"},
		{"apply --adopt", "no\n"},
		{"apply --yes", ""},
		{"apply --yes --json --adopt -v", ""},
		{"apply " + plan, ""},
		{"drift", ""},
		{"drift --json", ""},
		{"drift --prom " + prom, ""},
		{"status", ""},
		{"status --json", ""},
		{"doctor", ""},
		{"doctor --json", ""},
		{"history vps", ""},
		{"history vps --json", ""},
		{"rollback vps --yes --json", ""},
		{"remove vps", "no\n"},
		{"remove vps --yes --json", ""},
		{"map -o - --live", ""},
		{"map -o " + filepath.Join(dir, "net.svg") + " --json", ""},
		{"plan --timeout 1ns --json", ""},
		{"render --out " + filepath.Join(dir, "rendered"), ""},
		{"render --json --out " + filepath.Join(dir, "rendered"), ""},
		{"bundle sealed -v --out " + filepath.Join(dir, "bundle.sh"), ""},
		{"bundle command --json --out " + filepath.Join(dir, "bundle2.sh"), ""},
		{"invite literal", ""},
		{"invite command --json", ""},
		{"secret show literal", ""},
		{"secret show sealed --json", ""},
		{"secret rotate env", ""},
		{"secret edit env", canary + "-typed-1\n"},
		{"secret edit literal", canary + "-typed"},
		{"secret edit literal", "\"" + canary + "-typed-1\""},
		{"secret edit literal", canary + "-typed-1\n"},
		{"secret encrypt --json", ""},
		{"secret encrypt --init", ""},
		{"secret encrypt --all -v", ""},
		{"secret encrypt", ""},
		{"init --encrypt --json -i " + filepath.Join(dir, "second.toml"), ""},
		{"validate", ""},
	} {
		var out, errs bytes.Buffer
		t.Setenv("VPNPUSH_IDENTITY", identity.Reveal())
		code := run(context.Background(), nil, append([]string{"-i", inv}, strings.Fields(c.args)...), strings.NewReader(c.stdin), &out, &errs)
		if code == exitPanic || c.args == "validate" && code != exitOK { // as where a secret is not opened
			t.Errorf("%s: %d, %s", c.args, code, errs.String())
		}
		if out.Len()+errs.Len() == 0 {
			t.Errorf("%s printed nothing", c.args)
		}
		noCanary(t, c.args+": stdout", out.Bytes())
		noCanary(t, c.args+": stderr", errs.Bytes())
		if key := strings.Split(identity.Reveal(), "\n")[1]; strings.Contains(out.String()+errs.String(), key[20:40]) {
			t.Errorf("%s shows the identity", c.args)
		}
		if os.Getenv("VPNPUSH_IDENTITY") != "" {
			t.Errorf("%s leaves the identity to the programs that it starts", c.args)
		}
	}
	for _, f := range []string{plan, prom, inv} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Errorf("%v: nothing was looked at", err)
		}
		if f == inv { // what is encrypted is gone from there, and a command is its owner's
			b = bytes.Replace(b, []byte("echo "+canary+"-command-1"), nil, 1)
		}
		noCanary(t, f, b)
	}

	if len(argv.execs) == 0 {
		t.Error("no program of a host was seen")
	}
	for _, e := range argv.execs {
		noCanary(t, "argument of an exec", []byte(e))
	}
	for _, name := range []string{"vps", "literal", "env", "sealed"} {
		noCanary(t, name+": arguments of programs", []byte(n.roots[name].Read("/tmp/argv")))
		// what a run leaves behind, for backups and reverts, is root's alone
		for _, d := range []string{"etc", "run", "tmp", "var"} {
			err := filepath.WalkDir(filepath.Join(n.roots[name].Dir, d), func(path string, d os.DirEntry, err error) error {
				if err != nil || !d.Type().IsRegular() {
					return err
				}
				b, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				fi, err := d.Info()
				if err == nil && (fi.Mode()&0o077 != 0 || strings.Contains(path, "/var/log/")) {
					noCanary(t, path, b)
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	}
}

// The test above would pass if its hosts' files were never shown, or if the
// inventory's faults hid everything.
func TestSecretsAreMaskedNotLeftOut(t *testing.T) {
	dir := t.TempDir()
	n := newNet(t, dir)
	t.Setenv("VPNPUSH_SSH_CONFIG", n.config)
	inv := filepath.Join(dir, "vpnpush.toml")
	const inventory = "[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\nssh.host = \"vps\"\n[sites.literal]\nsubnets = [\"192.168.1.0/24\"]\npsk = \"" + canary + "-literal-1\"\n"
	writeFile(t, inv, inventory)
	if err := n.start("vps"); err != nil {
		t.Fatal(err)
	}
	for path, content := range onHost {
		n.roots["vps"].Write(path, content, 0o600)
	}
	plan := func(wants ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		run(context.Background(), nil, []string{"-i", inv, "plan", "--limit", "vps"}, strings.NewReader(""), &out, &errs)
		for _, want := range wants {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the plan has no %q:\n%s%s", want, out.String(), errs.String())
			}
		}
	}
	plan("(secret, changed)", "line:/etc/ipsec.secrets", "file:/etc/ipsec.d/vpnpush/literal.secrets", "/etc/ipsec.secrets:3 has a key")
	writeFile(t, inv, inventory+"[tunnel]\nbackend = \"swanctl\"\n")
	plan("(secret, changed)", "file:/etc/swanctl/conf.d/vpnpush-literal.secrets.conf", "/etc/swanctl/conf.d/old.conf:3 has a key")
}

// noCanary fails on a secret in b, as it is or encoded. It does not print b.
func noCanary(t *testing.T, what string, b []byte) {
	t.Helper()
	forms := map[string]string{"as it is": canary, "in hex": hex.EncodeToString([]byte(canary))}
	for shift := range 3 {
		// base64 of a text that has the canary somewhere: what does not depend
		// on its neighbours
		e := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + canary))
		forms[fmt.Sprintf("in base64, %d", shift)] = e[4 : len(e)-4]
	}
	for how, form := range forms {
		if i := strings.Index(strings.ToLower(string(b)), strings.ToLower(form)); i >= 0 {
			line := string(b[strings.LastIndexByte(string(b[:i]), '\n')+1 : i])
			t.Errorf("%s: a secret is there %s, after %q", what, how, line)
		}
	}
}

// argvLog is what hosts were asked to run.
type argvLog struct {
	mu    sync.Mutex
	execs []string
}

func (l *argvLog) exec(_ int, command string) transporttest.Fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.execs = append(l.execs, command)
	return transporttest.Fault{}
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
