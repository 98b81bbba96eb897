package inventory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

const oneSite = aHub + "\n[sites.osaka]\naddress = \"10.2.0.1\"\nsubnets = [\"10.2.0.0/24\"]\npsk = \"osaka-ceeph4Oorah6ieQu\"\n"

// inFile writes an inventory into a folder of its own.
func inFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// onlyFile fails where a file was left beside the inventory.
func onlyFile(t *testing.T, path string) {
	t.Helper()
	names, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(names) != 1 {
		t.Errorf("beside the inventory: %v %v", names, err)
	}
}

func mustOpen(t *testing.T, path string) *Draft {
	t.Helper()
	d, diags, err := OpenDraft(t.Context(), path)
	if d == nil {
		t.Fatal(diags, err)
	}
	t.Cleanup(d.Close)
	return d
}

// A link stays a link, and the file that it leads to keeps its mode: a dotfile manager
// has the real one elsewhere.
func TestDraftFollowsLinks(t *testing.T) {
	path := inFile(t, oneSite)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.toml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, link)
	addNara(d)
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	if to, err := os.Readlink(link); to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if !strings.Contains(content(t, path), "[sites.nara]") {
		t.Error("the edit is not in the file")
	}
	onlyFile(t, path)
	onlyFile(t, link)
}

// Whose file it is does not change when root edits it.
func TestDraftKeepsOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	path := inFile(t, oneSite)
	if err := os.Chown(path, 1234, 1235); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SUDO_UID", "1234") // whose inventory root may read
	d := mustOpen(t, path)
	addNara(d)
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if st := info.Sys().(*syscall.Stat_t); err != nil || st.Uid != 1234 || st.Gid != 1235 {
		t.Errorf("it belongs to %d:%d, %v", st.Uid, st.Gid, err)
	}
}

// One who cannot give the file its group again must not open it to another group.
func TestDraftOfAnotherGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away, and become somebody else")
	}
	for mode, writes := range map[os.FileMode]bool{0o600: true, 0o640: false} {
		path := inFile(t, oneSite)
		if err := errors.Join(os.Chmod(path, mode), os.Chown(path, 65534, 0), os.Chown(filepath.Dir(path), 65534, -1), os.Chmod(filepath.Dir(filepath.Dir(path)), 0o755)); err != nil {
			t.Fatal(err)
		}
		// the program is where only root gets
		self := filepath.Join(filepath.Dir(filepath.Dir(path)), "test")
		if text, err := os.ReadFile(os.Args[0]); err != nil || os.WriteFile(self, text, 0o755) != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self, "-test.run", "^TestDraftAsAnother$")
		cmd.Env = append(os.Environ(), "VPNPUSH_TEST_DRAFT="+path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := cmd.CombinedOutput()
		if (err == nil) != writes {
			t.Errorf("mode %v: %v\n%s", mode, err, out)
		}
		if !writes && !strings.Contains(string(out), "belongs to nobody and the group 0, which you cannot give it again") {
			t.Errorf("mode %v: it says\n%s", mode, out)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode || strings.Contains(content(t, path), "nara") != writes {
			t.Errorf("mode %v: %v %v", mode, info, err)
		}
	}
}

// TestDraftAsAnother is what TestDraftOfAnotherGroup runs as somebody else.
func TestDraftAsAnother(t *testing.T) {
	path := os.Getenv("VPNPUSH_TEST_DRAFT")
	if path == "" {
		t.Skip("a part of TestDraftOfAnotherGroup")
	}
	d := mustOpen(t, path)
	addNara(d)
	if err := d.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// What cannot be replaced without a loss is refused at once, and left as it is.
func TestDraftRefusesFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(path string) error
		says string
	}{
		"read-only":   {func(path string) error { return os.Chmod(path, 0o400) }, "is read-only (mode 0400)"},
		"a hard link": {func(path string) error { return os.Link(path, filepath.Join(t.TempDir(), "other.toml")) }, "has another name (a hard link)"},
		"a FIFO":      {func(path string) error { return errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)) }, "is no file"},
	} {
		t.Run(name, func(t *testing.T) {
			path := inFile(t, oneSite)
			if err := tt.do(path); err != nil {
				t.Fatal(err)
			}
			d, _, err := OpenDraft(t.Context(), path)
			if d != nil || err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v, %v", d, err)
			}
		})
	}
}

