package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/netmap"
	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/engine"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
	"github.com/vpnpush/vpnpush/transport"
)

// drawings are what map can write, by the ending of the file.
var drawings = map[string]func(netmap.Network) []byte{
	"svg": netmap.SVG, "dot": netmap.DOT, "mmd": netmap.Mermaid,
}

func (a *app) mapCmd() *cobra.Command {
	var f mapFlags
	cmd := a.reaching(&cobra.Command{
		Use:   "map -o FILE.svg",
		Short: "Draw the network as a picture",
		Long: `Map draws the hub, the sites behind their NAT, their subnets, and the users: as SVG,
or for Graphviz (.dot) or Mermaid (.mmd), by the ending of the file; -o - writes
SVG to standard output. Secrets are not in it. It touches no network, unless
--live asks the hub, in one connection, which tunnels are up.

Of more than 300 sites it draws 300, with --live those first whose tunnels are not up,
and says how many it leaves out; --limit chooses others.

Exit codes: 0 done; 1 usage or inventory; 4 --live did not reach the hub: the
picture is written, with the tunnels unknown.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.NoArgs(cmd, args); err != nil {
				return err
			}
			return f.check(a.json)
		},
	}, func(ctx context.Context, o *operation, _ []string) error { return o.draw(ctx, f, a.view) })
	cmd.Flags().StringVarP(&f.out, "out", "o", "", "the `FILE` to write: .svg, .dot or .mmd; - for SVG on standard output")
	cmd.Flags().BoolVar(&f.live, "live", false, "ask the hub which tunnels are up, and colour them")
	return cmd
}

type mapFlags struct {
	out  string // "-": standard output
	live bool
}

// format returns the ending of the file without its dot, in small letters.
func (f mapFlags) format() string {
	if f.out == "-" {
		return "svg"
	}
	return strings.TrimPrefix(strings.ToLower(filepath.Ext(f.out)), ".")
}

func (f mapFlags) check(json bool) error {
	switch {
	case f.out == "":
		return transport.WithHint(errors.New("map: -o is missing"), "name a file that ends in .svg, .dot or .mmd; - for SVG on standard output")
	case f.out == "-" && json:
		return transport.WithHint(errors.New("map: -o - and --json cannot be used together: both write to standard output"), "name a file with -o")
	case drawings[f.format()] == nil:
		return transport.WithHint(fmt.Errorf("map: -o %s: the file name must end in .svg, .dot or .mmd", f.out), "-o - writes SVG to standard output")
	}
	return nil
}

type mapView interface{ Map(view.Drawing) error }

// draw writes the picture also where the hub was not reached, and then says so.
func (o *operation) draw(ctx context.Context, f mapFlags, v mapView) error {
	names, err := o.inv.Select(o.app.limit)
	if err != nil {
		return err
	}
	n := network(o.inv, names)
	var failed error
	if f.live {
		if failed = o.lookAtTunnels(ctx, &n); interrupted(ctx) {
			return exitWith(exitInterrupted)
		}
	}
	d := view.Drawing{File: f.out, Format: f.format(), Bytes: drawings[f.format()](n), Looked: n.Looked, LeftOut: n.LeftOut()}
	if f.out == "-" {
		d.File = ""
	} else if err := renameio.WriteFile(f.out, d.Bytes, 0o644); err != nil {
		return fmt.Errorf("map: %w", err)
	}
	if err := v.Map(d); err != nil {
		return err
	}
	return failed
}

// network returns what is drawn of an inventory: the sites among names.
func network(inv *inventory.Inventory, names []string) netmap.Network {
	n := netmap.Network{Relay: inv.Tunnel.Relay}
	n.Hub = netmap.Hub{Name: inv.Hub.Name, Address: inv.Hub.Address.String(), Subnets: subnets(inv.Hub.Subnets)}
	chosen := map[string]bool{}
	for _, name := range names {
		chosen[name] = true
	}
	for _, s := range inv.Sites {
		if !chosen[s.Name] {
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
func (o *operation) lookAtTunnels(ctx context.Context, n *netmap.Network) error {
	for i := range n.Sites {
		n.Sites[i].State = netmap.Unknown
	}
	hosts, err := o.seen(ctx, []string{"hub"})
	if err != nil {
		return err
	}
	h := hosts[0]
	h.Reads = tasks.SAReads()
	hub := o.engine.Facts(ctx, []engine.Host{h})[0]
	if hub.Result != engine.OK {
		return hostEnd(h, hub.Result, hub.Err)
	}
	sas, err := tasks.SAsFrom(hub.Facts)
	if err != nil {
		return hostEnd(h, engine.Failed, err)
	}
	n.Looked = time.Now()
	at := map[string]int{}
	for i, s := range n.Sites {
		at[s.Name] = i
	}
	for _, st := range strongswan.CheckTunnels(sas, h.Tunnels) {
		i, drawn := at[st.Tunnel.Peer]
		switch {
		case !drawn:
		case st.Up:
			n.Sites[i].State = netmap.Up
		default:
			n.Sites[i].State = netmap.Down
		}
	}
	return nil
}
