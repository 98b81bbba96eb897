package main

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/netmap"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// drawings are what map can write, by the ending of the file.
var drawings = map[string]func(netmap.Network) []byte{
	".svg": netmap.SVG, ".dot": netmap.DOT, ".mmd": netmap.Mermaid,
}

func (a *app) mapCmd() *cobra.Command {
	var out string
	var live bool
	cmd := &cobra.Command{
		Use:   "map -o FILE.svg",
		Short: "Draw the network as a picture",
		Long: `Map draws the hub, the sites behind their NAT, their subnets, and the users: as SVG,
or for Graphviz (.dot) or Mermaid (.mmd), by the ending of the file; -o - writes
SVG to standard output. Secrets are not in it. It touches no network, unless
--live asks the hub, in one connection, which tunnels are up.

Exit codes: 0 done; 1 usage or inventory; 4 --live did not reach the hub: the
picture is written, with the tunnels unknown.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			draw := netmap.SVG
			if out != "-" {
				if draw = drawings[strings.ToLower(filepath.Ext(out))]; draw == nil {
					return &hinted{fmt.Errorf("map: -o %q: what is it to be?", out), "name a file that ends in .svg, .dot or .mmd; - for SVG on standard output"}
				}
			}
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			names, err := inv.Select(a.limit)
			if err != nil {
				return err
			}
			n := network(inv, names)
			var failed error
			if live {
				if failed = a.lookAtTunnels(cmd.Context(), inv, &n); cmd.Context().Err() != nil {
					return &codeError{exitInterrupted, nil}
				}
			}
			if out == "-" {
				_, err = a.stdout.Write(draw(n))
			} else {
				err = renameio.WriteFile(out, draw(n), 0o644)
			}
			if err != nil {
				return fmt.Errorf("map: %w", err)
			}
			return failed
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "the `FILE` to write: .svg, .dot or .mmd; - for SVG on standard output")
	cmd.Flags().BoolVar(&live, "live", false, "ask the hub which tunnels are up, and colour them")
	return cmd
}

// network is what is drawn of an inventory: the sites among names.
func network(inv *inventory.Inventory, names []string) netmap.Network {
	n := netmap.Network{Relay: inv.Tunnel.Relay}
	n.Hub = netmap.Hub{Name: inv.Hub.Name, Address: inv.Hub.Address.String(), Subnets: subnets(inv.Hub.Subnets)}
	for _, s := range inv.Sites {
		if !slices.Contains(names, s.Name) {
			continue
		}
		site := netmap.Site{Name: s.Name, Subnets: subnets(s.Subnets)}
		if s.Address.IsValid() {
			site.Address = s.Address.String()
		}
		n.Sites = append(n.Sites, site)
	}
	if l := inv.L2TP; l != nil {
		n.L2TP = &netmap.L2TP{Pool: l.PoolFrom.String() + "-" + l.PoolTo.String()}
		for _, u := range l.Users {
			user := netmap.User{Name: u.Name}
			if u.Address.IsValid() {
				user.Address = u.Address.String()
			}
			n.L2TP.Users = append(n.L2TP.Users, user)
		}
	}
	return n
}

func subnets(ps []netip.Prefix) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Masked().String()
	}
	return out
}

// lookAtTunnels asks the hub for the state of each tunnel. Where it cannot be
// had, all are unknown.
func (a *app) lookAtTunnels(ctx context.Context, inv *inventory.Inventory, n *netmap.Network) error {
	for i := range n.Sites {
		n.Sites[i].State = netmap.Unknown
	}
	a.limit = []string{"hub"}
	e, hosts, d, err := a.engineFor(inv)
	if err != nil {
		return err
	}
	defer d.Close()
	defer e.Close()
	hosts[0].Reads = tasks.SAReads()
	a.view.Hosts(1)
	hub := e.Facts(ctx, hosts)[0]
	if hub.Result != engine.OK {
		return &codeError{exitHosts, fmt.Errorf("%s: %w", hub.Name, hub.Err)}
	}
	sas, err := tasks.SAsFrom(hub.Facts)
	if err != nil {
		return &codeError{exitHosts, fmt.Errorf("%s: %w", hub.Name, err)}
	}
	n.Looked = time.Now()
	for _, st := range strongswan.CheckTunnels(sas, hosts[0].Tunnels) {
		i := slices.IndexFunc(n.Sites, func(s netmap.Site) bool { return s.Name == st.Tunnel.Peer })
		switch {
		case i < 0:
		case st.Up:
			n.Sites[i].State = netmap.Up
		default:
			n.Sites[i].State = netmap.Down
		}
	}
	return nil
}
