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
	"runtime/debug"
	"syscall"

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
	code := run(ctx, stop, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	cancel()
	os.Exit(code)
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
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, stop: stop, redactor: secret.NewRedactor()}
	return a.execute(ctx, args)
}
