package inventory

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
)

// Shard is one of several parts of the sites, each for a run of its own.
type Shard struct {
	Number int // from 1
	Of     int
}

// Has reports whether a site is in s. Its name alone decides: the first 8 bytes of the
// SHA-256 digest, a big-endian number, modulo Of. So another site moves none, and it can be
// told without an inventory. That another Of moves nearly all costs nothing, for no shard
// keeps anything that it needs again.
func (s Shard) Has(site string) bool {
	sum := sha256.Sum256([]byte(site))
	return binary.BigEndian.Uint64(sum[:8])%uint64(s.Of) == uint64(s.Number-1)
}

// String returns s as a user counts it: "shard 3 of 8".
func (s Shard) String() string { return fmt.Sprintf("shard %d of %d", s.Number, s.Of) }

// Sharded returns those sites of the chosen hosts that s has, in their order, and all sites
// among them. The hub is in no shard; where a pattern names it, that is an error.
func (inv *Inventory) Sharded(s Shard, patterns, chosen []string) (mine, all []string, err error) {
	for _, p := range patterns {
		if p == "hub" || p == inv.Hub.Name {
			return nil, nil, &fault{fmt.Sprintf("select hosts: %q is the hub, and a shard has sites alone", p),
				fmt.Sprintf("the hub has a run of its own, before the shards: leave --shard out, or %q", p)}
		}
	}
	for _, name := range chosen {
		if name == inv.Hub.Name {
			continue
		}
		all = append(all, name)
		if s.Has(name) {
			mine = append(mine, name)
		}
	}
	return mine, all, nil
}

// SitesDigest tells whether two runs had the same sites to share, in the order of the
// inventory.
func SitesDigest(names []string) string {
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(names, "\n"))))
}
