package diff

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The text of a diff, byte for byte, in the cases where unified diffs are easy
// to get wrong.
func TestUnified(t *testing.T) {
	ten := "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"
	tests := map[string]struct{ old, new, want string }{
		"equal":         {"a\n", "a\n", ""},
		"both empty":    {"", "", ""},
		"created":       {"", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		"emptied":       {"a\n", "", "@@ -1 +0,0 @@\n-a\n"},
		"newline gone":  {"a\n", "a", "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n"},
		"newline added": {"a\nb", "a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"},
		"no newline on either side": {"a\nb", "c\nb",
			"@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"},
		"three lines of context": {ten, strings.Replace(ten, "5\n", "five\n", 1),
			"@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"},
		"six equal lines join hunks": {ten, "one" + ten[1:14] + "eight" + ten[15:],
			"@@ -1,10 +1,10 @@\n-1\n+one\n 2\n 3\n 4\n 5\n 6\n 7\n-8\n+eight\n 9\n 10\n"},
		"seven part them": {ten, "one" + ten[1:16] + "nine" + ten[17:],
			"@@ -1,4 +1,4 @@\n-1\n+one\n 2\n 3\n 4\n@@ -6,5 +6,5 @@\n 6\n 7\n 8\n-9\n+nine\n 10\n"},
		"inserted in front": {"a\n", "b\na\n", "@@ -1 +1,2 @@\n+b\n a\n"},
		"not UTF-8":         {"\xff\n", "\xfe\n", "@@ -1 +1 @@\n-\xff\n+\xfe\n"},
		// go-diff 1.3.1 wrote line numbers as text, "1,2,3" against "1,2,9", and
		// compared that by character.
		"lines 123 and 129": {numbered(123), numbered(122) + "x\n",
			"@@ -120,4 +120,4 @@\n line 120\n line 121\n line 122\n-line 123\n+x\n"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := tt.want
			if want != "" {
				want = "--- old\n+++ new\n" + want
			}
			got := unified("old", "new", []byte(tt.old), []byte(tt.new))
			if d := cmp.Diff(want, string(got)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if want == "" && got != nil {
				t.Errorf("equal texts gave %q, not nil", got)
			}
		})
	}
}

func numbered(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	return b.String()
}

// Every diff of random texts, applied by patch(1), gives the new text: the
// format is the one others read, and no line is lost or mixed with another.
func TestPatchReproduces(t *testing.T) {
	patch, err := exec.LookPath("patch")
	if err != nil {
		t.Skip("patch(1) is not installed, so nothing independent can read the diffs")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	for i := range 150 {
		old, new := randomPair(rnd)
		d := unified("file", "file", old, new)
		if bytes.Equal(old, new) {
			continue
		}
		file := filepath.Join(dir, fmt.Sprint(i))
		if err := os.WriteFile(file, old, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(patch, "--binary", "--fuzz=0", "--silent", file)
		cmd.Stdin = bytes.NewReader(d)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("case %d: %v: %s\n%s", i, err, out, d)
		}
		// patch removes a file that a diff empties.
		got, err := os.ReadFile(file)
		if err != nil && len(new) > 0 {
			t.Fatal(err)
		}
		if !bytes.Equal(got, new) {
			t.Fatalf("case %d: patched to %q, want %q\n%s", i, got, new, d)
		}
	}
}

// randomPair makes a text and an edit of it, with lines that repeat and more
// than 100 distinct ones, where go-diff's old encoding broke.
func randomPair(rnd *rand.Rand) (old, new []byte) {
	line := func() string { return fmt.Sprintf("line %d\n", rnd.IntN(1+rnd.IntN(300))) }
	var a, b []string
	for range rnd.IntN(200) {
		a = append(a, line())
	}
	for _, l := range a {
		switch rnd.IntN(12) {
		case 0:
		case 1:
			b = append(b, line())
		case 2:
			b = append(b, l, line())
		default:
			b = append(b, l)
		}
	}
	cut := func(l []string) []byte {
		s := strings.Join(l, "")
		if rnd.IntN(4) == 0 {
			s = strings.TrimSuffix(s, "\n")
		}
		return []byte(s)
	}
	return cut(a), cut(b)
}

// apply is a second reader of hunks, strict about every number and line.
func apply(old []byte, hs []Hunk) (string, error) {
	src := lines(old)
	var out []string
	at := 0
	for _, h := range hs {
		start := h.OldStart - 1
		if h.OldLines == 0 {
			start = h.OldStart
		}
		if start < at || start > len(src) {
			return "", fmt.Errorf("hunk %s starts outside of the text", h.Header())
		}
		out = append(out, src[at:start]...)
		at = start
		newStart := h.NewStart - 1
		if h.NewLines == 0 {
			newStart = h.NewStart
		}
		if newStart != len(out) {
			return "", fmt.Errorf("hunk %s lands on line %d", h.Header(), len(out))
		}
		n, m := 0, 0
		for _, l := range h.Lines {
			text := l.Text
			if !l.NoEOL {
				text += "\n"
			}
			if l.Kind != Insert {
				if at >= len(src) || src[at] != text {
					return "", fmt.Errorf("hunk %s: %q is not in the old text", h.Header(), text)
				}
				at++
				n++
			}
			if l.Kind != Delete {
				out = append(out, text)
				m++
			}
		}
		if n != h.OldLines || m != h.NewLines {
			return "", fmt.Errorf("hunk %s holds %d and %d lines", h.Header(), n, m)
		}
	}
	return strings.Join(append(out, src[at:]...), ""), nil
}

// More distinct lines than two-byte runes have room for, across the surrogates
// that go-diff's encoding must step over; and a text too large to compare.
func TestManyLines(t *testing.T) {
	old := []byte(numbered(70_000))
	new := bytes.Replace(old, []byte("line 35000\n"), []byte("changed\n"), 1)
	new = bytes.Replace(new, []byte("line 69000\n"), nil, 1)
	hs := hunks(compare(lines(old), lines(new)))
	if len(hs) != 2 {
		t.Errorf("%d hunks, want 2", len(hs))
	}
	if got, err := apply(old, hs); err != nil || got != string(new) {
		t.Errorf("hunks do not give the new text: %v", err)
	}

	old, new = []byte(strings.Repeat("a\n", maxLines)), []byte("b\n")
	if got, err := apply(old, Hunks(old, new)); err != nil || got != string(new) {
		t.Errorf("beyond maxLines: hunks do not give the new text: %v", err)
	}
}

func FuzzHunks(f *testing.F) {
	f.Add([]byte("a\nb\nc\n"), []byte("a\nc"))
	f.Add([]byte(""), []byte("\n\n"))
	f.Add([]byte("x\xffy\r\n"), []byte("x\n"))
	f.Fuzz(func(t *testing.T, old, new []byte) {
		hs := Hunks(old, new)
		if (len(hs) == 0) != bytes.Equal(old, new) {
			t.Fatalf("%d hunks between %q and %q", len(hs), old, new)
		}
		got, err := apply(old, hs)
		if err != nil || got != string(new) {
			t.Fatalf("%q -> %q: got %q, %v", old, new, got, err)
		}
	})
}

// unified returns the unified diff that hunks make, with oldName and newName in its two
// header lines, or nil for none: what patch(1) is to read.
func unified(oldName, newName string, old, new []byte) []byte {
	hunks := Hunks(old, new)
	if len(hunks) == 0 {
		return nil
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "--- %s\n+++ %s\n", oldName, newName)
	for _, h := range hunks {
		b.WriteString(h.Header() + "\n")
		for _, l := range h.Lines {
			b.WriteByte(byte(l.Kind))
			b.WriteString(l.Text + "\n")
			if l.NoEOL {
				b.WriteString(NoNewline + "\n")
			}
		}
	}
	return b.Bytes()
}
