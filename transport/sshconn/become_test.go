package sshconn

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

const password = "s3cret pw'x"

// sudoRoot is a root with a real sudo and the user admin, whose password is
// password, under a sudoers rule.
func sudoRoot(t *testing.T, rule string) *transporttest.Server {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a real sudo needs several users, which only root can set up")
	}
	if _, err := exec.LookPath("/usr/bin/sudo"); err != nil {
		t.Skip("no sudo on this machine: install sudo")
	}
	r := transporttest.NewRoot(t)
	r.Write("/etc/passwd", r.Read("/etc/passwd")+"admin:x:1000:1000::/home/admin:/bin/sh\n", 0o644)
	r.Write("/etc/group", r.Read("/etc/group")+"admin:x:1000:\n", 0o644)
	hash := r.Run("perl -e 'print crypt($ARGV[0], q($6$saltsalt$))' " + transport.Quote(password))
	r.Write("/etc/shadow", "root:*:19000:0:99999:7:::\nadmin:"+hash+":19000:0:99999:7:::\n", 0o600)
	r.Write("/etc/sudoers", "Defaults secure_path=/usr/sbin:/usr/bin, logfile=/var/log/sudo.log\n"+rule+"\n", 0o440)
	r.Write("/etc/pam.d/sudo", "auth required pam_unix.so nodelay\naccount required pam_unix.so\nsession required pam_permit.so\n", 0o644)
	s := transporttest.NewServer(t, transporttest.Options{Root: r})
	s.User = "admin"
	return s
}

// data is a script's stdin. Each line of it would be a guess to a sudo that
// asks, and one would be right.
const data = "first\n" + password + "\nlast\n"

// probe shows who runs, what it reads, and whether an argument of any process
// or the environment holds the password.
const probe = `id -u; cat; if cat /proc/[0-9]*/cmdline /proc/self/environ | tr '\0' '\n' | grep -q '^s3cret'; then echo leak; fi; exit 7`

// The four answers that sudo may give, and a script's own exit status in all that let
// it run.
func TestSudo(t *testing.T) {
	const nopasswd, passwd = "admin ALL=(ALL) NOPASSWD: ALL", "admin ALL=(ALL) ALL"
	for _, tt := range []struct {
		name, rule string
		password   string
		runs       bool
		says       string
	}{
		{"no password needed, none given", nopasswd, "", true, ""},
		{"no password needed, one given", nopasswd, password, true, ""},
		{"no password needed, a wrong one given", nopasswd, "wrong", true, ""},
		{"password needed and given", passwd, password, true, ""},
		{"password always needed and given", "Defaults timestamp_timeout=0\n" + passwd, password, true, ""},
		{"password needed, wrong one given", passwd, "wrong", false, "sudo: 1 incorrect password attempt"},
		{"password needed, none given", passwd, "", false, "sudo: a password is required"},
		{"password needed but for true", "admin ALL=(ALL) ALL, NOPASSWD: /usr/bin/true", password, true, ""},
		{"not in sudoers", "root ALL=(ALL) ALL", "", false, "sudo: a password is required"},
		{"not in sudoers, password given", "root ALL=(ALL) ALL", password, false, "admin is not in the sudoers file"},
		{"a password would not do", "Defaults requiretty\n" + passwd, password, false, "sudo: sorry, you must have a tty to run sudo"},
		{"only some commands", "admin ALL=(ALL) NOPASSWD: /usr/bin/true", "", false, "sudo: a password is required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sudoRoot(t, tt.rule)
			target := serverTarget("tokyo", s)
			if tt.password != "" {
				target.BecomePassword = func() string { return tt.password }
			}
			c := dial(t, dialer(t, target))
			for range 2 { // a ticket of the first run must not change the second
				res, err := c.Run(t.Context(), transport.Cmd{Script: probe, Stdin: strings.NewReader(data)})
				var exit *transport.ExitError
				if tt.runs {
					if !errors.As(err, &exit) || exit.Code != 7 {
						t.Fatalf("err = %v, want exit status 7", err)
					}
					if want := "0\n" + data; string(res.Stdout) != want {
						t.Errorf("stdout %q, want %q", res.Stdout, want)
					}
					if len(res.Stderr) > 0 {
						t.Errorf("stderr %q holds what is not the script's", res.Stderr)
					}
					continue
				}
				if !errors.Is(err, transport.ErrBecome) || errors.As(err, &exit) {
					t.Fatalf("err = %v, want ErrBecome and no answer", err)
				}
				if !strings.Contains(err.Error(), tt.says) || hint(t, err) == "" {
					t.Errorf("err = %v, want %q", err, tt.says)
				}
				for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), hint(t, err)} {
					if strings.Contains(text, "s3cret") || strings.Contains(text, "last") {
						t.Errorf("%q shows what went to stdin", text)
					}
				}
				if s.Counts().Execs > 2 {
					t.Errorf("%d execs for two runs", s.Counts().Execs)
				}
			}
		})
	}
}

// What runs on a host before root does is for any POSIX shell.
func TestWrappersAreCleanShell(t *testing.T) {
	for _, w := range []string{plainWrapper, passwordWrapper} {
		transporttest.CleanShell(t, "# shellcheck disable=SC2016 # root's shell expands it\n"+w)
	}
}

