package main

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// open keeps terminals that a read still waits for: their numbers must not be
// given to other files.
var open []*os.File

// openTerminal opens a terminal, and returns what tells whether it echoes.
func openTerminal(t *testing.T) (master, tty *os.File, echo func() bool) {
	t.Helper()
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
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	open = append(open, master, tty)
	return master, tty, func() bool {
		t.Helper()
		s, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		return s.Lflag&unix.ECHO != 0
	}
}
