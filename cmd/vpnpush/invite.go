package main

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) inviteCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "invite SITE",
		Short: "Say how a box that nothing reaches opens a line to the hub",
		Long: `Invite prints the one command that a site's box runs to open a line to the hub, and
the ssh table of the inventory that reaches the box by it. It asks no host, changes
no file, and no secret is in what it prints.

The port is the site's own: it stays the same, and no other site gets it. The other
way to such a box is a script for somebody who is there: vpnpush bundle.`,
		Args:              a.oneHost(cobra.ExactArgs(1)),
		ValidArgsFunction: a.completeNames(siteNames),
		RunE: func(cmd *cobra.Command, args []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			s, h, err := siteBox(inv, "invite", args[0])
			if err != nil {
				return err
			}
			i := invitation(inv, s, h)
			i.Next = withFile(cmd, i.Next...)
			return a.view.Invite(i)
		},
	}
}

// siteBox returns a site and its host, for a verb that is about its first contact.
func siteBox(inv *inventory.Inventory, verb, name string) (*inventory.Site, inventory.Host, error) {
	hub := inv.Hub.Name
	if name == hub || name == "hub" {
		return nil, inventory.Host{}, transport.WithHint(fmt.Errorf("%s %s: this is the hub, and %s is for the box of a site", verb, name, verb),
			"name a site; the hub is reached at its public address: `vpnpush apply --limit %s`", hub)
	}
	s, err := inv.Site(name)
	if err != nil {
		return nil, inventory.Host{}, fmt.Errorf("%s: %w", verb, err)
	}
	hosts := inv.Hosts()
	return s, hosts[slices.IndexFunc(hosts, func(h inventory.Host) bool { return h.Name == name })], nil
}

// invitation returns how the box of a site opens a line to the hub, and is reached by it.
func invitation(inv *inventory.Inventory, s *inventory.Site, h inventory.Host) view.Invitation {
	hub, own := inv.HubHost(), boxPort(inv, h)
	user, port := cmp.Or(hub.SSH.User, "root"), linePorts(inv)[h.Name]
	v := view.Invitation{
		Site: h.Name, Inventory: inv.Path, Port: port,
		SSH:  view.WayIn{Host: "127.0.0.1", Port: port, Jump: "hub", User: s.SSH.User},
		Key:  fmt.Sprintf(`restrict,port-forwarding,permitlisten="%d"`, port),
		Keys: fmt.Sprintf("the authorized_keys of %s on %s", user, hub.Name),
		Next: []string{"vpnpush plan " + h.Name},
	}
	line := []string{"ssh", "-N", "-R", fmt.Sprintf("%d:127.0.0.1:%d", port, own), "-o", "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=2"}
	if p := cmp.Or(hub.SSH.Port, sshPort); p != sshPort {
		line = append(line, "-p", strconv.Itoa(p))
	}
	v.Run = strings.Join(append(line, transport.Quote(user+"@"+inv.Hub.Address.String())), " ")
	v.Keep = "systemd-run --unit=vpnpush-line -p Restart=always -p RestartSec=5 " + v.Run
	if hub.SSH.Jump != "" && hub.SSH.Jump != "none" {
		v.Notes = append(v.Notes, fmt.Sprintf("You reach %s through %s: its sshd must let the box in at %s, too.", hub.Name, hub.SSH.Jump, inv.Hub.Address))
	}
	carried := slices.ContainsFunc(inv.Hub.Subnets, func(p netip.Prefix) bool { return p.Contains(inv.Hub.Address) })
	if s.Address.IsValid() {
		v.After = &view.WayIn{Host: s.Address.String(), Jump: "hub", User: s.SSH.User}
		if own != sshPort {
			v.After.Port = own
		}
	}
	switch {
	case carried && v.After != nil:
		v.Notes = append(v.Notes, fmt.Sprintf("The line breaks when the tunnel comes up, for %s is in hub.subnets. The apply goes on through the tunnel, and is confirmed there.", inv.Hub.Address))
	case carried:
		v.Notes = append(v.Notes, fmt.Sprintf("The line would break when the tunnel comes up, for %s is in hub.subnets, and the apply be put back: set sites.%s.address first, or keep the line as docs/ssh.md says.", inv.Hub.Address, h.Name))
	}
	return v
}

// boxPort returns the port of the sshd on a site's box, as far as the inventory tells it:
// that of a port which a router forwards, or of a line that the box opens, is another.
func boxPort(inv *inventory.Inventory, h inventory.Host) int {
	if inTunnel(inv, h) && !opened(h) {
		return cmp.Or(h.SSH.Port, sshPort)
	}
	return sshPort
}

// The ports of the lines that sites open to the hub: above those of services, and below
// those that Linux gives to connections (32768 on).
const firstLine, lines = 20000, 10000

// linePorts returns a port of the hub for each site. It comes of the site's name alone,
// unless two names come to the same, so that it stays when others come and go; one that the
// inventory has is kept.
func linePorts(inv *inventory.Inventory) map[string]int {
	ports, taken := map[string]int{}, map[int]bool{}
	sites := inv.Hosts()[1:] // by name
	for _, h := range sites {
		if opened(h) && h.SSH.Port != 0 {
			ports[h.Name], taken[h.SSH.Port] = h.SSH.Port, true
		}
	}
	for _, h := range sites {
		if ports[h.Name] != 0 {
			continue
		}
		sum := fnv.New32a()
		sum.Write([]byte(h.Name))
		n := int(sum.Sum32() % lines)
		for taken[firstLine+n] {
			n = (n + 1) % lines
		}
		ports[h.Name], taken[firstLine+n] = firstLine+n, true
	}
	return ports
}
