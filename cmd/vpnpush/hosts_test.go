package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// sitesOf returns an inventory of so many sites.
func sitesOf(t *testing.T, sites int) *inventory.Inventory {
	t.Helper()
	var b strings.Builder
	b.WriteString("[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\n[firewall]\nbackend = \"none\"\n")
	for i := range sites {
		fmt.Fprintf(&b, "[sites.s%05d]\nsubnets = [\"10.%d.%d.0/24\"]\npsk = \"site-%05d-iequ5Ohngai3\"\n", i, i/250, i%250, i)
	}
	inv, diags := inventory.Parse("many.toml", []byte(b.String()))
	if len(diags.Errors()) > 0 {
		t.Fatal(diags)
	}
	return inv
}

// What a run does before it reaches a host grows with the sites and no faster: with
// 50,000 it would take a quarter of an hour.
func TestTargetsGrowWithSites(t *testing.T) {
	cost := func(sites int) float64 {
		inv := sitesOf(t, sites)
		return testing.AllocsPerRun(1, func() { (&app{}).targets(inv) })
	}
	if few, many := cost(100), cost(1000); many > 15*few {
		t.Errorf("100 sites cost %.0f allocations, 1,000 cost %.0f", few, many)
	}
}

// A host keeps what is to be read on it until the end of a run, and nothing besides: of
// 10,000 sites the lists with all that is asked for twice take 150 MB.
func TestReadsAreShort(t *testing.T) {
	hosts, err := engineHosts(sitesOf(t, 2), []string{"s00000"})
	if err != nil {
		t.Fatal(err)
	}
	if r := hosts[0].Reads; cap(r) > 2*len(r) {
		t.Errorf("%d reads take the room of %d", len(r), cap(r))
	}
}
