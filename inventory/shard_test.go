package inventory

import (
	"fmt"
	"slices"
	"testing"
)

// Each site is in one shard, about as many in each, and one more site moves no other.
func TestShards(t *testing.T) {
	inv := &Inventory{Hub: Hub{Name: "vps"}}
	chosen := []string{"vps"}
	for i := range 5000 {
		chosen = append(chosen, fmt.Sprintf("site%04d", i))
	}
	seen := map[string]int{}
	for n := 1; n <= 8; n++ {
		s := Shard{Number: n, Of: 8}
		mine, all, err := inv.Sharded(s, nil, chosen)
		if err != nil || !slices.Equal(all, chosen[1:]) {
			t.Fatalf("%s: %v, of %d sites", s, err, len(all))
		}
		if len(mine) < 550 || len(mine) > 700 {
			t.Errorf("%s has %d sites of 5,000", s, len(mine))
		}
		for _, name := range mine {
			seen[name]++
		}
		more, _, _ := inv.Sharded(s, nil, append(slices.Clone(chosen), "zurich"))
		if !slices.Equal(slices.DeleteFunc(more, func(name string) bool { return name == "zurich" }), mine) {
			t.Errorf("%s: another site moves some", s)
		}
	}
	for _, name := range chosen[1:] {
		if seen[name] != 1 {
			t.Errorf("%s is in %d shards", name, seen[name])
		}
	}
	if _, _, err := inv.Sharded(Shard{1, 8}, []string{"@kanto", "vps"}, chosen); err == nil {
		t.Error("a shard takes the hub")
	}
}

// The shard of a site is what docs/scale.md says, for ever: runs of two versions must not
// leave one out. `printf %s tokyo | sha256sum` begins with afe04579004049cc, which leaves 4
// when it is divided by 8.
func TestShardIsDocumented(t *testing.T) {
	for site, want := range map[string][2]int{ // of 8, of 10
		"tokyo": {5, 1}, "osaka": {3, 3}, "nara": {6, 4}, "大阪": {1, 7},
	} {
		for i, of := range []int{8, 10} {
			for n := 1; n <= of; n++ {
				if (Shard{n, of}).Has(site) != (n == want[i]) {
					t.Errorf("%s: %d of %d, want %d", site, n, of, want[i])
				}
			}
		}
	}
}
