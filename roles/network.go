package roles

import (
	"cmp"
	"net/netip"
	"slices"
)

func overlapAny(as, bs []netip.Prefix) bool {
	for _, a := range as {
		for _, b := range bs {
			if a.Overlaps(b) {
				return true
			}
		}
	}
	return false
}

// common returns what as and bs have in common.
func common(as, bs []netip.Prefix) []netip.Prefix {
	var out []netip.Prefix
	for _, a := range as {
		for _, b := range bs {
			if !a.Overlaps(b) {
				continue
			}
			if b.Bits() > a.Bits() {
				out = append(out, b)
			} else {
				out = append(out, a)
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.Prefix) int { return cmp.Or(a.Addr().Compare(b.Addr()), a.Bits()-b.Bits()) })
	return slices.Compact(out)
}

// one returns the prefix of a single address.
func one(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func texts(ps []netip.Prefix) []string {
	out := make([]string, len(ps))
	for i, p := range ps {
		out[i] = p.Masked().String()
	}
	return out
}