// A host that was taken over reads its stdin and hopes for a password. It gets none
// unless it says that its sudo asks, and what is not said is not guessed.
func TestPasswordIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		want       string
	}{
		{"it says that root's shell runs", `echo "` + mark + `" >&2; cat`, data},
		{"it asks as root's shell", `echo "` + mark + `" >&2; echo "` + asks + `" >&2; cat`, data},
		{"it says other things, and ends", `echo "Password:" >&2; echo x "` + asks + `" >&2; exec 0<&-; echo gone`, "gone\n"},
		{"it asks", `echo "` + asks + `" >&2; IFS= read -r p; IFS= read -r q; echo "` + mark + `" >&2; echo "$p"; cat`, password + "\n" + data},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := transporttest.NewServer(t, transporttest.Options{Force: tt.host})
			target := serverTarget("tokyo", s)
			target.User = "admin"
			target.BecomePassword = func() string { return password }
			var got bytes.Buffer
			dial(t, dialer(t, target)).Run(t.Context(), transport.Cmd{Script: "true", Stdin: strings.NewReader(data), Stdout: &got})
			if got.String() != tt.want {
				t.Errorf("the host read %q, want %q", &got, tt.want)
			}
		})
	}
}

// To ask first whether sudo wants the password costs nothing where it does not, and
// the one round trip where it does.
func TestSudoRoundTrips(t *testing.T) {
	for _, tt := range []struct {
		name, rule, password string
		most                 int
	}{
		{"no password needed, none given", "admin ALL=(ALL) NOPASSWD: ALL", "", 9},
		{"no password needed, one given", "admin ALL=(ALL) NOPASSWD: ALL", password, 9},
		{"password needed and given", "admin ALL=(ALL) ALL", password, 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := sudoRoot(t, tt.rule)
			p := transporttest.NewProxy(t, s.Addr(), 20*time.Millisecond)
			s.Identity.Trust(t, net.JoinHostPort(p.Host, fmt.Sprint(p.Port)), s.HostKeys[0].PublicKey())
			target := target("tokyo", p.Host, p.Port, s.User, s.Identity)
			if tt.password != "" {
				target.BecomePassword = func() string { return tt.password }
			}
			stdin, w := io.Pipe() // whose end would be one more thing that is said
			defer w.Close()
			res, err := dial(t, dialer(t, target)).Run(t.Context(), transport.Cmd{Script: "id -u", Stdin: stdin})
			if err != nil || string(res.Stdout) != "0\n" {
				t.Fatalf("%q, %v", res.Stdout, err)
			}
			if n := p.RoundTrips(); n > tt.most {
				t.Errorf("%d round trips, want at most %d", n, tt.most)
			}
		})
	}
}

// The promises hold behind sudo as well, with a password on the way.
func TestSuiteSudo(t *testing.T) {
	s := sudoRoot(t, "admin ALL=(ALL) ALL")
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		target := serverTarget("tokyo", s)
		target.BecomePassword = func() string { return password }
		return dial(t, dialer(t, target))
	})
}

// A host without sudo says so; it is not "the script exited with 127".
func TestNoSudo(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("another user needs root")
	}
	r := transporttest.NewRoot(t)
	r.Write("/etc/passwd", r.Read("/etc/passwd")+"admin:x:1000:1000::/home/admin:/bin/sh\n", 0o644)
	s := transporttest.NewServer(t, transporttest.Options{Root: r})
	s.User = "admin"
	r.Bin("sudo", "")
	r.Run("chmod 644 /usr/local/sbin/sudo 2>/dev/null; true")
	for _, pw := range []func() string{nil, func() string { return password }} {
		target := serverTarget("tokyo", s)
		target.BecomePassword = pw
		_, err := dial(t, dialer(t, target)).Run(t.Context(), transport.Cmd{Script: "true"})
		if !errors.Is(err, transport.ErrBecome) || !strings.Contains(err.Error(), "sudo") {
			t.Errorf("err = %v", err)
		}
	}
	target := serverTarget("tokyo", s)
	target.Become = "never"
	res, err := dial(t, dialer(t, target)).Run(t.Context(), transport.Cmd{Script: "id -u"})
	if err != nil || string(res.Stdout) != "1000\n" {
		t.Errorf("never: %q, %v", res.Stdout, err)
	}
}

// A password is a function so that nothing that prints a target shows it.
func TestPasswordDoesNotPrint(t *testing.T) {
	tt := Target{Name: "tokyo", BecomePassword: func() string { return password }}
	d := &Dialer{Targets: []Target{tt}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		for _, v := range []any{tt, &tt, d.Targets} {
			if got := fmt.Sprintf(verb, v); strings.Contains(got, "s3cret") {
				t.Errorf("%s: %s", verb, got)
			}
		}
	}
}

// A user of another name may have uid 0 and then needs no sudo; what was
// prepared for one must not reach the script. Local runs go the same way.
func TestSuiteUIDZero(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("uid 0 is needed")
	}
	transporttest.Suite(t, func(t *testing.T) transport.Conn {
		return &local{become: become{name: "here", user: "toor", password: func() string { return password }}, gone: make(chan struct{})}
	})
}
