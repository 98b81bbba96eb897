// Package clients writes what the device of a person who dials in is to be told: a
// file for each kind of system, and a page for the person. It is a function of the
// inventory, whose secrets it needs: it opens no file and asks no host.
package clients

import (
	"embed"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"text/template"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
)

// File is what one user's device is told. Its content holds the key of all clients and
// the user's password.
type File struct {
	Name    string // of the file; safe on every system
	Content secret.Value
}

// form is a kind of file: its name, and who makes it.
type form struct {
	name   string
	suffix string // of the file, behind the user's name
	make   func(told) (string, error)
}

// files are the forms that the page has inside.
var files = []form{
	{"windows", "-windows.ps1", windows},
	{"apple", "-apple.mobileconfig", apple},
	{"linux", "-linux.nmconnection", linux},
}

// forms are all of them, in the order in which they are listed.
var forms = append(slices.Clone(files), form{"android", "-android.txt", android}, form{"html", ".html", page}, form{"text", ".txt", text})

// Forms returns the names of what Export writes.
func Forms() []string {
	var names []string
	for _, f := range forms {
		names = append(names, f.name)
	}
	return names
}

// Export returns what a device of a user is told, in one of Forms. The inventory must
// have [l2tp], and the secrets of inventory.ResolveUsers.
func Export(inv *inventory.Inventory, u inventory.User, name string) (File, error) {
	i := slices.IndexFunc(forms, func(f form) bool { return f.name == name })
	if i < 0 {
		return File{}, fmt.Errorf("there is no form %q", name)
	}
	content, err := forms[i].make(tell(inv, u))
	if err != nil {
		return File{}, fmt.Errorf("%s for %s: %w", u.Name, name, err)
	}
	return File{fileName(u.Name, forms[i].suffix), secret.New(content)}, nil
}

// fileName returns a name that is a file's everywhere: it begins with no dash or dot,
// and is none that Windows has for a device.
func fileName(user, suffix string) string { return "vpn-" + user + suffix }

// told is what a device is told: what the hub is given, seen from the other end.
type told struct {
	ID         string // of the inventory
	Connection string // the name of the connection
	Server     netip.Addr
	User       string
	Password   secret.Value
	PSK        secret.Value
	LocalIP    netip.Addr // the hub, inside the VPN
	DNS        []netip.Addr
	MTU        int
	Reach      []goal // what is reached through the VPN, the hub first
	Internet   bool   // and so is the internet: everything goes through the VPN
	NATed      bool   // the hub's provider translates its address
	Weak       bool   // the hub takes MODP-1024, all that Android 11 and before offers
}

// goal is a network that is reached through the VPN.
type goal struct {
	Net   netip.Prefix
	Names []string // the sites that are in it, "hub" for the hub
}

var everything = netip.MustParsePrefix("0.0.0.0/0")

func tell(inv *inventory.Inventory, u inventory.User) told {
	l := inv.L2TP
	t := told{
		ID: inv.ID, Connection: "VPN " + inv.ID, Server: inv.Hub.Address, User: u.Name, Password: u.Password, PSK: l.PSK,
		LocalIP: l.LocalIP, DNS: l.DNS, MTU: l.MTU,
		NATed: inv.Hub.LocalAddress.IsValid() && inv.Hub.LocalAddress != inv.Hub.Address,
		Weak:  inv.Tunnel.AllowWeak,
	}
	t.Internet = inv.Firewall.Masquerade && inv.Firewall.Backend != inventory.FilterNone || slices.Contains(l.Reach, everything)
	t.Reach = append(t.Reach, goal{netip.PrefixFrom(l.LocalIP, 32), []string{inv.Hub.Name}})
	for _, p := range l.Reach {
		// the packets of the VPN itself are for the hub's public address: a route for
		// it into the VPN would swallow them
		if p == netip.PrefixFrom(inv.Hub.Address, 32) || p == everything {
			continue
		}
		t.Reach = append(t.Reach, goal{p, within(inv, p)})
	}
	return t
}

// within returns the names of the hosts of which some subnet is in p, or p in it.
func within(inv *inventory.Inventory, p netip.Prefix) []string {
	var names []string
	if slices.ContainsFunc(inv.Hub.Subnets, p.Overlaps) {
		names = append(names, inv.Hub.Name)
	}
	for _, s := range inv.Sites {
		if slices.ContainsFunc(s.Subnets, p.Overlaps) {
			names = append(names, s.Name)
		}
	}
	return names
}

// Routes returns what the device sends into the VPN, nil where that is everything.
func (t told) Routes() []netip.Prefix {
	if t.Internet {
		return nil
	}
	var out []netip.Prefix
	for _, g := range t.Reach {
		out = append(out, g.Net)
	}
	return out
}

// Label returns a network with whose it is: "192.168.1.0/24 (tokyo)".
func (g goal) Label() string {
	net := g.Net.String()
	if g.Net.IsSingleIP() {
		net = g.Net.Addr().String()
	}
	if len(g.Names) == 0 {
		return net
	}
	return net + " (" + strings.Join(g.Names, ", ") + ")"
}

// Notes returns what whoever hands out a form must know of it.
func Notes(inv *inventory.Inventory, name string) []string {
	t := tell(inv, inventory.User{})
	var notes []string
	switch {
	case name == "android" && t.Weak:
		notes = append(notes, "android: Android 12 and later has no L2TP: what was written is for Android 11 and before")
	case name == "android":
		notes = append(notes, "android: Android 12 and later has no L2TP, and what Android 11 and before offers is refused by the hub without tunnel.allow_weak: there is no way in from Android")
	case name == "apple" && !t.Internet:
		notes = append(notes, "apple: these devices send everything into an L2TP VPN or next to nothing, and the hub passes nothing on to the internet: while connected they have none, unless firewall.masquerade = true")
	case name == "windows" && t.NATed:
		notes = append(notes, "windows: the hub is behind NAT: the script asks for an administrator once, and for a restart")
	}
	return notes
}

//go:embed templates
var templates embed.FS

// fill writes a template whose functions quote for its language. It may be made of
// parts in files of their own.
func fill(name string, functions template.FuncMap, t told, parts ...string) (string, error) {
	files := []string{"templates/" + name}
	for _, p := range parts {
		files = append(files, "templates/"+p)
	}
	tmpl, err := template.New(name).Funcs(functions).ParseFS(templates, files...)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, t); err != nil {
		return "", err
	}
	return b.String(), nil
}
