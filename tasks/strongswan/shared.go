package strongswan

import (
	"maps"
	"net/netip"
	"slices"
)

// SharedAddresses returns the addresses from behind which more than one client has an
// SA in transport mode, as L2TP clients do, sorted. Behind the address of a NAT the
// packets to them cannot be told apart: the last one gets them all. One client that
// dials again has the identity that it had before.
func SharedAddresses(sas []SA) []string {
	clients := map[string]map[string]bool{} // identities by address
	for _, sa := range sas {
		if !slices.ContainsFunc(sa.Children, func(c ChildSA) bool { return c.Mode == "TRANSPORT" && c.Carries() }) {
			continue
		}
		addr := sa.RemoteAddr
		if a, err := netip.ParseAddrPort(addr); err == nil {
			addr = a.Addr().String()
		}
		if clients[addr] == nil {
			clients[addr] = map[string]bool{}
		}
		clients[addr][sa.RemoteID] = true
	}
	maps.DeleteFunc(clients, func(_ string, ids map[string]bool) bool { return len(ids) < 2 })
	return slices.Sorted(maps.Keys(clients))
}
