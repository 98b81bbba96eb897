package view

import (
	"github.com/vpnpush/vpnpush/tasks/engine"
)

// The document of a status.
type (
	statusDocument struct {
		head
		Inventory string              `json:"inventory"`
		Time      string              `json:"time"`
		Hosts     []statusJSONHost    `json:"hosts"` // that were asked
		Tunnels   []statusJSONTunnel  `json:"tunnels"`
		Sessions  []statusJSONSession `json:"sessions"`
		Shared    []string            `json:"shared_addresses"` // of more than one L2TP client
		Summary   statusSummary       `json:"summary"`
	}
	statusJSONHost struct {
		Name   string `json:"name"`
		Role   string `json:"role"`
		Result string `json:"result"`
		Error  string `json:"error"`
		// what stands beside vpnpush's own and gets in its way
		Warnings []string `json:"warnings"`
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

func (v *View) statusDocument(s *engine.Status, o StatusOptions) statusDocument {
	doc := statusDocument{
		head: heading("status"), Inventory: v.text(o.Inventory), Time: stamp(s.At),
		Hosts: []statusJSONHost{}, Tunnels: []statusJSONTunnel{}, Sessions: []statusJSONSession{}, Shared: []string{},
	}
	for _, h := range s.Asked {
		doc.Hosts = append(doc.Hosts, statusJSONHost{Name: v.text(h.Name), Role: h.Role, Result: string(h.Result), Error: v.errorText(h.Name, h.Err), Warnings: v.texts(h.Beside)})
	}
	for _, t := range s.Tunnels {
		j := statusJSONTunnel{
			Site: v.text(t.Site), State: "down", Why: v.text(t.Why), AskedAt: v.text(t.Asked), Since: stamp(t.Since), Peer: v.text(t.Peer),
			IKESAs: t.SAs, BytesToHub: t.BytesUp, BytesToSite: t.BytesDown, HubSubnets: v.texts(t.HubSubnets), SiteSubnets: v.texts(t.SiteSubnets),
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
			User: v.text(c.User), Address: v.text(c.Address), From: v.text(c.From), Interface: v.text(c.Interface), Since: stamp(c.Since),
			BytesToHub: c.BytesIn, BytesToUser: c.BytesOut,
		})
	}
	doc.Shared = append(doc.Shared, v.texts(s.Shared)...)
	doc.Summary.Sessions = len(s.Sessions)
	return doc
}
