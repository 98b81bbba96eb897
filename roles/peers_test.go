package roles

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
)

// appliedTo returns the facts of a host that an inventory was applied to while the other
// ends were peers; f is what it was like before.
func appliedTo(t *testing.T, inv *inventory.Inventory, name string, f tasks.Facts, peers tasks.Peers) tasks.Facts {
	t.Helper()
	ts, err := of(t, inv, name).Tasks(f, peers)
	if err != nil {
		t.Fatal(err)
	}
	old, err := tasks.ReadManifest(f)
	if err != nil {
		t.Fatal(err)
	}
	m, err := tasks.NextManifest(old, inv.ID, name, "me", time.Unix(1, 0), ts, f).Encode()
	if err != nil {
		t.Fatal(err)
	}
	p := bookworm()
	p.files = map[string]string{tasks.ManifestPath: string(m)}
	for _, task := range ts {
		if file, ok := task.(tasks.File); ok {
			p.files[file.Path] = string(file.Content)
		}
	}
	return p.facts(t, inv, name)
}

// settings returns what a host is to have of a conn, and its keys, in short.
func endOf(t *testing.T, inv *inventory.Inventory, name string, f tasks.Facts, peers tasks.Peers, conn string) (end string, keys string) {
	t.Helper()
	ts, err := of(t, inv, name).Tasks(f, peers)
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range ts {
		file, ok := task.(tasks.File)
		if !ok {
			continue
		}
		switch file.Path {
		case confDir + conn + confSuffix:
			var parts []string
			for _, key := range []string{"left", "leftid", "leftsubnet", "right", "rightsubnet", "esp"} {
				parts = append(parts, setting(string(file.Content), key)...)
			}
			end = strings.Join(parts, " ")
		case confDir + conn + keysSuffix:
			var ks []string
			for _, k := range starterKeys(file.Content) {
				ks = append(ks, k.Reveal())
			}
			keys = strings.Join(ks, " ")
		case swanctlOurs + conn + swanctlEnd:
			is := swanctlSettings(file.Content)
			end = strings.Join([]string{
				cmp.Or(is["local_addrs"], "%defaultroute"), is["local.id"], is["children."+conn+".local_ts"],
				is["remote_addrs"], is["children."+conn+".remote_ts"], is["children."+conn+".esp_proposals"] + "!",
			}, " ")
		case swanctlOurs + conn + swanctlKeysEnd:
			var ks []string
			for _, k := range swanctlKeys(file.Content) {
				ks = append(ks, k.Reveal())
			}
			keys = strings.Join(ks, " ")
		}
	}
	return end, keys
}

// swanctlSettings returns what a file of swanctl's says of its one conn.
func swanctlSettings(text []byte) map[string]string {
	is := map[string]string{}
	for _, s := range mask.Connections(text) {
		is[strings.Join(s.Path[1:], ".")] = s.Value
	}
	return is
}

// Each end fits what the other has: the inventory's, what was there before, or both. So
// it does whichever backend writes it down, and when another one does from now on.
func TestEnds(t *testing.T) {
	for _, move := range [][2]inventory.Backend{
		{inventory.BackendIPsecConf, inventory.BackendIPsecConf},
		{inventory.BackendSwanctl, inventory.BackendSwanctl},
		{inventory.BackendIPsecConf, inventory.BackendSwanctl},
		{inventory.BackendSwanctl, inventory.BackendIPsecConf},
	} {
		t.Run(string(move[0]+" to "+move[1]), func(t *testing.T) { testEnds(t, move[0], move[1]) })
	}
}

