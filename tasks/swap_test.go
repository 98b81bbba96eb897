package tasks

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// What keeps packages from starting services goes when they are swapped, whatever program
// does not work then, and nobody else's goes.
func TestServicesStartAgainAfterASwap(t *testing.T) {
	rm, err := exec.LookPath("rm")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, text string
		stays      bool
	}{
		{"ours", "#!/bin/sh\n# vpnpush: for as long as it swaps packages\nexit 101\n", false},
		{"an admin's", "#!/bin/sh\nexit 101\n", true},
		{"one that tells of us", "#!/bin/sh\nexit 101\n# vpnpush: see there\n", true},
		{"of one line", "#!/bin/true", true},
		{"empty", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			rc := filepath.Join(dir, "policy-rc.d")
			if err := os.WriteFile(rc, []byte(tt.text), 0o755); err != nil {
				t.Fatal(err)
			}
			bin := filepath.Join(dir, "bin") // rm alone works
			if err := os.Mkdir(bin, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(rm, filepath.Join(bin, "rm")); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("sh", "-ec", PartSwap.Text+"\nswap_rc=$1\nswap_start_again\nswap_rc=$1.none\nswap_start_again", "sh", rc)
			cmd.Env = []string{"PATH=" + bin}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if _, err := os.Lstat(rc); (err == nil) != tt.stays {
				t.Errorf("after it: %v", err)
			}
		})
	}
}
