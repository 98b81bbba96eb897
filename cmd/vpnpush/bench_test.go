package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// The benchmarks of docs/speed.md, which says what was measured. Each measures the
// floor beside the program, in turns in one run, and reports the ratio: this
// machine's speed and what else it does fall out. testdata/bench/bench.sh runs
// them all; those that want hosts are skipped without it.

// benchLab is the directory of a running lab; the benchmark runs in its control
// namespace.
func benchLab(b *testing.B) string {
	b.Helper()
	dir := os.Getenv("VPNPUSH_BENCH_LAB")
	if dir == "" {
		b.Skip("no hosts to measure with: run testdata/bench/bench.sh")
	}
	b.Setenv("SSH_AUTH_SOCK", "")
	return dir
}

// medians gives the median of each series.
func medians(series ...[]time.Duration) []time.Duration {
	var out []time.Duration
	for _, s := range series {
		s = slices.Clone(s)
		slices.Sort(s)
		out = append(out, s[len(s)/2])
	}
	return out
}

func timed(f func()) time.Duration {
	start := time.Now()
	f()
	return time.Since(start)
}

// report gives a duration, and how many times the other it is.
func report(b *testing.B, ours, floor time.Duration, name string) {
	b.ReportMetric(float64(ours)/float64(floor), "x-"+name)
	b.ReportMetric(ours.Seconds()*1000, "ms-plan")
	b.ReportMetric(floor.Seconds()*1000, "ms-"+name)
	b.ReportMetric(0, "ns/op")
}

// program builds the program once; it is measured as a process, as its user
// has it, key files and ssh_config read anew each time.
var program = sync.OnceValues(func() (string, error) {
	if p := os.Getenv("VPNPUSH_BENCH_BIN"); p != "" {
		return p, nil
	}
	dir, err := os.MkdirTemp("", "vpnpush-bench-")
	if err != nil {
		return "", err
	}
	p := filepath.Join(dir, "vpnpush")
	out, err := exec.Command("go", "build", "-o", p, ".").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build: %w: %s", err, out)
	}
	return p, err
})

func vpnpushCmd(b testing.TB, args ...string) *exec.Cmd {
	b.Helper()
	p, err := program()
	if err != nil {
		b.Fatal(err)
	}
	return exec.Command(p, args...)
}

// benchInventory is a hub vps and sites.
func benchInventory(b testing.TB, sites []string) string {
	b.Helper()
	var s strings.Builder
	s.WriteString("[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\nssh.host = \"vps\"\n[firewall]\nbackend = \"none\"\n")
	for i, name := range sites {
		fmt.Fprintf(&s, "[sites.%s]\nsubnets = [\"10.%d.%d.0/24\"]\npsk = \"bench-%s-iequ5Ohngai3\"\n", name, 100+i/250, i%250, name)
	}
	inv := filepath.Join(b.TempDir(), "vpnpush.toml")
	writeFile(b, inv, s.String())
	return inv
}

// BenchmarkPlanOne is the latency of a plan of one host behind a round trip of
// 100 ms against `ssh host true`, both cold.
func BenchmarkPlanOne(b *testing.B) {
	lab := benchLab(b)
	config := farHub(b, lab)
	b.Setenv("VPNPUSH_SSH_CONFIG", config)
	inv := benchInventory(b, []string{"tokyo"})
	var ours, floor []time.Duration
	for b.Loop() {
		floor = append(floor, timed(func() { mustRun(b, exec.Command("ssh", "-F", config, "vps", "true")) }))
		ours = append(ours, timed(func() { mustRun(b, vpnpushCmd(b, "plan", "-i", inv, "--limit", "vps")) }))
	}
	m := medians(ours, floor)
	report(b, m[0], m[1], "ssh-true")
}

// BenchmarkAnsible is a check of the same host by testdata/bench/playbook.yml
// against a plan, both behind 100 ms and cold. It wants ansible-playbook here and
// python3 there.
func BenchmarkAnsible(b *testing.B) {
	lab := benchLab(b)
	if _, err := exec.LookPath("ansible-playbook"); err != nil {
		b.Skip("no ansible-playbook on this machine")
	}
	config := farHub(b, lab)
	b.Setenv("VPNPUSH_SSH_CONFIG", config)
	if err := exec.Command("ssh", "-F", config, "vps", "command -v python3").Run(); err != nil {
		b.Skip("no python3 on the lab's hub: apt-get install python3-minimal python3-apt there")
	}
	inv := benchInventory(b, []string{"tokyo"})
	for _, c := range []struct{ name, pipelining string }{{"plain", "0"}, {"pipelining", "1"}} {
		b.Run(c.name, func(b *testing.B) {
			b.Setenv("ANSIBLE_PIPELINING", c.pipelining)
			var ours, theirs []time.Duration
			for i := 0; b.Loop(); i++ {
				theirs = append(theirs, timed(func() {
					mustRun(b, exec.Command("ansible-playbook", "--check", "--diff", "-i", "vps,",
						"--ssh-common-args", fmt.Sprintf("-F %s -o ControlPath=%s/%d", config, b.TempDir(), i),
						os.Getenv("VPNPUSH_BENCH_PLAYBOOK")))
				}))
				ours = append(ours, timed(func() { mustRun(b, vpnpushCmd(b, "plan", "-i", inv, "--limit", "vps")) }))
			}
			m := medians(ours, theirs)
			report(b, m[0], m[1], "ansible")
		})
	}
}