func testEnds(t *testing.T, was, is inventory.Backend) {
	old := minimal()
	old.Tunnel.Backend = was
	old.Sites[0].PSK = secret.New("old-key")
	old.Tunnel.ESP = []string{"aes256-sha256"}
	changed := minimal()
	changed.Tunnel.Backend = is
	changed.Sites[0].PSK = secret.New("new-key")
	changed.Sites[0].Subnets = nets("192.168.20.0/24")
	changed.Tunnel.ESP = []string{"aes128-sha256"}
	changed.Hub.Address, changed.Hub.LocalAddress, changed.Hub.Subnets = addr("203.0.113.20"), addr("203.0.113.20"), nets("203.0.113.20/32")

	start := map[string]tasks.Facts{}
	for _, name := range []string{"vps", "tokyo"} {
		start[name] = appliedTo(t, old, name, bare(of(t, old, name)), nil)
	}
	between := appliedTo(t, changed, "vps", start["vps"], tasks.Peers{"tokyo": tasks.PeerEither})
	const (
		hubNew  = "203.0.113.20 @vps 203.0.113.20/32 %any 192.168.20.0/24 aes128-sha256!"
		hubOld  = "203.0.113.10 @vps 203.0.113.10/32 %any 192.168.1.0/24 aes256-sha256!"
		hubBoth = "%any @vps 203.0.113.20/32,203.0.113.10/32 %any 192.168.20.0/24,192.168.1.0/24 aes128-sha256,aes256-sha256!"
		siteNew = "%defaultroute @tokyo 192.168.20.0/24 203.0.113.20 203.0.113.20/32 aes128-sha256!"
		siteOld = "%defaultroute @tokyo 192.168.1.0/24 203.0.113.10 203.0.113.10/32 aes256-sha256!"
	)
	for _, tt := range []struct {
		name, host string
		facts      tasks.Facts
		peer       tasks.Peer
		end, keys  string
	}{
		{"the site has the new", "vps", start["vps"], tasks.PeerNew, hubNew, "new-key"},
		// it sends the last, which is what the site knows, and takes either
		{"the site is about to change", "vps", start["vps"], tasks.PeerEither, hubBoth, "new-key old-key"},
		{"the site is not changed in this run", "vps", start["vps"], tasks.PeerUnread, hubOld, "old-key"},
		{"the site's box is gone", "vps", start["vps"], tasks.PeerGone, hubNew, "new-key"},
		{"the hub fits both, and the site's box is gone", "vps", between, tasks.PeerGone, hubNew, "new-key"},
		{"the hub fits both, and the site has the new", "vps", between, tasks.PeerNew, hubNew, "new-key"},
		{"the hub fits both, and the site went back", "vps", between, tasks.PeerOld, hubOld, "old-key"},
		{"the hub fits both, and what the site has is not known", "vps", between, tasks.PeerEither, hubBoth, "new-key old-key"},
		{"the hub fits both, and the site is not looked at", "vps", between, tasks.PeerUnread, hubBoth, "new-key old-key"},
		{"the hub has the new alone", "tokyo", start["tokyo"], tasks.PeerNew, siteNew, "new-key"},
		// it sends the last, which the hub takes by now, and takes a hub that sends the old
		{"the hub fits both", "tokyo", start["tokyo"], tasks.PeerEither, siteNew, "old-key new-key"},
		{"the hub is not changed in this run", "tokyo", start["tokyo"], tasks.PeerUnread, siteOld, "old-key"},
	} {
		peers := tasks.Peers{"tokyo": tt.peer, "vps": tt.peer}
		end, keys := endOf(t, changed, tt.host, tt.facts, peers, "tokyo")
		if end != tt.end || keys != tt.keys {
			t.Errorf("%s: %s, keys %s\nwant %s, keys %s", tt.name, end, keys, tt.end, tt.keys)
		}
		// what is applied so is no change when it is looked at again
		again := appliedTo(t, changed, tt.host, tt.facts, peers)
		if end2, keys2 := endOf(t, changed, tt.host, again, peers, "tokyo"); tt.peer != tasks.PeerOld && (end2 != end || keys2 != keys) {
			t.Errorf("%s, again: %s, keys %s\nwant %s, keys %s", tt.name, end2, keys2, end, keys)
		}
	}

	// a host that nothing was applied to has no other end
	if end, keys := endOf(t, changed, "vps", bare(of(t, changed, "vps")), tasks.Peers{"tokyo": tasks.PeerEither}, "tokyo"); end != hubNew || keys != "new-key" {
		t.Errorf("a bare hub: %s, keys %s", end, keys)
	}
}

// A key that somebody broke on the host goes back to what was applied, also while the
// other end is not looked at: it has that key.
func TestEndsEditedKey(t *testing.T) {
	inv := minimal()
	f := appliedTo(t, inv, "tokyo", bare(of(t, inv, "tokyo")), nil)
	p := bookworm()
	m, err := f.File(tasks.ManifestPath)
	if err != nil {
		t.Fatal(err)
	}
	p.files = map[string]string{tasks.ManifestPath: string(m.Content), confDir + "tokyo" + keysSuffix: "@vps : PSK \"broken\"\n"}
	if _, keys := endOf(t, inv, "tokyo", p.facts(t, inv, "tokyo"), tasks.Peers{"vps": tasks.PeerUnread}, "tokyo"); keys != "not-a-secret-tokyo" {
		t.Errorf("the site is to have the key %s", keys)
	}
}

