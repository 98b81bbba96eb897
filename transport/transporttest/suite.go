package transporttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/transport"
)

// Suite checks what transport.Conn promises. open gives a new connection to a
// host that has a POSIX shell and coreutils; Suite closes it.
func Suite(t *testing.T, open func(t *testing.T) transport.Conn) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, transport.Conn)
	}{
		{"exit codes", testExitCodes},
		{"signal", testSignal},
		{"stdout and stderr apart", testStreams},
		{"stdin empty", testStdinEmpty},
		{"stdin binary and large", testStdinLarge},
		{"stdin left open", testStdinOpen},
		{"stdin not read", testStdinNotRead},
		{"stdin fails", testStdinFails},
		{"output large", testOutputLarge},
		{"output streamed", testOutputStreamed},
		{"output writer fails", testWriterFails},
		{"output held open", testOutputHeldOpen},
		{"quoting", testQuoting},
		{"longest script", testLongestScript},
		{"environment", testEnvironment},
		{"cancel", testCancel},
		{"canceled before", testCanceledBefore},
		{"concurrent", testConcurrent},
		{"closed", testClosed},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "_"), func(t *testing.T) {
			c := open(t)
			t.Cleanup(func() { c.Close() })
			tt.test(t, c)
		})
	}
}

// run runs a script that must end well.
func run(t *testing.T, c transport.Conn, script string, stdin io.Reader) transport.Result {
	t.Helper()
	res, err := c.Run(t.Context(), transport.Cmd{Script: script, Stdin: stdin})
	if err != nil {
		t.Fatalf("run: %v", err)
	}
	return res
}

// exitError returns err as an *ExitError, the only error that says that the
// program ran.
func exitError(t *testing.T, err error) *transport.ExitError {
	t.Helper()
	var e *transport.ExitError
	if !errors.As(err, &e) {
		t.Fatalf("err = %v, want an ExitError", err)
	}
	return e
}

func testExitCodes(t *testing.T, c transport.Conn) {
	for _, code := range []int{0, 1, 2, 75, 127, 255} {
		res, err := c.Run(t.Context(), transport.Cmd{Script: fmt.Sprintf("echo out; echo err >&2; exit %d", code)})
		if string(res.Stdout) != "out\n" || string(res.Stderr) != "err\n" {
			t.Errorf("exit %d: result %q", code, res)
		}
		if code == 0 {
			if err != nil {
				t.Errorf("exit 0: %v", err)
			}
			continue
		}
		e := exitError(t, err)
		if e.Code != code || e.Signal != "" || string(e.Stderr) != "err\n" {
			t.Errorf("exit %d: %#v", code, e)
		}
	}
}

func testSignal(t *testing.T, c transport.Conn) {
	_, err := c.Run(t.Context(), transport.Cmd{Script: "kill -KILL $$"})
	e := exitError(t, err)
	// sudo and nested shells turn a signal into 128+n.
	if e.Signal != "KILL" && e.Code != 137 {
		t.Errorf("%#v, want signal KILL or code 137", e)
	}
}

func testStreams(t *testing.T, c transport.Conn) {
	res := run(t, c, `i=0; while [ $i -lt 200 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done`, nil)
	var out, errs strings.Builder
	for i := range 200 {
		fmt.Fprintf(&out, "o%d\n", i)
		fmt.Fprintf(&errs, "e%d\n", i)
	}
	if string(res.Stdout) != out.String() || string(res.Stderr) != errs.String() {
		t.Errorf("streams are mixed up: %d and %d bytes", len(res.Stdout), len(res.Stderr))
	}
}

func testStdinEmpty(t *testing.T, c transport.Conn) {
	if res := run(t, c, "cat; echo end", nil); string(res.Stdout) != "end\n" {
		t.Errorf("stdout %q", res.Stdout)
	}
}

