package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Ctrl-C at a question for a password leaves, and gives the terminal its echo
// back.
func TestInterruptedPassword(t *testing.T) {
	master, tty, echo := openTerminal(t)
	stop := make(chan struct{})
	var stderr bytes.Buffer
	a := &app{stdin: tty, stderr: &stderr, stop: stop, redactor: secret.NewRedactor()}
	if err := a.makeView(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := a.untilStopped(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.askBecomePassword(ctx) }()
	untilAsked(t, echo)
	close(stop)
	select {
	case err := <-done:
		if got := exitCode(err); got != exitInterrupted {
			t.Errorf("exit code %d (%v), want %d", got, err, exitInterrupted)
		}
		if err == nil || err.Error() != "" {
			t.Errorf("error %v, want one that says nothing", err)
		}
	case <-time.After(10 * time.Second):
		master.Write([]byte("\n"))
		t.Fatal("it still waits for the password")
	}
	if !echo() {
		t.Error("the terminal does not echo any more")
	}
}

// untilAsked waits until a terminal does not echo any more: somebody is asked for what
// is not to be seen.
func untilAsked(t *testing.T, echo func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); echo(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not ask")
		}
	}
}
