// Package inventory reads the one TOML file that describes the network, checks
// all of it, and returns a model that the rest of vpnpush need not check again.
// It touches no network. docs/inventory.md describes the keys and what is
// refused.
package inventory

import (
	"context"
	"net/netip"
	"time"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// Role is the part that a host has in the network.
type Role string

const (
	RoleHub  Role = "hub"
	RoleSite Role = "site"
)

// Inventory is a validated network. Sites and users are sorted by name.
type Inventory struct {
	// ID names this inventory on the hosts it owns (key `id`; default: the
	// hub's name). A host owned by another ID is never touched.
	ID       string
	Path     string // the file it was read from, for messages
	SSH      SSH    // the [ssh] defaults, not yet merged into hosts
	Tunnel   Tunnel
	Hub      Hub
	Sites    []Site
	L2TP     *L2TP // nil: no L2TP layer
	Firewall Firewall
	Secrets  SecretsConfig
	Ignores  []Ignore // what drift is not to report

	// explicit has the keys that stand in each host's own ssh table. There,
	// false and "" override a default, which a zero value alone cannot express.
	explicit map[string]map[string]bool
	refs     []*secretRef // every secret, for Resolve

	// Unlock opens encrypted secrets.
	Unlock       Unlock
	identities   *secret.Identities // once they were wanted
	identityLine int                // of Secrets.Identity
	pos          *positions         // for Place
}

// SSH describes how to reach a host. Zero fields are unset: ~/.ssh/config and
// then OpenSSH's defaults decide. A host's own table overrides the [ssh] defaults.
type SSH struct {
	Host           string // name or address to dial; default: see Inventory.Hosts
	User           string
	Port           int
	IdentityFile   string
	KnownHosts     string
	AcceptNew      bool
	Become         string       // "", "auto", "never": sudo when the user is not root
	BecomePassword secret.Value // for sudo that asks
	ConnectTimeout time.Duration
	Jump           string // "", "hub", a host's name, or user@host:port; comma list: several hops. Host.SSH has the hub's name for "hub"
	Connection     string // "" (ssh) or "local"
}

// Tunnel holds the defaults of all site tunnels.
type Tunnel struct {
	Backend   Backend
	IKE       []string // proposals, strongSwan's syntax without "!"
	ESP       []string
	DPDDelay  time.Duration
	Relay     bool
	MSS       int // the largest TCP segment that a tunnel carries; 0: as offered
	AllowWeak bool
}

// Backend is how strongSwan is configured.
type Backend string

const (
	BackendAuto      Backend = "auto"
	BackendIPsecConf Backend = "ipsec.conf"
	BackendSwanctl   Backend = "swanctl"
)

// Hub is the VPS with the fixed address.
type Hub struct {
	Name         string
	Address      netip.Addr
	Subnets      []netip.Prefix // default: Address/32
	LocalAddress netip.Addr     // default: Address; differs behind a provider's 1:1 NAT
	AllowPrivate bool
	Backend      Backend // "": the network's
	// MovesFrom is where the hub was, "[user@]host[:port]" as in a jump; "": it does not
	// move. Sites that are reached through the hub may be behind that one yet.
	MovesFrom string
	SSH       SSH
}

// Site is an office behind NAT. Its name is its IKE identity, @Name.
type Site struct {
	Name    string
	Address netip.Addr // zero: %defaultroute
	Subnets []netip.Prefix
	PSK     secret.Value
	Backend Backend  // "": the network's
	Groups  []string // what --limit @GROUP chooses it by
	SSH     SSH
}

// L2TP is the L2TP/IPsec layer on the hub.
type L2TP struct {
	PSK       secret.Value
	PoolFrom  netip.Addr // first address handed out, inclusive
	PoolTo    netip.Addr // last, inclusive
	LocalIP   netip.Addr
	DNS       []netip.Addr
	MTU       int
	Reach     []netip.Prefix // what clients may reach; default: the hub's subnets, with relay also all sites'
	Users     []User
	ReachAuto bool // Reach was defaulted
}

// User is one L2TP account.
type User struct {
	Name     string
	Password secret.Value
	Address  netip.Addr // zero: from the pool
}

// Firewall describes who keeps the packet filter.
type Firewall struct {
	Backend    FilterBackend
	Masquerade bool // L2TP clients reach the internet through the hub
}

// FilterBackend is what keeps the packet filter.
type FilterBackend string

const (
	FilterIptables FilterBackend = "iptables"
	FilterNone     FilterBackend = "none" // the user
)

// SecretsConfig names the keys for encrypted secrets.
type SecretsConfig struct {
	Recipients []secret.Recipient // who can open them
	Identity   string             // the file that opens them here, as it is written; "": DefaultIdentity
}

// DefaultIdentity is where the identity is that opens encrypted secrets.
const DefaultIdentity = "~/.config/vpnpush/identity.txt"

// Unlock is what opens encrypted secrets, beside the file that the inventory names.
type Unlock struct {
	// Identity is used in the place of that file, if it is set; From says where it
	// is from.
	Identity secret.Value
	From     string
	// Passphrase asks for that of an identity. nil: there is nobody to ask.
	Passphrase func(ctx context.Context, of string) ([]byte, error)
}

// Host is what is common to hub and sites.
type Host struct {
	Name string
	Role Role
	SSH  SSH // merged: the host's own over the [ssh] defaults, Host filled in
}
