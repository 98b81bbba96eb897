package tasks

import (
	"slices"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// What charon 5.9.8 logs of each mistake, on the hub and on the site, is told as that
// mistake. Of what both ends log, the words of the end that judges count.
func TestWhyNotUp(t *testing.T) {
	const (
		call     = "11[NET] received packet: from 169.254.100.1[4500] to 203.0.113.10[4500] (272 bytes)\n"
		ours     = "11[CFG]   candidate \"tokyo\", match: 20/20/1052 (me/other/ike)\n11[CFG] selected peer config 'tokyo'\n"
		refused  = "10[IKE] received AUTHENTICATION_FAILED notify error\n"
		noChild  = "06[IKE] received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built\n"
		noNets   = "06[IKE] received TS_UNACCEPTABLE notify, no CHILD_SA built\n"
		l2tp     = "11[CFG]   candidate \"L2TP-PSK\", match: 20/20/1052 (me/other/ike)\n11[CFG]   candidate \"tokyo\", match: 20/20/1052 (me/other/ike)\n11[CFG] selected peer config 'L2TP-PSK'\n"
		noTS     = "11[IKE] traffic selectors 10.10.0.0/24 === 192.168.1.0/24 unacceptable\n"
		narrower = "11[IKE] CHILD_SA tokyo{1} established with SPIs 65ddccea_i ebb7dbbb_o and TS 10.10.0.0/24 === 192.168.1.0/25\n"
		wanted   = "11[IKE] CHILD_SA old{1} established with SPIs 65ddccea_i ebb7dbbb_o and TS 10.10.0.0/24 === 192.168.1.0/24\n"
	)
	tokyo := strongswan.Tunnel{Conn: "tokyo", Peer: "vps", LocalID: "tokyo", PeerID: "vps", Local: []string{"192.168.1.0/24"}, Remote: []string{"10.10.0.0/24"}}
	for _, tt := range []struct {
		name, hub, site string
		about           About
		atHub           bool
		says            string
	}{
		{"the hub's key is another", call + ours + "11[IKE] tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched\n", refused,
			AboutKey, true, "the keys differ: vps has another one for tokyo than tokyo sends"},
		{"the hub sends another key", call + ours + "11[IKE] received AUTHENTICATION_FAILED notify error\n", "06[IKE] tried 1 shared key for 'tokyo' - 'vps', but MAC mismatched\n",
			AboutKey, false, "the keys differ: tokyo has another one for vps than vps sends"},
		{"the hub has no key", call + ours + "11[IKE] no shared key found for 'vps' - 'tokyo'\n", refused, AboutKey, true, "vps has no key for tokyo"},
		{"IKE, in the site's own conn", call + "11[CFG] ignore candidate 'tokyo' without matching IKE proposal\n11[CFG] no matching peer config found\n", refused,
			AboutIKE, true, "no proposal for IKE is in both lists: vps takes none of those that tokyo offers"},
		{"IKE, in all conns", call + "11[IKE] received proposals unacceptable\n", "10[IKE] received NO_PROPOSAL_CHOSEN notify error\n",
			AboutIKE, true, "no proposal for IKE is in both lists: vps takes none of those that tokyo offers"},
		{"ESP", call + ours + "11[IKE] no acceptable proposal found\n", noChild, AboutESP, true, "no proposal for ESP is in both lists: vps takes none of those that tokyo offers"},
		{"networks", call + ours + noTS, noNets, AboutNets, true, "the networks differ: vps has others than tokyo asks for"},
		{"fewer networks", call + ours + narrower, "", AboutNets, true,
			"the networks differ: the two ends agree on 192.168.1.0/25 === 10.10.0.0/24, and the tunnel is to carry 192.168.1.0/24 === 10.10.0.0/24"},
		{"no conn", call + "11[CFG] no matching peer config found\n", refused, AboutName, true, "vps has no conn that fits who tokyo says it is, and what it offers"},
		{"a conn for L2TP", call + l2tp + noTS, noNets, AboutConn, true, "vps answers the call with its conn L2TP-PSK, not with tokyo; the networks differ: vps has others than tokyo asks for"},
		{"a conn that carries it all the same", call + strings.ReplaceAll(l2tp, "L2TP-PSK", "old") + wanted, "", AboutConn, true, "vps answers the call with its conn old, not with tokyo"},
		{"only the site says a word", "", noNets, AboutNets, false, "the networks differ: vps accepts none of those of tokyo"},
		{"nobody says a word", call, "", AboutElse, false, "neither end says why"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := WhyNotUp([]byte(tt.hub), []byte(tt.site), tokyo)
			if n.About != tt.about || n.Says != tt.says || n.AtHub != tt.atHub || (n.Raw == "") != (tt.about == AboutElse) {
				t.Errorf("got %+v", n)
			}
		})
	}
}

// Each site calls from an address of its own, and the hub's log has them mixed: what it
// says of one site is not another's fault. A thread of charon's goes from one to the next.
func TestHeard(t *testing.T) {
	const log = `05[NET] received packet: from 169.254.100.1[500] to 203.0.113.10[500] (464 bytes)
06[NET] received packet: from 169.254.100.11[500] to 203.0.113.10[500] (464 bytes)
05[CFG] selected peer config 'tokyo'
06[IKE] tried 1 shared key for 'vps' - 'osaka', but MAC mismatched
05[NET] received packet: from 169.254.100.11[4500] to 203.0.113.10[4500] (464 bytes)
05[IKE] received proposals unacceptable
not a line of charon's
`
	if got, want := string(Heard([]byte(log))["169.254.100.1"]), "05[NET] received packet: from 169.254.100.1[500] to 203.0.113.10[500] (464 bytes)\n05[CFG] selected peer config 'tokyo'\n"; got != want {
		t.Errorf("got\n%s", got)
	}
}

// Two conns that fit a caller alike answer by the order in which they were loaded, which a
// reload changes: that is told also while the right one answers. One that fits less is no
// matter.
func TestTies(t *testing.T) {
	const log = `05[CFG]   candidate "tokyo", match: 20/20/1052 (me/other/ike)
05[CFG]   candidate "old-tokyo", match: 20/20/1052 (me/other/ike)
05[CFG]   candidate "anybody", match: 20/1/1052 (me/other/ike)
05[CFG] selected peer config 'tokyo'
`
	if c := CallFrom([]byte(log)); c.Conn != "tokyo" || !slices.Equal(c.Ties, []string{"old-tokyo"}) {
		t.Errorf("got %+v", c)
	}
}

// IPsec in user space takes only a network in which its host has an address.
func TestInsides(t *testing.T) {
	got := Insides([]string{"192.168.1.0/24", "203.0.113.10/32", "10.0.0.0/31", "10.0.0.0/8", "192.168.1.0/24", "none"})
	if want := []string{"192.168.1.254", "203.0.113.10", "10.0.0.0", "10.255.255.254"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
