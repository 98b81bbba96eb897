package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func runMap(t *testing.T, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	args = append([]string{"map", "-i", "testdata/map.toml"}, args...)
	if got := run(context.Background(), nil, args, strings.NewReader(""), &out, &err); got != code {
		t.Fatalf("%q: exit code %d, want %d\n%s", args, got, code, err.String())
	}
	return out.String(), err.String()
}

// The picture in the documentation is what the program draws.
func TestMapInDocs(t *testing.T) {
	got, _ := runMap(t, 0, "-o", "-")
	path := filepath.Join("..", "..", "docs", "map.svg")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what map draws; look at it, and run the test with -update", path)
	}
}

// A map is made to be shown around: no secret of the inventory may be in it,
// and a failed one must not leave half a file in the place of a good one.
func TestMapFiles(t *testing.T) {
	dir := t.TempDir()
	for name, want := range map[string]string{"net.svg": "<svg ", "net.dot": "graph vpn {", "net.mmd": "flowchart TB"} {
		path := filepath.Join(dir, name)
		runMap(t, 0, "-o", path)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []string{want, "tokyo", "192.168.12.0/24", "alice", "203.0.113.10"} {
			if !bytes.Contains(b, []byte(s)) {
				t.Errorf("%s has no %q:\n%s", name, s, b)
			}
		}
		if bytes.Contains(b, []byte("canary")) {
			t.Errorf("%s has a secret:\n%s", name, b)
		}
		st, err := os.Stat(path)
		if err != nil || st.Mode().Perm() != 0o644 {
			t.Errorf("%s: %v %v", name, st.Mode(), err)
		}
	}
	for _, out := range []string{"net.png", "net", ""} {
		if _, stderr := runMap(t, 1, "-o", out); !strings.Contains(stderr, ".svg, .dot or .mmd") {
			t.Errorf("-o %q: %s", out, stderr)
		}
	}
	runMap(t, 1, "-o", filepath.Join(dir, "gone", "net.svg"))
	if _, stderr := runMap(t, 1, "-o", filepath.Join(dir, "x.svg"), "--limit", "tokio"); !strings.Contains(stderr, "tokyo") {
		t.Errorf("a misspelt name: %s", stderr)
	}
	if got, _ := runMap(t, 0, "-o", "-", "--limit", "tokyo"); strings.Contains(got, "osaka") || !strings.Contains(got, "tokyo") {
		t.Error("--limit tokyo draws other sites")
	}
}

// A hub that is not reached is an error, but the picture is drawn: with unknown
// tunnels, never with old or guessed ones.
func TestMapLiveWithoutHub(t *testing.T) {
	b, err := os.ReadFile("testdata/map.toml")
	if err != nil {
		t.Fatal(err)
	}
	inv := filepath.Join(t.TempDir(), "vpnpush.toml")
	// the port of nobody, on this machine
	text := strings.Replace(string(b), "[hub]\n", "[hub]\nssh = { host = \"127.0.0.1\", port = 1, user = \"root\" }\n", 1)
	if err := os.WriteFile(inv, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, stderr := runMap(t, 4, "-i", inv, "-o", "-", "--live")
	if !strings.Contains(got, "unknown: 5") || !strings.Contains(got, "up: 0") || strings.Contains(got, "seen ") {
		t.Errorf("the picture does not say that nothing is known:\n%s", got)
	}
	if !strings.Contains(stderr, "vps: ") {
		t.Errorf("the error does not name the hub: %s", stderr)
	}
}

// Who asks for a document learns which sites the picture has no room for.
func TestMapLeftOut(t *testing.T) {
	var out, err bytes.Buffer
	inv := newFleet(t, 303).inventory
	file := filepath.Join(t.TempDir(), "net.svg")
	if code := run(t.Context(), nil, []string{"map", "-i", inv, "-o", file, "--json"}, strings.NewReader(""), &out, &err); code != 0 {
		t.Fatal(code, err.String())
	}
	var doc struct {
		LeftOut []string `json:"left_out"`
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil || !slices.Equal(doc.LeftOut, []string{"site00300", "site00301", "site00302"}) {
		t.Errorf("%v: %v are left out", err, doc.LeftOut)
	}
}