// An end that stays as it is stays so to the letter: its networks were once written in
// another order, which made the tunnel anew at an apply of the site alone, and again at the
// next one of all.
func TestEndsKeepTheirOrder(t *testing.T) {
	inv := minimal()
	inv.Hub.Subnets = nets("203.0.113.10/32", "10.10.0.0/24")
	inv.Sites[0].Subnets = nets("192.168.7.0/24", "192.168.1.0/24")
	wider := minimal()
	wider.Hub.Subnets = nets("203.0.113.10/32", "172.16.0.0/24", "10.10.0.0/24")
	wider.Sites[0].Subnets = inv.Sites[0].Subnets
	for _, host := range []string{"vps", "tokyo"} {
		f := appliedTo(t, inv, host, bare(of(t, inv, host)), nil)
		want, _ := endOf(t, inv, host, f, nil, "tokyo")
		unread := tasks.Peers{"tokyo": tasks.PeerUnread, "vps": tasks.PeerUnread}
		for _, now := range []*inventory.Inventory{inv, wider} {
			if end, _ := endOf(t, now, host, f, unread, "tokyo"); end != want {
				t.Errorf("%s: %s, want %s", host, end, want)
			}
		}
	}
}

// A site with a new name has its old conn on the hub until it is known to use the new
// one, and a hub with a new name answers by the old one too.
func TestEndsRenamed(t *testing.T) {
	old := minimal()
	f := appliedTo(t, old, "vps", bare(of(t, old, "vps")), nil)
	edo := minimal()
	edo.Sites[0].Name = "edo"
	for _, tt := range []struct {
		peers tasks.Peers
		want  bool
	}{{nil, false}, {tasks.Peers{"tokyo": tasks.PeerUnread}, true}} {
		end, keys := endOf(t, edo, "vps", f, tt.peers, "tokyo")
		if has := end != "" && keys == "not-a-secret-tokyo"; has != tt.want {
			t.Errorf("%v: the hub has %q of the site's old name", tt.peers, end)
		}
		if end, _ := endOf(t, edo, "vps", f, tt.peers, "edo"); end == "" {
			t.Errorf("%v: the hub has nothing of the site's new name", tt.peers)
		}
	}

	// the key tells that it is the same: a new box at the old one's place has another
	if got := of(t, edo, "vps").Renamed(f); len(got) != 1 || got["tokyo"] != "edo" {
		t.Errorf("renamed sites: %v", got)
	}
	without := minimal()
	without.Sites = nil
	for _, inv := range []*inventory.Inventory{old, without} {
		if got := of(t, inv, "vps").Renamed(f); len(got) != 0 {
			t.Errorf("renamed sites where there are none: %v", got)
		}
	}
	newBox := minimal()
	newBox.Sites[0].Name, newBox.Sites[0].PSK = "edo", secret.New("another-key-at-the-place")
	if got := of(t, newBox, "vps").Renamed(f); len(got) != 0 {
		t.Errorf("a site that was replaced counts as renamed: %v", got)
	}
	if got := of(t, edo, "edo").Renamed(f); len(got) != 0 {
		t.Errorf("on a site: %v", got)
	}

	hub := minimal()
	hub.Hub.Name = "gate"
	peers := tasks.Peers{"tokyo": tasks.PeerEither}
	now, _ := endOf(t, hub, "gate", f, peers, "tokyo")
	before, keys := endOf(t, hub, "gate", f, peers, "tokyo"+beforeSuffix)
	if !strings.Contains(now, "@gate ") || !strings.Contains(before, "@vps ") || keys != "not-a-secret-tokyo" {
		t.Errorf("a hub with a new name has\n%s\n%s", now, before)
	}
}

