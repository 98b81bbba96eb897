package tasks

// TunnelState is what was found of a Tunnel.
type TunnelState struct {
	Tunnel Tunnel
	Up     bool   // a child SA is INSTALLED with the wanted selectors
	Why    string // not Up: what is there instead
	SAs    int    // IKE SAs of the conn; more than one is worth a warning
	Peer   string // address and port of the peer, as seen
}
