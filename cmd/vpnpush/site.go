package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/view"
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/transport"
)

func (a *app) siteCmd() *cobra.Command {
	return group("site", "Add, remove, rename and list the sites of the inventory",
		a.siteAddCmd(), a.siteRemoveCmd(), a.siteRenameCmd(), a.siteListCmd())
}

// newSite is what the flags say of a new site.
type newSite struct {
	lan, groups        []string
	address, ssh, jump string
}

func (a *app) siteAddCmd() *cobra.Command {
	var s newSite
	cmd := a.editing(&cobra.Command{
		Use:   "add NAME",
		Short: "Add a site to the inventory, with a new key",
		Long: `Add writes the table of a new site behind those that are there, with a new random
key for its tunnel. Everything else in the inventory stays as it is written. What
cannot be, such as a LAN that overlaps another, is refused before anything is
written.

The hosts do not change: vpnpush plan shows what an apply would do.`,
		Args: cobra.ExactArgs(1),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) { return addSite(d, args[0], s) })
	f := cmd.Flags()
	f.StringSliceVar(&s.lan, "lan", nil, "the networks of the office (`CIDR,...`)")
	f.StringVar(&s.address, "address", "", "the `ADDRESS` of the site's box in its LAN; else that of its default route")
	f.StringVar(&s.ssh, "ssh", "", "where to log in, if not at the address (`[USER@]HOST[:PORT]`)")
	f.StringVar(&s.jump, "jump", "", "reach it through `HOST`: hub, another host's name, or user@host:port")
	f.StringSliceVar(&s.groups, "group", nil, "the groups it is in, for --limit @GROUP (`GROUP,...`)")
	must(cmd.RegisterFlagCompletionFunc("jump", a.completeHosts))
	return cmd
}

// addSite adds a site to a draft.
func addSite(d *inventory.Draft, name string, s newSite) (view.Edit, error) {
	if len(s.lan) == 0 {
		return view.Edit{}, transport.WithHint(errors.New("--lan is missing"), "name the networks of the office, such as --lan 192.168.3.0/24")
	}
	if _, err := d.Inventory.Site(name); err == nil {
		return view.Edit{}, transport.WithHint(fmt.Errorf("there is a site %q already", name), "choose another name")
	}
	pairs := []inventory.Pair{{Key: []string{"subnets"}, Value: s.lan}}
	if s.address != "" {
		pairs = append(pairs, inventory.Pair{Key: []string{"address"}, Value: s.address})
	}
	pairs = append(pairs, inventory.Pair{Key: []string{"psk"}, Value: secret.GeneratePSK()})
	if len(s.groups) > 0 {
		pairs = append(pairs, inventory.Pair{Key: []string{"groups"}, Value: s.groups})
	}
	login, err := sshPairs(s.ssh)
	if err != nil {
		return view.Edit{}, err
	}
	if s.jump != "" {
		login = append(login, inventory.Pair{Key: []string{"ssh", "jump"}, Value: s.jump})
	}
	d.Add([]string{"sites", name}, append(pairs, login...)...)
	inv, err := d.Edited()
	if err != nil {
		return view.Edit{}, err
	}
	e := view.Edit{Done: fmt.Sprintf("Added site %s, with a new key.", name), Edited: []string{"sites." + name}, Next: []string{applyTo(inv.Hub.Name, name)}}
	for _, h := range inv.Hosts() {
		if h.Name == name && inTunnel(inv, h) {
			e.Notes = append(e.Notes, fmt.Sprintf("It is reached through its own tunnel, which is not there yet: `vpnpush bundle %[1]s` writes a script for who is there, `vpnpush invite %[1]s` says how the box opens a line (docs/ssh.md).", name))
		}
	}
	return e, nil
}

// sshPairs returns the keys of an ssh table that [USER@]HOST[:PORT] stands for.
func sshPairs(text string) ([]inventory.Pair, error) {
	if text == "" {
		return nil, nil
	}
	l, err := inventory.ParseLogin(text)
	if err != nil {
		return nil, transport.WithHint(fmt.Errorf("--ssh: %q %w", text, err), "write [USER@]HOST[:PORT]")
	}
	pairs := []inventory.Pair{{Key: []string{"ssh", "host"}, Value: l.Host}}
	if l.User != "" {
		pairs = append(pairs, inventory.Pair{Key: []string{"ssh", "user"}, Value: l.User})
	}
	if l.Port != 0 {
		pairs = append(pairs, inventory.Pair{Key: []string{"ssh", "port"}, Value: l.Port})
	}
	return pairs, nil
}

