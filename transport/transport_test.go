package transport

import (
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// A word that the shell reads otherwise would run as something else, as root.
func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "plain-word_1.2/3", "it's", "$(id)", "a\nb", "-n", "~", "!x", "\\", "\xff", "a=b", "#c", "'\\''"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := range len(s) {
			if s[i] == 0 {
				return // no argument can hold it
			}
		}
		out, err := exec.Command("/bin/sh", "-c", "printf %s "+Quote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q reads as %q, %v", s, out, err)
		}
	})
}

// The text of an exit names what happened and what the program said.
func TestExitErrorText(t *testing.T) {
	for _, tt := range []struct {
		err  ExitError
		want string
	}{
		{ExitError{Code: 3}, "exit status 3"},
		{ExitError{Code: 3, Stderr: []byte("no space\n")}, "exit status 3: no space"},
		{ExitError{Signal: "KILL"}, "killed by SIGKILL"},
		{ExitError{Code: 3, Stderr: []byte(strings.Repeat("x", 8<<10))}, "exit status 3: (...)" + strings.Repeat("x", 4<<10)},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// A mend must not hide what callers branch on.
func TestHintKeepsTheError(t *testing.T) {
	err := fmt.Errorf("connect: %w", WithHint(fmt.Errorf("%w: x", ErrAuth), "use %s", "a key"))
	var h Hinter
	if !errors.Is(err, ErrAuth) || !errors.As(err, &h) || h.Hint() != "use a key" || err.Error() != "connect: not let in: x" {
		t.Errorf("%v, %v", err, h)
	}
}
