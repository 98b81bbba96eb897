package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const plain = "s3cret-Tokyo-key"

// No way of printing a Value, or anything that holds one, shows its text.
func TestValueIsNeverPrinted(t *testing.T) {
	v := New(plain)
	type private struct{ psk Value }
	type public struct {
		Name string
		PSK  Value
	}
	containers := map[string]any{
		"value":          v,
		"pointer":        &v,
		"struct":         public{"tokyo", v},
		"struct pointer": &public{"tokyo", v},
		"unexported":     private{v},
		"nested":         struct{ in struct{ p *private } }{struct{ p *private }{&private{v}}},
		"map":            map[string]Value{"psk": v},
		"map key":        map[Value]int{v: 1},
		"slice":          []Value{v},
		"any":            []any{v, &v},
		"wrapped error":  fmt.Errorf("write secret: %w", fmt.Errorf("value %v", v)),
		"joined error":   errors.Join(fmt.Errorf("%s", v), fmt.Errorf("%+v", private{v})),
		"array":          [1]Value{v},
	}
	for name, c := range containers {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%t", "%10s"} {
			if got := fmt.Sprintf(verb, c); leaks(got) {
				t.Errorf("%s with %s shows the secret: %s", name, verb, got)
			}
		}
	}
}

func leaks(s string) bool {
	return strings.Contains(s, plain) ||
		strings.Contains(s, fmt.Sprintf("%x", plain)) || strings.Contains(s, fmt.Sprintf("%X", plain))
}

func TestValueEncoders(t *testing.T) {
	v := New(plain)
	b, err := json.Marshal(map[string]any{"v": v, "p": &v, "s": struct{ PSK Value }{v}, "m": map[Value]Value{v: v}})
	if err != nil || leaks(string(b)) || !strings.Contains(string(b), `"v":"(secret)"`) {
		t.Errorf("json: %s, %v", b, err)
	}
	if b, err := v.MarshalText(); err != nil || string(b) != Mask {
		t.Errorf("text: %s, %v", b, err)
	}
	if got := v.String(); got != Mask {
		t.Errorf("String() = %q", got)
	}
}

func TestValueText(t *testing.T) {
	var zero Value
	if !zero.IsZero() || zero.Reveal() != "" || New("").IsZero() || New(plain).Reveal() != plain {
		t.Error("a set Value and the zero one are not told apart")
	}
	if !New("a").Equal(New("a")) || New("a").Equal(New("b")) || zero.Equal(New("")) {
		t.Error("Equal does not compare the texts")
	}
}

// Generated keys must pass every file and shell unquoted, and not repeat.
func TestGenerate(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		s := Generate(40).Reveal()
		if len(s) != 40 || strings.Trim(s, alphabet) != "" || seen[s] {
			t.Fatalf("generated %q", s)
		}
		seen[s] = true
	}
	if strings.ContainsAny(alphabet, `Il1Oo0"'\ `) {
		t.Error("the alphabet has characters that are mistaken for others")
	}
}

func TestSourceRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("one", plain+"\n")
	write("two", plain+"\n\n")
	write("dos", plain+"\r\n")
	t.Setenv("VPNPUSH_TEST_SECRET", plain)
	for _, tt := range []struct {
		name    string
		source  Source
		want    string
		wantErr string
	}{
		{"env", Source{Env: "VPNPUSH_TEST_SECRET"}, plain, ""},
		{"env not set", Source{Env: "VPNPUSH_TEST_NONE"}, "", "environment variable that env names is not set"},
		{"file from dir", Source{File: "one"}, plain, ""},
		{"absolute file", Source{File: filepath.Join(dir, "one")}, plain, ""},
		{"one newline is taken off", Source{File: "two"}, plain + "\n", ""},
		{"DOS line end", Source{File: "dos"}, plain, ""},
		{"no file", Source{File: "none"}, "", "no such file"},
		{"command in dir", Source{Command: []string{"cat", "one"}}, plain, ""},
		{"no such command", Source{Command: []string{"./no-such-program"}}, "", "no such program as its command begins with: no such file"},
		{"not in PATH", Source{Command: []string{"no-such-program"}}, "", "no such program as its command begins with: executable file not found"},
		{"endless file", Source{File: "/dev/zero"}, "", "larger than 64 KiB"},
		{"endless command", Source{Command: []string{"yes"}}, "", "run yes: it prints more than 64 KiB"},
		{"endless complaint", Source{Command: []string{"sh", "-c", "yes >&2"}}, "", "run sh: it prints more than 64 KiB"},
		{"failing command", Source{Command: []string{"sh", "-c", "echo " + plain + "; echo locked >&2; exit 3"}}, "", "run sh: exit status 3: locked"},
		{"nothing", Source{}, "", "without a source"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := tt.source.Read(context.Background(), dir)
			if v.Reveal() != tt.want {
				t.Errorf("got another secret than wanted (%d bytes, want %d)", len(v.Reveal()), len(tt.want))
			}
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			if err != nil && leaks(err.Error()) {
				t.Errorf("the error shows what the command printed: %v", err)
			}
		})
	}
}

// Each way to a secret that gives no answer ends when the run does, and by itself
// when its own time is up: a FIFO that nobody writes to, and a command.
func TestSourceReadStops(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancelCause(context.Background())
	cutOff := errors.New("cut off")
	cancel(cutOff)
	for name, read := range map[string]func(context.Context, time.Duration) error{
		"file": func(ctx context.Context, limit time.Duration) error {
			_, _, err := readFile(ctx, limit, fifo, maxText)
			return err
		},
		"command": func(ctx context.Context, limit time.Duration) error {
			_, err := runCommand(ctx, limit, dir, []string{"sleep", "600"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			if err := read(ended, time.Hour); !errors.Is(err, cutOff) {
				t.Errorf("error %v, want why the run ended", err)
			}
			if err := read(context.Background(), time.Millisecond); !errors.Is(err, ErrSlow) {
				t.Errorf("error %v, want that it was too slow", err)
			}
		})
	}
}

// A command that ignores SIGTERM, and whose child holds its pipes, ends all the
// same, and leaves no child behind.
func TestSourceReadLeavesNoChild(t *testing.T) {
	if onTerminal() {
		t.Skip("on a terminal Ctrl-C ends what a command started")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	var pid string
	go func() {
		defer cancel()
		for !strings.HasSuffix(pid, "\n") && t.Context().Err() == nil {
			b, _ := os.ReadFile(filepath.Join(dir, "child"))
			pid = string(b)
		}
	}()
	_, err := Source{Command: []string{"sh", "-c", "trap '' TERM; sleep 600 & echo $! >child; wait"}}.Read(ctx, dir)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the context's", err)
	}
	if state, err := exec.Command("ps", "-o", "stat=", "-p", strings.TrimSpace(pid)).Output(); err == nil && !strings.HasPrefix(string(state), "Z") {
		t.Errorf("a child is left: %s", state)
	}
}
