package roles

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
)

const (
	tunnelByHand = "conn ipsec-test\n\tauthby=secret\n\tleft=203.0.113.10\n\tleftsubnet=203.0.113.10/32\n\tright=%any\n\trightsubnet=0.0.0.0/0\n\tauto=add\n"
	siteByHand   = "conn ipsec-test\n\tauthby=secret\n\tleft=192.168.1.10\n\tleftsubnet=192.168.1.0/24\n\tright=203.0.113.10\n\trightsubnet=203.0.113.10/32\n\tauto=start\n"
	l2tpByHand   = "conn l2tp-psk\n\tkeyexchange=ikev1\n\tauthby=secret\n\ttype=transport\n\tleft=203.0.113.10\n\tright=%any\n\tauto=add\n"
)

// Of the conns by hand those go that ours replace, and no others: at once those for L2TP
// clients, and a tunnel's end on the hub only when the sites that it leads to have moved,
// with the keys that it needs.
func TestAdopted(t *testing.T) {
	mustHave := func(name string, conns, keysLater string, inv *inventory.Inventory, host, conf string, peers tasks.Peers) {
		t.Helper()
		h := bookworm()
		h.commands = map[string]string{"addresses": hasAll, "routes": "", "ipsec-files": listing(conf)}
		if host == "tokyo" {
			h.commands["addresses"] = "2: eth0    inet 192.168.1.10/24 scope global eth0\n"
		}
		h.files = map[string]string{chapSecrets: "alice * hush *\nalice provider hush *\nolduser * hush *\nbob " + inv.Hub.Name + " hush\n"}
		ts, err := of(t, inv, host).Tasks(h.facts(t, inv, host), peers)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, task := range ts {
			switch task := task.(type) {
			case tasks.TakeOut:
				for _, l := range task.Lines {
					says := fmt.Sprintf("%s %d-%d", l.Name, l.First, l.Last)
					if l.Stays != "" {
						says += " stays"
					}
					got = append(got, says)
				}
			case tasks.ForeignKeys:
				if fmt.Sprint(task.Later) != keysLater {
					t.Errorf("%s: keys later: %t", name, task.Later)
				}
			}
		}
		users := []string{"alice 1-1", "bob 4-4"}
		if inv.L2TP == nil || host != "vps" {
			users = nil
		}
		if want := append(users, strings.FieldsFunc(conns, func(r rune) bool { return r == ',' })...); !slices.Equal(got, want) {
			t.Errorf("%s: out go %q, want %q", name, got, want)
		}
	}
	other := "conn elsewhere\n\tauthby=secret\n\tleft=203.0.113.10\n\tleftsubnet=10.99.0.0/24\n\tright=198.51.100.7\n\trightsubnet=172.20.0.0/16\n\tauto=start\n"
	mustHave("a tunnel, all have moved", "ipsec-test 1-7", "false", minimal(), "vps", tunnelByHand, nil)
	mustHave("a tunnel, tokyo has not moved yet", "", "true", minimal(), "vps", tunnelByHand, tasks.Peers{"tokyo": tasks.PeerEither})
	mustHave("a tunnel, tokyo is not in the run", "", "true", minimal(), "vps", tunnelByHand, tasks.Peers{"tokyo": tasks.PeerUnread})
	mustHave("a tunnel, tokyo did not move", "", "true", minimal(), "vps", tunnelByHand, tasks.Peers{"tokyo": tasks.PeerOld})
	mustHave("a tunnel, tokyo is lost", "ipsec-test 1-7", "false", minimal(), "vps", tunnelByHand, tasks.Peers{"tokyo": tasks.PeerGone})
	mustHave("a tunnel and L2TP, no site has moved yet", "l2tp-psk 8-14", "true", full(), "vps", tunnelByHand+l2tpByHand, tasks.Peers{"tokyo": tasks.PeerEither})
	mustHave("L2TP where we have none", "", "false", minimal(), "vps", l2tpByHand, nil)
	mustHave("somebody else's", "", "false", full(), "vps", other, nil)
	mustHave("a site, the hub takes both", "ipsec-test 1-7", "false", minimal(), "tokyo", siteByHand, tasks.Peers{"vps": tasks.PeerEither})
	mustHave("a site, the hub is not in the run", "", "true", minimal(), "tokyo", siteByHand, tasks.Peers{"vps": tasks.PeerUnread})
	mustHave("a site's, not loaded", "", "false", minimal(), "tokyo", strings.Replace(siteByHand, "auto=start", "auto=ignore", 1), nil)
	mustHave("%default goes along", "ipsec-test 3-9,%default 1-2", "false", minimal(), "vps", "conn %default\n\tauthby=secret\n"+tunnelByHand, nil)
	mustHave("%default is needed", "ipsec-test 3-9", "false", minimal(), "vps", "conn %default\n\tauthby=secret\n"+tunnelByHand+other, nil)
	mustHave("one that another takes over from", "ipsec-test 1-7 stays", "false", minimal(), "vps", tunnelByHand+"conn x\n\talso=ipsec-test\n\tleftsubnet=10.99.0.0/24\n\trightsubnet=172.20.0.0/16\n\tauto=add\n", nil)
	mustHave("with a name that no shell takes", "a.b 1-7 stays", "false", minimal(), "vps", strings.Replace(tunnelByHand, "ipsec-test", "a.b", 1), nil)
}

// The other end of a tunnel by hand is asked for before this one goes.
func TestTunnelsByHandArePairs(t *testing.T) {
	h := bookworm()
	h.commands = map[string]string{"addresses": hasAll, "routes": "", "ipsec-files": listing(tunnelByHand)}
	inv := minimal()
	if got := of(t, inv, "vps").Pairs(h.facts(t, inv, "vps"))["tokyo"]; !slices.Contains(got, "lines:conns") {
		t.Errorf("%q", got)
	}
}
