package host

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

// answerOf is an answer with these sections and this archive.
func answerOf(sections, archive string) []byte {
	return []byte("vpnpush-facts 1\n\x01host\tuid\n0" + sections + tarMark + archive + endMark + "0\n")
}

// tarOf is an archive of one entry without content.
func tarOf(t testing.TB, h tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	w.Close()
	return b.String()
}

// holes is an archive that GNU tar makes of a file that is one hole.
func holes(t testing.TB, format string, size int64) string {
	t.Helper()
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "f"), nil, 0o600), os.Truncate(filepath.Join(dir, "f"), size)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("tar", "-C", dir, "--sparse", "--format="+format, "-cf", "-", "f").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// A small answer must not become large, nor have in it what nothing of ours is.
func TestFactsBounded(t *testing.T) {
	const huge = 256 << 20
	for _, tt := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"a file of holes, as old GNU tar writes it", answerOf("", holes(t, "gnu", huge)),
			"f is neither a file nor a link nor a folder (tar calls it 'S')"},
		{"a file of holes, as PAX has it", answerOf("", holes(t, "pax", huge)), "f: the host answers without end: its 268435456 bytes are not in the answer"},
		{"a device", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeBlock})), "/etc/f is neither a file nor a link nor a folder (tar calls it '4')"},
		{"a pipe", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeFifo})), "tar calls it '6'"},
		{"another name of a file", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"})), "tar calls it '1'"},
		{"sections without end", answerOf(strings.Repeat("\n\x01host-absent", 200_000), ""), "more parts than anything"},
		{"tabs without end", answerOf("\n\x01absent"+strings.Repeat("\t", 2<<20), ""), ""},
		{"packages without end", answerOf("\n\x01packages\n"+strings.Repeat("p\tinstalled\t1\n", 200_000)+"\n\x01packages-status\t0\n", ""), "more parts than anything"},
		{"names of packages without end", answerOf("\n\x01package-names\n"+strings.Repeat("p ", 200_000), ""), "more parts than anything"},
		{"units without end", answerOf("\n\x01unit-names\n"+strings.Repeat("u ", 200_000), ""), "more parts than anything"},
		{"disks without end", answerOf("\n\x01host\tdf\n"+strings.Repeat("1 /\n", 200_000), ""), "more parts than anything"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := ParseFacts(tt.answer, nil)
			runtime.ReadMemStats(&after)
			if text := fmt.Sprint(err); tt.want != "" && !strings.Contains(text, tt.want) || tt.want == "" && err != nil {
				t.Errorf("err = %v, want %q", err, tt.want)
			}
			if strings.Contains(tt.want, "more parts") && !errors.Is(err, transport.ErrEndless) {
				t.Errorf("err = %v, which is not ErrEndless", err)
			}
			if took := after.TotalAlloc - before.TotalAlloc; took > 32<<20 {
				t.Errorf("an answer of %d KiB took %d MiB", len(tt.answer)>>10, took>>20)
			}
		})
	}
}

// What grows with the tunnels of a hub fits: a host that is refused for its honest answer
// could not be managed at all.
func TestFactsOfALargeHub(t *testing.T) {
	const tunnels = 5000
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	var sections strings.Builder
	text := strings.Repeat("x", 1500)
	for i := range tunnels {
		for _, kind := range []string{"conf", "secrets"} {
			if err := w.WriteHeader(&tar.Header{Name: fmt.Sprintf("/etc/ipsec.d/vpnpush/site%d.%s", i, kind), Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o600}); err != nil {
				t.Fatal(err)
			}
			fmt.Fprint(w, text)
			fmt.Fprintf(&sections, "\n\x01absent\t/etc/ipsec.d/vpnpush/site%d.%s-before", i, kind)
		}
	}
	w.Close()
	answer := answerOf(sections.String(), b.String())
	if most := MaxAnswer(tasks.RoleHub, tunnels); len(answer) > most {
		t.Errorf("%d bytes, more than %d", len(answer), most)
	}
	if _, err := ParseFacts(answer, nil); err != nil {
		t.Error(err)
	}
}

// What an apply tells of itself is shown, so what is too much of it is dropped.
func TestRepliesBounded(t *testing.T) {
	r := &Replies{}
	long := strings.Repeat("x", 1<<20)
	fmt.Fprintf(r, "status\tfailed\nmessage\t%s\nlog\n", long)
	for range 1000 {
		fmt.Fprintf(r, "%s\n", long[:1000])
	}
	fmt.Fprint(r, long)
	if got := r.Reply(); got.Status != StatusFailed || len(got.Message) > maxLine || len(got.Log) > maxLog+2*maxLine {
		t.Errorf("%s, a message of %d bytes, a log of %d", got.Status, len(got.Message), len(got.Log))
	}
}
