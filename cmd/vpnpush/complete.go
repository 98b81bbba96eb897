package main

import (
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vpnpush/vpnpush/inventory"
)

// A shell asks for completions at each press of a key, and shows nothing but them. So
// they come of the text of the inventory alone: no secret's command is run and no host is
// asked, and an inventory that is not there or has faults completes nothing.

// read returns the inventory as far as its text says; nil where it is no good.
func (a *app) read() *inventory.Inventory {
	text, err := os.ReadFile(a.inventory)
	if err != nil {
		return nil
	}
	inv, _ := inventory.Parse(a.inventory, text)
	return inv
}

// hostNames returns the names of the inventory's hosts.
func (a *app) hostNames() []string {
	inv := a.read()
	if inv == nil {
		return nil
	}
	var names []string
	for _, h := range inv.Hosts() {
		names = append(names, h.Name)
	}
	return names
}

// groupPatterns returns the groups of the inventory as --limit takes them.
func (a *app) groupPatterns() (patterns []string) {
	if inv := a.read(); inv != nil {
		for _, g := range inv.Groups() {
			patterns = append(patterns, "@"+g)
		}
	}
	return patterns
}

// completeHosts completes the names of hosts, each once.
func (a *app) completeHosts(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.hostsAfter("", args, begun), cobra.ShellCompDirectiveNoFileComp
}

// completeHost completes the name of the one host that a verb takes, its first argument.
func (a *app) completeHost(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completeHosts(cmd, args, begun)
}

// completeNames returns what completes the first argument of a verb by the names that
// the inventory has of its kind.
func (a *app) completeNames(names func(*inventory.Inventory) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		inv := a.read()
		if inv == nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return slices.DeleteFunc(names(inv), func(n string) bool { return !strings.HasPrefix(n, begun) }), cobra.ShellCompDirectiveNoFileComp
	}
}

func siteNames(inv *inventory.Inventory) (names []string) {
	for _, s := range inv.Sites {
		names = append(names, s.Name)
	}
	return names
}

func userNames(inv *inventory.Inventory) (names []string) {
	if inv.L2TP != nil {
		for _, u := range inv.L2TP.Users {
			names = append(names, u.Name)
		}
	}
	return names
}

// completeLimit completes the last name of a list of them.
func (a *app) completeLimit(_ *cobra.Command, _ []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	i := strings.LastIndexByte(begun, ',') + 1
	return a.hostsAfter(begun[:i], strings.Split(begun[:i], ","), begun[i:]), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// hostsAfter returns the hosts, and once "@" is typed the groups, whose names go on from
// begun and are not among had, each behind lead. What is excluded, !NAME, is completed
// as well.
func (a *app) hostsAfter(lead string, had []string, begun string) []cobra.Completion {
	name, exclude := strings.CutPrefix(begun, "!")
	if exclude {
		lead += "!"
	}
	names := a.hostNames
	if strings.HasPrefix(name, "@") {
		names = a.groupPatterns
	}
	var out []cobra.Completion
	for _, n := range names() {
		if strings.HasPrefix(n, name) && !slices.Contains(had, n) && !slices.Contains(had, "!"+n) {
			out = append(out, lead+n)
		}
	}
	return out
}