// The packet filter of the hub lets through what its tunnels take, and no more once they
// take less.
func TestEndsPolicy(t *testing.T) {
	old := full()
	f := appliedTo(t, old, "vps", bare(of(t, old, "vps")), nil)
	changed := full()
	changed.Sites[2].Subnets = nets("192.168.20.0/24")
	changed.Hub.Subnets = nets("203.0.113.10/32", "10.11.0.0/24")
	lets := func(peers tasks.Peers, from, to string) bool {
		t.Helper()
		h := of(t, changed, "vps")
		ends, err := h.ends(starter, f, peers)
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(h.policy(ends).forward, func(r rule) bool {
			return r.verdict == accept && r.from.IsValid() && r.to.IsValid() && r.from.String() == from && r.to.String() == to
		})
	}
	either, unread := tasks.Peers{"tokyo": tasks.PeerEither}, tasks.Peers{"tokyo": tasks.PeerUnread}
	for _, tt := range []struct {
		peers    tasks.Peers
		from, to string
		want     bool
	}{
		{nil, "192.168.20.0/24", "10.11.0.0/24", true},
		{nil, "192.168.1.0/24", "10.11.0.0/24", false},
		{nil, "192.168.20.0/24", "10.10.0.0/24", false},
		{either, "192.168.20.0/24", "10.11.0.0/24", true},
		{either, "192.168.1.0/24", "10.10.0.0/24", true},
		{unread, "192.168.1.0/24", "10.10.0.0/24", true},
		{unread, "192.168.20.0/24", "10.11.0.0/24", false},
	} {
		if got := lets(tt.peers, tt.from, tt.to); got != tt.want {
			t.Errorf("%v: %s to %s is let through: %t", tt.peers, tt.from, tt.to, got)
		}
	}
}

// A hub that is not in a run has a site's tunnel where its manifest, and nothing else is
// read of it, tells so: as the inventory says it, and with its key.
func TestLacks(t *testing.T) {
	for _, b := range []inventory.Backend{inventory.BackendIPsecConf, inventory.BackendSwanctl} {
		old, now := nated(), nated()
		old.Tunnel.Backend, now.Tunnel.Backend = b, b
		now.Sites[0].Subnets = append(nets("10.40.0.0/16"), now.Sites[0].Subnets...)
		now.Sites[1].PSK = secret.New("another-osaka")
		now.Sites = append(now.Sites, inventory.Site{Name: "yao", Subnets: nets("192.168.9.0/24"), PSK: secret.New("not-a-secret-yao")})
		m, err := appliedTo(t, old, "vps", bare(of(t, old, "vps")), nil).File(tasks.ManifestPath)
		if err != nil {
			t.Fatal(err)
		}
		p := bookworm()
		p.files = map[string]string{tasks.ManifestPath: string(m.Content)}
		applied := p.facts(t, old, "vps")
		for _, tt := range []struct {
			site  string
			facts tasks.Facts
			want  string
		}{
			{"tokyo", applied, ""},
			{"yao", applied, "has no tunnel for it yet"},
			{"berlin", applied, "not what the inventory says"},
			{"osaka", applied, "has another key"},
			{"tokyo", bare(of(t, now, "vps")), "has no tunnel for it yet"},
		} {
			err := of(t, now, "vps").Lacks(tt.facts, tt.site)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s, %s: %v, want %q", b, tt.site, err, tt.want)
			}
		}
	}
}

// A key that is taken back before the site had it: the hub goes on sending the one that the
// site knows, though that is the inventory's again.
func TestHubGoesOnSendingWhatTheSiteKnows(t *testing.T) {
	for _, b := range []inventory.Backend{inventory.BackendIPsecConf, inventory.BackendSwanctl} {
		first, second := minimal(), minimal()
		first.Tunnel.Backend, second.Tunnel.Backend = b, b
		first.Sites[0].PSK, second.Sites[0].PSK = secret.New("first-key"), secret.New("second-key")
		f := appliedTo(t, first, "vps", bare(of(t, first, "vps")), nil)
		f = appliedTo(t, second, "vps", f, tasks.Peers{"tokyo": tasks.PeerEither})
		for _, tt := range []struct {
			peer tasks.Peer
			keys string
		}{{tasks.PeerEither, "second-key first-key"}, {tasks.PeerUnread, "second-key first-key"}, {tasks.PeerNew, "first-key"}} {
			if _, keys := endOf(t, first, "vps", f, tasks.Peers{"tokyo": tt.peer}, "tokyo"); keys != tt.keys {
				t.Errorf("%s: with a site that has %d, its keys are %q, want %q", b, tt.peer, keys, tt.keys)
			}
		}
	}
}
