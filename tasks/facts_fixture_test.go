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
