package view

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
)

// listedSite is a site in a list.
type listedSite struct {
	Name    string   `json:"name"`
	Subnets []string `json:"subnets"`
	Address string   `json:"address"` // "": that of the default route
	Groups  []string `json:"groups"`
	Host    string   `json:"host"` // where to log in
	Jump    string   `json:"jump"` // the way there; "": none
}

// Sites writes those sites of an inventory that names has.
func (v *View) Sites(inv *inventory.Inventory, names []string) error {
	sites := []listedSite{}
	for i, h := range inv.Hosts()[1:] { // the hub is first
		s := inv.Sites[i]
		if !slices.Contains(names, s.Name) {
			continue
		}
		l := listedSite{v.text(s.Name), []string{}, addressText(s.Address), v.texts(s.Groups), v.text(h.SSH.Host), v.text(h.SSH.Jump)}
		for _, p := range s.Subnets {
			l.Subnets = append(l.Subnets, p.String())
		}
		sites = append(sites, l)
	}
	if v.o.JSON {
		return v.encode(struct {
			head
			Sites []listedSite `json:"sites"`
		}{heading("site list"), sites})
	}
	var rows [][]string
	for _, s := range sites {
		way := s.Host
		if s.Jump != "" {
			way += " through " + s.Jump
		}
		rows = append(rows, []string{s.Name, strings.Join(s.Subnets, ","), dash(s.Address), dash(strings.Join(s.Groups, ",")), way})
	}
	return v.list("sites", []column{{head: "SITE"}, {head: "LAN"}, {head: "ADDRESS"}, {head: "GROUPS"}, {head: "REACHED AT"}}, rows)
}

// listedUser is an L2TP user in a list.
type listedUser struct {
	Name    string `json:"name"`
	Address string `json:"address"` // "": from the pool
}

// Users writes the L2TP users of an inventory.
func (v *View) Users(inv *inventory.Inventory) error {
	users := []listedUser{}
	if inv.L2TP != nil {
		for _, u := range inv.L2TP.Users {
			users = append(users, listedUser{v.text(u.Name), addressText(u.Address)})
		}
	}
	if v.o.JSON {
		return v.encode(struct {
			head
			Users []listedUser `json:"users"`
		}{heading("user list"), users})
	}
	var rows [][]string
	for _, u := range users {
		address := u.Address
		if address == "" {
			address = "from the pool"
		}
		rows = append(rows, []string{u.Name, address})
	}
	return v.list("users", []column{{head: "USER"}, {head: "ADDRESS"}}, rows)
}

// list writes a table, or that there is nothing to list.
func (v *View) list(what string, cols []column, rows [][]string) error {
	p := v.page()
	if len(rows) == 0 {
		p.line("", plain, "No "+what+".")
		return v.print(p)
	}
	p.table(cols, rows, make([]style, len(rows)), nil)
	return v.print(p)
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
