package main

import (
	"bytes"
	"go/ast"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// manualRoot is the commands as they are when `vpnpush man` runs.
func manualRoot() *cobra.Command {
	root := (&app{}).root()
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	return root
}

// The pages are read by man, whose macros are quietly wrong: two checkers of them find
// nothing in any page.
func TestManualIsClean(t *testing.T) {
	dir := t.TempDir()
	checkers := map[string][]string{"mandoc": {"-T", "lint", "-W", "warning"}, "groff": {"-man", "-Tutf8", "-ww", "-z", "-b", "-Kutf8"}}
	for name, args := range checkers {
		if _, err := exec.LookPath(name); err != nil {
			t.Logf("SKIPPED: there is no %s here", name)
			delete(checkers, name)
			continue
		}
		checkers[name] = args
	}
	pages := withPages(manualRoot())
	if len(pages) < 30 {
		t.Errorf("only %d pages", len(pages))
	}
	for _, cmd := range pages {
		text := page(cmd, "2026-01-02", "1.2.3")
		file := filepath.Join(dir, pageName(cmd)+".1")
		writeFile(t, file, text)
		for _, s := range []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "SEE ALSO"} {
			if strings.Count(text, "\n.SH "+s+"\n") != 1 {
				t.Errorf("%s: no section %s", file, s)
			}
		}
		if strings.Contains(text, "`") || strings.Contains(text, "Exit codes") {
			t.Errorf("%s: what belongs to help is left in it", file)
		}
		for name, args := range checkers {
			if out, err := exec.Command(name, append(slices.Clone(args), file)...).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
}

// What a shell or a terminal of 80 columns makes of a page, of one with everything.
func TestManualPage(t *testing.T) {
	root := manualRoot()
	cmd := &cobra.Command{
		Use: "x NAME --flag LIST", Short: "Do a thing",
		Long: "Does `it -x` to NAME.\n.hidden \\ 'quoted' ~ ^\n\n  a   is 1\n  b   is 2\n\nExit codes: 0 done; 2 a b; and c; 4 d.\nE, 6 both.",
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.Flags().StringSliceP("flag", "f", []string{"a"}, "takes a list (`LIST`)")
	root.AddCommand(cmd)
	const want = `.TH VPNPUSH\-X 1 2026-01-02 "vpnpush 1.2.3" "vpnpush manual"
.nh
.ad l
.SH NAME
vpnpush\-x \- do a thing
.SH SYNOPSIS
\fBvpnpush x\fR\fI NAME \-\-flag LIST [flags]\fR
.SH DESCRIPTION
Does \fBit \-x\fR to NAME.
\&.hidden \e \(aqquoted\(aq \(ti \(ha
.PP
.RS 4
.EX
a   is 1
b   is 2
.EE
.RE
.SH OPTIONS
.TP
\fB\-f\fR, \fB\-\-flag\fR \fILIST\fR
takes a list (default [a]).
.PP
Options that all commands take are in \fBvpnpush\fR(1).
.SH EXIT STATUS
.TP
\fB0\fR
done.
.TP
\fB2\fR
a b; and c.
.TP
\fB4\fR
d. E, 6 both.
.PP
All codes are in \fBvpnpush\fR(1).
.SH SEE ALSO
\fBvpnpush\fR(1),
\fI/usr/share/doc/vpnpush/\fR
`
	if d := cmp.Diff(want, page(cmd, "2026-01-02", "1.2.3")); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// The exit codes of the manual are those of docs/output.md.
func TestExitCodesInManual(t *testing.T) {
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "output.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := bytes.Cut(doc, []byte("## Exit codes\n"))
	table, _, _ = bytes.Cut(table, []byte("\n## "))
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([0-9, ]+) \| (.*) \|$`).FindAllSubmatch(table, -1) {
		want = append(want, string(m[1])+": "+string(m[2]))
	}
	for _, e := range exitMeanings {
		got = append(got, e.codes+": "+e.meaning)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-docs +manual)\n%s", d)
	}
}

// Each variable that is read by its name is in the manual, but for those that a system
// sets to say who somebody is.
func TestEnvironmentInManual(t *testing.T) {
	read := map[string]bool{}
	eachSource(t, func(_ string, f *ast.File) {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && called(call) == "Getenv" && len(call.Args) == 1 {
				if lit, ok := call.Args[0].(*ast.BasicLit); ok {
					name, _ := strconv.Unquote(lit.Value)
					read[name] = true
				}
			}
			return true
		})
	})
	read[identityVariable] = true
	for _, e := range environment {
		if !read[e.name] {
			t.Errorf("the manual has %s, which nothing reads", e.name)
		}
		delete(read, e.name)
	}
	for name := range read {
		if name != "USER" && name != "SUDO_UID" {
			t.Errorf("%s is not in the manual", name)
		}
	}
}

// A package that is built again is the same: pages bear the day of the commit, or the one
// that they are given.
func TestManualDay(t *testing.T) {
	bi := &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.time", Value: "2026-01-02T23:04:05-03:00"}}}
	for epoch, want := range map[string]string{"": "2026-01-03", "86400": "1970-01-02"} {
		if got, err := manualDay(epoch, bi); got != want || err != nil {
			t.Errorf("%q: %s, %v, want %s", epoch, got, err, want)
		}
	}
	if _, err := manualDay("soon", bi); err == nil {
		t.Error("a day that is none is taken")
	}
}
