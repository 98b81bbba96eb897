package inventory

// nearest returns the word of known that is closest to s, or "" when none is
// close enough to be what was meant: a third of the letters may differ, and
// two in any case.
func nearest(s string, known []string) string {
	best, bestDist := "", max(2, len(s)/3)+1
	for _, k := range known {
		if d := distance(s, k, bestDist); d < bestDist && d < max(len(s), len(k)) {
			best, bestDist = k, d
		}
	}
	return best
}

// distance returns the Levenshtein distance of a and b, or any number >= limit
// once it is sure to be that much.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
