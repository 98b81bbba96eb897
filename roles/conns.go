package roles

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// conns are the conns that a host is to have, in words that each backend puts into
// its own language.
type conns struct {
	tunnels []tunnel
	clients *clients // nil: no L2TP
}

// tunnel is one end of a site's tunnel: IKEv2, with a key that both ends have, and
// networks on both sides. It has one name on both ends, so that both hosts' status
// reads alike.
type tunnel struct {
	name string
	// dials says that this end dials, and again whenever the tunnel is lost. Were
	// both to do so, it would be a storm of SAs: the other waits.
	dials  bool
	local  netip.Addr // zero: the address that the way to the peer begins at
	remote netip.Addr // zero: any, it dials from behind NAT
	// localID and peerID are names, IKE identities of the type FQDN. The key is to
	// be found by the peer's alone, never by a pair: as responder charon tries every
	// key of which either identity matches, and one of "hub and site" would let one
	// site pose as another (psk_authenticator.c).
	localID, peerID       string
	localNets, remoteNets []netip.Prefix
	ike, esp              []string
	dpd                   time.Duration
	psk                   secret.Value
	// also is what the other end may have in the place of all that, and alsoKeys are
	// the keys that it may have: this end takes them besides (peers.go).
	also     *strongswan.Tunnel
	alsoKeys []secret.Value
	// gone says that the box at the other end is no more.
	gone bool
	// fitted says that the end is not, or may not be, what the inventory says.
	fitted bool
}

// clients is the conn for L2TP clients: IKEv1, transport mode, UDP 1701, any peer.
type clients struct {
	name  string
	local netip.Addr
	// id is the identity of this end, and what the key is found by: no tunnel has an
	// address for an identity, so that the key the clients share opens no site's.
	id       netip.Addr
	ike, esp []string
	// lifetime ends an SA, and this end makes no new one before: clients do not
	// survive a rekeying that the hub begins.
	lifetime             time.Duration
	dpdDelay, dpdTimeout time.Duration
	psk                  secret.Value
}

// tunnels returns a host's ends of the site tunnels.
func (h Host) tunnels() []tunnel {
	if h.role == inventory.RoleSite {
		return []tunnel{siteEnd(h.inv, h.site)}
	}
	return hubTunnels(h.inv)
}

// conns returns the conns of a host whose tunnels end so, and refuses what IKE cannot
// carry: on the hub one for each site and one for the L2TP clients, on a site its own.
func (h Host) conns(ends []tunnel) (conns, error) {
	cs := conns{tunnels: ends}
	for _, t := range cs.tunnels {
		if err := h.checkTunnel(t); err != nil {
			return conns{}, err
		}
	}
	if l := h.l2tp(); l != nil {
		cs.clients = l2tpClients(h.inv)
	}
	return cs, nil
}

func (h Host) checkTunnel(t tunnel) error {
	if t.name == connL2TP && h.inv.L2TP != nil {
		return transport.WithHint(fmt.Errorf("site %s: the name is taken by the conn of the L2TP clients", t.name), "give the site another name")
	}
	// The inventory has been counted; an end that takes two states at once may have more.
	local, remote := t.nets()
	if n := max(len(local), len(remote)); n > inventory.MaxSelectors {
		return transport.WithHint(
			fmt.Errorf("site %s: %d subnets on one side of the tunnel, IKEv2 carries %d", t.name, n, inventory.MaxSelectors),
			"give the sites adjacent subnets, put one wider prefix into hub.subnets and turn tunnel.relay off; a change of many at once can be applied in two parts")
	}
	return nil
}

// wanted returns the child SA that should be up.
func (t tunnel) wanted() *strongswan.Tunnel {
	return &strongswan.Tunnel{
		Conn: t.name, Peer: t.peerID,
		Local: sorted(t.localNets), Remote: sorted(t.remoteNets),
		LocalID: t.localID, PeerID: t.peerID,
		IKE: t.ike, ESP: t.esp, Hub: t.hub().String(),
	}
}

// listed is how charon lists the conn, in the words of NAME_try.
func (t tunnel) listed() []string {
	local, remote := t.nets()
	return []string{
		"local of " + t.name + " is " + t.localID, "remote of " + t.name + " is " + t.peerID,
		t.name + " joins " + strings.Join(sorted(widest(local)), " ") + " === " + strings.Join(sorted(widest(remote)), " "),
	}
}

// listed is how charon lists the conn, in the words of NAME_try.
func (c clients) listed() []string { return []string{"local of " + c.name + " is " + c.id.String()} }

// hub returns the address of the hub's end.
func (t tunnel) hub() netip.Addr {
	if t.dials {
		return t.remote
	}
	return t.local
}

// widest returns the prefixes of ps that no other one holds. That is what charon makes of
// a list (get_traffic_selectors in child_cfg.c).
func widest(ps []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for i, p := range ps {
		if !slices.ContainsFunc(ps, func(o netip.Prefix) bool { return o.Bits() < p.Bits() && o.Contains(p.Addr()) }) && !slices.Contains(ps[:i], p) {
			out = append(out, p)
		}
	}
	return out
}

// sorted returns prefixes as strongSwan prints them, sorted.
func sorted(ps []netip.Prefix) []string {
	out := texts(ps)
	slices.Sort(out)
	return out
}
