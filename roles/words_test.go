package roles

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A second backend, or another packet filter, is one new file only as long as
// nobody else knows the paths, units, packages and commands of the first. Where
// they stand all the same has a reason.
func TestOneFileKnowsABackend(t *testing.T) {
	for _, tt := range []struct {
		words *regexp.Regexp
		home  string            // what begins so is the backend's own
		known map[string]string // path, or folder with a slash: why
	}{
		{
			words: regexp.MustCompile(`ipsec\.conf|ipsec\.secrets|strongswan-starter|strongswan-charon|/etc/ipsec|\bipsec (down|reload|reread[a-z]*|restart|start|status(all)?|stop|up|update)\b`),
			home:  "roles/starter",
			known: map[string]string{
				"inventory/model.go":   `the word of tunnel.backend`,
				"inventory/secrets.go": `a psk that ipsec.secrets cannot carry is refused with its line in the inventory`,
				"tasks/manifest1.go":   `what there was when manifests had format 1`,
				"tasks/charon.go":      `the listings of both daemons are asked for, whichever runs`,
				"tasks/strongswan/":    `the listings of both daemons`,
				"tasks/mask/":          `ipsec.secrets is a syntax with secrets in it`,
				"cmd/vpnpush/adopt.go": `its help says what it reads`,
				"roles/adopt/":         `it reads what an admin wrote by hand, before any backend is chosen`,
			},
		},
		{
			words: regexp.MustCompile(`/etc/swanctl|charon-systemd|strongswan\.service|swanctl --|swanctl\.conf`),
			home:  "roles/swanctl",
			known: map[string]string{
				"roles/starter":      `the keys of both languages are in one charon`,
				"tasks/charon.go":    `the listings of both daemons are asked for, whichever runs`,
				"tasks/charonlog.go": `the log of both daemons`,
				"tasks/strongswan/":  `the listings of both daemons`,
				"tasks/mask/":        `swanctl.conf is a syntax with secrets in it`,
				"roles/adopt/":       `it tells of what stands there, and is not read`,
			},
		},
		{
			words: regexp.MustCompile(`iptables-persistent|netfilter-persistent|/etc/iptables`),
			home:  "roles/iptables",
			known: map[string]string{
				"tasks/manifest1.go": `what there was when manifests had format 1`,
				"tasks/rulesv4.go":   `the kind of task that edits its file`,
				"tasks/iptables/":    `the language of its file`,
				"roles/adopt/":       `it tells of the rules that an admin wrote by hand`,
				"tasks/unit.go":      `why a unit may be for the next boot only`,
			},
		},
	} {
		met := map[string]bool{}
		inTree(t, func(path, text string) {
			word := tt.words.FindString(text)
			if word == "" || strings.HasPrefix(path, tt.home) {
				return
			}
			for place := range tt.known {
				if strings.HasPrefix(path, place) {
					met[place] = true
					return
				}
			}
			t.Errorf("%s knows %q, which is of %s*: ask the backend, or say here why not", path, word, tt.home)
		})
		for place := range tt.known {
			if !met[place] {
				t.Errorf("%s knows nothing of %s* any more: take it out of this test", place, tt.home)
			}
		}
	}
}

// inTree calls f for each file of Go, shell and templates of the program, with its
// path from the module's root.
func inTree(t *testing.T, f func(path, text string)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".."):
			return fs.SkipDir
		case d.IsDir() || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".sh", ".tmpl":
		default:
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		n++
		f(strings.TrimPrefix(filepath.ToSlash(path), "../"), string(text))
		return nil
	})
	if err != nil || n < 100 {
		t.Fatalf("%d files: %v", n, err)
	}
}