func (a *app) siteRemoveCmd() *cobra.Command {
	return a.takingOut(&cobra.Command{
		Use:   "remove NAME",
		Short: "Remove a site from the inventory",
		Long: `Remove takes the table of a site out of the inventory, with the comments right
above it; a blank line between says that they are not the site's. The next apply
takes its tunnel off the hub.

Where the inventory has no other faults than those that go with the site, it is taken
out all the same.

What is on the site's box stays there, and dials in vain. To take that off, too, run
vpnpush remove NAME first: it needs the site to be in the inventory.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeNames(siteNames),
	}, func(args []string) []string { return []string{"sites", args[0]} }, func(d *inventory.Draft, args []string) (view.Edit, error) {
		name := args[0]
		if _, err := d.Inventory.Site(name); err != nil && !d.Has("sites", name) {
			return view.Edit{}, err
		}
		for _, j := range jumps(d.Inventory) {
			if slices.Contains(strings.Split(j.hops, ","), name) {
				return view.Edit{}, transport.WithHint(fmt.Errorf("%s leads through it", j.key()), "give it another value first")
			}
		}
		for i, ig := range d.Inventory.Ignores {
			if ig.Host == name {
				return view.Edit{}, transport.WithHint(fmt.Errorf("drift.ignore %d is about it", i+1), "take that rule out first")
			}
		}
		d.Remove([]string{"sites", name})
		return view.Edit{
			Done: fmt.Sprintf("Removed site %s.", name), Edited: []string{"sites." + name},
			Notes: []string{fmt.Sprintf("Its box keeps what is on it, and dials in vain. To clear it: put the table back, `vpnpush remove %s`, and remove the site again.", name)},
			Next:  []string{applyTo(d.Inventory.Hub.Name)},
		}, nil
	})
}

// jump is a key of the inventory that says through which hosts others are reached.
type jump struct {
	path []string
	hops string
}

func (j jump) key() string { return strings.Join(j.path, ".") }

// jumps returns every ssh.jump of an inventory as it is written.
func jumps(inv *inventory.Inventory) []jump {
	all := []jump{{[]string{"ssh", "jump"}, inv.SSH.Jump}, {[]string{"hub", "ssh", "jump"}, inv.Hub.SSH.Jump}}
	for _, s := range inv.Sites {
		all = append(all, jump{[]string{"sites", s.Name, "ssh", "jump"}, s.SSH.Jump})
	}
	return all
}

func (a *app) siteRenameCmd() *cobra.Command {
	return a.editing(&cobra.Command{
		Use:   "rename OLD NEW",
		Short: "Give a site another name",
		Long: `Rename gives a site another name wherever the inventory has it: in its table, in the
ways of other hosts (ssh.jump) and in rules for drift. The key of its tunnel
stays. A site that is reached by its name alone keeps that as ssh.host.

The name is the site's identity and that of its files and conns. One apply of the hub
and the site moves both ends of the tunnel to the new one, and leaves nothing of the
old. Where only the hub is applied to, it keeps the old tunnel, too, until the site
follows.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: a.completeNames(siteNames),
	}, func(d *inventory.Draft, args []string) (view.Edit, error) { return renameSite(d, args[0], args[1]) })
}

// renameSite gives a site of a draft another name.
func renameSite(d *inventory.Draft, old, name string) (view.Edit, error) {
	s, err := d.Inventory.Site(old)
	if err != nil {
		return view.Edit{}, err
	}
	if _, err := d.Inventory.Site(name); err == nil {
		return view.Edit{}, transport.WithHint(fmt.Errorf("there is a site %q already", name), "choose another name")
	}
	e := view.Edit{
		Done: fmt.Sprintf("Renamed site %s to %s.", old, name), Edited: []string{"sites." + name},
		Next: []string{applyTo(d.Inventory.Hub.Name, name)},
	}
	for _, j := range jumps(d.Inventory) {
		hops := strings.Split(j.hops, ",")
		for i, hop := range hops {
			if hop == old {
				hops[i] = name
			}
		}
		if to := strings.Join(hops, ","); to != j.hops {
			d.Set(j.path, to)
			e.Edited = append(e.Edited, j.key())
		}
	}
	for i, ig := range d.Inventory.Ignores {
		if ig.Host == old {
			d.Set([]string{"drift", "ignore", strconv.Itoa(i), "host"}, name)
			e.Edited = append(e.Edited, fmt.Sprintf("drift.ignore.%d.host", i))
		}
		if strings.Contains(ig.Task, old) {
			e.Notes = append(e.Notes, fmt.Sprintf("A rule of drift.ignore is about %s: see whether that is another now.", ig.Task))
		}
	}
	d.Rename([]string{"sites", old}, name)
	if s.SSH.Host == "" && !s.Address.IsValid() && s.SSH.Connection != "local" {
		d.Set([]string{"sites", name, "ssh", "host"}, old)
		e.Edited = append(e.Edited, "sites."+name+".ssh.host")
	}
	return e, nil
}

func (a *app) siteListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the sites of the inventory",
		Long: `List shows the sites of the inventory, or those that --limit chooses: their networks,
the address of each box, its groups, and how it is reached. It asks no host.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			inv, err := a.load(cmd.Context())
			if err != nil {
				return err
			}
			names, err := inv.Select(a.limit)
			if err != nil {
				return err
			}
			return a.view.Sites(inv, names)
		},
	}
}
