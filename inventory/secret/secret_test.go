package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
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
		{"env not set", Source{Env: "VPNPUSH_TEST_NONE"}, "", "environment variable VPNPUSH_TEST_NONE is not set"},
		{"file from dir", Source{File: "one"}, plain, ""},
		{"absolute file", Source{File: filepath.Join(dir, "one")}, plain, ""},
		{"one newline is taken off", Source{File: "two"}, plain + "\n", ""},
		{"DOS line end", Source{File: "dos"}, plain, ""},
		{"no file", Source{File: "none"}, "", "no such file"},
		{"command in dir", Source{Command: []string{"cat", "one"}}, plain, ""},
		{"no such command", Source{Command: []string{"./no-such-program"}}, "", "run ./no-such-program"},
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

// An ended context stops a command, also when its child holds the pipes, and is
// the error that is told.
func TestSourceReadStops(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := Source{Command: []string{"sh", "-c", "sleep 5 & wait"}}.Read(ctx, t.TempDir())
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the context's", err)
	}
}
