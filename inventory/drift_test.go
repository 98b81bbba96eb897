package inventory

import (
	"strings"
	"testing"
	"time"
)

const twoHosts = "[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\n[sites.tokyo]\nsubnets = [\"192.168.1.0/24\"]\npsk = \"tokyo-Ahquai3ohGhaeXo8\"\n"

// An ignore holds to the end of its last day, and for the tasks that its glob
// means: "*" matches a path's slashes as well.
func TestIgnore(t *testing.T) {
	inv, diags := Parse("i.toml", []byte(twoHosts+`
[[drift.ignore]]
host = "tok*"
task = "file:/etc/ipsec.d/*"
reason = "a test"
until = 2027-01-31
[[drift.ignore]]
host = "hub"
task = "sysctl:net.ipv4.ip_forward"
reason = "another"
until = 2027-02-01
`))
	if inv == nil || len(diags) > 0 || len(inv.Ignores) != 2 {
		t.Fatal(inv, diags)
	}
	if got := inv.Ignores[0].Until; !got.Equal(time.Date(2027, 2, 1, 0, 0, 0, 0, time.Local)) {
		t.Errorf("until %s", got)
	}
	for _, c := range []struct {
		i          int
		host, task string
		want       bool
	}{
		{0, "tokyo", "file:/etc/ipsec.d/vpnpush/tokyo.conf", true},
		{0, "vps", "file:/etc/ipsec.d/vpnpush/tokyo.conf", false},
		{0, "tokyo", "file:/etc/ipsec.conf", false},
		{1, "vps", "sysctl:net.ipv4.ip_forward", true},
		{1, "tokyo", "sysctl:net.ipv4.ip_forward", false},
	} {
		if got := inv.Ignores[c.i].Matches(c.host, c.task); got != c.want {
			t.Errorf("ignore %d of %s %s: %t", c.i, c.host, c.task, got)
		}
	}
}

// A rule that would do nothing, or for ever, or for nobody knows why, is refused
// on the line where it stands.
func TestIgnoreFaults(t *testing.T) {
	const good = "[[drift.ignore]]\nhost = \"tokyo\"\ntask = \"a\"\nreason = \"b\"\nuntil = 2027-01-31\n"
	for _, c := range []struct{ old, new, want string }{
		{"until = 2027-01-31\n", "", "i.toml:7: drift.ignore.0.until is missing; write a day without quotes, such as 2027-01-31"},
		{"2027-01-31", `"2027-01-31"`, "i.toml:11: drift.ignore.0.until is a string; write a day without quotes, such as 2027-01-31"},
		{"2027-01-31", `2027-01-31T10:00:00Z`, "i.toml:11: drift.ignore.0.until has a time of day; write a day without quotes, such as 2027-01-31"},
		{`"tokyo"`, `"tokio"`, `i.toml:8: drift.ignore.0.host: there is no host "tokio"; did you mean "tokyo"?`},
		{`"b"`, `""`, "i.toml:10: drift.ignore.0.reason is missing; say why, for the one who finds it next year"},
		{`"a"`, `"[a"`, "i.toml:9: drift.ignore.0.task is no glob: syntax error in pattern; close the bracket, or put a backslash before it"},
		{`reason`, `reasons`, "i.toml:10: unknown key drift.ignore.0.reasons; did you mean reason?"},
		{good, "[drift]\nignore = 3\n", "i.toml:8: drift.ignore is a number; write [[drift.ignore]] and its keys below it"},
	} {
		_, diags := Parse("i.toml", []byte(twoHosts+strings.Replace(good, c.old, c.new, 1)))
		var got []string
		for _, d := range diags {
			got = append(got, d.String())
		}
		if !strings.Contains(strings.Join(got, "\n"), c.want) {
			t.Errorf("%s -> %s:\n%s\nwant %s", c.old, c.new, strings.Join(got, "\n"), c.want)
		}
	}
}
