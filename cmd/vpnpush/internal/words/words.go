// Package words puts numbers into sentences.
package words

import (
	"fmt"
	"strings"
)

// Count returns "1 host", "2 hosts", "2 entries".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if stem, y := strings.CutSuffix(noun, "ry"); y {
		return fmt.Sprintf("%d %sries", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
