package host

// The words of an apply script (txn.sh), as its client reads them. A test holds them
// to the script.
const (
	// statuses of a run: its last word
	StatusApplied      = "applied"       // made; the host waits to be told to keep it
	StatusFailed       = "failed"        // before anything was changed
	StatusReverted     = "reverted"      // it failed, and what was there is back
	StatusRevertFailed = "revert-failed" // it failed, and so did putting back
	StatusLocked       = "locked"        // another run is at work there
	StatusStale        = "stale"         // the host is not as the plan saw it
	StatusNeverStarted = "never-started" // and never will
	StatusDied         = "died"          // it ended without a last word

	// outcomes of an apply: what became of it after its run
	OutcomePending      = "pending" // it waits to be confirmed or put back
	OutcomeConfirmed    = "confirmed"
	OutcomeReverted     = "reverted"
	OutcomeRevertFailed = "revert-failed"
	OutcomeUntouched    = "untouched" // it ended before it changed anything
	OutcomeUnknown      = "unknown"

	// outcomes in the history, beside the two reverted ones
	OutcomeApplied    = "applied"
	OutcomeRolledBack = "rolled-back"

	// stages of a run
	StageStart    = "start"
	StageCheck    = "check"
	StagePackages = "packages"
	StageTry      = "try"
	StageArm      = "arm"
	StageWrite    = "write"
	StageLive     = "live"
	StageReload   = "reload"
	StageVerify   = "verify"
	StageConfirm  = "confirm"
	StageRevert   = "revert"
)

// Exit codes of Launch, of sysexits(3): nothing was begun.
const (
	exitStart = 71 // EX_OSERR: systemd did not start it
	exitIO    = 74 // EX_IOERR: the script did not arrive
)
