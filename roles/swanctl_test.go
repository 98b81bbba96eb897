package roles

import (
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// How a tunnel stands is read out of what swanctl prints; where it prints nothing, or
// charon is at it, nobody dials.
func TestSwanctlState(t *testing.T) {
	const child = "tokyo-27 {name=tokyo uniqueid=27 reqid=1 state=INSTALLED mode=TUNNEL protocol=ESP encap=yes spi-in=740c550e local-ts=[192.168.1.0/24] remote-ts=[10.10.0.0/24 203.0.113.10/32]}"
	ike := func(state, children string) string {
		if children != "" {
			children = " child-sas {" + children + "}"
		}
		return "list-sa event {tokyo {uniqueid=27 version=2 state=" + state + " local-host=192.168.1.10 local-port=4500 local-id=tokyo remote-host=203.0.113.10 remote-id=vps initiator=yes" + children + "}}\n"
	}
	state := func(s string) string { return strings.Replace(child, "INSTALLED", s, 1) }
	const end = "list-sas reply {}\n"
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ out, want string }{
			{ike("ESTABLISHED", child) + end, "up"},
			{ike("ESTABLISHED", "") + end, "bare"},
			{ike("ESTABLISHED", state("REKEYING")) + end, "up"},
			{ike("ESTABLISHED", state("DELETING")) + end, "bare"},
			{ike("ESTABLISHED", state("INSTALLING")) + end, "other"},
			{ike("ESTABLISHED", state("REKEYED")+" "+strings.Replace(child, "tokyo-27", "tokyo-28", 1)) + end, "up"},
			{ike("CONNECTING", "") + end, "other"},
			{ike("ESTABLISHED", "") + ike("CONNECTING", "") + end, "other"},
			{ike("DELETING", "") + end, "none"},
			{end, "none"},
			{"", "other"},
		} {
			out, err := exec.Command(argv[0], append(argv[1:], "-euc", swanctlDial+`timeout() { shift; "$@"; }
swanctl() { printf '%s' "$OUT"; }
OUT='`+tt.out+`'
swanctl_state tokyo`)...).CombinedOutput()
			if got := strings.TrimSpace(string(out)); err != nil || got != tt.want {
				t.Errorf("%s: %q, want %s (%v)\n%s", name, got, tt.want, err, tt.out)
			}
		}
		// by the conn of the IKE SA, whatever its child SAs are called
		out, err := exec.Command(argv[0], append(argv[1:], "-euc", swanctlDial+`swanctl() { printf '%s' "$OUT"; }
OUT='`+ike("ESTABLISHED", child)+strings.Replace(ike("CONNECTING", ""), "{tokyo {uniqueid=27", "{osaka {uniqueid=3", 1)+end+`'
swanctl_sas tokyo nagoya`)...).CombinedOutput()
		if got := string(out); err != nil || got != "tokyo[27]\n" {
			t.Errorf("%s: SAs %q (%v)", name, got, err)
		}
	}
}

// A single file is never loaded: swanctl would take every other conn out of charon. And a
// package that is none of strongSwan's restarts nothing.
func TestSwanctlLoadsAll(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ installed, did string }{
			{"", "swanctl --load-all --noprompt"},
			{" ppp xl2tpd", "swanctl --load-all --noprompt"},
			{" charon-systemd strongswan-swanctl", "systemctl restart strongswan.service"},
			{" libstrongswan-standard-plugins", "systemctl restart strongswan.service"},
		} {
			script := tasks.PartFiles.Text + tasks.PartUnits.Text + swanctl.Part.Text + `set -eu
swanctl() { [ "$1" = --stats ] || echo "swanctl $*" >&3; }
systemctl() { [ "$1" = --quiet ] || echo "systemctl $*" >&3; }
exec 3>&1
installed='` + tt.installed + `'
swanctl_load strongswan.service`
			out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).CombinedOutput()
			if err != nil || string(out) != tt.did+"\n" {
				t.Errorf("%s: with%q installed it did\n%swant %s (%v)", name, tt.installed, out, tt.did, err)
			}
		}
	}
	if strings.Contains(swanctlShell+swanctlDial, "swanctl --load-conns") || strings.Contains(swanctlShell, "--file") {
		t.Error("a single file is loaded")
	}
}

