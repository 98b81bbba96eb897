// Package lab runs the end-to-end tests' hosts: a hub and sites behind NAT, each
// a real Debian with systemd, sshd and apt, set up by the scripts in testdata/lab
// (its README says what a lab is and is not). It is for tests only.
//
// A lab needs root, Linux namespaces and Debian's package mirror once, so a test
// that asks for one is skipped, with the reason, where VPNPUSH_E2E=1 is not set
// (make test sets it) or the machine cannot do it.
package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Host is a host to start. Zero fields take the defaults of testdata/lab/up.sh:
// $LAB_SUITE or bookworm, bare, systemd.
type Host struct {
	Name  string
	Place string // "hub"; "1" to "9", the site with LAN 192.168.N.0/24; "e1" to "e149", public
	Suite string // "bullseye", "bookworm", "trixie"
	Layer string // "bare", "starter", "swanctl": what is installed already
	Init  string // "systemd", "sshd"
}

// Options says what lab to start.
type Options struct {
	// Hosts defaults to the hosts of testdata/inventories/lab-ns.toml: the hub vps
	// and the sites tokyo and osaka.
	Hosts []Host
	// Layer is what is installed on the hosts that do not say. Ask for one unless
	// installing is the point: it costs more than all else of an apply.
	Layer string
	// Inventory is a file, relative to the module's root, to copy into the lab as
	// Lab.Inventory; "" for none.
	Inventory string
	// From is a lab of the same hosts, or of more, that was kept: these boot as they would
	// have there after a power cut; nil for new ones.
	From *Kept
}

// Lab is a running lab. It ends with the test that started it, also when that
// test's process dies.
type Lab struct {
	Dir       string // id_ed25519, known_hosts, ssh_config: what up.sh leaves
	Inventory string // the lab's own copy, for the test to change; see Options

	t       testing.TB
	kind    string // "ns" or "vm"
	scripts string
	bin     func() (string, error)
	owner   *os.File // the lab ends when the reading end of this pipe does
}

// Start starts a fast lab: hosts are namespaces on this kernel. ESP is done in
// user space, and there is no PPP.
func Start(t testing.TB, o Options) *Lab { t.Helper(); return start(t, "ns", o) }

// StartVM starts a true lab: hosts are machines with a kernel of their own, with
// IPsec, L2TP, PPP and AppArmor. It takes some 15 s.
func StartVM(t testing.TB, o Options) *Lab { t.Helper(); return start(t, "vm", o) }

