// Vpnpush joins Debian offices behind NAT to a hub with a fixed address: it
// plans and applies strongSwan and L2TP on all of them from one inventory, over
// SSH. See README.md and docs/.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	stop := make(chan struct{})
	sigs := make(chan os.Signal, 2)
	signal.Notify(sigs, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-sigs // once: what runs ends well, nothing new is begun
		close(stop)
		<-sigs // twice: the hosts revert by themselves
		cancel()
	}()
	// A run is short. That nobody is told to collect what it drops before it is so much more
	// is worth a third of its processor time; it is never touched, and takes no memory.
	ballast := make([]byte, 32<<20)
	defer runtime.KeepAlive(ballast)
	quit := quitCode(cancel)
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	cancel()
	os.Exit(max(code, int(quit.Load())))
}

// quitCode makes SIGQUIT and SIGABRT end the program as a second Ctrl-C does, also
// where something does not hear that. It returns the exit code then, which is what
// a shell says of a signal and above every other. Go's own is 2: that means drift.
func quitCode(cancel context.CancelFunc) *atomic.Int32 {
	code := &atomic.Int32{}
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, syscall.SIGQUIT, syscall.SIGABRT)
	go func() {
		sig := <-sigs
		code.Store(128 + int32(sig.(syscall.Signal)))
		cancel()
		time.Sleep(time.Second) // for what the terminal was told, such as not to echo
		os.Exit(int(code.Load()))
	}()
	return code
}

// run is the whole program but for its process. It returns the exit code.
func run(ctx context.Context, stop <-chan struct{}, args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if r := recover(); r != nil {
			// 2 would look like drift
			fmt.Fprintf(stderr, "vpnpush: this is a bug: %v\n%s", r, debug.Stack())
			code = exitPanic
		}
	}()
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: stop, redactor: secret.NewRedactor(), identity: takeIdentity()}
	return a.execute(ctx, args)
}
