package tasks

import _ "embed"

// Part is a piece of the apply script that steps call: functions of POSIX shell. A
// change brings the parts that its steps need; a strongSwan backend brings its own.
type Part struct {
	Name string
	Text string
	// End is run once at the end of a phase.
	End map[Phase]string
}

var (
	//go:embed files.sh
	filesShell string
	//go:embed swap.sh
	swapShell string
	//go:embed packages.sh
	packagesShell string
	//go:embed units.sh
	unitsShell string
	//go:embed sessions.sh
	sessionsShell string
	//go:embed keys.sh
	keysShell string
	//go:embed trial.sh
	trialShell string
)

// The parts of the kinds in this package.
var (
	PartFiles    = Part{Name: "files", Text: filesShell}
	PartPackages = Part{Name: "packages", Text: packagesShell, End: map[Phase]string{PhasePackages: "install_packages 9>&-"}}
	PartSwap     = Part{Name: "swap", Text: swapShell}
	PartUnits    = Part{Name: "units", Text: unitsShell}
	PartSessions = Part{Name: "sessions", Text: sessionsShell}
	PartKeys     = Part{Name: "keys", Text: keysShell}
	PartTrial    = Part{Name: "trial", Text: trialShell}
)