func start(t testing.TB, kind string, o Options) *Lab {
	t.Helper()
	if os.Getenv("VPNPUSH_E2E") != "1" {
		t.Skip("end-to-end tests need root and a lab: run make test, or set VPNPUSH_E2E=1")
	}
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	l := &Lab{t: t, kind: kind, scripts: filepath.Join(root, "testdata", "lab")}
	hosts := o.Hosts
	if hosts == nil {
		hosts = []Host{{Name: "vps", Place: "hub"}, {Name: "tokyo", Place: "1"}, {Name: "osaka", Place: "2"}}
	}
	hosts = slices.Clone(hosts)
	for i := range hosts {
		hosts[i].Layer = cmp.Or(hosts[i].Layer, o.Layer)
	}
	check := []string{kind}
	for _, h := range hosts {
		check = append(check, h.Suite)
	}
	if out, err := exec.Command(l.script("check.sh"), check...).Output(); err != nil {
		t.Skipf("NOT TESTED: %s", bytes.TrimSpace(out))
	}
	// Not t.TempDir: the path of a machine's control socket must be short.
	if l.Dir, err = os.MkdirTemp("", "vpnlab-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	if err := os.Mkdir(l.path("home"), 0o700); err != nil {
		t.Fatal(err)
	}
	if o.Inventory != "" {
		b, err := os.ReadFile(filepath.Join(root, o.Inventory))
		if err != nil {
			t.Fatal(err)
		}
		l.Inventory = l.path("vpnpush.toml")
		if err := os.WriteFile(l.Inventory, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o.From != nil {
		if err := o.From.unpack(l.Dir); err != nil {
			t.Fatal(err)
		}
	}
	l.bin = sync.OnceValues(l.program)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	l.owner = writer
	defer reader.Close()
	l.up(hosts, reader)
	return l
}

// built builds vpnpush from this tree, once for all labs of a test's process, and returns
// it as a file that has no name any more: nothing has to be cleaned up.
var built = sync.OnceValues(func() (*os.File, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vpnlab-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "vpnpush")
	args := []string{"build", "-o", bin}
	if os.Getenv("GOCOVERDIR") != "" {
		args = append(args, "-cover", "-coverpkg=./...")
	}
	if os.Getenv(shellCoverDir) != "" {
		args = append(args, "-tags=shellcover")
	}
	cmd := exec.Command("go", append(args, "./cmd/vpnpush")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build vpnpush: %w\n%s", err, out)
	}
	return os.Open(bin)
})

// program copies what was built into the lab's directory, and returns its path.
func (l *Lab) program() (string, error) {
	from, err := built()
	if err != nil {
		return "", err
	}
	to, err := os.OpenFile(l.path("vpnpush"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(to, io.NewSectionReader(from, 0, math.MaxInt64))
	return to.Name(), errors.Join(err, to.Close())
}

// Add starts more hosts in the running lab.
func (l *Lab) Add(hosts ...Host) { l.t.Helper(); l.up(hosts, nil) }

// up runs up.sh. A reader is handed down as descriptor 3, whose end ends the lab.
func (l *Lab) up(hosts []Host, reader *os.File) {
	l.t.Helper()
	args := []string{l.Dir, "-k", l.kind}
	for _, h := range hosts {
		spec := fmt.Sprintf("%s=%s:%s:%s:%s", h.Name, h.Place, h.Suite, h.Layer, h.Init)
		args = append(args, strings.TrimRight(spec, ":"))
	}
	cmd := exec.Command(l.script("up.sh"), args...)
	cmd.Env = append(os.Environ(), "LAB_NO_PAM=1")
	if reader != nil {
		cmd.ExtraFiles = []*os.File{reader}
		cmd.Env = append(cmd.Env, "LAB_OWNED=1")
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		l.t.Fatalf("start the lab: %v\n%s", err, out)
	}
}

// close ends the lab, and tells of its hosts first if the test failed.
func (l *Lab) close() {
	if l.t.Failed() {
		for _, h := range l.hosts() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			out, _ := l.onHost(ctx, h, "journalctl", "-n", "60", "--no-pager", "-o", "short-monotonic").CombinedOutput()
			cancel()
			l.t.Logf("journal of %s:\n%s", h, out)
		}
	}
	if dir := os.Getenv(shellCoverDir); dir != "" {
		for _, h := range l.hosts() {
			if err := l.keepShellCover(h, dir); err != nil {
				l.t.Logf("%s: keep what its apply scripts have noted: %v", h, err)
			}
		}
	}
	if out, err := exec.Command(l.script("down.sh"), l.Dir).CombinedOutput(); err != nil {
		l.t.Logf("end the lab: %v\n%s", err, out)
	}
	if l.owner != nil {
		l.owner.Close()
	}
	os.RemoveAll(l.Dir)
}

// shellCoverDir is the variable with the directory for what the apply scripts note on
// the hosts, the functions that they enter; make cover sets it.
const shellCoverDir = "VPNPUSH_SHELL_COVER"

// keepShellCover copies what the apply scripts have noted on a host into a new file in
// dir. It is nothing on a host that had no apply.
func (l *Lab) keepShellCover(host, dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	notes, err := l.onHost(ctx, host, "sh", "-c", "[ ! -e /var/tmp/vpnpush-cover ] || cat /var/tmp/vpnpush-cover").Output()
	if err != nil || len(notes) == 0 {
		return err
	}
	f, err := os.CreateTemp(dir, host+"-")
	if err != nil {
		return err
	}
	_, err = f.Write(notes)
	return errors.Join(err, f.Close())
}

// Run runs a command as root on a host: on its console, so that it works
// whatever became of sshd and the network (a machine's console is ssh). Its
// stderr goes to the test's log when the exit code is not 0.
func (l *Lab) Run(host string, argv ...string) (stdout string, code int) {
	l.t.Helper()
	return l.output(append([]string{"@" + host}, argv...), func(ctx context.Context) *exec.Cmd { return l.onHost(ctx, host, argv...) })
}

// MustRun is Run of a command that must succeed.
func (l *Lab) MustRun(host string, argv ...string) string {
	l.t.Helper()
	out, code := l.Run(host, argv...)
	if code != 0 {
		l.t.Fatalf("%s: %q: exit code %d\n%s", host, argv, code, out)
	}
	return out
}

// Put writes a file on a host.
func (l *Lab) Put(host, path, content string) {
	l.t.Helper()
	cmd := l.onHost(context.Background(), host, "sh", "-c", `cat >"$0"`, path)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(content), &said, &said
	if err := run(cmd); err != nil {
		l.t.Fatalf("%s: write %s: %v\n%s", host, path, err, &said)
	}
}

// Control runs a command where the operator is: in the lab's control namespace,
// on this machine's file system.
func (l *Lab) Control(argv ...string) (stdout string, code int) {
	l.t.Helper()
	return l.output(argv, func(ctx context.Context) *exec.Cmd { return l.in(ctx, argv...) })
}

// Result is what a run of vpnpush gave.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Vpnpush runs vpnpush, built from this tree, in the control namespace, with
// Lab.Inventory as its inventory unless args name another.
func (l *Lab) Vpnpush(args ...string) Result {
	l.t.Helper()
	cmd := l.Command(context.Background(), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := l.code(cmd.Run())
	return Result{stdout.String(), stderr.String(), code}
}

// Command returns vpnpush as Vpnpush runs it, not yet started, for a test that
// interrupts it. It is a process group of its own: a signal for vpnpush goes to
// -cmd.Process.Pid. The end of ctx kills it.
func (l *Lab) Command(ctx context.Context, args ...string) *exec.Cmd {
	l.t.Helper()
	bin, err := l.bin()
	if err != nil {
		l.t.Fatal(err)
	}
	cmd := l.in(ctx, append([]string{bin}, args...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + l.path("home"), "LC_ALL=C.UTF-8"}
	if l.Inventory != "" {
		cmd.Env = append(cmd.Env, "VPNPUSH_INVENTORY="+l.Inventory)
	}
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		cmd.Env = append(cmd.Env, "GOCOVERDIR="+dir)
	}
	return cmd
}

// Ping sends count echo requests from a host to an address, and returns how many
// were answered within 2 s each.
func (l *Lab) Ping(from, to string, count int) int {
	l.t.Helper()
	out, _ := l.Run(from, "ping", "-n", "-c", strconv.Itoa(count), "-i", "0.2", "-W", "2", to)
	return len(replies(out))
}

// StartPing sends echo requests from a host to an address until stop is called,
// which returns how many were sent and how many of them were lost. Those of the
// last second that are still under way at the end are not counted.
func (l *Lab) StartPing(from, to string, interval time.Duration) (stop func() (sent, lost int)) {
	l.t.Helper()
	// ping ends and sums up when its stdin does: a signal would not cross ssh.
	script := `ping -n -i "$1" "$2" & p=$!; cat >/dev/null; kill -INT $p; wait $p`
	cmd := l.onHost(context.Background(), from, "bash", "-c", script, "ping", fmt.Sprintf("%.3f", interval.Seconds()), to)
	var out bytes.Buffer
	cmd.Stdout = &out
	stdin, err := cmd.StdinPipe()
	if err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	end := sync.OnceFunc(func() {
		stdin.Close()
		_ = cmd.Wait() // ping exits 1 when nothing was answered: the summary tells
	})
	l.t.Cleanup(end)
	return func() (sent, lost int) {
		l.t.Helper()
		end()
		m := transmitted.FindStringSubmatch(out.String())
		if m == nil {
			l.t.Fatalf("%s: ping %s told nothing:\n%s", from, to, out.String())
		}
		sent, _ = strconv.Atoi(m[1])
		got := replies(out.String())
		// what went out in the last second may still be on its way: a loaded
		// machine answers late
		for n := 0; n < int(time.Second/interval)+1 && sent > 0 && !got[sent]; n++ {
			sent--
		}
		for seq := 1; seq <= sent; seq++ {
			if !got[seq] {
				lost++
			}
		}
		return sent, lost
	}
}

var (
	transmitted = regexp.MustCompile(`(?m)^(\d+) packets transmitted`)
	reply       = regexp.MustCompile(`(?m)bytes from .*icmp_seq=(\d+) .*time=`)
)

// replies returns the sequence numbers that ping printed an answer to.
func replies(out string) map[int]bool {
	got := map[int]bool{}
	for _, m := range reply.FindAllStringSubmatch(out, -1) {
		seq, _ := strconv.Atoi(m[1])
		got[seq] = true
	}
	return got
}

// Wait polls until ok, and fails the test if that takes longer than limit.
func (l *Lab) Wait(limit time.Duration, what string, ok func() bool) {
	l.t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			l.t.Fatalf("not within %v: %s", limit, what)
		}
	}
}

// Narrow makes the line of site N carry packets of mtu bytes at most, as PPPoE and
// tunnels of a provider do. As with many a router there, TCP that passes it is lowered
// to that, and of anything else that is too large nobody is told: it is just lost.
func (l *Lab) Narrow(n, mtu int) {
	l.t.Helper()
	script := fmt.Sprintf(`ip -n r%[1]d link set wan mtu %[2]d
ip netns exec r%[1]d iptables -w -A OUTPUT -p icmp --icmp-type fragmentation-needed -j DROP
ip netns exec r%[1]d iptables -w -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss %[3]d`, n, mtu, mtu-40)
	if out, code := l.Control("sh", "-ec", script); code != 0 {
		l.t.Fatalf("make the line of site %d narrow: exit code %d\n%s", n, code, out)
	}
}

// Reboot reboots a host in an orderly way, and returns when its sshd answers.
func (l *Lab) Reboot(host string) { l.t.Helper(); l.reboot(host, "systemctl", "reboot") }

// PowerCycle reboots a host as a power cut would: nothing is asked to stop.
func (l *Lab) PowerCycle(host string) { l.t.Helper(); l.reboot(host, "reboot", "-f", "-f") }

func (l *Lab) reboot(host string, argv ...string) {
	l.t.Helper()
	before := l.bootID(host)
	if before == "" {
		l.t.Fatalf("%s is not up", host)
	}
	// Its own end may cut the command off, and its exit code with it.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	_ = run(l.onHost(ctx, host, argv...))
	cancel()
	if l.kind == "vm" {
		_ = l.in(context.Background(), "ssh", "-O", "exit", "-o", "ControlPath="+l.path("ctl-"+host), host).Run()
	}
	l.Wait(60*time.Second, host+" is up again", func() bool {
		id := l.bootID(host)
		if id == "" || id == before {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		return l.in(ctx, "ssh", host, "true").Run() == nil
	})
}

// Save keeps the disk of a host of the fast lab as it is now, for Restore.
func (l *Lab) Save(host string) {
	l.t.Helper()
	l.disk(host, "rm -rf saved; cp -a upper saved")
}

// Restore boots hosts as after a power cut, each with the disk that Save has kept of it,
// and returns when they boot.
func (l *Lab) Restore(hosts ...string) {
	l.t.Helper()
	before := map[string]string{}
	for _, h := range hosts {
		before[h] = l.bootID(h)
		l.disk(h, "rm -rf copy; cp -a saved copy; mv copy next")
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		_ = run(l.onHost(ctx, h, "reboot", "-f", "-f"))
		cancel()
	}
	for _, h := range hosts {
		l.Wait(60*time.Second, h+" boots", func() bool { id := l.bootID(h); return id != "" && id != before[h] })
	}
}

// disk runs a script where the disk of a host of the fast lab lies.
func (l *Lab) disk(host, script string) {
	l.t.Helper()
	if out, code := l.Control("sh", "-ec", `cd "$1"; `+script, "disk", l.path("ns/"+host)); code != 0 {
		l.t.Fatalf("%s: %s: exit code %d\n%s", host, script, code, out)
	}
}

// bootID returns what differs from boot to boot, or "" if the host is not up.
func (l *Lab) bootID(host string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	out, err := l.onHost(ctx, host, "cat", "/proc/sys/kernel/random/boot_id").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

func (l *Lab) script(name string) string { return filepath.Join(l.scripts, name) }
func (l *Lab) path(name string) string   { return filepath.Join(l.Dir, name) }

// onHost returns a command on a host. Tests run thousands of them, so it does for the
// fast lab what in.sh does without its two shells, unless the host is down.
func (l *Lab) onHost(ctx context.Context, host string, argv ...string) *exec.Cmd {
	if pid := l.initOf(host); pid != "" {
		return ends(exec.CommandContext(ctx, "nsenter", append([]string{"-t", pid, "-m", "-n", "-p", "-i", "-u", "-C", "env", "-i", "HOME=/root", "TERM=dumb", "LC_ALL=C.UTF-8",
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, argv...)...))
	}
	return l.in(ctx, append([]string{"@" + host}, argv...)...)
}

// initOf returns the process that is PID 1 on a host of the fast lab, as this machine
// counts, or "" if there is none: the child of unshare, whose parent is host.sh, which is
// a child of the lab's.
func (l *Lab) initOf(host string) string {
	if l.kind != "ns" {
		return ""
	}
	main, err := os.ReadFile(l.path("pid"))
	if err != nil {
		return ""
	}
	for _, script := range children(strings.TrimSpace(string(main))) {
		if argv, err := os.ReadFile("/proc/" + script + "/cmdline"); err != nil || !bytes.Contains(argv, []byte("/host.sh\x00"+host+"\x00")) {
			continue
		}
		for _, unshare := range children(script) {
			for _, pid := range children(unshare) {
				// before it is, the host has no root of its own yet
				if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); string(comm) == "systemd\n" || string(comm) == "sh\n" {
					return pid
				}
			}
		}
	}
	return ""
}

// children returns the children of a process.
func children(pid string) []string {
	b, _ := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	return strings.Fields(string(b))
}

// in returns in.sh with argv.
func (l *Lab) in(ctx context.Context, argv ...string) *exec.Cmd {
	return ends(exec.CommandContext(ctx, l.script("in.sh"), append([]string{l.Dir}, argv...)...))
}

// ends makes the end of its ctx end all of a command: a namespace is entered by a child,
// and a host that goes down may leave that one hanging.
func ends(cmd *exec.Cmd) *exec.Cmd {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// hosts returns the names of the hosts that are up.
func (l *Lab) hosts() []string {
	b, err := os.ReadFile(l.path("hosts"))
	if err != nil {
		return nil
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		name, _, _ := strings.Cut(line, " ")
		names = append(names, name)
	}
	return names
}

// runLimit is long for anything a test runs on a host.
const runLimit = 5 * time.Minute

// output runs a command, which is told as argv.
func (l *Lab) output(argv []string, command func(context.Context) *exec.Cmd) (string, int) {
	l.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	cmd := command(ctx)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	code := l.code(run(cmd))
	if ctx.Err() != nil {
		l.t.Fatalf("%q: not done within %v\n%s%s", argv, runLimit, &stdout, &stderr)
	}
	if code != 0 && stderr.Len() > 0 {
		l.t.Logf("%q: %s", argv, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), code
}

// run runs what in returned, and lets it go on when a host has stopped it. systemd stops
// all that runs on a host before it ends it (systemd-shutdown), which is nsenter's child;
// nsenter then stops, too, and nothing on the host can wake it.
func run(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	over := make(chan struct{})
	defer close(over)
	go func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
				_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGCONT)
			}
		}
	}()
	return cmd.Wait()
}

// code returns a command's exit code, 128 and the signal for one that was killed,
// as a shell does.
func (l *Lab) code(err error) int {
	l.t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case !errors.As(err, &exit):
		l.t.Fatal(err)
	case exit.ExitCode() == -1:
		return 128 + int(exit.Sys().(syscall.WaitStatus).Signal())
	}
	return exit.ExitCode()
}

func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = up
	}
}
