package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

var update = flag.Bool("update", false, "rewrite what the scripts want")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"vpnpush": main,
		// the program with a standard output, or a standard error, that panics
		"brokenout": func() {
			os.Exit(run(context.Background(), nil, os.Args[1:], os.Stdin, &broken{}, os.Stderr))
		},
		"brokenerr": func() {
			os.Exit(run(context.Background(), nil, os.Args[1:], os.Stdin, os.Stdout, &broken{good: os.Stderr}))
		},
	})
}

// broken panics at the first write and then passes on what is written.
type broken struct {
	good io.Writer
	seen atomic.Bool
}

func (b *broken) Write(p []byte) (int, error) {
	if b.good != nil && b.seen.Swap(true) {
		return b.good.Write(p)
	}
	panic("broken on purpose")
}

// The scripts run the real program, each against SSH servers of its own that
// run its programs in scratch roots. Beside testscript's commands they have:
//
//	host NAME [OPTION...]     start a bare Debian 12; see start
//	down NAME                 a name where nobody listens
//	mute NAME                 a host that takes a connection and says nothing
//	on NAME SCRIPT            run a shell script there, as root
//	exitcode N COMMAND...     run it; it must exit with N
//
// In what exitcode leaves to be looked at, a host's address reads NAME:22 and
// the script's directory $WORK.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           filepath.Join("testdata", "script"),
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			t := env.T().(testing.TB)
			home := filepath.Join(env.WorkDir, "home")
			if err := os.Mkdir(home, 0o700); err != nil {
				return err
			}
			env.Setenv("HOME", home)
			env.Setenv("USER", "admin")
			n := newNet(t, env.WorkDir)
			env.Setenv("VPNPUSH_SSH_CONFIG", n.config)
			env.Values[netKey{}] = n
			// inventories are the user's own: not for others to read
			files, err := filepath.Glob(filepath.Join(env.WorkDir, "*.toml"))
			for _, f := range files {
				err = errors.Join(err, os.Chmod(f, 0o600))
			}
			return err
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"host": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) == 0 {
					ts.Fatalf("usage: host NAME [OPTION...]")
				}
				ts.Check(theNet(ts).start(args[0], args[1:]...))
			},
			"down": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: down NAME")
				}
				ts.Check(theNet(ts).down(args[0]))
			},
			"mute": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 1 {
					ts.Fatalf("usage: mute NAME")
				}
				n := theNet(ts)
				s := transporttest.NewServer(n.t, transporttest.Options{Identity: n.id, Mute: true})
				ts.Check(n.add(args[0], s.Addr(), "root"))
			},
			"on": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 || theNet(ts).roots[args[0]] == nil {
					ts.Fatalf("usage: on NAME SCRIPT, after host NAME")
				}
				fmt.Fprint(ts.Stdout(), theNet(ts).roots[args[0]].Run(args[1]))
			},
			"exitcode": exitcode,
		},
	})
}

type netKey struct{}

func theNet(ts *testscript.TestScript) *testNet { return ts.Value(netKey{}).(*testNet) }

func exitcode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	code := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	n := theNet(ts)
	fmt.Fprint(ts.Stdout(), n.scrub(ts.ReadFile("stdout")))
	fmt.Fprint(ts.Stderr(), n.scrub(ts.ReadFile("stderr")))
	if code != want {
		ts.Fatalf("exit code %d, want %d", code, want)
	}
}

// testNet is the hosts of one test, and an ssh_config that knows them.
type testNet struct {
	t       testing.TB
	dir     string
	config  string
	id      *transporttest.Identity
	servers map[string]*transporttest.Server
	roots   map[string]*transporttest.Root

	mu    sync.Mutex
	names map[string]string // host:port to name
}

