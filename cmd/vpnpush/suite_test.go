package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every test on the true lab is in one of the Makefile's lists, which `make test` leaves out
// and `make test-rest` runs, but for those that a variable of `make test-all` or `make chaos`
// asks for; and a name there is that of a test.
func TestTrueLab(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + ` *:= (\S+)$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("the Makefile has no %s", name)
		}
		return string(m[1])
	}
	listed := strings.Split(list("TRUELAB")+"|"+list("TRUEONCE"), "|")
	listed = append(listed, "FaultsClock", "Adopt", "Export")

	var files []string
	for _, pattern := range []string{"*_test.go", "internal/lab/*_test.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, names...)
	}
	var found, all []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			all = append(all, strings.TrimPrefix(fn.Name.Name, "TestE2E"))
			starts := false
			ast.Inspect(fn, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && called(call) == "StartVM" {
					starts = true
				}
				return true
			})
			if starts {
				found = append(found, strings.TrimPrefix(fn.Name.Name, "TestE2E"))
			}
		}
	}
	for _, name := range strings.Split(list("LONG"), "|") {
		if !slices.Contains(all, name) {
			t.Errorf("LONG has %s, which is no test", name)
		}
	}
	slices.Sort(listed)
	slices.Sort(found)
	if !slices.Equal(listed, found) {
		t.Errorf("the Makefile has the tests on the true lab\n%q, and those that start one are\n%q", listed, found)
	}
}

// CI leaves the tests on the true lab out only where it knows that the change is of
// something else.
func TestTouched(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("SKIPPED: there is no git here")
	}
	script, err := filepath.Abs("../../.ci/touched")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(env string, argv ...string) int {
		t.Helper()
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "CI_BASE="+env)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if argv[0] == "git" && err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
		return cmd.ProcessState.ExitCode()
	}
	commit := func(path string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), []byte(path), 0o600); err != nil {
			t.Fatal(err)
		}
		run("", "git", "add", ".")
		run("", "git", "commit", "-q", "-m", path)
	}
	expect := func(what, base string, code int) {
		t.Helper()
		if got := run(base, script, "tasks", "docs/e2e_*"); got != code {
			t.Errorf("%s: exit code %d, want %d", what, got, code)
		}
	}
	expect("no repository", "", 0)
	run("", "git", "init", "-q", "-b", "main")
	expect("no commit", "", 0)
	commit("tasks/a.go")
	expect("a first commit, with nothing before it", "", 0)
	commit("docs/a.md")
	expect("the last commit touches another path", "", 1)
	expect("all since the base do not", "HEAD^", 1)
	expect("a base that is not there", "gone", 0)
	run("", "git", "branch", "start", "HEAD")
	commit("tasks/b.go")
	commit("docs/b.md")
	expect("the last commit of main alone", "", 1)
	expect("a commit since the base does", "start", 0)
	run("", "git", "update-ref", "refs/remotes/origin/main", "start")
	expect("a commit since origin/main does", "", 0)
	run("", "git", "update-ref", "refs/remotes/origin/main", "HEAD")
	expect("origin/main is what is checked out", "", 1)
	commit("docs/e2e_a.go")
	expect("a pattern", "", 0)
}
