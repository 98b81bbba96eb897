package host

import (
	"reflect"
	"regexp"
	"slices"
	"testing"
)

// The script's words and the client's are the same: a word that only one of them knows
// is an outcome that is told wrong.
func TestWordsAreTheScripts(t *testing.T) {
	var x Txn
	for _, tt := range []struct {
		what, text string
		says       *regexp.Regexp
		words      []string
	}{
		{"statuses", txnShell, regexp.MustCompile(`(?:finish|refuse) ([a-z-]+)|word=([a-z-]+)`),
			[]string{StatusApplied, StatusFailed, StatusReverted, StatusRevertFailed, StatusLocked, StatusStale}},
		{"statuses of who follows", x.Follow(), regexp.MustCompile(`'status\\t([a-z-]+)`), []string{StatusNeverStarted, StatusDied}},
		{"stages", txnShell, regexp.MustCompile(`(?:enter |\bstage=)([a-z]+)`),
			[]string{StageStart, StageCheck, StagePackages, StageTry, StageArm, StageWrite, StageLive, StageReload, StageVerify, StageConfirm, StageRevert}},
		{"outcomes", txnShell, regexp.MustCompile(`printf '(revert[a-z-]*)\\t|record (revert[a-z-]*)|echo (confirmed)`),
			[]string{OutcomeReverted, OutcomeRevertFailed, OutcomeConfirmed}},
		{"outcomes that are asked for", x.Outcome(), regexp.MustCompile(`echo ([a-z]+)`),
			[]string{OutcomeConfirmed, OutcomePending, OutcomeUnknown, OutcomeUntouched}},
	} {
		var said []string
		for _, m := range tt.says.FindAllStringSubmatch(tt.text, -1) {
			for _, w := range m[1:] {
				if w != "" {
					said = append(said, w)
				}
			}
		}
		slices.Sort(said)
		want := slices.Sorted(slices.Values(tt.words))
		if said = slices.Compact(said); !slices.Equal(said, want) {
			t.Errorf("%s: the script says %q, the client knows %q", tt.what, said, want)
		}
	}
}

// What a run prints is read the same however the line cuts it, and what it prints in the
// log is no word of its own.
func TestReplies(t *testing.T) {
	said := "event\twarning\tipsec:loaded\tof a file\nevent\tstage\twrite\t\nevent\ttask\twrite\tfile:/etc/x\nstatus\treverted\nstage\twrite\ntask\tfile:/etc/x\nmessage\texit status 1\n" +
		"outcome\treverted\tfailed at write\nlog\nstatus\tapplied\nno space"
	want := Reply{Status: StatusReverted, Stage: StageWrite, Task: "file:/etc/x", Message: "exit status 1", Outcome: "reverted\tfailed at write", Log: "status\tapplied\nno space", Warnings: []string{"of a file"}}
	for n := 1; n < len(said); n++ {
		var events []string
		r := &Replies{Event: func(stage, task string) { events = append(events, stage+" "+task) }}
		for b := []byte(said); len(b) > 0; b = b[min(n, len(b)):] {
			r.Write(b[:min(n, len(b))])
		}
		if got := r.Reply(); !reflect.DeepEqual(got, want) {
			t.Fatalf("by %d bytes: %+v", n, got)
		}
		if !slices.Equal(events, []string{"write ", "write file:/etc/x"}) {
			t.Fatalf("by %d bytes: events %q", n, events)
		}
	}
	if r := (&Replies{}).Reply(); r.Status != StatusDied {
		t.Errorf("a run that said nothing: %+v", r)
	}
}
