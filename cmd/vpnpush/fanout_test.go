package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// fleet is many sites, which each shard reaches at a server of its own in this process.
// Each answers a drift as a bare Debian does.
type fleet struct {
	dir, inventory string
	root           *transporttest.Root
	answers        sync.Map // by script
}

func newFleet(tb testing.TB, sites int) *fleet {
	var names []string
	for i := range sites {
		names = append(names, siteName(i))
	}
	return &fleet{dir: tb.TempDir(), inventory: benchInventory(tb, names), root: bareDebian(tb)}
}

// answer is what a host says to a script. The first says what all do: a shell for each
// would be most of the cost.
func (f *fleet) answer(script string) string {
	answer, _ := f.answers.LoadOrStore(script, sync.OnceValue(func() string { return f.root.Run(script) }))
	return answer.(func() string)()
}

// shardRun is a drift of a shard that writes its report to a file.
type shardRun struct {
	*exec.Cmd
	server *transporttest.Server
	report string
	errs   bytes.Buffer
}

func (f *fleet) shard(tb testing.TB, number, of int) *shardRun {
	n := newNet(tb, tb.TempDir())
	r := &shardRun{server: transporttest.NewServer(tb, transporttest.Options{Identity: n.id}), report: filepath.Join(f.dir, fmt.Sprintf("shard-%d.json", number))}
	if err := n.add("site*", r.server.Addr(), "root"); err != nil {
		tb.Fatal(err)
	}
	r.server.OnExec(func(_ int, command string) transporttest.Fault {
		return transporttest.Fault{Play: func(p transporttest.Player) {
			io.WriteString(p.Stdout, f.answer(command))
			p.Exit(0)
		}}
	})
	out, err := os.Create(r.report)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { out.Close() })
	r.Cmd = vpnpushCmd(tb, "-i", f.inventory, "drift", "--json", "--shard", fmt.Sprintf("%d/%d", number, of))
	r.Env = append(os.Environ(), "VPNPUSH_SSH_CONFIG="+n.config, "SSH_AUTH_SOCK=", "XDG_STATE_HOME="+f.dir)
	r.Stdout, r.Stderr = out, &r.errs
	return r
}

// merge returns the sites of the merged reports, by how often each is in it, and what was
// said is missing.
func (f *fleet) merge(tb testing.TB, code int, reports []string) (sites map[string]int, stderr string) {
	cmd := vpnpushCmd(tb, append([]string{"merge", "--json"}, reports...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		tb.Fatalf("merge: %v, want exit code %d\n%s", err, code, errs.String())
	}
	var doc struct {
		Hosts []struct{ Name, Result, Error string }
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		tb.Fatal(err)
	}
	sites = map[string]int{}
	for _, h := range doc.Hosts {
		if h.Result != "pending" { // as a host is that was never applied to
			tb.Errorf("%s is %s: %s", h.Name, h.Result, h.Error)
		}
		sites[h.Name]++
	}
	return sites, errs.String()
}

// fanOut drifts over all sites in shards side by side, of which one dies on the way and is
// run again. It returns the CPU time and the memory, each at its highest, that a shard took.
func fanOut(tb testing.TB, sites, shards int) (cpu time.Duration, mb int64) {
	const dying = 3
	f := newFleet(tb, sites)
	var runs []*shardRun
	var reports []string
	has := make([]int, shards+1) // how many sites a shard has
	for n := 1; n <= shards; n++ {
		for i := range sites {
			if (inventory.Shard{Number: n, Of: shards}).Has(siteName(i)) {
				has[n]++
			}
		}
		runs = append(runs, f.shard(tb, n, shards))
		reports = append(reports, runs[n-1].report)
	}
	// it dies while it waits for ten of its sites
	var asked atomic.Int32
	doomed := make(chan struct{})
	runs[dying-1].server.OnExec(func(int, string) transporttest.Fault {
		if asked.Add(1) == 10 {
			close(doomed)
		}
		return transporttest.Fault{Hang: true}
	})
	for _, r := range runs {
		if err := r.Start(); err != nil {
			tb.Fatal(err)
		}
	}
	<-doomed
	runs[dying-1].Process.Kill()
	check := func(n int, r *shardRun) {
		r.Wait()
		if code := r.ProcessState.ExitCode(); code != exitChanges {
			tb.Errorf("shard %d: exit code %d\n%.1000s", n, code, r.errs.String())
		}
		if got := r.server.Counts().Connections; got != has[n] {
			tb.Errorf("shard %d asks %d sites, and has %d", n, got, has[n])
		}
		cpu = max(cpu, r.ProcessState.UserTime()+r.ProcessState.SystemTime())
		mb = max(mb, r.ProcessState.SysUsage().(*syscall.Rusage).Maxrss>>10) // KiB: getrusage(2)
	}
	for i, r := range runs {
		if i+1 == dying {
			r.Wait()
		} else {
			check(i+1, r)
		}
	}
	left := sites - has[dying]
	if got, missing := f.merge(tb, exitBoth, reports); len(got) != left {
		tb.Errorf("with one that died: %d sites, want %d", len(got), left)
	} else if want := fmt.Sprintf("shard %d of %d is missing, and with it %d of %d sites", dying, shards, has[dying], sites); !strings.Contains(missing, want) {
		tb.Errorf("no %q in\n%s", want, missing)
	}

	again := f.shard(tb, dying, shards)
	if err := again.Start(); err != nil {
		tb.Fatal(err)
	}
	check(dying, again)
	got, missing := f.merge(tb, exitChanges, reports)
	for i := range sites {
		if got[siteName(i)] != 1 {
			tb.Errorf("%s is in it %d times", siteName(i), got[siteName(i)])
		}
	}
	if len(got) != sites || strings.Contains(missing, "missing:") {
		tb.Errorf("%d sites, want %d: %s", len(got), sites, missing)
	}
	// they shared what drift remembers on this machine
	b, err := os.ReadFile(filepath.Join(f.dir, "vpnpush", "vps.json"))
	var state driftState
	if err != nil || json.Unmarshal(b, &state) != nil || len(state.Hosts) != sites {
		tb.Errorf("%v: %d of %d sites are remembered", err, len(state.Hosts), sites)
	}
	return cpu, mb
}

func siteName(i int) string { return fmt.Sprintf("site%05d", i) }

// Eight shards, each a process of its own, ask every site, and none asks another's; one
// that is killed on the way is told by the merge, with an exit code that is no success.
func TestFanOut(t *testing.T) {
	t.Parallel()
	fanOut(t, 240, 8)
}

// BenchmarkFanOut is the same with as many sites as docs/scale.md says.
func BenchmarkFanOut(b *testing.B) {
	for b.Loop() {
		cpu, mb := fanOut(b, 5000, 8)
		b.ReportMetric(cpu.Seconds(), "s-cpu-shard")
		b.ReportMetric(float64(mb), "MB-shard")
	}
}
