package inventory

import "testing"

// One reading of a login for ssh.jump, hub.moves_from, site add --ssh and adopt: what one of
// them takes, the others take, too.
func TestParseLogin(t *testing.T) {
	for text, want := range map[string]Login{
		"vps":                      {Host: "vps"},
		"root@203.0.113.10":        {User: "root", Host: "203.0.113.10"},
		"root@203.0.113.10:2222":   {User: "root", Host: "203.0.113.10", Port: 2222},
		"2001:db8::1":              {Host: "2001:db8::1"},
		"root@2001:db8::1":         {User: "root", Host: "2001:db8::1"},
		"[2001:db8::1]":            {Host: "2001:db8::1"},
		"root@[2001:db8::1]:65535": {User: "root", Host: "2001:db8::1", Port: 65535},
	} {
		if got, err := ParseLogin(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                    "has no good host",
		"me@":                 "has no good host",
		":22":                 "has no good host",
		"[fd00::1":            "has no good host",
		"[]:22":               "has no good host",
		"a b":                 "has no good host",
		"-oProxyCommand=x":    "has no good host",
		"@vps":                "has no good user",
		"-oProxyCommand=x@y":  "has no good user",
		"vps:":                "has no good port",
		"vps:ssh":             "has no good port",
		"vps:0":               "has no good port",
		"vps:+22":             "has no good port",
		"root@vps:65536":      "has no good port",
		"[2001:db8::1]:99999": "has no good port",
	} {
		if got, err := ParseLogin(text); err == nil || err.Error() != want {
			t.Errorf("%q: %+v, %v; want: %s", text, got, err, want)
		}
	}
}
