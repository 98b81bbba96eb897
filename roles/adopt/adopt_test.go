package adopt

import (
	"flag"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/tasks"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// handmade are the files of a box, by their paths, and its addresses as ip prints them.
type handmade struct {
	files     map[string]string
	addresses string
}

var places = map[string]string{
	"ipsec.conf": ipsecConf, "ipsec.secrets": ipsecKeys, "xl2tpd.conf": xl2tpdConf, "options.xl2tpd": "/etc/ppp/options.xl2tpd",
	"chap-secrets": chapSecrets, "rules.v4": rulesV4, "sysctl.conf": sysctlConf,
}

// fromFolder returns a box whose files are in a folder of testdata.
func fromFolder(t testing.TB, name, addresses string) handmade {
	t.Helper()
	h := handmade{files: map[string]string{}, addresses: addresses}
	found, err := os.ReadDir(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		text, err := os.ReadFile(filepath.Join("testdata", name, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		h.files[places[f.Name()]] = string(text)
	}
	return h
}

func (h handmade) box(arg string) Box {
	k := tasks.Known{
		Files: map[string]tasks.FileState{}, Globs: map[string]bool{}, Commands: map[string]tasks.CommandState{
			"addresses": {Stdout: []byte(h.addresses)}, "routes": {}, "hostname": {Stdout: []byte(arg + ".example.com\n")},
		},
	}
	put := func(p, text string) {
		k.Files[p] = tasks.FileState{Path: p, Exists: true, Type: '0', Content: []byte(text)}
	}
	for _, r := range Reads() {
		switch r.Kind {
		case tasks.ReadFile:
			k.Files[r.Arg] = tasks.FileState{Path: r.Arg}
			if text, ok := h.files[r.Arg]; ok {
				put(r.Arg, text)
			}
		case tasks.ReadGlob:
			k.Globs[r.Arg] = true
			for p, text := range h.files {
				if ok, _ := path.Match(r.Arg, p); ok {
					put(p, text)
				}
			}
		}
	}
	return Box{Arg: arg, Host: arg, User: "root", Facts: tasks.NewFacts(k)}
}

const (
	hubAddresses  = "2: eth0    inet 203.0.113.10/24 scope global eth0\n3: eth1    inet 10.10.0.1/24 scope global eth1\n"
	siteAddresses = "2: eth0    inet 192.168.1.10/24 scope global eth0\n"
)

// blog is the network that the guide makes: its hub and its office.
func blog(t testing.TB) (hub, site handmade) {
	return fromFolder(t, "vps", hubAddresses), fromFolder(t, "tokyo", siteAddresses)
}

// generated are keys that are new in each run.
var generated = regexp.MustCompile(`"[A-Za-z0-9]{20}([A-Za-z0-9]{20})?"`)

// The network that the guide makes, with its typos, is the inventory that gives the same
// network, and all that it does not carry is told by file and line.
func TestTheGuidesNetwork(t *testing.T) {
	hub, site := blog(t)
	got, err := Boxes([]Box{site.box("tokyo"), hub.box("vps")})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Faults) > 0 {
		t.Error(got.Faults)
	}
	text := generated.ReplaceAllString(got.Text.Reveal(), `"GENERATED"`)
	golden := filepath.Join("testdata", "blog.toml")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), text); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	for _, s := range []string{"canary", "short"} {
		if strings.Contains(strings.ReplaceAll(got.Bare, "shorter", ""), s) {
			t.Errorf("the inventory without secrets has %q:\n%s", s, got.Bare)
		}
	}
	if _, diags := inventory.Parse("x", []byte(got.Bare)); len(diags.Errors()) > 0 {
		t.Errorf("without secrets: %v", diags)
	}
	for _, n := range got.Notes {
		if strings.Contains(n.String(), "canary") {
			t.Errorf("a note has a secret: %s", n)
		}
	}
}

// with returns h with files that are otherwise.
func (h handmade) with(files map[string]string) handmade {
	h.files = maps.Clone(h.files)
	maps.Copy(h.files, files)
	return h
}

func (h handmade) replaced(file string, pairs ...string) handmade {
	return h.with(map[string]string{file: strings.NewReplacer(pairs...).Replace(h.files[file])})
}

