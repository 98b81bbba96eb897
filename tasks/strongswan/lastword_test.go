package strongswan

import (
	"os/exec"
	"strings"
	"testing"
)

// Charon's log, as strongSwan 5.9.8 wrote it.
const (
	logEstablished = `07[IKE] IKE_SA tokyo[5] established between 192.168.1.10[tokyo]...203.0.113.10[vps]
07[IKE] CHILD_SA tokyo{5} established with SPIs ffaf268a_i b7be30cd_o and TS 192.168.1.0/24 === 10.10.0.0/24
`
	logRefused = `05[IKE] initiating IKE_SA tokyo[5] to 203.0.113.10
07[IKE] establishing CHILD_SA tokyo{5}
10[NET] received packet: from 203.0.113.10[4500] to 192.168.1.10[4500] (80 bytes)
10[ENC] parsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]
10[IKE] received AUTHENTICATION_FAILED notify error
`
	logOtherKey = `11[NET] received packet: from 203.0.113.51[4500] to 203.0.113.10[4500] (272 bytes)
11[CFG] looking for peer configs matching 203.0.113.10[vps]...203.0.113.51[tokyo]
11[CFG] selected peer config 'tokyo'
11[IKE] tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched
`
	logOtherNets = `10[NET] received packet: from 203.0.113.51[4500] to 203.0.113.10[4500] (272 bytes)
10[CFG] selected peer config 'tokyo'
10[IKE] IKE_SA tokyo[12] established between 203.0.113.10[vps]...203.0.113.51[tokyo]
10[IKE] traffic selectors 10.10.0.0/24 === 192.168.1.0/24 unacceptable
10[IKE] failed to establish CHILD_SA, keeping IKE_SA
`
	logNoNets    = "06[IKE] received TS_UNACCEPTABLE notify, no CHILD_SA built\n06[IKE] failed to establish CHILD_SA, keeping IKE_SA\n"
	logNoCipher  = "10[IKE] received NO_PROPOSAL_CHOSEN notify error\n"
	logSilence   = "14[IKE] retransmit 4 of request with message ID 0\n09[IKE] giving up after 4 retransmits\n09[IKE] peer not responding, trying again (2/0)\n"
	logUnrelated = "01[JOB] nothing of interest\n2026-11-25 not a line of charon's: received AUTHENTICATION_FAILED notify\n"
	// charon-systemd has no thread and no group before its words
	logSystemd    = "initiating IKE_SA tokyo[1] to 203.0.113.10\nparsed IKE_AUTH response 1 [ N(AUTH_FAILED) ]\nreceived AUTHENTICATION_FAILED notify error\nunloaded shared key with id 'ike-vpnpush-tokyo'\n"
	logSystemdHub = "selected peer config 'tokyo'\ntried 1 shared key for 'vps' - 'tokyo', but MAC mismatched\ntraffic selectors 10.10.0.0/24 === 192.168.2.0/24 unacceptable\n"
	logOtherGuest = "11[NET] received packet: from 203.0.113.52[4500] to 203.0.113.10[4500] (272 bytes)\n11[CFG] selected peer config 'osaka'\n11[IKE] tried 1 shared key for 'vps' - 'osaka', but MAC mismatched\n"
)

// What charon says last of why a tunnel is down is told: on a site of its one tunnel, on
// a hub of that tunnel and no other; and nothing once the tunnel has been up since.
func TestLastWord(t *testing.T) {
	site := Tunnel{Conn: "tokyo", Peer: "vps", PeerID: "vps", LocalID: "tokyo"}
	hub := Tunnel{Conn: "tokyo", Peer: "tokyo", PeerID: "tokyo", LocalID: "vps"}
	for _, tt := range []struct {
		name, log string
		tunnel    Tunnel
		says, raw string
	}{
		{"site: the key", logEstablished + logRefused, site, "the other end refuses this end's key or name", "received AUTHENTICATION_FAILED notify error"},
		{"site: the networks", logNoNets, site, "the other end accepts none of this end's networks", "received TS_UNACCEPTABLE notify, no CHILD_SA built"},
		{"site: the ciphers", logNoCipher, site, "the two ends have no cipher in common", "received NO_PROPOSAL_CHOSEN notify error"},
		{"site: silence", logSilence, site, "the other end does not answer", "peer not responding, trying again (2/0)"},
		{"site: the last of two", logRefused + logSilence, site, "the other end does not answer", "peer not responding, trying again (2/0)"},
		{"site: it has been up since", logRefused + logEstablished, site, "", ""},
		{"site: nothing", logUnrelated, site, "", ""},
		{"site: charon-systemd", logSystemd, site, "the other end refuses this end's key or name", "received AUTHENTICATION_FAILED notify error"},
		{"site: charon-systemd, up since", logSystemd + "CHILD_SA tokyo{5} established with SPIs ffaf268a_i b7be30cd_o and TS 192.168.1.0/24 === 10.10.0.0/24\n", site, "", ""},
		{"hub: charon-systemd, by a line that names it", logSystemdHub, hub, "the keys of the two ends differ", "tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched"},
		{"hub: charon-systemd, another site's", strings.ReplaceAll(logSystemdHub, "tokyo", "osaka"), hub, "", ""},
		{"hub: the key", logOtherKey, hub, "the keys of the two ends differ", "tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched"},
		{"hub: the networks, in a line without a name", logOtherNets, hub, "the other end asks for other networks than this end has",
			"traffic selectors 10.10.0.0/24 === 192.168.1.0/24 unacceptable"},
		{"hub: another site's key", logOtherGuest, hub, "", ""},
		{"hub: the same thread at another site's message", logOtherKey + logOtherGuest, hub, "the keys of the two ends differ",
			"tried 1 shared key for 'vps' - 'tokyo', but MAC mismatched"},
		{"hub: whose request that was is not said", logSilence, hub, "", ""},
	} {
		w := ReadLog([]byte(tt.log)).LastWord(tt.tunnel, tt.tunnel.PeerID == "vps")
		switch {
		case w == nil && tt.says == "":
		case w == nil || w.Says != tt.says || w.Raw != tt.raw || w.Mend == "":
			t.Errorf("%s: %+v", tt.name, w)
		}
		if tt.tunnel.PeerID != "vps" {
			continue
		}
		// a host without us finds the same
		cmd := exec.Command("awk", LastWordAwk("tokyo"))
		cmd.Stdin = strings.NewReader(tt.log)
		out, err := cmd.CombinedOutput()
		says, raw, _ := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\t")
		raw, mend, _ := strings.Cut(raw, "\t")
		if err != nil || says != tt.says || raw != tt.raw || w != nil && mend != w.Mend {
			t.Errorf("%s: by awk: %v: %q", tt.name, err, out)
		}
	}
}

// What a peer sends stands in charon's log: it must not reach a terminal as it is, nor
// fill a screen.
func TestLastWordIsPrintable(t *testing.T) {
	w := ReadLog([]byte("10[IKE] received TS_UNACCEPTABLE notify \x1b[2J\x07\u009b"+strings.Repeat("x", 500)+"\n")).LastWord(Tunnel{Conn: "tokyo"}, true)
	if w == nil || strings.ContainsAny(w.Raw, "\x1b\x07\u009b") || len(w.Raw) > maxRaw+3 {
		t.Errorf("%+v", w)
	}
}
