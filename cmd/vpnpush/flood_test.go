package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strings"
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
		io.WriteString(p.Stdout, factsHead+"\n\x01files\n"+sparseTar(256<<20)+"\n\x01end\t0\n")
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

// sparseTar is an archive of 1.5 KB, of one file that is one hole.
func sparseTar(size int64) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "/etc/f", Typeflag: tar.TypeReg, Mode: 0o644, Format: tar.FormatGNU}); err != nil {
		panic(err)
	}
	w.Close()
	out := b.Bytes()
	out[156] = tar.TypeGNUSparse
	copy(out[483:], fmt.Sprintf("%011o\x00", size))
	copy(out[148:], "        ") // the checksum is made as if it were blank
	sum := 0
	for _, c := range out[:512] {
		sum += int(c)
	}
	copy(out[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(out)
}

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
	add("vps", s)
	for i := range 10 { // first by name, so that they are at it all at once
		evil := transporttest.NewServer(t, transporttest.Options{Identity: n.id})
		evil.OnExec(func(int, string) transporttest.Fault { return transporttest.Fault{Play: floods[i%len(floods)]} })
		add(fmt.Sprintf("evil%d", i), evil)
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
		if evil := strings.HasPrefix(name, "evil"); evil != strings.Contains(text, "failed") || evil == strings.Contains(text, "changes") {
			t.Errorf("%s is told as %q", name, text)
		}
	}
	rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss >> 10 // KiB: getrusage(2)
	t.Logf("%d MB at its highest", rss)
	if rss > mostMB {
		t.Errorf("it took %d MB, more than %d", rss, mostMB)
	}
}
