package tasks

// Peer says what the other end of a tunnel is known to have, of what both ends must
// agree on: selectors, identities, addresses, proposals and the key. What a host is to
// have depends on it, since a tunnel whose ends differ in one of them does not come up.
type Peer int

const (
	// PeerNew is an end that has what the inventory says.
	PeerNew Peer = iota
	// PeerOld is one that has what it had before: this end goes back to it.
	PeerOld
	// PeerEither is one that has what it had before, or what the inventory says: it is
	// about to change, or may have. This end fits both.
	PeerEither
	// PeerUnread is one that this run does not change: this end stays as it is.
	PeerUnread
	// PeerGone is one that nobody has any more, though it is not in this run: this end
	// becomes what the inventory says, and what is up to the one that has gone ends.
	PeerGone
)

// Peers are the other ends of a host's tunnels, by name. One that is not there is
// PeerNew.
type Peers map[string]Peer
