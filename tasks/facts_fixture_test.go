package tasks

import "testing"

// answered makes Facts of commands that ran, by name, as a probe would.
func answered(commands map[string]CommandState, files ...FileState) Facts {
	f := Facts{commands: commands, files: map[string]FileState{}}
	for _, s := range files {
		f.files[s.Path] = s
	}
	return f
}

func says(stdout string) CommandState { return CommandState{Stdout: []byte(stdout)} }

func mustCheck(t *testing.T, task Task, f Facts) *Change {
	t.Helper()
	c, err := task.Check(f)
	if err != nil {
		t.Fatalf("check %s: %v", task.ID(), err)
	}
	return c
}

// Bare returns the facts of a host that has nothing of what reads ask for: no
// such file, package, unit or command.
func Bare(reads []Read) Facts {
	f := Facts{
		files: map[string]FileState{ManifestPath: {Path: ManifestPath}, RevertFailedPath: {Path: RevertFailedPath}}, globs: map[string]bool{},
		packages: map[string]PackageState{}, units: map[string]UnitState{}, sysctls: map[string]SysctlState{}, commands: map[string]CommandState{},
	}
	for _, r := range reads {
		switch r.Kind {
		case ReadFile:
			f.files[r.Arg] = FileState{Path: r.Arg}
		case ReadGlob:
			f.globs[r.Arg] = true
		case ReadPackage:
			f.packages[r.Arg] = PackageState{Name: r.Arg}
		case ReadUnit:
			f.units[r.Arg] = UnitState{Name: r.Arg, Active: "inactive"}
		case ReadSysctl:
			f.sysctls[r.Arg] = SysctlState{Exists: true}
		case ReadCommand:
			f.commands[r.Arg] = CommandState{Code: 127}
		}
	}
	return f
}
