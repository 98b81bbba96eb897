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

// BenchmarkPlanOne is the latency of a plan of one host against `ssh host true`, both
// cold, at several round trips. The host is the lab's bare hub, or with
// VPNPUSH_BENCH_INVENTORY the one that VPNPUSH_BENCH_HOST names.
func BenchmarkPlanOne(b *testing.B) {
	lab := benchLab(b)
	inv, host := os.Getenv("VPNPUSH_BENCH_INVENTORY"), os.Getenv("VPNPUSH_BENCH_HOST")
	if inv == "" {
		inv, host = benchInventory(b, []string{"tokyo"}), "vps"
	}
	for _, rtt := range []time.Duration{0, 20 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond} {
		b.Run(rtt.Round(time.Millisecond).String(), func(b *testing.B) {
			config := far(b, lab, host, rtt)
			b.Setenv("VPNPUSH_SSH_CONFIG", config)
			var ours, floor []time.Duration
			for b.Loop() {
				floor = append(floor, timed(func() { mustRun(b, exec.Command("ssh", "-F", config, host, "true")) }))
				ours = append(ours, timed(func() { mustRun(b, vpnpushCmd(b, "plan", "-i", inv, "--limit", host)) }))
			}
			m := medians(ours, floor)
			report(b, m[0], m[1], "ssh-true")
		})
	}
}

// far gives an ssh_config that leads to a host of the lab over a line with that round
// trip.
func far(b *testing.B, lab, host string, rtt time.Duration) string {
	b.Helper()
	hosts, err := os.ReadFile(filepath.Join(lab, "hosts"))
	if err != nil {
		b.Fatal(err)
	}
	var addr string
	for l := range strings.Lines(string(hosts)) {
		if f := strings.Fields(l); f[0] == host {
			addr = f[1]
		}
	}
	p := transporttest.NewProxy(b, net.JoinHostPort(addr, "22"), rtt/2)
	known := filepath.Join(b.TempDir(), "known_hosts")
	writeFile(b, known, renamedKeys(b, filepath.Join(lab, "known_hosts"), addr, net.JoinHostPort(p.Host, fmt.Sprint(p.Port))))
	config := filepath.Join(b.TempDir(), "ssh_config")
	writeFile(b, config, fmt.Sprintf("Host %s\n\tHostName %s\n\tPort %d\n\tUser root\n\tIdentityFile %s\n\tIdentitiesOnly yes\n\tUserKnownHostsFile %s\n\tBatchMode yes\n",
		host, p.Host, p.Port, filepath.Join(lab, "id_ed25519"), known))
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

// benchNet is a hub vps and sites that are one server of this process, the inventory of
// them, and what each costs: the program's own process is measured.
func benchNet(b *testing.B, sites int) (inv string) {
	b.Helper()
	n := newNet(b, b.TempDir())
	s := transporttest.NewServer(b, transporttest.Options{Root: bareDebian(b), Identity: n.id})
	names := make([]string, sites)
	for i := range names {
		names[i] = fmt.Sprintf("site%04d", i)
	}
	for _, name := range append([]string{"vps"}, names...) {
		if err := n.add(name, s.Addr(), "root"); err != nil {
			b.Fatal(err)
		}
	}
	b.Setenv("VPNPUSH_SSH_CONFIG", n.config)
	return benchInventory(b, names)
}

// usage runs the program on such a net, and returns what it took.
func usage(b *testing.B, args ...string) (cpu time.Duration, rss int64) {
	b.Helper()
	cmd := vpnpushCmd(b, append(args, "--forks", fmt.Sprint(runtime.NumCPU()*10))...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState.ExitCode() != 2 { // 2: a drift that found something
		b.Fatalf("%v\n%.2000s", err, errs.String())
	}
	p := cmd.ProcessState
	return p.UserTime() + p.SystemTime(), p.SysUsage().(*syscall.Rusage).Maxrss << 10 // KiB: getrusage(2)
}

// BenchmarkClient is the processor time of the program, and of the ssh that it asks, for
// each host of a plan. ssh_config names all of them.
func BenchmarkClient(b *testing.B) {
	for _, n := range []int{20, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			inv := benchNet(b, n-1)
			var cpu []time.Duration
			for b.Loop() {
				took, _ := usage(b, "plan", "-i", inv)
				cpu = append(cpu, took)
			}
			m := medians(cpu)[0]
			b.ReportMetric(m.Seconds()*1000/float64(n), "ms-cpu/host")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkMemory is the memory of a plan and a drift of 100 and 1,000 hosts, at its
// highest. A drift's is to be flat.
func BenchmarkMemory(b *testing.B) {
	for _, verb := range []string{"plan", "drift"} {
		for _, n := range []int{100, 1000} {
			b.Run(fmt.Sprintf("%s/%d", verb, n), func(b *testing.B) {
				inv := benchNet(b, n)
				var most int64
				for b.Loop() {
					_, rss := usage(b, verb, "-i", inv)
					most = max(most, rss)
				}
				b.ReportMetric(float64(most)/(1<<20), "MB-peak")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
