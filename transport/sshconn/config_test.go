package sshconn

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// resolve returns the settings of a target by ssh -G, or without an ssh.
func resolve(t *testing.T, config string, tt Target, withSSH bool) (*settings, error) {
	t.Helper()
	d := &Dialer{Targets: []Target{tt}, SSHConfig: writeFile(t, filepath.Join(t.TempDir(), "config"), config)}
	if withSSH {
		if _, err := exec.LookPath("ssh"); err != nil {
			t.Skip("no ssh on this machine")
		}
	} else {
		t.Setenv("PATH", t.TempDir())
	}
	d.init()
	return d.settings(t.Context(), hop{target: &d.Targets[0]})
}

// The inventory wins over ssh_config, ssh_config over the defaults; and what
// ssh -G leaves unexpanded is expanded. Without an ssh it is the same.
func TestSettings(t *testing.T) {
	const config = `
Host tokyo
	HostName 192.0.2.%h
	HostName 192.0.2.7
	User admin
	Port 2222
	IdentityFile ~/keys/%r@%n
	IdentityFile /abs/%h.%p%%
	CertificateFile ~/cert.pub
	UserKnownHostsFile ~/kh1 /kh2
	GlobalKnownHostsFile /global
	ConnectTimeout 3
	StrictHostKeyChecking accept-new
	AddressFamily inet6
	IdentityAgent ~/agent.sock
	IdentitiesOnly yes
Host *
	User nobody
`
	home := t.TempDir()
	for _, withSSH := range []bool{true, false} {
		name := map[bool]string{true: "ssh", false: "no ssh"}[withSSH]
		t.Run(name, func(t *testing.T) {
			t.Setenv("HOME", home)
			cfg := strings.Replace(config, "\tHostName 192.0.2.%h\n", "", 1)
			got, err := resolve(t, cfg, Target{Name: "tokyo"}, withSSH)
			if err != nil {
				t.Fatal(err)
			}
			want := &settings{
				name: "tokyo", host: "192.0.2.7", port: 2222, user: "admin", network: "tcp6",
				files: []string{home + "/keys/admin@tokyo", "/abs/192.0.2.7.2222%"}, explicit: true,
				certs: []string{home + "/cert.pub"}, only: true, agent: home + "/agent.sock",
				known: []string{home + "/kh1", "/kh2"}, global: []string{"/global"}, accept: true, timeout: 3 * time.Second,
			}
			if withSSH {
				// ssh expands these itself, with the home of the password file.
				got.known[0], want.known[0] = filepath.Base(got.known[0]), "kh1"
				got.agent, want.agent = filepath.Base(got.agent), "agent.sock"
			}
			if d := cmp.Diff(want, got, cmp.AllowUnexported(settings{})); d != "" {
				t.Error(d)
			}

			got, err = resolve(t, cfg, Target{
				Name: "tokyo", User: "root", Port: 22, IdentityFile: "~/mine", KnownHosts: "~/known", ConnectTimeout: time.Second,
			}, withSSH)
			if err != nil {
				t.Fatal(err)
			}
			if got.user != "root" || got.port != 22 || got.files[0] != home+"/mine" || len(got.files) != 3 || got.known[0] != home+"/known" || len(got.known) != 1 || got.timeout != time.Second {
				t.Errorf("the inventory does not win: %+v", got)
			}
		})
	}
}

func TestSettingsDefaults(t *testing.T) {
	for _, withSSH := range []bool{true, false} {
		t.Setenv("HOME", "/home/me")
		got, err := resolve(t, "", Target{Name: "tokyo", Host: "192.0.2.1", User: "root"}, withSSH)
		if err != nil {
			t.Fatal(err)
		}
		if got.explicit || got.port != 22 || got.timeout != 10*time.Second || got.accept || len(got.files) < 5 {
			t.Errorf("ssh %t: %+v", withSSH, got)
		}
		got, err = resolve(t, "", Target{Name: "tokyo", IdentityFile: "~/.ssh/id_rsa"}, withSSH)
		if err != nil {
			t.Fatal(err)
		}
		if !got.explicit || len(got.files) != 1 || got.files[0] != "/home/me/.ssh/id_rsa" {
			t.Errorf("ssh %t: a default that is asked for: %+v", withSSH, got)
		}
	}
}

// What vpnpush cannot do is said, with the mend.
func TestUnsupportedConfig(t *testing.T) {
	_, err := resolve(t, "Host tokyo\n ProxyCommand nc %h %p\n", Target{Name: "tokyo"}, true)
	if err == nil || !strings.Contains(err.Error(), "ProxyCommand") || !strings.Contains(hint(t, err), "ssh.jump of tokyo") {
		t.Errorf("err = %v", err)
	}
	if _, err := resolve(t, "Host tokyo\n ProxyCommand nc %h %p\n", Target{Name: "tokyo", Jump: "none"}, true); err != nil {
		t.Errorf("jump none: %v", err)
	}
	_, err = resolve(t, "Host tokyo\n NoSuchOption x\n", Target{Name: "tokyo"}, true)
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("err = %v, want ssh's own words", err)
	}
	// kevinburke/ssh_config would apply this to every user.
	_, err = resolve(t, "Match host tokyo user bob\n Port 99\n", Target{Name: "tokyo"}, false)
	if err == nil || !strings.Contains(err.Error(), "line 1: Match") || !strings.Contains(hint(t, err), "install ssh") {
		t.Errorf("err = %v", err)
	}
}

func FuzzOptions(f *testing.F) {
	out, err := os.ReadFile(filepath.Join("testdata", "ssh-G.txt"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(out))
	f.Add("hostname x\nport 0\n")
	f.Add("identityfile ~\nidentityagent $\nuserknownhostsfile none ~/%%%\nidentityagent ~")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := newSettings(&Target{Name: "tokyo", Host: "tokyo"}, parseOptions([]byte(s)))
		if err == nil && (got.port < 1 || got.port > 65535 || got.host == "" || got.timeout <= 0) {
			t.Errorf("%+v", got)
		}
	})
}

// A command in ssh_config that hangs does not hold the run for ever.
func TestConfigThatHangs(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh on this machine")
	}
	config := writeFile(t, filepath.Join(t.TempDir(), "config"), "Match exec \"sleep 30\"\n\tUser admin\n")
	d := dialer(t, Target{Name: "tokyo"})
	d.SSHConfig, d.configWait = config, 10*time.Millisecond
	err := fails(t, d, nil)
	if want := "read ssh_config: ssh -G: no answer within 10ms: a `Match exec` may hang"; !strings.Contains(err.Error(), want) {
		t.Errorf("err = %v, want %q in it", err, want)
	}
}

// What ssh tells is taken when ssh ends, also where a `Match exec` has begun something that
// holds on to its standard error, and however late a busy machine reads it.
func TestConfigHeldOpen(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh on this machine")
	}
	d := &Dialer{SSHConfig: writeFile(t, filepath.Join(t.TempDir(), "config"), "Match exec \"sleep 5 &\"\n\tUser admin\n"), configWait: time.Minute}
	opts, err := d.askSSH("ssh", &Target{Name: "tokyo"}, "tokyo")
	if err != nil || !slices.Contains(opts, option{"user", "admin"}) {
		t.Errorf("%v, %v", opts, err)
	}
}