func newNet(t testing.TB, dir string) *testNet {
	t.Helper()
	n := &testNet{
		t: t, dir: dir, config: filepath.Join(dir, "ssh_config"), id: transporttest.NewIdentity(t),
		servers: map[string]*transporttest.Server{}, roots: map[string]*transporttest.Root{}, names: map[string]string{},
	}
	if err := os.WriteFile(n.config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return n
}

// start starts a host. Options:
//
//	-untrusted       its key is not in known_hosts
//	-changed         known_hosts has another key
//	-malformed       known_hosts begins with a line that cannot be read
//	-refused         the user's key is not let in
//	-user NAME       log in as NAME, who may not use sudo
//	-readonly DIR    DIR is mounted read-only
func (n *testNet) start(name string, options ...string) error {
	r := bareDebian(n.t)
	o := transporttest.Options{Root: r, Identity: n.id}
	user, changed := "root", false
	for i := 0; i < len(options); i++ {
		arg := func() string {
			if i++; i < len(options) {
				return options[i]
			}
			return ""
		}
		switch options[i] {
		case "-untrusted":
			o.Untrusted = true
		case "-changed":
			o.Untrusted, changed = true, true
		case "-malformed":
			if err := os.WriteFile(n.id.KnownHosts, []byte("kyoto ssh-ed25519 AAAA\n"), 0o600); err != nil {
				return err
			}
		case "-refused":
			o.Identity = transporttest.NewIdentity(n.t)
		case "-user":
			user = arg()
			r.Write("/etc/passwd", r.Read("/etc/passwd")+user+":x:1000:1000::/tmp:/bin/sh\n", 0o644)
			r.Write("/.local/bin/sudo", "#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n", 0o755)
		case "-readonly":
			d := arg()
			r.Run("mount --bind " + d + " " + d + " && mount -o remount,bind,ro " + d)
		default:
			return fmt.Errorf("host %s: unknown option %s", name, options[i])
		}
	}
	s := transporttest.NewServer(n.t, o)
	if o.Identity != n.id {
		n.id.Trust(n.t, s.Addr(), s.HostKeys[0].PublicKey())
	}
	if changed {
		n.id.Trust(n.t, s.Addr(), transporttest.NewKey(n.t).PublicKey())
	}
	n.servers[name], n.roots[name] = s, r
	return n.add(name, s.Addr(), user)
}

// down makes name lead to a port where nobody listens.
func (n *testNet) down(name string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	return n.add(name, l.Addr().String(), "root")
}

// add puts a host into ssh_config.
func (n *testNet) add(name, addr, user string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.names[addr] = name
	n.mu.Unlock()
	f, err := os.OpenFile(n.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "Host %s\n\tHostName %s\n\tPort %s\n\tUser %s\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tUserKnownHostsFile %s\n\tGlobalKnownHostsFile /dev/null\n",
		name, host, port, user, n.id.IdentityFile, n.id.KnownHosts)
	return errors.Join(err, f.Close())
}

var fingerprint = regexp.MustCompile(`SHA256:[A-Za-z0-9+/]{43}`)

// scrub takes out of a text what differs from run to run.
func (n *testNet) scrub(s string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	for addr, name := range n.names {
		host, port, _ := net.SplitHostPort(addr)
		s = strings.ReplaceAll(s, addr, name+":22")
		s = strings.ReplaceAll(s, "["+host+"]:"+port, "["+name+"]:22")
		s = strings.ReplaceAll(s, "-p "+port+" ", "-p 22 ")
	}
	s = fingerprint.ReplaceAllString(s, "SHA256:...")
	s = strings.ReplaceAll(s, filepath.Dir(n.id.KnownHosts), "~/.ssh")
	return strings.ReplaceAll(s, n.dir, "$WORK")
}

// bareDebian is a fresh Debian 12 server, as far as a probe looks at one. What
// it looks at and a scratch root has not are the answers of the real programs
// on such a host, which a fake gives for those very arguments and no others.
func bareDebian(t testing.TB) *transporttest.Root {
	t.Helper()
	r := transporttest.NewRoot(t)
	r.Write("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n", 0o644)
	if err := os.MkdirAll(filepath.Join(r.Dir, "run/systemd/system"), 0o755); err != nil {
		t.Fatal(err)
	}
	r.Fake("dpkg", transporttest.Case{Args: "--print-architecture", Do: "echo amd64"})
	r.Fake("modprobe", transporttest.Case{Args: "-qn ppp_generic", Do: ":"})
	r.Fake("dpkg-query", transporttest.Case{Args: "-W -f *", Do: `shift 3; for p; do echo "dpkg-query: no packages found matching $p" >&2; done; exit 1`})
	r.Fake("apt-cache", transporttest.Case{Args: "policy *", Do: `shift; for p; do v=1.0-1
case $p in libstrongswan) v=5.9.8-5+deb12u6;; ppp) v=2.4.9-1+1.1;; esac # which have no known holes
printf '%s:\n  Installed: (none)\n  Candidate: %s\n  Version table:\n     %s 500\n' "$p" "$v" "$v"; done`})
	r.Fake("systemctl", transporttest.Case{Args: "show -p Id,LoadState,ActiveState,UnitFileState,ActiveEnterTimestampMonotonic -- *", Do: `shift 4; n=
for u; do printf '%sId=%s\nLoadState=not-found\nActiveState=inactive\nUnitFileState=\nActiveEnterTimestampMonotonic=0\n' "$n" "$u"; n='
'; done`})
	// the addresses of every inventory here
	r.Run("for a in 203.0.113.10/32 192.168.1.10/16 10.1.1.1/8 172.16.0.1/12; do ip addr add $a dev lo; done")
	// they come with the packages
	for _, c := range []string{"iptables-save", "ipsec", "swanctl"} {
		r.Bin(c, "#!/bin/sh\necho \"sh: 1: "+c+": not found\" >&2\nexit 127\n")
	}
	return r
}
