package roles

import (
	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// Leave is what is wanted of a host that vpnpush leaves: nothing of ours, down
// to the include lines. The files go by the manifest (tasks.Orphans). Packages
// stay, for others may use them by now, and so do live kernel parameters, which
// are gone at the next boot.
func Leave(inv *inventory.Inventory, host string, f tasks.Facts) ([]tasks.Task, error) {
	p, err := place(inv, host)
	if err != nil {
		return nil, err
	}
	m, err := tasks.ReadManifest(f)
	if err != nil || m == nil {
		return nil, err
	}
	ts := []tasks.Task{
		tasks.NoLine{Path: ipsecConf, Line: includeConf},
		tasks.NoLine{Path: ipsecKeys, Line: includeKeys, Syntax: mask.IPsecSecrets},
	}
	if m.Tasks["file:"+rulesV4] != "" || m.Tasks["firewall:live"] != "" {
		ts = append(ts, tasks.RulesV4{Path: rulesV4}, tasks.Firewall{})
	}
	ts = append(ts, p.withoutL2TP(m)...)
	return append(ts, tasks.IPsec{Unit: unitIPsec}), nil
}

// withoutL2TP takes away what an L2TP layer left that files alone are not.
func (p placed) withoutL2TP(m *tasks.Manifest) []tasks.Task {
	var ts []tasks.Task
	if m != nil && m.Tasks["block:"+chapSecrets] != "" {
		ts = append(ts, tasks.Block{Path: chapSecrets, Mode: 0o600, Syntax: mask.ChapSecrets, Owner: p.inv.ID})
	}
	if m != nil && m.Tasks["unit:"+unitXL2TPD] != "" {
		ts = append(ts, tasks.Stopped{Name: unitXL2TPD})
	}
	return ts
}