// noise is binary and the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func testStdinLarge(t *testing.T, c transport.Conn) {
	data := noise(5 << 20)
	res := run(t, c, "sha256sum", bytes.NewReader(data))
	if want := fmt.Sprintf("%x  -\n", sha256.Sum256(data)); string(res.Stdout) != want {
		t.Errorf("got %q, want %q", res.Stdout, want)
	}
}

func testStdinOpen(t *testing.T, c transport.Conn) {
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, "line\n")
	if res := run(t, c, `read -r x; echo "got $x"`, r); string(res.Stdout) != "got line\n" {
		t.Errorf("stdout %q", res.Stdout)
	}
}

func testStdinNotRead(t *testing.T, c transport.Conn) {
	if res := run(t, c, "exec <&-; echo done", bytes.NewReader(noise(4<<20))); string(res.Stdout) != "done\n" {
		t.Errorf("stdout %q", res.Stdout)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// A script that saw the end of its input after half of it would write half a
// file.
func testStdinFails(t *testing.T, c transport.Conn) {
	broken := errors.New("broken source")
	_, err := c.Run(t.Context(), transport.Cmd{
		Script: "cat >/dev/null && exit 3",
		Stdin:  io.MultiReader(strings.NewReader("half"), brokenReader{broken}),
	})
	if !errors.Is(err, broken) {
		t.Errorf("err = %v, want the reader's", err)
	}
	var e *transport.ExitError
	if errors.As(err, &e) {
		t.Errorf("the program's end was taken for an answer: %v", e)
	}
}

func testOutputLarge(t *testing.T, c transport.Conn) {
	const n = 10 << 20
	res := run(t, c, fmt.Sprintf(`head -c %d /dev/zero | tr '\0' '\377'`, n), nil)
	if len(res.Stdout) != n || bytes.Count(res.Stdout, []byte{0xff}) != n {
		t.Errorf("got %d bytes, want %d of 0xff", len(res.Stdout), n)
	}
}

// notify is a writer that says what it has.
type notify struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	seen chan string
}

func (n *notify) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buf.Write(p)
	select {
	case n.seen <- n.buf.String():
	default:
	}
	return len(p), nil
}

