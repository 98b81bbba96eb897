package roles

import (
	_ "embed"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// strongSwan by starter: ipsec.conf(5), ipsec.secrets(5), ipsec(8). A conn and its
// key are each a file of its own, so that a change of one site touches no other's.
const (
	ipsecConf   = "/etc/ipsec.conf"
	ipsecKeys   = "/etc/ipsec.secrets"
	confDir     = "/etc/ipsec.d/vpnpush/"
	confSuffix  = ".conf"
	keysSuffix  = ".secrets"
	includeConf = "include " + confDir + "*" + confSuffix
	includeKeys = "include " + confDir + "*" + keysSuffix
)

var (
	//go:embed starter.sh
	starterShell string
	//go:embed starter-files.sh
	starterFilesShell string
	//go:embed starter-dial.sh
	starterDial string
	//go:embed starter-twin.sh
	starterTwin string
)

// readFiles lists keys and conns, through the includes of their files.
var readFiles = tasks.Read{Kind: tasks.ReadCommand, Arg: "ipsec-files", Shell: starterFilesShell}

// Keys of swanctl's files are in the same charon once somebody has loaded them.
var starterKeySources = []tasks.KeySource{
	{Read: readFiles, Syntax: mask.IPsecSecrets},
	{Read: tasks.Read{Kind: tasks.ReadGlob, Arg: confDir + "*"}, Syntax: mask.IPsecSecrets},
	{Read: tasks.Read{Kind: tasks.ReadGlob, Arg: "/etc/swanctl/swanctl.conf"}, Syntax: mask.Swanctl},
	{Read: tasks.Read{Kind: tasks.ReadGlob, Arg: "/etc/swanctl/conf.d/*.conf"}, Syntax: mask.Swanctl},
}

// starter runs strongSwan by ipsec.conf. Its packages are named one by one:
// strongswan-starter only recommends its daemon (strongswan-charon), and without
// libstrongswan-standard-plugins Debian 11 and 12 have neither AES-GCM nor the ECP
// groups that Windows offers. The metapackage `strongswan` is the other daemon on
// Debian 13.
var starter = backend{
	Daemon: tasks.Daemon{
		Name: "starter", Unit: "strongswan-starter.service", Ours: confDir, ConfSuffix: confSuffix,
		Part:     tasks.Part{Name: "starter", Text: starterShell + "\n" + starterDial},
		Twin:     tasks.Part{Name: "starter-twin", Text: starterTwin},
		Keys:     starterKeySources,
		Packages: []string{"strongswan-starter", "strongswan-charon", "libstrongswan-standard-plugins"},
		Package:  "strongswan-charon", Status: "ipsec statusall",
		Dial: func(conn string) string {
			return starterDial + "starter_dial " + transport.Quote(conn)
		},
	},
	word:      inventory.BackendIPsecConf,
	dialShell: starterDial,
	files:     starterFiles,
	confTask:  func(conn string) string { return tasks.File{Path: confDir + conn + confSuffix}.ID() },
	keyTask:   func(conn string) string { return tasks.File{Path: confDir + conn + keysSuffix}.ID() },
	keysIn:    starterKeys,
	reads: []tasks.Read{
		{Kind: tasks.ReadFile, Arg: ipsecConf},
		{Kind: tasks.ReadGlob, Arg: confDir + "*"},
		readOtherIPsec,
	},
	preflight:   starterPreflight,
	besideReads: []tasks.Read{readFiles, {Kind: tasks.ReadFile, Arg: tasks.ManifestPath}},
	beside:      starterBeside,
	others:      starterOthers,
}

// starterConn fills starter's templates.
type starterConn struct {
	Name, Left, Right           string
	LocalID, PeerID             string
	LocalSubnets, RemoteSubnets string
	IKE, ESP                    string
	DPDDelay, DPDTimeout        string
	Lifetime                    string
}

func starterFiles(owner string, cs conns) ([]tasks.Task, []tasks.Conn, error) {
	ts := []tasks.Task{
		tasks.Line{Path: ipsecConf, Line: includeConf, Mode: 0o644},
		tasks.Line{Path: ipsecKeys, Line: includeKeys, Mode: 0o600, Syntax: mask.IPsecSecrets},
	}
	var loaded []tasks.Conn
	// add takes a conn and its key, with the one identity that it is found by.
	add := func(template string, c starterConn, id string, psks []secret.Value, load tasks.Conn) error {
		lines := tasks.Marker("#", owner)
		for _, psk := range psks {
			if psk.IsZero() || strings.ContainsAny(psk.Reveal(), "\"\r\n\x00") {
				return fmt.Errorf("psk of %s: ipsec.secrets cannot carry it", c.Name)
			}
			lines += fmt.Sprintf("%s : PSK \"%s\"\n", id, psk.Reveal())
		}
		text, err := fill(owner, "#", template, c)
		if err != nil {
			return err
		}
		conf := tasks.File{Path: confDir + c.Name + confSuffix, Content: text, Mode: 0o644, Owner: owner}
		keys := tasks.File{Path: confDir + c.Name + keysSuffix, Content: []byte(lines), Mode: 0o600, Owner: owner, Syntax: mask.IPsecSecrets}
		ts = append(ts, conf, keys)
		load.Name, load.Conf, load.Secrets = c.Name, conf.Path, keys.Path
		load.ConfSHA, load.SecretsSHA = tasks.SHA256(conf.Content), tasks.SHA256(keys.Content)
		loaded = append(loaded, load)
		return nil
	}
	for _, t := range cs.tunnels {
		local, remote := t.nets()
		ike, esp := t.proposals()
		c := starterConn{
			Name: t.name, Left: "%defaultroute", Right: t.remote.String(),
			LocalID: t.localID, PeerID: t.peerID,
			LocalSubnets: commas(local), RemoteSubnets: commas(remote),
			IKE: strings.Join(ike, ","), ESP: strings.Join(esp, ","),
			DPDDelay: seconds(t.dpd),
		}
		switch {
		case t.anyAddress():
			c.Left = "%any"
		case t.local.IsValid():
			c.Left = t.local.String()
		}
		template := "starter-hub.tmpl"
		if t.dials {
			template = "starter-site.tmpl"
		}
		load := tasks.Conn{Initiates: t.dials, Tunnel: t.wanted(), Also: t.also, IKE: ike, Listed: t.listed()}
		if err := add(template, c, "@"+t.peerID, t.keys(), load); err != nil {
			return nil, nil, err
		}
	}
	if l := cs.clients; l != nil {
		c := starterConn{
			Name: l.name, Left: l.local.String(), LocalID: l.id.String(),
			IKE: strings.Join(l.ike, ","), ESP: strings.Join(l.esp, ","),
			DPDDelay: seconds(l.dpdDelay), DPDTimeout: seconds(l.dpdTimeout),
			Lifetime: fmt.Sprintf("%dh", l.lifetime/time.Hour),
		}
		if err := add("starter-l2tp.tmpl", c, l.id.String(), []secret.Value{l.psk}, tasks.Conn{IKE: l.ike, Listed: l.listed()}); err != nil {
			return nil, nil, err
		}
	}
	return ts, loaded, nil
}

// starterKey is a line that starterFiles writes.
var starterKey = regexp.MustCompile(`(?m)^\S+ : PSK "([^"\r\n]*)"$`)

// starterKeys returns the keys in a file of ours. Of those that fit, charon sends the
// last (tried on 5.9.8), and as either end takes any of them.
func starterKeys(file []byte) []secret.Value {
	var out []secret.Value
	for _, m := range starterKey.FindAllSubmatch(file, -1) {
		out = append(out, secret.New(string(m[1])))
	}
	return out
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", d/time.Second) }

func commas(ps []netip.Prefix) string { return strings.Join(texts(ps), ",") }