// Whatever the key, swanctl reads it as it is: what it would take for hex or base64 is
// written as hex. The last of several is the one that is sent.
func TestSwanctlCarriesKeys(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		text := rapid.SampledFrom([]string{"", "0x", "0S", "0s", `\`}).Draw(r, "begins") +
			rapid.StringMatching(`[ -~]{16,40}`).Draw(r, "key")
		inv := bySwanctl()
		cs := conns{tunnels: []tunnel{siteEnd(inv, &inv.Sites[0])}}
		cs.tunnels[0].psk, cs.tunnels[0].alsoKeys = secret.New(text), []secret.Value{secret.New("the other one 12345")}
		ts, _, err := swanctlFiles("x", cs)
		if err != nil {
			r.Fatal(err)
		}
		keys := swanctlKeys(ts[2].(tasks.File).Content)
		if len(keys) != 2 || keys[1].Reveal() != text {
			r.Fatalf("%q came back as %d keys", text, len(keys))
		}
	})
	for _, bad := range []string{"", "a\nb", "a\x00b"} {
		if _, err := swanctlSecret(secret.New(bad)); err == nil {
			t.Errorf("%q is carried", bad)
		}
	}
}

// Conns of the admin's in swanctl's files are told with file and line, whatever they are
// called, if they answer for ours, dial the same peer, or lead to where ours do.
func TestSwanctlConnsBeside(t *testing.T) {
	const path = "/etc/swanctl/conf.d/mine.conf"
	conn := func(settings string) string { return "connections {\n  mine {\n" + settings + "\n  }\n}\n" }
	for name, tt := range map[string]struct{ conf, says string }{
		"for whoever calls":   {conn("remote_addrs = %any\nremote {\nauth = psk\n}"), path + ":2: conn mine is not vpnpush's, and answers a caller that says it is berlin"},
		"for one of ours":     {conn("version = 2\nremote-1 {\nauth = psk\nid = @osaka\n}"), "answers a caller that says it is osaka"},
		"for another":         {conn("version = 2\nremote {\nauth = psk\nid = @paris\n}"), ""},
		"by certificates":     {conn("version = 2\nremote {\nauth = pubkey\n}"), ""},
		"to the same nets":    {conn("version = 2\nremote_addrs = 198.51.100.7\nremote {\nauth = psk\n}\nchildren {\nx {\nlocal_ts = 10.10.0.0/16\nremote_ts = 192.168.1.0/25,10.9.0.0/24\n}\n}"), "leads to networks behind tokyo, too"},
		"for L2TP":            {conn("version = 1\nremote {\nauth = psk\n}"), "answers L2TP clients"},
		"with nothing to say": {"secrets {\n}\n", ""},
	} {
		inv, h := bySwanctl(), bookworm()
		h.files = map[string]string{path: tt.conf}
		_, warnings := of(t, inv, "vps").Preflight(h.facts(t, inv, "vps"))
		got := strings.Join(warnings, "\n")
		if tt.says == "" && got != "" || !strings.Contains(got, tt.says) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: %q, want %q", name, got, tt.says)
		}
	}
}

// A swanctl.conf that does not lead to our files stops a plan, and is what somebody did
// to the host once they were applied: the next load would take every tunnel out.
func TestSwanctlConfLeadsToOurs(t *testing.T) {
	inv := bySwanctl()
	for name, tt := range map[string]struct {
		files map[string]string
		says  string // "" for nothing
	}{
		"as its package has it": {map[string]string{swanctlConf: "# x\ninclude conf.d/*.conf\n"}, ""},
		"by the whole path":     {map[string]string{swanctlConf: "include \"/etc/swanctl/conf.d/*\"\n"}, ""},
		"somewhere else":        {map[string]string{swanctlConf: "# include conf.d/*.conf\ninclude other.d/*.conf\n"}, "it has no line `include conf.d/*.conf`"},
		"not there":             {nil, "it is not there"},
	} {
		h := bookworm()
		h.packages, h.files = map[string]string{"strongswan-swanctl": "1"}, tt.files
		f := h.facts(t, inv, "vps")
		for _, task := range wanted(t, inv, "vps") {
			includes, ok := task.(tasks.Include)
			if !ok {
				continue
			}
			c, err := includes.Check(f)
			if err != nil {
				t.Fatal(err)
			}
			if says := c != nil; says != (tt.says != "") || says && (!strings.Contains(c.Blocked, tt.says) || c.Mend == "") {
				t.Errorf("%s: %+v", name, c)
			}
			if !includes.Applied(&tasks.Manifest{Tasks: []tasks.Entry{{ID: "file:" + includes.File, Kind: "file", Path: includes.File}}}) || includes.Applied(nil) {
				t.Error("it does not know whether our files were applied")
			}
		}
	}
}
