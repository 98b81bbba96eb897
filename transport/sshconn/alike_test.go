package sshconn

import (
	"fmt"
	"math/rand/v2"
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
		{"a pattern", "Host 192.168.*.10 *.example.com\n    ProxyJump gate\n", 1 + 1 + odd},
		{"all but one", "Host * !osaka\n    IdentityFile ~/.ssh/%h\n", 1 + 1 + odd},
		{"another letter case and sign", "HOST=Tokyo\n    port=2222\n", 1 + 1 + odd},
		{"quoted", "Host \"tokyo\" osaka\n    Port 2222\n", 1 + 2 + odd},
		{"an included file", "Include more\nHost *\n    User me\n", 1 + 1 + odd},
		{"Match", "Match host tokyo\n    Port 2222\n", len(hosts)},
		{"the name is in an answer", "Host *\n    HostName %h.example.com\n", 1 + len(hosts)},
		{"the name is in a hash", "Host *\n    UserKnownHostsFile /tmp/%C\n", len(hosts)},
		{"a name of any letters", "Host ?*\n    User me\n", len(hosts)},
		{"each has its address", "Host tokyo\n    HostName 10.0.0.1\n    User me\nHost osaka  192.168.1.10\n    HostName=10.0.0.2\n    User me\nHost nagoya\n    hostname 10.0.0.3\n\n    # of another user\n    User you\nHost *\n    IdentityFile ~/.ssh/lab\n", 1 + 1 + 1 + odd},
		{"the first address counts", "Host t*\n    User me\nHost tokyo\n    HostName 10.0.0.1\nHost osaka tokyo\n    HostName 10.0.0.2\n", 1 + 2 + odd},
		{"an address that ssh makes", "Host tokyo osaka nagoya\n    HostName %h.example.com\n", 1 + 3 + odd},
		{"a quoted address", "Host tokyo\n    HostName \"10.0.0.1\"\nHost osaka\n    HostName 10.0.0.2\n", 1 + 2 + odd},
		{"the address is in an answer", "Host tokyo\n    HostName 10.0.0.1\nHost osaka\n    HostName 10.0.0.2\nHost *\n    UserKnownHostsFile /tmp/%h\n", len(hosts) + 1},
		{"a line that differs", "Host tokyo\n    HostName 10.0.0.1\n    Port 2222\nHost osaka\n    HostName 10.0.0.2\n    Port 2223\n", 1 + 2 + odd},
		{"all but one, with addresses", "Host tokyo osaka\n    User me\nHost !osaka *\n    User you\n    Port 2200\n", 1 + 2 + odd},
		{"a file included in a block", "Host tokyo\n    HostName 10.0.0.1\n    Include more\nHost osaka\n    HostName 10.0.0.2\n", 1 + 3 + odd},
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

// Whatever a configuration is made of, every host has what ssh itself tells of it.
func TestOptionsAlikeOfAny(t *testing.T) {
	ssh, err := exec.LookPath("ssh")
	if err != nil {
		t.Skip("no ssh on this machine")
	}
	hosts := []string{"tokyo", "osaka", "kyoto", "192.168.1.10"}
	lines := []string{
		"Host tokyo", "Host osaka", "Host kyoto", "Host tokyo osaka", "Host *yo* !kyoto", "Host 192.168.1.*", "Host *", "Host * !osaka",
		"Host \"kyoto\"", "Host tokyo,osaka", "Host Tokyo", "Host=osaka # ours", "  # said of nobody", "",
		"  HostName 10.0.0.1", "  HostName 10.0.0.2", "HostName=10.0.0.3", "  HostName %h.example.com", "  HostName \"10.0.0.4\"", "  hostname 10.0.0.5 # here",
		"  User me", "  User you", "  Port 2222", "  Port = 2200", "  IdentityFile ~/.ssh/lab", "  IdentityFile ~/.ssh/%h", "  ProxyJump gate", "  ProxyJump tokyo",
		"  UserKnownHostsFile /tmp/%k /tmp/x", "  HostKeyAlias tokyo", "  ConnectTimeout 7", "Include more", "  Include more",
	}
	for seed := range uint64(25) {
		r := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		var text strings.Builder
		for range 3 + r.IntN(12) {
			fmt.Fprintln(&text, lines[r.IntN(len(lines))])
		}
		more := writeFile(t, filepath.Join(dir, "more"), "User more\nHost osaka\n    HostName 10.0.0.9\n    Port 2201\n")
		config := strings.ReplaceAll(text.String(), "Include more", "Include "+more)
		d := &Dialer{SSHConfig: writeFile(t, filepath.Join(dir, "config"), config)}
		d.init()
		for _, h := range hosts {
			target := &Target{Name: h}
			got, err := d.options(target)
			want, wantErr := d.askSSH(ssh, target, h)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Errorf("seed %d: %s: %v, want %v\n%s", seed, h, err, wantErr, config)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(option{})); diff != "" {
				t.Errorf("seed %d: %s:\n%s\n%s", seed, h, diff, config)
			}
		}
	}
}