func testOutputStreamed(t *testing.T, c transport.Conn) {
	n := &notify{seen: make(chan string, 16)}
	r, w := io.Pipe()
	go func() {
		// The program waits for this line: it comes only if its output has come.
		for s := range n.seen {
			if strings.Contains(s, "ready\n") {
				io.WriteString(w, "go\n")
				w.Close()
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	res, err := c.Run(ctx, transport.Cmd{Script: `echo ready; read -r x; echo "$x"`, Stdin: r, Stdout: n})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Stdout) != 0 || n.buf.String() != "ready\ngo\n" {
		t.Errorf("result %q, writer %q", res.Stdout, n.buf.String())
	}
}

type fullWriter struct{ err error }

func (w fullWriter) Write([]byte) (int, error) { return 0, w.err }

func testWriterFails(t *testing.T, c transport.Conn) {
	full := errors.New("disk full")
	_, err := c.Run(t.Context(), transport.Cmd{Script: "head -c 4000000 /dev/zero", Stdout: fullWriter{full}})
	if !errors.Is(err, full) {
		t.Errorf("err = %v, want the writer's", err)
	}
}

func testOutputHeldOpen(t *testing.T, c transport.Conn) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	res, err := c.Run(ctx, transport.Cmd{Script: "sleep 60 & echo started"})
	if err != nil || string(res.Stdout) != "started\n" {
		t.Errorf("%q, %v: a process left behind must not hold Run", res.Stdout, err)
	}
}

func testQuoting(t *testing.T, c transport.Conn) {
	for _, s := range []string{
		"", " ", "it's", `"`, `\`, `\\n`, "$HOME", "`id`", "$(id)", "a\nb\n", "!x", "*", "~", "ä€😀", "%s", "-n", "\x01\x7f\xff", "'\\''", "vpnpush: root",
	} {
		if res := run(t, c, "printf '[%s]' "+transport.Quote(s), nil); string(res.Stdout) != "["+s+"]" {
			t.Errorf("%q came as %q", s, res.Stdout)
		}
	}
	// A script is what sh -c takes, whatever it begins or ends with.
	if res := run(t, c, "# comment\n\ncat <<'EOF'\nit's $here\nEOF\n# no line end", nil); string(res.Stdout) != "it's $here\n" {
		t.Errorf("here document came as %q", res.Stdout)
	}
	_, err := c.Run(t.Context(), transport.Cmd{Script: "echo 'unclosed"})
	if e := exitError(t, err); e.Code != 2 {
		t.Errorf("syntax error: %#v, want exit status 2", e)
	}
}

func testLongestScript(t *testing.T, c transport.Conn) {
	// A quote costs four bytes on the way.
	line := "echo 'some words of a script, with quotes' >/dev/null\n"
	script := strings.Repeat(line, (transport.MaxScript-20)/len(line)) + "echo end"
	script += strings.Repeat("#", transport.MaxScript-1-len(script)-2) + "\n"
	script = strings.Replace(script, "echo end#", "echo end #", 1)
	if len(script) != transport.MaxScript-1 {
		t.Fatalf("script of %d bytes", len(script))
	}
	if res := run(t, c, script, nil); string(res.Stdout) != "end\n" {
		t.Errorf("stdout %q", res.Stdout)
	}
	_, err := c.Run(t.Context(), transport.Cmd{Script: script + "#"})
	var e *transport.ExitError
	if err == nil || errors.As(err, &e) {
		t.Errorf("script of MaxScript: err = %v, want a refusal", err)
	}
	_, err = c.Run(t.Context(), transport.Cmd{Script: "echo \x00"})
	if err == nil || errors.As(err, &e) {
		t.Errorf("script with a zero byte: err = %v, want a refusal", err)
	}
}

func testEnvironment(t *testing.T, c transport.Conn) {
	res := run(t, c, `echo "$LC_ALL"; case :$PATH: in *:/usr/sbin:*) echo sbin;; esac`, nil)
	if string(res.Stdout) != "C\nsbin\n" {
		t.Errorf("got %q", res.Stdout)
	}
}

func testCancel(t *testing.T, c transport.Conn) {
	ctx, cancel := context.WithCancel(t.Context())
	n := &notify{seen: make(chan string, 1)}
	go func() { <-n.seen; cancel() }()
	_, err := c.Run(ctx, transport.Cmd{Script: "echo ready; sleep 60", Stdout: n})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("err = %v", err)
	}
	// Others on the same connection do not mind.
	if res := run(t, c, "echo alive", nil); string(res.Stdout) != "alive\n" {
		t.Errorf("stdout %q", res.Stdout)
	}
}

func testCanceledBefore(t *testing.T, c transport.Conn) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, transport.Cmd{Script: "true"}); !errors.Is(err, context.Canceled) {
		t.Errorf("err = %v", err)
	}
}

func testConcurrent(t *testing.T, c transport.Conn) {
	var wg sync.WaitGroup
	for i := range 5 {
		wg.Go(func() {
			data := strings.Repeat(fmt.Sprint(i), 200_000)
			res, err := c.Run(t.Context(), transport.Cmd{Script: "cat", Stdin: strings.NewReader(data)})
			if err != nil || string(res.Stdout) != data {
				t.Errorf("run %d: %d bytes, %v", i, len(res.Stdout), err)
			}
		})
	}
	wg.Wait()
}

func testClosed(t *testing.T, c transport.Conn) {
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	_, err := c.Run(t.Context(), transport.Cmd{Script: "true"})
	var e *transport.ExitError
	if err == nil || errors.As(err, &e) {
		t.Errorf("err = %v, want one that is no ExitError", err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}
