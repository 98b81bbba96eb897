package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/vpnpush/vpnpush/"

// layers are the imports of our own that docs/architecture.md allows, by package.
// Imports point down only: what is pure stays pure, and what must not see a
// network, a secret or a terminal cannot.
var layers = map[string][]string{
	"inventory/secret": {},
	"tasks/diff":       {},
	"transport":        {},
	"inventory":        {"inventory/secret"},
	"tasks/mask":       {},
	"tasks/strongswan": {},
	"tasks/iptables":   {},
	"tasks/security":   {},
	"tasks/host":       {"tasks", "tasks/mask", "tasks/strongswan", "transport", "inventory/secret"},
	"tasks":            {"tasks/iptables", "tasks/mask", "tasks/strongswan", "transport", "inventory/secret"},
	// transport for its hints alone: what a host cannot carry comes with a mend
	"roles":                       {"tasks/host", "tasks/iptables", "tasks/security", "tasks/strongswan", "inventory", "inventory/secret", "tasks", "tasks/mask", "transport"},
	"roles/clients":               {"inventory", "inventory/secret"},
	"roles/adopt":                 {"inventory", "inventory/secret", "tasks", "tasks/mask", "tasks/strongswan", "transport"},
	"tasks/engine":                {"tasks/host", "tasks/iptables", "tasks/security", "tasks/strongswan", "tasks", "tasks/mask", "transport", "inventory/secret"},
	"transport/sshconn":           {"transport"},
	"transport/transporttest":     {"transport"},
	"cmd/vpnpush/internal/lab":    {},
	"cmd/vpnpush/internal/words":  {},
	"cmd/vpnpush/internal/netmap": {"cmd/vpnpush/internal/words"},
	"tasks/doctor":                {"tasks/host", "tasks/iptables", "tasks/security", "tasks/strongswan", "tasks", "transport"},
	"cmd/vpnpush/internal/view":   {"cmd/vpnpush/internal/words", "inventory", "tasks/host", "tasks/strongswan", "tasks/engine", "tasks/doctor", "tasks", "tasks/diff", "tasks/mask", "transport"}, // transport: errors with hints
	"cmd/vpnpush":                 {"tasks/strongswan", "cmd/vpnpush/internal/netmap", "cmd/vpnpush/internal/view", "cmd/vpnpush/internal/words", "inventory", "inventory/secret", "roles", "roles/adopt", "roles/clients", "tasks", "tasks/diff", "tasks/doctor", "tasks/engine", "transport", "transport/sshconn"},
}

// forTests are packages that no program may hold.
var forTests = []string{"transport/transporttest", "cmd/vpnpush/internal/lab"}

// outside names who may import a package that is not ours, with the reason. A
// "/..." after a path stands for all below it.
var outside = []struct {
	imports string
	allowed []string
	why     string
}{
	{"os/exec", []string{"transport/sshconn", "inventory/secret", "transport/transporttest", "cmd/vpnpush/internal/lab"},
		"only a transport, and a secret that is a command, start programs"},
	{"os", []string{"transport/sshconn", "inventory", "inventory/secret", "tasks/engine", "transport/transporttest", "cmd/vpnpush/..."},
		"tasks and roles are functions of inventory and facts: they read no file and no environment"},
	{"net", []string{"transport/sshconn", "transport/transporttest"}, "everything that touches a network is in transport"},
	{"net/http", nil, "vpnpush talks SSH and nothing else"},
	{"golang.org/x/crypto/ssh/...", []string{"transport/sshconn", "transport/transporttest", "inventory/secret"}, "everything that touches a network is in transport; a key of ssh can open secrets"},
	{"filippo.io/age/...", []string{"inventory/secret"}, "what is encrypted, and how, is between secret and age"},
	{"github.com/spf13/cobra", []string{"cmd/vpnpush"}, "commands and flags are the program's"},
	{"golang.org/x/term", []string{"cmd/vpnpush"}, "what a terminal is like is passed down"},
	{"log", nil, "only view prints"},
	{"log/slog", nil, "only view prints"},
	{"math/rand", nil, "crypto/rand makes keys, and nothing else here is left to chance"},
	{"testing", forTests, "a program holds no tests"},
}

type source struct {
	dir, path string // slashes, from the module's root
	test      bool
	fset      *token.FileSet
	file      *ast.File
}

// sources parses every Go file of the module. It asks no `go list`: what
// another system or build tag would build counts too.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	var out []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "vendor" || len(d.Name()) > 2 && d.Name()[0] == '.') {
			return fs.SkipDir
		}
		if d.IsDir() || filepath.Ext(path) != ".go" {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		out = append(out, source{filepath.ToSlash(filepath.Dir(rel)), rel, strings.HasSuffix(rel, "_test.go"), fset, f})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 30 {
		t.Fatalf("only %d files of Go were found", len(out))
	}
	return out
}

