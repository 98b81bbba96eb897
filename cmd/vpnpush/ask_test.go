package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// open keeps terminals that a read still waits for: their numbers must not be
// given to other files.
var open []*os.File

// Ctrl-C at a question for a password leaves, and gives the terminal its echo
// back.
func TestInterruptedPassword(t *testing.T) {
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	open = append(open, master, tty)
	echo := func() bool {
		s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return s.Lflag&unix.ECHO != 0
	}

	stop := make(chan struct{})
	var stderr bytes.Buffer
	a := &app{stdin: tty, stderr: &stderr, stop: stop}
	done := make(chan error, 1)
	go func() { done <- a.askBecomePassword() }()
	for end := time.Now().Add(10 * time.Second); echo(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not ask")
		}
	}
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
