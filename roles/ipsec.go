package roles

import (
	"fmt"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// pair is a conn and its secret, each a file of its own, so that a change of
// one site touches no other's.
type pair struct {
	name          string
	conf, secrets []byte
	tunnel        *strongswan.Tunnel // nil: it is for no site
}

// conn fills the templates of conns.
type conn struct {
	Name, Left, Right           string
	LocalID, PeerID             string
	LocalSubnets, RemoteSubnets string
	IKE, ESP                    string
	DPDDelay                    string
}

// pairs are the conns of a host: on the hub one for each site and one for the
// L2TP clients, on a site its own. A site's conn has one name on both ends, so
// that both hosts' status reads alike.
func (p placed) pairs() ([]pair, error) {
	inv := p.inv
	if p.role == inventory.RoleSite {
		c, err := p.siteTunnel(p.site)
		if err != nil {
			return nil, err
		}
		c.Left, c.Right = "%defaultroute", inv.Hub.Address.String()
		if p.site.Address.IsValid() {
			c.Left = p.site.Address.String()
		}
		c.LocalID, c.PeerID = p.site.Name, inv.Hub.Name
		c.LocalSubnets, c.RemoteSubnets = commas(p.site.Subnets), commas(hubSide(inv, p.site))
		pr, err := p.pair("site-conn.tmpl", c, "@"+c.PeerID, p.site.PSK)
		pr.tunnel = &p.tunnels()[0]
		return []pair{pr}, err
	}
	var out []pair
	tunnels := p.tunnels()
	for i := range inv.Sites {
		s := &inv.Sites[i]
		c, err := p.siteTunnel(s)
		if err != nil {
			return nil, err
		}
		c.Left = hubLocal(inv)
		c.LocalID, c.PeerID = inv.Hub.Name, s.Name
		c.LocalSubnets, c.RemoteSubnets = commas(hubSide(inv, s)), commas(s.Subnets)
		pr, err := p.pair("hub-conn.tmpl", c, "@"+c.PeerID, s.PSK)
		if err != nil {
			return nil, err
		}
		pr.tunnel = &tunnels[i]
		out = append(out, pr)
	}
	if l := inv.L2TP; l != nil {
		// The secret is found by leftid. That is the public address also where
		// the provider NATs it: it is what clients dial, and no site's conn has
		// it for an identity, so that the key the clients share opens no site's.
		id := inv.Hub.Address.String()
		ike, esp := l2tpProposals(inv.Tunnel.AllowWeak)
		pr, err := p.pair("l2tp-conn.tmpl", conn{Name: connL2TP, Left: hubLocal(inv), LocalID: id, IKE: ike, ESP: esp}, id, l.PSK)
		if err != nil {
			return nil, err
		}
		out = append(out, pr)
	}
	return out, nil
}

// siteTunnel is what a site's conn has alike on both ends. The ike list is one
// for all sites: the hub answers IKE_SA_INIT before it knows which site calls.
func (p placed) siteTunnel(s *inventory.Site) (conn, error) {
	if s.Name == connL2TP && p.inv.L2TP != nil {
		return conn{}, transport.WithHint(fmt.Errorf("site %s: the name is taken by the conn of the L2TP clients", s.Name), "give the site another name")
	}
	if n := len(hubSide(p.inv, s)); n > maxSelectors {
		return conn{}, transport.WithHint(
			fmt.Errorf("site %s: %d subnets behind the hub, IKEv2 carries %d", s.Name, n, maxSelectors),
			"give the sites adjacent subnets, put one wider prefix into hub.subnets and turn tunnel.relay off")
	}
	t := p.inv.Tunnel
	return conn{
		Name:     s.Name,
		IKE:      strings.Join(t.IKE, ","),
		ESP:      strings.Join(t.ESP, ","),
		DPDDelay: fmt.Sprintf("%ds", t.DPDDelay/time.Second),
	}, nil
}

// pair fills a conn's two files. The secret's line names one identity, never a
// pair: as responder charon tries every secret of which either identity
// matches, and "@hub @site" would let one site pose as another (psk_authenticator.c).
func (p placed) pair(template string, c conn, id string, psk secret.Value) (pair, error) {
	if psk.IsZero() || strings.ContainsAny(psk.Reveal(), "\"\r\n\x00") {
		return pair{}, fmt.Errorf("psk of %s: ipsec.secrets cannot carry it", c.Name)
	}
	conf, err := p.fill("#", template, c)
	if err != nil {
		return pair{}, err
	}
	keys := fmt.Sprintf("%s%s : PSK \"%s\"\n", tasks.Marker("#", p.inv.ID), id, psk.Reveal())
	return pair{name: c.Name, conf: conf, secrets: []byte(keys)}, nil
}

// hubLocal is the address that the hub itself carries.
func hubLocal(inv *inventory.Inventory) string {
	if inv.Hub.LocalAddress.IsValid() {
		return inv.Hub.LocalAddress.String()
	}
	return inv.Hub.Address.String()
}