// Imports that point up, or around the layers, would come in one convenient line
// at a time.
func TestImports(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		own, known := layers[s.dir]
		if !known {
			t.Errorf("%s: the package %s has no place: add it to docs/architecture.md and to this test", s.path, s.dir)
			continue
		}
		for _, im := range s.file.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			at := s.fset.Position(im.Pos()).Line
			if p, ours := strings.CutPrefix(path, module); ours {
				switch {
				case slices.Contains(forTests, p):
					if !s.test {
						t.Errorf("%s:%d: imports %s, which is for tests only", s.path, at, p)
					}
				case p == s.dir && s.test: // its external test
				case !slices.Contains(own, p):
					t.Errorf("%s:%d: %s imports %s: imports point down only, and it may import %v", s.path, at, s.dir, p, own)
				}
				continue
			}
			for _, o := range outside {
				if !s.test && covers(o.imports, path) && !slices.ContainsFunc(o.allowed, func(a string) bool { return covers(a, s.dir) }) {
					t.Errorf("%s:%d: imports %s: %s", s.path, at, path, o.why)
				}
			}
		}
	}
	for dir := range layers {
		if !slices.ContainsFunc(sources(t), func(s source) bool { return s.dir == dir }) {
			t.Errorf("the package %s is gone: take it out of this test", dir)
		}
	}
}

func covers(pattern, path string) bool {
	if p, all := strings.CutSuffix(pattern, "/..."); all {
		return path == p || strings.HasPrefix(path, p+"/")
	}
	return path == pattern
}

// `go doc` joins all package comments it finds, in the order of the files; and
// says nothing where there is none.
func TestPackageDocs(t *testing.T) {
	docs := map[string][]string{}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		if docs[s.dir] == nil {
			docs[s.dir] = []string{}
		}
		if s.file.Doc != nil {
			docs[s.dir] = append(docs[s.dir], s.path)
		}
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = "Vpnpush " // as go.dev/doc/comment says of programs
		}
		if s.file.Doc != nil && !strings.HasPrefix(s.file.Doc.Text(), want) {
			t.Errorf("%s: the package comment begins with %.40q, not with %q", s.path, s.file.Doc.Text(), want)
		}
	}
	for dir, files := range docs {
		if len(files) != 1 {
			t.Errorf("package %s has %d package comments, not one: %v", dir, len(files), files)
		}
	}
}

// What is printed past the view is not redacted, not JSON, and mixes with
// progress; and an os.Exit below main skips what is deferred.
func TestOnlyMainHoldsTheProcess(t *testing.T) {
	type use struct{ pkg, name string }
	forbidden := map[use]string{
		{"os", "Exit"}:     "run returns the exit code",
		{"os", "Stdout"}:   "the streams are passed down",
		{"os", "Stderr"}:   "the streams are passed down",
		{"os", "Stdin"}:    "the streams are passed down",
		{"os", "Args"}:     "the arguments are passed down",
		{"fmt", "Print"}:   "only view prints",
		{"fmt", "Printf"}:  "only view prints",
		{"fmt", "Println"}: "only view prints",
	}
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				u := use{x.Name, n.Sel.Name}
				if why, bad := forbidden[u]; bad && (s.path != "cmd/vpnpush/main.go" || u.pkg == "fmt") {
					t.Errorf("%s: %s.%s: %s", s.fset.Position(n.Pos()), u.pkg, u.name, why)
				}
			case *ast.CallExpr:
				if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "print" || id.Name == "println") {
					t.Errorf("%s: %s: only view prints", s.fset.Position(n.Pos()), id.Name)
				}
			}
			return true
		})
	}
}

// streams are the functions that may touch standard output and standard error,
// and why. The rest of the program has them from the view alone, so that what it
// prints is redacted, is JSON where JSON was asked for, and clears the progress
// away first.
var streams = map[string]string{
	"main":     "they are the process's own",
	"run":      "a panic is told without the view: it may be the view's",
	"execute":  "cobra writes help and completions, which hold no inventory",
	"makeView": "the view gets them",
	"screen":   "a terminal is asked how high it is",
}

// Only the program's own package is handed the streams, so it is here that they
// could be written to past the view.
func TestOnlyViewWrites(t *testing.T) {
	writers := map[string]bool{"fmt.Fprint": true, "fmt.Fprintf": true, "fmt.Fprintln": true, "io.WriteString": true, "io.Copy": true}
	used := map[string]bool{}
	for _, s := range sources(t) {
		if s.test || s.dir != "cmd/vpnpush" {
			continue
		}
		for _, d := range s.file.Decls {
			in := "a variable"
			if f, ok := d.(*ast.FuncDecl); ok {
				in = f.Name.Name
			} else if g := d.(*ast.GenDecl); g.Tok != token.VAR {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.Ident:
					if name := strings.ToLower(n.Name); name != "stdout" && name != "stderr" {
						break
					}
					used[in] = true
					if _, may := streams[in]; !may {
						t.Errorf("%s: %s uses %s: print through the view", s.fset.Position(n.Pos()), in, n.Name)
					}
				case *ast.CallExpr:
					sel, ok := n.Fun.(*ast.SelectorExpr)
					if !ok || len(n.Args) == 0 {
						break
					}
					x, ok := sel.X.(*ast.Ident)
					if !ok || !writers[x.Name+"."+sel.Sel.Name] {
						break
					}
					// a buffer of its own is written to by its address
					if u, own := n.Args[0].(*ast.UnaryExpr); (!own || u.Op != token.AND) && in != "run" {
						t.Errorf("%s: %s.%s in %s: print through the view", s.fset.Position(n.Pos()), x.Name, sel.Sel.Name, in)
					}
				}
				return true
			})
		}
	}
	for f, why := range streams {
		if !used[f] {
			t.Errorf("%s does not use the streams any more (%s): take it out of this test", f, why)
		}
	}
}
