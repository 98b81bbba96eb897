package view

import (
	"fmt"
	"strings"

	"github.com/vpnpush/vpnpush/tasks/engine"
)

// The document of a drift: that of a plan, and what only a drift knows.
type (
	driftDocument struct {
		head
		Inventory string          `json:"inventory"`
		Time      string          `json:"time"`
		Shard     *Shard          `json:"shard"`
		Hosts     []driftJSONHost `json:"hosts"`
		Summary   driftSummary    `json:"summary"`
		ExitCode  int             `json:"exit_code"`
	}
	driftJSONHost struct {
		Name        string            `json:"name"`
		Role        string            `json:"role"`
		Result      string            `json:"result"`
		Error       string            `json:"error"`
		Busy        string            `json:"busy"` // who is at work there
		BusySince   string            `json:"busy_since"`
		LastChecked string            `json:"last_checked"` // with this run
		LastOK      string            `json:"last_ok"`
		Changes     []driftJSONChange `json:"changes"`
	}
	driftJSONChange struct {
		Task   string `json:"task"`
		Action string `json:"action"` // "" for a tunnel
		State  string `json:"state"`  // "drifted", "pending", "down", "ignored"
		// InventoryChanged: the host moved, and the inventory did, too.
		InventoryChanged bool   `json:"inventory_changed"`
		Edited           string `json:"edited"` // the file, by the host's clock
		Ignored          string `json:"ignored"`
		Diff             string `json:"diff"` // "-" the inventory's, "+" the host's
	}
	// driftSummary: changed counts the hosts that are drifted or pending,
	// changes what is not ignored.
	driftSummary struct {
		Hosts       int `json:"hosts"`
		OK          int `json:"ok"`
		Changed     int `json:"changed"`
		Drifted     int `json:"drifted"`
		Pending     int `json:"pending"`
		Busy        int `json:"busy"`
		Unreachable int `json:"unreachable"`
		Failed      int `json:"failed"`
		Changes     int `json:"changes"`
	}
)

func (v *View) driftDocument(d *engine.Drift, o DriftOptions) driftDocument {
	doc := driftDocument{head: heading("drift"), Inventory: v.text(o.Inventory), Time: stamp(d.At), Shard: v.shard, ExitCode: v.code, Hosts: []driftJSONHost{}}
	sum := &doc.Summary
	for i := range d.Hosts {
		h := &d.Hosts[i]
		last := lastOf(h, o.Last[h.Name])
		jh := driftJSONHost{
			Name: v.text(h.Name), Role: h.Role, Result: string(h.Result),
			Error: v.errorText(h.Name, h.Err), LastChecked: stamp(last.Checked), LastOK: stamp(last.OK), Changes: []driftJSONChange{},
		}
		if h.Result == engine.Locked {
			jh.Busy, jh.BusySince = v.text(busy(h.Busy)), stamp(h.Busy.Since)
		}
		for _, f := range h.Findings {
			c := driftJSONChange{
				Task: v.text(f.Change.Task), Action: string(f.Change.Action), State: string(f.State),
				InventoryChanged: f.Also, Edited: stamp(f.Edited),
			}
			if f.Ignored != nil {
				c.State, c.Ignored = "ignored", v.text(fmt.Sprintf("until %s: %s", lastDay(f.Ignored), f.Ignored.Reason))
			} else {
				sum.Changes++
			}
			var b strings.Builder
			for _, l := range twoSides(*f.Change) {
				b.WriteString(l.text + "\n")
			}
			c.Diff = v.text(b.String())
			jh.Changes = append(jh.Changes, c)
		}
		doc.Hosts = append(doc.Hosts, jh)
		sum.Hosts++
		switch h.Result {
		case engine.OK:
			sum.OK++
		case engine.Drifted:
			sum.Drifted++
			sum.Changed++
		case engine.Pending:
			sum.Pending++
			sum.Changed++
		case engine.Locked:
			sum.Busy++
		case engine.Unreachable, engine.Skipped:
			sum.Unreachable++
		default:
			sum.Failed++
		}
	}
	return doc
}

// lastOf returns when a host was last judged and last well, this run counted in.
func lastOf(h *engine.HostDrift, before LastSeen) LastSeen {
	if h.Checked() {
		before.Checked = h.Looked
		if h.Result == engine.OK {
			before.OK = h.Looked
		}
	}
	return before
}
