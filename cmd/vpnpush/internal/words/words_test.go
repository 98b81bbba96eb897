package words

import "testing"

// The screen is read by people.
func TestCount(t *testing.T) {
	for want, got := range map[string]string{
		"0 hosts": Count(0, "host"), "1 host": Count(1, "host"), "2 hosts": Count(2, "host"),
		"1 entry": Count(1, "entry"), "3 entries": Count(3, "entry"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