// What differs from the guide's network by a little is understood, too; what a person has
// to decide is told, and nothing is guessed.
func TestBoxes(t *testing.T) {
	hub, site := blog(t)
	osaka := site.replaced(ipsecConf, "192.168.1.", "192.168.2.", "rightsubnet=10.10.0.0/24", "rightsubnet=10.10.0.0/24,192.168.1.0/24")
	osaka.addresses = strings.ReplaceAll(siteAddresses, "192.168.1.", "192.168.2.")
	pair := "203.0.113.10 @branch : PSK \"pair-canary-0123456789\"\n"
	named := hub.replaced(ipsecConf, "right=%any\n    rightsubnet=0.0.0.0/0", "right=%any\n    rightid=@branch\n    rightsubnet=192.168.1.0/24")
	for name, tt := range map[string]struct {
		boxes []Box
		says  []string // in the inventory, or what is told
		not   []string
		err   string
	}{
		"a second office, and they reach each other": {boxes: []Box{hub.box("vps"), site.box("tokyo"), osaka.box("osaka")},
			says: []string{"relay = true", "[sites.osaka]\naddress = \"192.168.2.10\"", `subnets = ["10.10.0.0/24"]`}},
		"the hub alone, with an office for anybody": {boxes: []Box{hub.box("vps")}, says: []string{"name each office's box, too"}, not: []string{"[sites."}},
		"the hub alone, with an office by name":     {boxes: []Box{named.box("vps")}, says: []string{"[sites.branch]\n# this box was not read"}},
		"an office alone":                           {boxes: []Box{site.box("tokyo")}, says: []string{"name = \"hub\"\naddress = \"203.0.113.10\"", "[sites.tokyo]"}, not: []string{"[l2tp]"}},
		"a key of the two alone": {boxes: []Box{named.with(map[string]string{ipsecKeys: pair}).box("vps"), site.with(map[string]string{ipsecKeys: strings.Replace(pair, "@branch", "%any", 1)}).box("tokyo")},
			says: []string{"psk = \"pair-canary-0123456789\"\nssh", "no key for L2TP clients"}},
		"an unquoted key": {boxes: []Box{hub.with(map[string]string{ipsecKeys: "203.0.113.10 %any : PSK plain-canary-0123456789\n"}).box("vps"), site.box("tokyo")},
			says: []string{"[l2tp]\npsk = \"plain-canary-0123456789\""}},
		"a key that is too short": {boxes: []Box{hub.with(map[string]string{ipsecKeys: ": PSK \"password\"\n"}).box("vps"), site.box("tokyo")},
			says: []string{"/etc/ipsec.secrets:1: the key of the L2TP clients: it is shorter than 16 characters"}, not: []string{"psk = \"password\""}},
		"conns in a file of their own": {boxes: []Box{hub.with(map[string]string{ipsecConf: "include /etc/ipsec.d/*.conf\ninclude /srv/more.conf\n", "/etc/ipsec.d/a.conf": hub.files[ipsecConf]}).box("vps"), site.box("tokyo")},
			says: []string{"/etc/ipsec.d/a.conf:30: dpdaction=clear closeaction=clear: two settings on one line", "/etc/ipsec.conf:2: include /srv/more.conf", "[sites.tokyo]"}},
		"a conn's name that the box has, too": {boxes: []Box{hub.box("vps"), site.replaced(ipsecConf, "conn ipsec-test", "conn tokyo").box("tokyo")}, says: []string{"[sites.site-tokyo]"}},
		"the hub behind a NAT":                {boxes: []Box{behindNAT(hub).box("vps"), site.box("tokyo")}, says: []string{"local_address = \"10.0.0.5\""}},
		"clients in the office's network": {boxes: []Box{hub.replaced(xl2tpdConf, "192.168.200.", "192.168.1.").box("vps"), site.box("tokyo")},
			says: []string{"overlaps"}},
		"all traffic through the hub": {boxes: []Box{hub.replaced(ipsecConf, "leftsubnet=10.10.0.0/24", "leftsubnet=0.0.0.0/0").box("vps"), site.replaced(ipsecConf, "rightsubnet=10.10.0.0/24", "rightsubnet=0.0.0.0/0").box("tokyo")},
			says: []string{"/etc/ipsec.conf:9: rightsubnet=0.0.0.0/0", "not all"}, not: []string{"[hub]\nname = \"vps\"\naddress = \"203.0.113.10\"\nsubnets"}},
		"swanctl, too":               {boxes: []Box{hub.with(map[string]string{"/etc/swanctl/conf.d/x.conf": "connections {\n  mine {\n  }\n}\n"}).box("vps"), site.box("tokyo")}, says: []string{"/etc/swanctl/conf.d/x.conf:2: mine: a connection of swanctl"}},
		"certificates":               {boxes: []Box{hub.box("vps"), site.with(map[string]string{ipsecConf: site.files[ipsecConf] + "\nconn cert\n\tleftcert=x.pem\n\tright=198.51.100.1\n\tauto=start\n"}).box("tokyo")}, says: []string{"conn cert: it has no pre-shared key"}},
		"two hubs":                   {boxes: []Box{hub.box("vps"), hub.box("other")}, err: "vps and other both wait"},
		"nothing by hand":            {boxes: []Box{handmade{addresses: siteAddresses}.box("bare")}, err: "bare: /etc/ipsec.conf has no conn"},
		"a host of vpnpush's":        {boxes: []Box{hub.with(map[string]string{tasks.ManifestPath: `{"format_version": 2, "owner": "me", "host": "vps"}`}).box("vps")}, err: "it is vpnpush's already"},
		"a manifest nobody can read": {boxes: []Box{hub.with(map[string]string{tasks.ManifestPath: "{"}).box("vps")}, err: "not known"},
	} {
		got, err := Boxes(tt.boxes)
		if tt.err != "" || err != nil {
			if err == nil || tt.err == "" || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: %v, want %q", name, err, tt.err)
			}
			continue
		}
		all := got.Text.Reveal()
		for _, d := range got.Faults {
			all += d.String() + "\n"
		}
		for _, want := range tt.says {
			if !strings.Contains(all, want) {
				t.Errorf("%s: no %q in\n%s", name, want, all)
			}
		}
		for _, no := range tt.not {
			if strings.Contains(all, no) {
				t.Errorf("%s: %q in\n%s", name, no, all)
			}
		}
	}
}

