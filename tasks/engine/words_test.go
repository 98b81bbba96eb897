package engine

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks/host"
)

// The words of the apply script stand here by the names that package host has for them,
// which a test holds to the script: one that is spelled out would be understood no more
// once the script changed it, and an apply that went well would be told as lost.
func TestHostsWordsByName(t *testing.T) {
	words := []string{
		host.StatusApplied, host.StatusFailed, host.StatusReverted, host.StatusRevertFailed, host.StatusLocked, host.StatusStale,
		host.StatusNeverStarted, host.StatusDied,
		host.OutcomePending, host.OutcomeConfirmed, host.OutcomeReverted, host.OutcomeRevertFailed, host.OutcomeUntouched, host.OutcomeUnknown,
		host.OutcomeApplied, host.OutcomeRolledBack,
		host.StageStart, host.StageCheck, host.StagePackages, host.StageArm, host.StageWrite, host.StageLive, host.StageReload,
		host.StageVerify, host.StageConfirm, host.StageRevert,
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GenDecl:
				return n.Tok != token.CONST // results of our own, some by the same word
			case *ast.BasicLit:
				seen++
				if s, err := strconv.Unquote(n.Value); err == nil && slices.Contains(words, s) {
					t.Errorf("%s: %q: package host has a name for it", files.Position(n.Pos()), s)
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("no source was read")
	}
}
