package tasks

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A revert gives back what the kernel changes along with ip_forward, too: a host
// that took no redirects must not take them afterwards.
func TestSysctlUndo(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: no network namespace to change parameters in")
	}
	const forward, redirects = "net.ipv4.ip_forward", "net.ipv4.conf.all.accept_redirects"
	for _, was := range []string{"0", "1"} {
		f := Facts{sysctls: map[string]SysctlState{forward: {Exists: true, Value: "0"}, redirects: {Exists: true, Value: was}}}
		var do, undo string
		for _, task := range []Sysctl{{forward, "1"}, {redirects, "0"}} {
			c, err := task.Check(f)
			if err != nil {
				t.Fatal(err)
			}
			if c == nil {
				continue
			}
			var back string
			for _, s := range c.Undo {
				back += s.Shell + "\n"
			}
			do, undo = do+c.Do[0].Shell+"\n", back+undo // what was done last goes first
		}
		show := "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/all/accept_redirects\n"
		out, err := exec.Command("unshare", "-n", "sh", "-euc",
			"echo 0 >/proc/sys/net/ipv4/ip_forward\necho "+was+" >/proc/sys/net/ipv4/conf/all/accept_redirects\n"+show+do+show+undo+show).CombinedOutput()
		if strings.Contains(string(out), "unshare failed") {
			t.Skipf("no network namespaces here: %s", out)
		}
		if want := "0\n" + was + "\n1\n0\n0\n" + was + "\n"; err != nil || string(out) != want {
			t.Errorf("before, applied and reverted: %q, %v; want %q", out, err, want)
		}
	}
}
