package host

import "github.com/vpnpush/vpnpush/tasks"

// What an answer of a host may take. One that is no longer its owner's, or is broken,
// must not take the memory of a run over a thousand.
const (
	// siteBase is for a site. A whole answer of one with Debian's own packages, its packet
	// filter and 1,000 lines of charon's log has some 70 KiB; the rest is for what an admin
	// keeps there, such as 30,000 rules of a block list.
	siteBase = 4 << 20
	// hubBase has room for 2,000 sites besides that were applied once, and are to go.
	hubBase = 16 << 20
	// answerPerTunnel is for what grows with them: a conn and a key, what strongSwan lists,
	// rules, and the manifest, some 7 KiB in all.
	answerPerTunnel = 16 << 10
	// Of small parts an answer has a few hundred, and of large ones, such as the files of
	// the tunnels, one per KiB at most. A part takes more memory than it has bytes.
	partsBase    = 4096
	bytesPerPart = 1 << 10
	// maxRatio is how much more an answer that came packed is first given room for; it is
	// ten to twenty times what came.
	maxRatio = 32
	// maxOSRelease is more than any os-release has.
	maxOSRelease = 64 << 10
	// maxLine is more than any line has that an apply tells of itself, and maxLog more
	// than the end of its log that it sends; the rest is dropped.
	maxLine = 4 << 10
	maxLog  = 16 << 10
)

// MaxAnswer returns how many bytes the answer of a host with so many tunnels may have: to
// a probe, and of an apply.
func MaxAnswer(role string, tunnels int) int {
	base := siteBase
	if role == tasks.RoleHub {
		base = hubBase
	}
	return base + tunnels*answerPerTunnel
}
