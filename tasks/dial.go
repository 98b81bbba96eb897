package tasks

import (
	"slices"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// Dial wants a tunnel up that its host dials. It is no part of what a host has, so it is
// not recorded; and a host that has dialled in vain is as it should be: the other end,
// or the way there, is not.
type Dial struct {
	// IPsec makes the conn. Where it is about to load one, that dials by itself.
	IPsec  IPsec
	Tunnel strongswan.Tunnel
}

// TunnelTask returns the ID of the task that wants a conn's tunnel up, also where
// nothing can dial it.
func TunnelTask(conn string) string { return "tunnel:" + conn }

// ID implements Task.
func (t Dial) ID() string { return TunnelTask(t.Tunnel.Conn) }

// Reads implements Task.
func (t Dial) Reads() []Read { return t.IPsec.Reads() }

// Check implements Task.
func (t Dial) Check(f Facts) (*Change, error) {
	d := t.IPsec.Daemon
	u, err := f.Unit(d.Unit)
	if err != nil || u.Active != "active" {
		return nil, err // it dials when it starts
	}
	if c, err := t.IPsec.Check(f); err != nil || c != nil {
		return nil, err
	}
	sas, err := SAsFrom(f)
	if err != nil {
		return nil, err
	}
	state := strongswan.CheckTunnels(sas, []strongswan.Tunnel{t.Tunnel})[0]
	if state.Up {
		return nil, nil
	}
	// By then charon may have dialled; but a child SA with other selectors than the
	// wanted ones is up for good.
	dial := d.Name + "_dial "
	if carries(sas, t.Tunnel.Conn) {
		dial = d.Name + "_redial "
	}
	c := TunnelDown(state)
	c.Action, c.Parts = DialTunnel, []Part{d.Part}
	c.Do = []Step{{Phase: PhaseAfter, Shell: dial + transport.Quote(t.Tunnel.Conn)}}
	return c, nil
}

// TunnelDown returns the change that would have a tunnel up: what it is, and nothing
// that does it.
func TunnelDown(s strongswan.TunnelState) *Change {
	return &Change{
		Task:  TunnelTask(s.Tunnel.Conn),
		Attrs: []Attr{{Name: "state", Old: []byte("down, " + s.Why), New: []byte("up")}},
		Note:  "to " + s.Tunnel.Peer,
	}
}

// carries reports whether a conn has a child SA that is up, whatever it is for.
func carries(sas []strongswan.SA, conn string) bool {
	return slices.ContainsFunc(sas, func(sa strongswan.SA) bool {
		return slices.ContainsFunc(sa.Children, func(c strongswan.ChildSA) bool {
			return (c.Name == conn || sa.Conn == conn) && (c.State == "INSTALLED" || c.State == "REKEYING")
		})
	})
}
