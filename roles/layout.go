package roles

import "github.com/vpnpush/vpnpush/tasks"

// Layout tells a rollback how things stand on a host of this role ("hub",
// "site"), whatever the inventory says today.
func Layout(role string) tasks.Layout {
	return tasks.Layout{
		IPsecUnit: unitIPsec, ConnDir: confDir, Restart: map[string][]string{unitXL2TPD: {xl2tpdConf}},
		BootOnly:  []string{unitFirewall},
		Initiates: role == "site",
	}
}
