package sshconn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every host has the options that ssh itself tells of it, also where ssh was asked once for
// many; and it is asked once for many wherever a configuration allows that.
func TestOptionsAlike(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh on this machine")
	}
	hosts := []string{"tokyo", "osaka", "nagoya", "192.168.1.10", "192.168.2.10", "a.example.com", "Upper", "::1", "010.1.1.1"}
	// of these ssh is always asked: what it makes of the name is its own affair
	const odd = 3
	for _, tt := range []struct {
		name, config string
		asks         int
	}{
		{"none", "", 1 + odd},
		{"as Debian has it", "Host *\n    SendEnv LANG LC_*\n    HashKnownHosts yes\n", 1 + odd},
		{"one has a line", "Host tokyo\n    Port 2222\nHost *\n    User me\n", 1 + 1 + odd},
		{"a pattern", "Host 192.168.*.10 *.example.com\n    ProxyJump gate\n", 1 + 3 + odd},
		{"all but one", "Host * !osaka\n    IdentityFile ~/.ssh/%h\n", 1 + 1 + odd},
		{"another letter case and sign", "HOST=Tokyo\n    port=2222\n", 1 + 1 + odd},
		{"quoted", "Host \"tokyo\" osaka\n    Port 2222\n", 1 + 2 + odd},
		{"an included file", "Include more\nHost *\n    User me\n", 1 + 1 + odd},
		{"Match", "Match host tokyo\n    Port 2222\n", len(hosts)},
		{"the name is in an answer", "Host *\n    HostName %h.example.com\n", 1 + len(hosts)},
		{"the name is in a hash", "Host *\n    UserKnownHostsFile /tmp/%C\n", len(hosts)},
		{"a name of any letters", "Host ?*\n    User me\n", len(hosts)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			more := writeFile(t, filepath.Join(dir, "more"), "Host nagoya\n    Port 2200\n")
			config := writeFile(t, filepath.Join(dir, "config"), strings.ReplaceAll(tt.config, "Include more", "Include "+more))
			asked := filepath.Join(dir, "asked")
			bin := filepath.Join(dir, "bin")
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			counting := writeFile(t, filepath.Join(bin, "ssh"), fmt.Sprintf("#!/bin/sh\necho >>%s\nexec %s \"$@\"\n", asked, ssh))
			if err := os.Chmod(counting, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			d := &Dialer{SSHConfig: config}
			for _, h := range hosts {
				d.Targets = append(d.Targets, Target{Name: h})
			}
			d.init()
			got := map[string][]option{}
			for i, h := range hosts {
				if got[h], err = d.options(&d.Targets[i]); err != nil {
					t.Fatal(err)
				}
			}
			b, err := os.ReadFile(asked)
			if err != nil || len(b) != tt.asks {
				t.Errorf("ssh was asked %d times, want %d; %v", len(b), tt.asks, err)
			}
			for i, h := range hosts {
				want, err := d.askSSH(ssh, &d.Targets[i], h)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, got[h], cmp.AllowUnexported(option{})); diff != "" {
					t.Errorf("%s:\n%s", h, diff)
				}
			}
		})
	}
}

// A user and a port of the inventory are part of the question.
func TestOptionsAlikeByUser(t *testing.T) {
	if _, err := exec.LookPath("ssh"); err != nil {
		t.Skip("no ssh on this machine")
	}
	d := &Dialer{SSHConfig: "none"}
	d.init()
	for _, tt := range []Target{{Name: "a", User: "me", Port: 1}, {Name: "b", User: "you", Port: 1}, {Name: "c", User: "me", Port: 2}} {
		opts, err := d.options(&tt)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(last(opts, "hostname"), last(opts, "user"), last(opts, "port")); got != fmt.Sprint(tt.Name, tt.User, tt.Port) {
			t.Errorf("%v: %s", tt, got)
		}
	}
}
