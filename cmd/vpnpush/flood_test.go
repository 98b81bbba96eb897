package main

import (
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// floods are what ten hosts answer that are no longer their owner's. Each ends after a
// while, so that a program without limits fails the test, and does not take the machine.
var floods = []func(transporttest.Player){
	func(p transporttest.Player) { pour(p.Stdout, "x") },
	func(p transporttest.Player) { io.WriteString(p.Stdout, factsHead); pour(p.Stdout, "x") },
	func(p transporttest.Player) { io.WriteString(p.Stdout, factsHead); pour(p.Stdout, "\n\x01absent\t/a") },
	func(p transporttest.Player) { pour(p.Stderr, "x") },
	func(p transporttest.Player) {
		io.WriteString(p.Stdout, factsHead+"\n\x01files\n"+holes()+"\n\x01end\t0\n")
		p.Exit(0)
	},
	// as much as may be, in the smallest parts
	func(p transporttest.Player) {
		io.WriteString(p.Stdout, factsHead+strings.Repeat("\n\x01absent\t/a", 300_000)+"\n\x01files\n\n\x01end\t0\n")
		p.Exit(0)
	},
}

const factsHead = "vpnpush-facts 1\n\x01host\tuid\n0"

func pour(w io.Writer, what string) {
	chunk := []byte(strings.Repeat(what, 32<<10/len(what)))
	for range 128 << 20 / len(chunk) {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// holes is an archive of some KB, of a file that is one hole of 256 MiB.
var holes = sync.OnceValue(func() string {
	out, err := exec.Command("sh", "-c", `set -e; d=$(mktemp -d); truncate -s 256M "$d/f"; tar -C "$d" --sparse --format=gnu -cf - f; rm -r "$d"`).Output()
	if err != nil {
		panic(err)
	}
	return string(out)
})

// Ten hosts that answer without end take neither the memory of the run nor the answers of
// the hundred others.
func TestFloodingHosts(t *testing.T) {
	const good, mostMB = 100, 150
	n := newNet(t, t.TempDir())
	s := transporttest.NewServer(t, transporttest.Options{Root: bareDebian(t), Identity: n.id})
	var names []string
	add := func(name string, s *transporttest.Server) {
		if err := n.add(name, s.Addr(), "root"); err != nil {
			t.Fatal(err)
		}
		if name != "vps" {
			names = append(names, name)
		}
	}
	for i := range 10 { // first by name, so that they are at it all at once
		evil := transporttest.NewServer(t, transporttest.Options{Identity: n.id})
		evil.OnExec(func(int, string) transporttest.Fault { return transporttest.Fault{Play: floods[i%len(floods)]} })
		if i == 0 {
			add("vps", evil)
		} else {
			add(fmt.Sprintf("evil%d", i), evil)
		}
	}
	for i := range good {
		add(fmt.Sprintf("good%03d", i), s)
	}
	cmd := vpnpushCmd(t, "-i", benchInventory(t, names), "plan")
	cmd.Env = append(cmd.Environ(), "VPNPUSH_SSH_CONFIG="+n.config, "SSH_AUTH_SOCK=")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &errs, time.Minute
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != exitHosts {
		t.Fatalf("%v, want exit code %d\n%.2000s", err, exitHosts, errs.String())
	}
	if got := strings.Count(out.String(), "the host answers without end") + strings.Count(out.String(), "neither a file"); got != 10 {
		t.Errorf("%d hosts are told as answering without end, want 10", got)
	}
	for _, name := range append(names, "vps") {
		_, text, _ := strings.Cut("\n"+out.String(), "\n"+name+" (")
		text, _, _ = strings.Cut(text, "\n")
		if evil := !strings.HasPrefix(name, "good"); evil != strings.Contains(text, "failed") || evil == strings.Contains(text, "changes") {
			t.Errorf("%s is told as %q", name, text)
		}
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10 // KiB: getrusage(2)
	t.Logf("%d MB at its highest", rss)
	// the race detector keeps a shadow of it, and on a busy machine the collector comes late to that
	if rss > mostMB && !racing {
		t.Errorf("it took %d MB, more than %d", rss, mostMB)
	}
}
