package roles

import (
	"fmt"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
)

// listing is what the command for files lists of an ipsec.conf.
func listing(conf string) string {
	var b strings.Builder
	b.WriteString("file\t/etc/ipsec.conf\tabc\n")
	for i, l := range strings.Split(conf, "\n") {
		fmt.Fprintf(&b, "line\t%d\t%s\n", i+1, l)
	}
	return b.String()
}

// The conns of a network that was made by hand stay beside ours, and each that answers
// for ours, dials the same peer or leads to the same networks is told once, with its
// line; those that have nothing to do with ours are not.
func TestConnsBeside(t *testing.T) {
	const byHand = "conn %%default\n\tauthby=secret\nconn ipsec-test\n\tleft=203.0.113.10\n\tleftsubnet=203.0.113.10/32\n\tright=%%any\n\trightsubnet=0.0.0.0/0\n\tauto=%s\n"
	for name, tt := range map[string]struct {
		inv  func() *inventory.Inventory
		host string
		conf string
		says string // "" for nothing
	}{
		"the blog's tunnel on the hub": {minimal, "vps", fmt.Sprintf(byHand, "add"),
			"/etc/ipsec.conf:3: conn ipsec-test is not vpnpush's, and answers a caller that says it is tokyo, and leads to networks behind tokyo, too"},
		"one that is not loaded": {minimal, "vps", fmt.Sprintf(byHand, "ignore"), ""},
		"the blog's tunnel on the site": {minimal, "tokyo", "conn ipsec-test\n\tauthby=secret\n\tleft=192.168.1.10\n\tleftsubnet=192.168.1.0/24\n\tright=203.0.113.10\n\trightsubnet=203.0.113.10/32\n\tauto=start\n",
			"conn ipsec-test is not vpnpush's, and dials vps, too, and leads to networks behind vps, too"},
		"with its ends swapped": {minimal, "tokyo", "conn x\n\tauthby=secret\n\tright=192.168.1.10\n\trightsubnet=192.168.1.0/24\n\tleft=203.0.113.10\n\tleftsubnet=203.0.113.10/32\n\tauto=start\n",
			"dials vps, too, and leads to networks"},
		"the blog's L2TP": {full, "vps", "conn l2tp-psk\n\tkeyexchange=ikev1\n\tauthby=secret\n\ttype=transport\n\tleft=203.0.113.10\n\tright=%any\n\tauto=add\n",
			"conn l2tp-psk is not vpnpush's, and answers L2TP clients"},
		"for one name that we have": {full, "vps", "conn x\n\tkeyexchange=ikev2\n\tleftauth=psk\n\trightauth=psk\n\tright=%any\n\trightid=@osaka\n\tauto=add\n",
			"answers a caller that says it is osaka"},
		"for a name that we do not have": {full, "vps", "conn x\n\tkeyexchange=ikev2\n\tauthby=secret\n\tright=%any\n\trightid=@paris\n\trightsubnet=172.20.0.0/16\n\tauto=add\n", ""},
		"with certificates":              {minimal, "vps", "conn x\n\tkeyexchange=ikev2\n\tright=%any\n\trightsubnet=172.20.0.0/16\n\tauto=add\n", ""},
		"to a peer that is not ours":     {minimal, "vps", "conn x\n\tauthby=secret\n\tleft=203.0.113.10\n\tleftsubnet=10.99.0.0/24\n\tright=198.51.100.7\n\trightsubnet=172.20.0.0/16\n\tauto=start\n", ""},
		"by also":                        {minimal, "tokyo", "conn base\n\tauthby=secret\n\tright=203.0.113.10\nconn x\n\talso=base\n\tauto=route\n", "ipsec.conf:4: conn x is not vpnpush's, and dials vps, too"},
	} {
		h := bookworm()
		inv := tt.inv()
		h.commands = map[string]string{"addresses": hasAll, "routes": "", "ipsec-files": listing(tt.conf)}
		if tt.host == "tokyo" {
			h.commands["addresses"] = "2: eth0    inet 192.168.1.10/24 scope global eth0\n"
		}
		_, warnings := of(t, inv, tt.host).Preflight(h.facts(t, inv, tt.host))
		got := strings.Join(warnings, "\n")
		if tt.says == "" && got != "" || !strings.Contains(got, tt.says) || strings.Count(got, "\n") > 0 {
			t.Errorf("%s: %q, want %q", name, got, tt.says)
		}
	}
}

// A user of the admin's who can log in through our xl2tpd is told with his line; who
// cannot, or whose line ours goes before, is not. No password is.
func TestUsersBeside(t *testing.T) {
	const block = "# vpnpush begin owner=OWNER\n\"alice\" vps \"hush\" *\n# vpnpush end\n"
	for name, tt := range map[string]struct {
		file string
		says []string
	}{
		"ours alone":      {block, nil},
		"the admin's own": {block + "olduser * hush *\n", []string{"/etc/ppp/chap-secrets:4 is not vpnpush's: olduser logs in through its xl2tpd"}},
		"for our server":  {"old vps hush\n" + block, []string{"chap-secrets:1 is not vpnpush's: old logs in"}},
		"for another":     {"isp provider hush *\n" + block, nil},
		"any name":        {"* * hush *\n" + block, []string{"by any name"}},
		"our name":        {"alice * hush *\n" + block, nil},
		"our name first":  {"alice vps hush *\n" + block, []string{"alice logs in with the password there"}},
		"very many":       {"a * hush\nb * hush\nc * hush\nd * hush\ne * hush\nf * hush\ng * hush\n", []string{":1 ", ":2 ", ":3 ", ":4 ", ":5 ", "2 more"}},
	} {
		inv := full()
		h := bookworm()
		h.files = map[string]string{chapSecrets: strings.ReplaceAll(tt.file, "OWNER", inv.ID)}
		_, warnings := of(t, inv, "vps").Preflight(h.facts(t, inv, "vps"))
		if len(warnings) != len(tt.says) || strings.Contains(strings.Join(warnings, " "), "hush") {
			t.Errorf("%s: %q, want %q", name, warnings, tt.says)
			continue
		}
		for i, w := range tt.says {
			if !strings.Contains(warnings[i], w) {
				t.Errorf("%s: %q, want %q", name, warnings[i], w)
			}
		}
	}
}
