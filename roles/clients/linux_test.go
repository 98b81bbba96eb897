package clients

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// unescape reads a value as GLib does (g_key_file_parse_value_as_string): it drops the
// space at the beginning of a line's value, and knows five escapes.
func unescape(s string) (string, bool) {
	s = strings.TrimLeft(s, " \t")
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i == len(s) {
			return "", false
		}
		c, ok := map[byte]byte{'s': ' ', 'n': '\n', 't': '\t', 'r': '\r', '\\': '\\'}[s[i]]
		if !ok {
			return "", false
		}
		b.WriteByte(c)
	}
	return b.String(), true
}

// keyfileOf reads a key file: its groups, and in each the keys.
func keyfileOf(t *testing.T, s string) map[string]map[string]string {
	t.Helper()
	out := map[string]map[string]string{}
	group := ""
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, " \t\r\n") // as GLib does
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[' && line[len(line)-1] == ']':
			group = line[1 : len(line)-1]
			out[group] = map[string]string{}
		default:
			k, v, ok := strings.Cut(line, "=")
			got, fine := unescape(v)
			if !ok || !fine || group == "" || strings.TrimSpace(k) != k {
				t.Fatalf("not a key file: %q", line)
			}
			if _, twice := out[group][k]; twice {
				t.Errorf("[%s] %s stands twice", group, k)
			}
			out[group][k] = got
		}
	}
	return out
}

// NetworkManager reads what was meant, each character of it.
func TestLinuxKeyFile(t *testing.T) {
	var all strings.Builder
	for c := ' '; c < 0x7f; c++ {
		all.WriteRune(c)
	}
	for _, password := range []string{"plain", " begins with one", "ends with one ", "  two  ", `a\sb\\c`, "#not a comment", "[x]", "a=b;c", all.String() + " "} {
		inv := nated()
		inv.L2TP.Users[0].Password, inv.L2TP.PSK = secret.New(password), secret.New(password+" as a key")
		got := keyfileOf(t, export(t, inv, "linux").Content.Reveal())
		want := map[string]map[string]string{
			"connection": {"id": "VPN acme", "uuid": got["connection"]["uuid"], "type": "vpn", "autoconnect": "false"},
			"vpn": {
				"service-type": "org.freedesktop.NetworkManager.l2tp", "gateway": "203.0.113.10", "user": "bob+1@example.com", "user-auth-type": "password",
				"password-flags": "0", "ipsec-enabled": "yes", "machine-auth-type": "psk", "ipsec-psk-flags": "0", "mtu": "1400", "mru": "1400",
				"refuse-eap": "yes", "refuse-pap": "yes", "refuse-chap": "yes", "refuse-mschap": "yes",
			},
			"vpn-secrets": {"password": password, "ipsec-psk": "0s" + base64.StdEncoding.EncodeToString([]byte(password+" as a key"))},
			"ipv4":        {"method": "auto", "never-default": "true", "route1": "192.168.200.1/32", "route2": "10.10.0.0/24", "route3": "192.168.2.0/24", "route4": "192.168.1.0/24"},
			"ipv6":        {"method": "disabled"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", password, diff)
		}
	}
	if got := keyfileOf(t, export(t, full(), "linux").Content.Reveal())["ipv4"]; !cmp.Equal(got, map[string]string{"method": "auto"}) {
		t.Errorf("everything goes through the VPN by %v", got)
	}
}
