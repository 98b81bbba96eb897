package main

import (
	"fmt"
	"go/ast"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// reasons are why an error has no mend of its own, in testdata/mends.txt.
var reasons = map[string]string{
	"says":  "its text says what is to be done, or that there is nothing to do",
	"inner": "it is told only as a part of another, which has a mend",
	"bug":   "only a fault of vpnpush's own makes it",
}

// mended are the functions whose errors have a mend by being made in a call of them.
var mended = []string{"WithHint", "Hinted", "Bug", "refuse", "badJump", "backupHint", "unreached", "mendIt", "askAgain", "hinted"}

// Nobody is left alone with an error: each that the code makes has a mend, is of a kind
// that has a general one where it is shown (view.generalMend), or stands in
// testdata/mends.txt with the reason why it needs none. A new one fails until its author
// has chosen; -update adds it, without a reason.
func TestErrorsHaveMends(t *testing.T) {
	const file = "testdata/mends.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]string{}
	for l := range strings.Lines(string(text)) {
		if reason, what, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "\t"); ok {
			listed[what] = reason
		}
	}
	found := map[string]bool{}
	eachSource(t, func(pkg string, f *ast.File) {
		for _, e := range bareErrors(f) {
			found[fmt.Sprintf("%s\t%q", pkg, e)] = true
		}
	})
	var out []string
	for what := range found {
		reason := listed[what]
		if reason == "" && *update {
			reason = "?"
		}
		out = append(out, reason+"\t"+what)
		if reasons[reason] == "" {
			t.Errorf("%s has no mend: give it one with transport.WithHint, or say in %s why it needs none", what, file)
		}
	}
	for what := range listed {
		if !found[what] && !*update {
			t.Errorf("%s: nothing makes %s any more, or it has a mend now", file, what)
		}
	}
	if *update {
		slices.SortFunc(out, func(a, b string) int {
			_, a, _ = strings.Cut(a, "\t")
			_, b, _ = strings.Cut(b, "\t")
			return strings.Compare(a, b)
		})
		if err := os.WriteFile(file, []byte(strings.Join(out, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// What blocks a change, what a plan refuses, what doctor finds and what is wrong in an
// inventory says how it is mended.
func TestBlocksAndFaultsHaveMends(t *testing.T) {
	eachSource(t, func(pkg string, f *ast.File) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if assigns(fn, "Blocked") && !assigns(fn, "Mend") {
				t.Errorf("%s.%s: a change is blocked without a mend", pkg, fn.Name.Name)
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				// where in the arguments of these the mend is
				at, is := map[string]int{"refuse": 0, "errorf": 1, "warnf": 1, "find": 3}[called(call)]
				if !is || at >= len(call.Args) || pkg == "tasks/doctor" && fn.Name.Name == "plan" { // a plan's warning has it in its text
					return true
				}
				if lit, ok := call.Args[at].(*ast.BasicLit); ok && lit.Value == `""` {
					t.Errorf("%s.%s: %s without a mend", pkg, fn.Name.Name, called(call))
				}
				return true
			})
		}
	})
}

// eachSource calls do with each file of the program.
func eachSource(t *testing.T, do func(pkg string, f *ast.File)) {
	t.Helper()
	for _, s := range sources(t) {
		if !s.test && s.dir != "transport/transporttest" && s.dir != "cmd/vpnpush/internal/lab" {
			do(s.dir, s.file)
		}
	}
}

// bareErrors returns the texts of the errors that a file makes, less those with a mend and
// those that wrap another error, and are mended as it is: by its own mend, or by that of
// its kind.
func bareErrors(f *ast.File) (texts []string) {
	has := map[ast.Node]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if slices.Contains(mended, called(call)) {
			for _, arg := range call.Args {
				ast.Inspect(arg, func(n ast.Node) bool { has[n] = true; return true })
			}
		}
		fn, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || has[call] || len(call.Args) == 0 {
			return true
		}
		if from, ok := fn.X.(*ast.Ident); !ok || from.Name+"."+fn.Sel.Name != "fmt.Errorf" && from.Name+"."+fn.Sel.Name != "errors.New" {
			return true
		}
		lit, ok := call.Args[0].(*ast.BasicLit)
		if !ok {
			return true
		}
		if text, err := strconv.Unquote(lit.Value); err == nil && !strings.Contains(text, "%w") {
			texts = append(texts, text)
		}
		return true
	})
	return texts
}

// called returns the name of the function that is called, without its package or value.
func called(call *ast.CallExpr) string {
	switch fn := call.Fun.(type) {
	case *ast.SelectorExpr:
		return fn.Sel.Name
	case *ast.Ident:
		return fn.Name
	}
	return ""
}

// assigns reports whether a function gives a field of that name a value.
func assigns(fn *ast.FuncDecl, field string) (does bool) {
	ast.Inspect(fn, func(node ast.Node) bool {
		switch s := node.(type) {
		case *ast.AssignStmt:
			for _, l := range s.Lhs {
				sel, ok := l.(*ast.SelectorExpr)
				does = does || ok && sel.Sel.Name == field
			}
		case *ast.KeyValueExpr:
			key, ok := s.Key.(*ast.Ident)
			does = does || ok && key.Name == field
		}
		return true
	})
	return does
}
