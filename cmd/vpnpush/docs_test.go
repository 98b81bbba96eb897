package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// The documents in docs/output.md have the keys that the program
// prints: scripts are written by them.
func TestDocumentsInDocs(t *testing.T) {
	printed := map[string][]string{} // the keys by command
	add := func(b []byte) {
		var d struct{ Command string }
		if json.Unmarshal(b, &d) != nil || d.Command == "" {
			return
		}
		if ks := keys(t, b); len(ks) > len(printed[d.Command]) { // the fullest: lists may be empty
			printed[d.Command] = ks
		}
	}
	scripts, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scripts {
		a, err := txtar.ParseFile(s)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range a.Files {
			add(f.Data)
		}
	}
	goldens, err := filepath.Glob("internal/view/testdata/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range goldens {
		b, err := os.ReadFile(g)
		if err != nil {
			t.Fatal(err)
		}
		add(b)
	}

	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "output.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, block := range strings.Split(string(doc), "```json\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		var d struct{ Command string }
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Errorf("%v in\n%s", err, text)
			continue
		}
		seen[d.Command] = true
		if d.Command == "" || d.Command == "version" || d.Command == "man" { // a part of one; and these are looked at by their scripts
			continue
		}
		want := printed[d.Command]
		for _, k := range keys(t, []byte(text)) {
			if !slices.Contains(want, k) {
				t.Errorf("%s: the program prints no %q; it has %q", d.Command, k, want)
			}
		}
	}
	for _, c := range []string{"plan", "show", "rollback", "validate", "status", "doctor", "history", "render", "bundle", "invite", "export", "adopt", "map", "init", "man", "version", "secret rotate", "site list", "user list"} {
		if !seen[c] {
			t.Errorf("there is no document of %s", c)
		}
	}
}

// keys returns the keys of a document, each with those that it is in, sorted.
func keys(t *testing.T, b []byte) []string {
	t.Helper()
	var v any
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	var out []string
	var walk func(string, any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(at+"[]", e)
			}
		case map[string]any:
			for k, e := range v {
				if !slices.Contains(out, at+"."+k) {
					out = append(out, at+"."+k)
				}
				walk(at+"."+k, e)
			}
		}
	}
	walk("", v)
	slices.Sort(out)
	return out
}