// What somebody else has saved meanwhile is not overwritten.
func TestDraftOfAnEditedFile(t *testing.T) {
	for name, do := range map[string]func(path string) error{
		"other text": func(path string) error { return os.WriteFile(path, []byte(oneSite+"# mine\n"), 0o600) },
		"the same size": func(path string) error {
			return os.WriteFile(path, []byte(strings.Replace(oneSite, "10.2", "10.4", 1)), 0o600)
		},
		"another target": func(path string) error {
			return errors.Join(os.Rename(path, path+".was"), os.Symlink(path+".was", path))
		},
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			path := inFile(t, oneSite)
			d := mustOpen(t, path)
			addNara(d)
			if err := do(path); err != nil {
				t.Fatal(err)
			}
			want, _ := os.ReadFile(path)
			if err := d.Save(t.Context()); err == nil {
				t.Error("it was written")
			}
			if got, _ := os.ReadFile(path); string(got) != string(want) {
				t.Errorf("it became\n%s", got)
			}
		})
	}
}

// A fault that the edit would bring is one of the edit: nothing is written, and no line
// of a text that nobody sees is named.
func TestDraftWithAFault(t *testing.T) {
	path := inFile(t, oneSite+"\n"+anL2TP)
	for says, edit := range map[string]func(*Draft){
		"sites.nara.subnets 10.2.0.0/16 overlaps sites.osaka.subnets 10.2.0.0/24": func(d *Draft) {
			d.Add([]string{"sites", "nara"}, Pair{[]string{"subnets"}, []string{"10.2.0.0/16"}}, Pair{[]string{"psk"}, secret.New("nara-ieZ0ahngohng0Poo")})
		},
		`site "na\"ra\n": the name "na\"ra\n" cannot be used in file and connection names`: func(d *Draft) {
			d.Add([]string{"sites", "na\"ra\n"}, Pair{[]string{"subnets"}, []string{"10.3.0.0/16"}}, Pair{[]string{"psk"}, secret.New("nara-ieZ0ahngohng0Poo")})
		},
		"edit " + path + ": there is no sites.kobe; nothing was written": func(d *Draft) { d.Remove([]string{"sites", "kobe"}) },
	} {
		d := mustOpen(t, path)
		edit(d)
		err := d.Save(t.Context())
		d.Close()
		if err == nil || err.Error() != says {
			t.Errorf("%v, want %s", err, says)
		}
		var h interface{ Hint() string }
		if !errors.As(err, &h) || h.Hint() == "" {
			t.Errorf("%v has no hint", err)
		}
	}
	if got := content(t, path); got != oneSite+"\n"+anL2TP {
		t.Errorf("it became\n%s", got)
	}
	onlyFile(t, path)
}

// Of edits at the same time none is lost.
func TestDraftsAtOnce(t *testing.T) {
	path := inFile(t, oneSite)
	var wg sync.WaitGroup
	errs := make([]error, 12)
	for i := range errs {
		wg.Go(func() {
			d, diags, err := OpenDraft(t.Context(), path)
			if d == nil {
				errs[i] = fmt.Errorf("%v %w", diags, err)
				return
			}
			defer d.Close()
			d.Add([]string{"sites", fmt.Sprintf("site%d", i)}, Pair{[]string{"subnets"}, []string{fmt.Sprintf("10.100.%d.0/24", i)}}, Pair{[]string{"psk"}, secret.GeneratePSK()})
			errs[i] = d.Save(t.Context())
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if inv, diags := Load(t.Context(), path); inv == nil || len(inv.Sites) != 13 {
		t.Errorf("%v in\n%s", diags, content(t, path))
	}
}

// Who waits for another edit can be told to stop.
func TestDraftStopsWaiting(t *testing.T) {
	path := inFile(t, oneSite)
	mustOpen(t, path)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, diags, err := OpenDraft(ctx, path); d != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v, %v", d, diags, err)
	}
}
