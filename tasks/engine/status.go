package engine

import (
	"context"
	"slices"
	"time"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// Status is what runs now.
type Status struct {
	At       time.Time    // by this machine's clock, as all times here
	Asked    []HostStatus // the hub; where it could not be asked, the sites as well
	Tunnels  []TunnelStatus
	Sessions []tasks.Session // of L2TP clients, when the hub was asked
	// Shared are addresses from behind which more than one L2TP client dials: they
	// cut each other off.
	Shared []string
}

// HostStatus is how asking a host went.
type HostStatus struct {
	Name, Role string
	Result     Result // OK, Unreachable, Failed, Skipped
	Err        error
	Beside     []string // Host.Beside
}

// TunnelStatus is a tunnel between the hub and a site.
type TunnelStatus struct {
	Site  string
	Asked string // the host that told; "": nobody could
	Up    bool
	Why   string    // not Up: what is there instead, or why it is not known
	SAs   int       // IKE SAs; more than one is worth a remark
	Since time.Time // when its IKE SA was made, or made anew; zero: not known
	// Peer is the other end's address and port as Asked sees it: behind NAT,
	// its router's.
	Peer string
	// BytesUp went from the site to the hub and BytesDown to the site, since the
	// child SA was last rekeyed.
	BytesUp, BytesDown      uint64
	HubSubnets, SiteSubnets []string // the wanted selectors, as strongSwan prints them
}

// Known reports whether a host could tell how the tunnel stands.
func (t TunnelStatus) Known() bool { return t.Asked != "" }

// StatusAsk says what a status is about.
type StatusAsk struct {
	Hub   Host
	Sites []Host // those whose tunnels are told
	// L2TPLocal is the hub's address on the links to L2TP clients; "": there is
	// no L2TP layer.
	L2TPLocal string
}

// Status asks the hub, which sees every tunnel, over one connection. Where it
// does not answer, the sites are asked, each for its own tunnel.
func (e *Engine) Status(ctx context.Context, ask StatusAsk) *Status {
	s := &Status{At: time.Now()}
	reads := tasks.SAReads()
	if ask.L2TPLocal != "" {
		reads = append(reads, tasks.SessionReads()...)
	}
	f, hs := e.ask(ctx, ask.Hub, reads)
	byConn := map[string]strongswan.Tunnel{}
	for _, t := range ask.Hub.Tunnels {
		byConn[t.Conn] = t
	}
	var sas []strongswan.SA
	if hs.Err == nil {
		if sas, hs.Err = tasks.SAsFrom(f); hs.Err != nil {
			hs.Result = Failed
		}
	}
	if hs.Err == nil && ask.L2TPLocal != "" {
		var err error
		if s.Sessions, err = tasks.SessionsFrom(f, ask.L2TPLocal); err != nil {
			hs.Result, hs.Err = Failed, err
		}
		s.Shared = strongswan.SharedAddresses(sas)
		for i := range s.Sessions {
			if c := &s.Sessions[i]; !c.Since.IsZero() {
				c.Since = s.At.Add(c.Since.Sub(f.Host.Now)) // the hub's clock may be another
			}
		}
	}
	s.Asked = append(s.Asked, hs)
	s.Tunnels = make([]TunnelStatus, len(ask.Sites))
	if sas != nil || hs.Err == nil {
		for i, site := range ask.Sites {
			s.Tunnels[i] = tunnelStatus(site.Name, ask.Hub, byConn[site.Name], sas, s.At)
		}
		return s
	}
	asked := make([]HostStatus, len(ask.Sites))
	e.each(ctx, len(ask.Sites), func(i int) {
		site := ask.Sites[i]
		f, hs := e.ask(ctx, site, tasks.SAReads())
		var sas []strongswan.SA
		if hs.Err == nil {
			if sas, hs.Err = tasks.SAsFrom(f); hs.Err != nil {
				hs.Result = Failed
			}
		}
		asked[i] = hs
		if hs.Err != nil || len(site.Tunnels) == 0 {
			s.Tunnels[i] = TunnelStatus{Site: site.Name, Why: "neither the hub nor the site could be asked"}
			return
		}
		s.Tunnels[i] = tunnelStatus(site.Name, site, site.Tunnels[0], sas, s.At)
	})
	s.Asked = append(s.Asked, asked...)
	return s
}

// ask reads what reads say of one host.
func (e *Engine) ask(ctx context.Context, h Host, reads []tasks.Read) (tasks.Facts, HostStatus) {
	h.Reads = append(slices.Clone(reads), h.BesideReads...)
	read := e.reach(ctx, h)
	e.observe(Event{Host: h.Name, Stage: stageDone, Result: read.Result, Err: read.Err})
	hs := HostStatus{Name: h.Name, Role: h.Role, Result: read.Result, Err: read.Err}
	if hs.Err == nil && h.Beside != nil {
		hs.Beside = h.Beside(read.Facts)
	}
	return read.Facts, hs
}

// tunnelStatus returns a tunnel as one end sees it, hub and site in their places.
func tunnelStatus(site string, asked Host, t strongswan.Tunnel, sas []strongswan.SA, now time.Time) TunnelStatus {
	st := strongswan.CheckTunnels(sas, []strongswan.Tunnel{t})[0]
	out := TunnelStatus{Site: site, Asked: asked.Name, Up: st.Up, Why: st.Why, SAs: st.SAs, Peer: st.Peer}
	if st.Age > 0 || st.Up {
		out.Since = now.Add(-st.Age)
	}
	out.BytesUp, out.BytesDown, out.HubSubnets, out.SiteSubnets = st.BytesIn, st.BytesOut, t.Local, t.Remote
	if asked.Role != tasks.RoleHub {
		out.BytesUp, out.BytesDown = out.BytesDown, out.BytesUp
		out.HubSubnets, out.SiteSubnets = out.SiteSubnets, out.HubSubnets
	}
	return out
}

// AllUp reports whether every tunnel is known to be up, and whether all that was
// asked for is known.
func (s *Status) AllUp() (up, known bool) {
	up, known = true, s.Asked[0].Err == nil
	for _, t := range s.Tunnels {
		if !t.Known() {
			known = false
		} else if !t.Up {
			up = false
		}
	}
	return up, known
}
