package view

import (
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// The document of a status. Times are RFC 3339 in UTC, "" where not known.
type (
	statusDocument struct {
		FormatVersion string              `json:"format_version"`
		Command       string              `json:"command"`
		Inventory     string              `json:"inventory"`
		Time          string              `json:"time"`
		Hosts         []statusJSONHost    `json:"hosts"` // that were asked
		Tunnels       []statusJSONTunnel  `json:"tunnels"`
		Sessions      []statusJSONSession `json:"sessions"`
		Summary       statusSummary       `json:"summary"`
	}
	statusJSONHost struct {
		Name   string `json:"name"`
		Role   string `json:"role"`
		Result string `json:"result"`
		Error  string `json:"error"`
	}
	statusJSONTunnel struct {
		Site        string   `json:"site"`
		State       string   `json:"state"` // "up", "down", "unknown"
		Why         string   `json:"why"`
		AskedAt     string   `json:"asked_at"` // the host that told
		Since       string   `json:"since"`
		Peer        string   `json:"peer"` // as asked_at sees it
		IKESAs      int      `json:"ike_sas"`
		BytesToHub  uint64   `json:"bytes_to_hub"`
		BytesToSite uint64   `json:"bytes_to_site"`
		HubSubnets  []string `json:"hub_subnets"`
		SiteSubnets []string `json:"site_subnets"`
	}
	statusJSONSession struct {
		User        string `json:"user"` // "" where it is not known
		Address     string `json:"address"`
		From        string `json:"from"` // public address
		Interface   string `json:"interface"`
		Since       string `json:"since"`
		BytesToHub  uint64 `json:"bytes_to_hub"`
		BytesToUser uint64 `json:"bytes_to_user"`
	}
	statusSummary struct {
		Tunnels  int `json:"tunnels"`
		Up       int `json:"up"`
		Down     int `json:"down"`
		Unknown  int `json:"unknown"`
		Sessions int `json:"sessions"`
	}
)

// Status implements View.
func (v *jsonView) Status(s *engine.Status, o StatusOptions) error {
	text := func(s string) string { return clean(string(v.Redact([]byte(clean(s))))) }
	texts := func(ss []string) []string {
		out := make([]string, len(ss))
		for i, s := range ss {
			out[i] = text(s)
		}
		return out
	}
	doc := statusDocument{
		FormatVersion: "1", Command: "status", Inventory: text(o.Inventory), Time: stamp(s.At),
		Hosts: []statusJSONHost{}, Tunnels: []statusJSONTunnel{}, Sessions: []statusJSONSession{},
	}
	for _, h := range s.Asked {
		j := statusJSONHost{Name: text(h.Name), Role: h.Role, Result: string(h.Result)}
		if h.Err != nil {
			j.Error = text(h.Err.Error())
			if hint := explain(h.Err).hint; hint != "" {
				v.warn("hint", h.Name+": "+hint)
			}
		}
		doc.Hosts = append(doc.Hosts, j)
	}
	for _, t := range s.Tunnels {
		j := statusJSONTunnel{
			Site: text(t.Site), State: "down", Why: text(t.Why), AskedAt: text(t.Asked), Since: stamp(t.Since), Peer: text(t.Peer),
			IKESAs: t.SAs, BytesToHub: t.BytesUp, BytesToSite: t.BytesDown, HubSubnets: texts(t.HubSubnets), SiteSubnets: texts(t.SiteSubnets),
		}
		doc.Summary.Tunnels++
		switch {
		case !t.Known():
			j.State = "unknown"
			doc.Summary.Unknown++
		case t.Up:
			j.State = "up"
			doc.Summary.Up++
		default:
			doc.Summary.Down++
		}
		doc.Tunnels = append(doc.Tunnels, j)
	}
	for _, c := range s.Sessions {
		doc.Sessions = append(doc.Sessions, statusJSONSession{
			User: text(c.User), Address: text(c.Address), From: text(c.From), Interface: text(c.Interface), Since: stamp(c.Since),
			BytesToHub: c.BytesIn, BytesToUser: c.BytesOut,
		})
	}
	doc.Summary.Sessions = len(s.Sessions)
	return v.encode(doc)
}
