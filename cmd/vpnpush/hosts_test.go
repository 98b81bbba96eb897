package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// What a run does before it reaches a host grows with the sites and no faster: with
// 50,000 it would take a quarter of an hour.
func TestTargetsGrowWithSites(t *testing.T) {
	cost := func(sites int) float64 {
		var b strings.Builder
		b.WriteString("[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\n[firewall]\nbackend = \"none\"\n")
		for i := range sites {
			fmt.Fprintf(&b, "[sites.s%05d]\nsubnets = [\"10.%d.%d.0/24\"]\npsk = \"site-%05d-iequ5Ohngai3\"\n", i, i/250, i%250, i)
		}
		inv, diags := inventory.Parse("many.toml", []byte(b.String()))
		if len(diags.Errors()) > 0 {
			t.Fatal(diags)
		}
		return testing.AllocsPerRun(1, func() { (&app{}).targets(inv) })
	}
	if few, many := cost(100), cost(1000); many > 15*few {
		t.Errorf("100 sites cost %.0f allocations, 1,000 cost %.0f", few, many)
	}
}
