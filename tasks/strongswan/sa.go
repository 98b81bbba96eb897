// Package strongswan reads what charon says of itself: its connections and SAs, as
// `ipsec statusall` and `swanctl --raw` list them, and compares them with the
// tunnels that are wanted.
package strongswan

import "time"

// SA is an IKE SA as charon lists it, by `ipsec statusall` or by
// `swanctl --list-sas --raw`.
type SA struct {
	Conn  string
	ID    string // unique in a run of charon: "2"
	State string // "ESTABLISHED", "CONNECTING", ...
	SPIs  string // initiator's and responder's, hex, with "_" between
	// Age is how long it has been established. stroke rounds it down to a
	// whole second, minute, hour or day.
	Age                   time.Duration
	LocalID, RemoteID     string // "%any" until it is known
	LocalAddr, RemoteAddr string // with ":port" where the listing tells it
	Children              []ChildSA
}

// ChildSA is an IPsec SA pair.
type ChildSA struct {
	Name              string // ipsec.conf: the conn's; it can differ from SA.Conn
	ID                string
	State             string // "INSTALLED", "REKEYING", ...
	Mode              string // "TUNNEL", "TRANSPORT"
	LocalTS, RemoteTS []string
	BytesIn, BytesOut uint64
}
