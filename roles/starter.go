package roles

import (
	_ "embed"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport"
)

//go:embed starter.sh
var starterShell string

// starter runs strongSwan by ipsec.conf.
var starter = tasks.Daemon{
	Name: "starter", Unit: unitIPsec, Dir: "/etc/ipsec.d/vpnpush", ConfSuffix: ".conf",
	Part: tasks.Part{Name: "starter", Text: starterShell},
	Dial: func(conn string) string {
		return "timeout 10 ipsec up " + transport.Quote(conn) + " >/dev/null 2>&1; :"
	},
}

// Daemon returns what strongSwan is run by on a host.
func Daemon(*inventory.Inventory, string) tasks.Daemon { return starter }

// Daemons are the ways there are to run strongSwan.
func Daemons() []tasks.Daemon { return []tasks.Daemon{starter} }