// farHub gives an ssh_config that leads to the lab's hub over a line with a round
// trip of 100 ms.
func farHub(b *testing.B, lab string) string {
	b.Helper()
	p := transporttest.NewProxy(b, "203.0.113.10:22", 50*time.Millisecond)
	known := filepath.Join(b.TempDir(), "known_hosts")
	writeFile(b, known, renamedKeys(b, filepath.Join(lab, "known_hosts"), "203.0.113.10", net.JoinHostPort(p.Host, fmt.Sprint(p.Port))))
	config := filepath.Join(b.TempDir(), "ssh_config")
	writeFile(b, config, fmt.Sprintf("Host vps\n\tHostName %s\n\tPort %d\n\tUser root\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tUserKnownHostsFile %s\n\tBatchMode yes\n",
		p.Host, p.Port, filepath.Join(lab, "id_ed25519"), known))
	return config
}

// renamedKeys gives the lines of a known_hosts for one address, under another.
func renamedKeys(b *testing.B, file, addr, as string) string {
	b.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	var out strings.Builder
	for len(data) > 0 {
		_, hosts, key, _, rest, err := ssh.ParseKnownHosts(data)
		if err == io.EOF {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		if slices.Contains(hosts, addr) {
			fmt.Fprintln(&out, knownhosts.Line([]string{knownhosts.Normalize(as)}, key))
		}
		data = rest
	}
	return out.String()
}

func mustRun(b *testing.B, cmd *exec.Cmd) {
	b.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v\n%.2000s", cmd.Args[:1], err, out.String())
	}
}

// BenchmarkPlanMany is the time of a plan of many hosts, all at once, against as
// many `ssh host true`, all at once.
func BenchmarkPlanMany(b *testing.B) {
	lab := benchLab(b)
	b.Setenv("VPNPUSH_SSH_CONFIG", filepath.Join(lab, "ssh_config"))
	hosts, err := os.ReadFile(filepath.Join(lab, "hosts"))
	if err != nil {
		b.Fatal(err)
	}
	var names []string
	for l := range strings.Lines(string(hosts)) {
		if n := strings.Fields(l)[0]; n != "vps" {
			names = append(names, n)
		}
	}
	inv := benchInventory(b, names)
	all := append([]string{"vps"}, names...)
	var ours, floor []time.Duration
	for b.Loop() {
		floor = append(floor, timed(func() {
			var wg sync.WaitGroup
			for _, h := range all {
				wg.Go(func() {
					if err := exec.Command("ssh", h, "true").Run(); err != nil {
						b.Errorf("ssh %s: %v", h, err)
					}
				})
			}
			wg.Wait()
		}))
		ours = append(ours, timed(func() {
			cmd := vpnpushCmd(b, "plan", "-i", inv, "--forks", fmt.Sprint(len(all)))
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			cmd.Run() // hosts without systemd fail, after they were read
			if !strings.Contains(out.String(), fmt.Sprintf("Plan: %d hosts", len(all))) || strings.Contains(out.String(), "unreachable") {
				b.Errorf("not all hosts were read:\n%.3000s", out.String())
			}
		}))
	}
	m := medians(ours, floor)
	report(b, m[0], m[1], "ssh-true")
	b.ReportMetric(float64(len(all)), "hosts")
}

// BenchmarkOffline is the work that touches no host, for 1,000 sites.
func BenchmarkOffline(b *testing.B) {
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("site%04d", i))
	}
	inv := benchInventory(b, names)
	out := filepath.Join(b.TempDir(), "out")
	for _, c := range []struct{ name, args string }{{"validate", "validate"}, {"render", "render --out " + out}} {
		b.Run(c.name, func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				took = append(took, timed(func() { mustRun(b, vpnpushCmd(b, append([]string{"-i", inv}, strings.Fields(c.args)...)...)) }))
			}
			if c.name != "render" {
				return
			}
			// 7,000 files cost what the file system takes for them
			var floor []time.Duration
			for i := range took {
				floor = append(floor, timed(func() { mustRun(b, exec.Command("cp", "-r", out, fmt.Sprint(out, i))) }))
			}
			m := medians(took, floor)
			b.ReportMetric(float64(m[0])/float64(m[1]), "x-cp")
		})
	}
}

// BenchmarkMemory is the memory of a plan of 1,000 hosts, which are servers of
// this process: the program's own process is measured, at its highest.
func BenchmarkMemory(b *testing.B) {
	const hosts = 1000
	n := newNet(b, b.TempDir())
	r := bareDebian(b)
	s := transporttest.NewServer(b, transporttest.Options{Root: r, Identity: n.id})
	var names []string
	for i := range hosts {
		names = append(names, fmt.Sprintf("site%04d", i))
		if err := n.add(names[i], s.Addr(), "root"); err != nil {
			b.Fatal(err)
		}
	}
	if err := n.add("vps", s.Addr(), "root"); err != nil {
		b.Fatal(err)
	}
	b.Setenv("VPNPUSH_SSH_CONFIG", n.config)
	inv := benchInventory(b, names)
	var rss int64
	for b.Loop() {
		cmd := vpnpushCmd(b, "plan", "-i", inv, "--forks", fmt.Sprint(runtime.NumCPU()*10))
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Run(); err != nil {
			b.Fatalf("%v\n%.2000s", err, errs.String())
		}
		rss = max(rss, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss<<10) // KiB: getrusage(2)
	}
	b.ReportMetric(float64(rss)/(1<<20), "MB-peak")
	b.ReportMetric(0, "ns/op")
}