// behindNAT is a hub whose provider maps the public address to its own.
func behindNAT(h handmade) handmade {
	h = h.replaced(ipsecConf, "left=203.0.113.10", "left=10.0.0.5")
	h.addresses = "2: eth0    inet 10.0.0.5/24 scope global eth0\n"
	return h
}

// Whatever stands in the files of a box, it is read without a panic, what is made of it is
// an inventory or says why not, and no key is told.
func FuzzBoxes(f *testing.F) {
	hub, site := blog(f)
	f.Add(hub.files[ipsecConf], hub.files[ipsecKeys], hub.files[xl2tpdConf], hub.files["/etc/ppp/options.xl2tpd"], hub.files[chapSecrets], hub.files[rulesV4])
	f.Add("conn x\n\tauthby=secret\n\tleft=%any\n\tright=1.2.3.4\n\tauto=start\n\tleftsubnet=10.0.0.0/8[tcp], ::/0\n", "@a @b : PSK 0sAAAA\n: PSK 0xzz\n : PSK '", "[lns default]\nip range=9\n", "ms-dns\n\"", "a b", "-A POSTROUTING -j MASQUERADE")
	f.Fuzz(func(t *testing.T, conf, keys, xl2tpd, options, chap, rules string) {
		h := handmade{addresses: hubAddresses, files: map[string]string{
			ipsecConf: conf, ipsecKeys: keys, xl2tpdConf: xl2tpd, "/etc/ppp/options.xl2tpd": options, chapSecrets: chap, rulesV4: rules, "/etc/ipsec.d/a.conf": conf, "/etc/ipsec.d/a.secrets": keys,
		}}
		got, err := Boxes([]Box{h.box("vps"), site.box("tokyo")})
		if err != nil {
			return
		}
		if _, diags := inventory.Parse("x", []byte(got.Text.Reveal())); len(diags.Errors()) != len(got.Faults) {
			t.Errorf("%v, told were %v", diags, got.Faults)
		}
		for _, d := range got.Faults {
			if strings.Contains(d.Summary, "syntax") || strings.Contains(d.Summary, "toml") {
				t.Errorf("it is no TOML: %s\n%s", d, got.Text.Reveal())
			}
		}
	})
}
