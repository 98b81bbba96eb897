package roles

import (
	_ "embed"
	"fmt"
	"regexp"
	"strings"

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
	//go:embed starter-carries.sh
	starterCarries string
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
	word:         inventory.BackendIPsecConf,
	dialShell:    starterDial,
	carriesShell: starterCarries,
	supposed:     []tasks.Supposed{listedBare(readFiles), noOtherIPsec},
	files:        starterFiles,
	place:        starterLanguage.place,
	keysIn:       starterKeys,
	reads: append(otherIPsecReads(),
		tasks.Read{Kind: tasks.ReadFile, Arg: ipsecConf},
		tasks.Read{Kind: tasks.ReadGlob, Arg: confDir + "*"},
	),
	preflight:   starterPreflight,
	besideReads: []tasks.Read{readFiles, {Kind: tasks.ReadFile, Arg: tasks.ManifestPath}},
	beside:      starterBeside,
	handmade:    starterHandmade,
	others:      starterOthers,
}

var starterLanguage = language{
	templates: "starter", confDir: confDir, confEnd: confSuffix, keysEnd: keysSuffix, syntax: mask.IPsecSecrets,
	keys: func(conn, id string, psks []secret.Value) (string, error) {
		lines := ""
		for _, psk := range psks {
			if psk.IsZero() || strings.ContainsAny(psk.Reveal(), "\"\r\n\x00") {
				return "", fmt.Errorf("psk of %s: ipsec.secrets cannot carry it", conn)
			}
			lines += fmt.Sprintf("%s : PSK \"%s\"\n", id, psk.Reveal())
		}
		return lines, nil
	},
}

func starterFiles(owner string, cs conns) ([]tasks.Task, []tasks.Conn, error) {
	files, conns, err := starterLanguage.files(owner, cs)
	return append([]tasks.Task{
		tasks.Line{Path: ipsecConf, Line: includeConf, Mode: 0o644},
		tasks.Line{Path: ipsecKeys, Line: includeKeys, Mode: 0o600, Syntax: mask.IPsecSecrets},
	}, files...), conns, err
}

// starterKey is a line that starterLanguage writes.
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
