package host

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/transport"
)

// answerOf is an answer with these sections and this archive.
func answerOf(sections, archive string) []byte {
	return []byte("vpnpush-facts 1\n\x01host\tuid\n0" + sections + tarMark + archive + endMark)
}

// tarOf is an archive of one entry; GNU sparse has its size where tar.Writer cannot say it.
func tarOf(t testing.TB, h tar.Header, content string, realSize int64) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	gnu := h.Typeflag == tar.TypeGNUSparse
	if gnu {
		h.Typeflag, h.Format = tar.TypeReg, tar.FormatGNU
	}
	if err := w.WriteHeader(&h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	w.Close()
	out := b.Bytes()
	if gnu {
		out[156] = tar.TypeGNUSparse
		copy(out[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, h.Size)) // one piece, and holes after it
		copy(out[483:], fmt.Sprintf("%011o\x00", realSize))
		copy(out[148:], "        ") // the checksum is made as if it were blank
		sum := 0
		for _, c := range out[:512] {
			sum += int(c)
		}
		copy(out[148:], fmt.Sprintf("%06o\x00 ", sum))
	}
	return string(out)
}

// paxSparse is an archive as GNU tar writes it with --sparse --format=pax.
func paxSparse(t testing.TB, realSize int64) string {
	const content = "1\n0\n4\n"
	body := content + strings.Repeat("\x00", 512-len(content)) + "data"
	h := tar.Header{Name: "/etc/GNUSparseFile.0/f", Typeflag: tar.TypeReg, Size: int64(len(body)), Mode: 0o644}
	plain := tarOf(t, h, body, 0)
	var records string
	for _, kv := range [][2]string{{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "/etc/f"}, {"GNU.sparse.realsize", fmt.Sprint(realSize)}} {
		n := len(kv[0]) + len(kv[1]) + 3
		n += len(fmt.Sprint(n + len(fmt.Sprint(n))))
		records += fmt.Sprintf("%d %s=%s\n", n, kv[0], kv[1])
	}
	head := tarOf(t, tar.Header{Name: "/PaxHeaders/f", Typeflag: tar.TypeReg, Size: int64(len(records)), Mode: 0o644}, records, 0)
	b := []byte(head[:len(head)-1024]) // without its end
	b[156] = tar.TypeXHeader
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return string(b) + plain
}

// A small answer must not become large, nor have in it what nothing of ours is.
func TestFactsBounded(t *testing.T) {
	const huge = 256 << 20
	for _, tt := range []struct {
		name   string
		answer []byte
		want   string
	}{
		{"a file of holes, as old GNU tar writes it", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeGNUSparse, Size: 4, Mode: 0o644}, "data", huge)),
			"/etc/f is neither a file nor a link nor a folder (tar calls it 'S')"},
		{"a file of holes, as PAX has it", answerOf("", paxSparse(t, huge)), "/etc/f: the host answers without end: its 268435456 bytes are not in the answer"},
		{"a device", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeBlock}, "", 0)), "/etc/f is neither a file nor a link nor a folder (tar calls it '4')"},
		{"a pipe", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeFifo}, "", 0)), "tar calls it '6'"},
		{"another name of a file", answerOf("", tarOf(t, tar.Header{Name: "/etc/f", Typeflag: tar.TypeLink, Linkname: "/etc/shadow"}, "", 0)), "tar calls it '1'"},
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
			_, err := ParseFacts(bytes.NewReader(tt.answer))
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
	if most := MaxAnswer(tunnels); len(answer) > most {
		t.Errorf("%d bytes, more than %d", len(answer), most)
	}
	if _, err := ParseFacts(bytes.NewReader(answer)); err != nil {
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
