package roles

import (
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/vpnpush/vpnpush/inventory"
	"github.com/vpnpush/vpnpush/inventory/secret"
	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/tasks/mask"
	"github.com/vpnpush/vpnpush/transport"
)

// strongSwan by vici: swanctl(8), swanctl.conf(5). A conn and its key are each a file of
// their own; swanctl loads them as one set only, and takes out of charon what is not in
// it, so nothing here ever loads a single file.
const (
	swanctlConf = "/etc/swanctl/swanctl.conf"
	swanctlDir  = "/etc/swanctl/conf.d/"
	swanctlOurs = swanctlDir + "vpnpush-"
	swanctlEnd  = ".conf"
	// no conn has a dot in its name, and so no conn's file ends like this
	swanctlKeysEnd = ".secrets.conf"
)

var (
	//go:embed swanctl.sh
	swanctlShell string
	//go:embed swanctl-dial.sh
	swanctlDial string
	//go:embed swanctl-carries.sh
	swanctlCarries string
	//go:embed swanctl-twin.sh
	swanctlTwin string
)

// swanctlFilesRead are the files that swanctl reads unless an include of the admin's
// leads elsewhere.
var swanctlFilesRead = []tasks.Read{
	{Kind: tasks.ReadGlob, Arg: swanctlConf},
	{Kind: tasks.ReadGlob, Arg: swanctlDir + "*" + swanctlEnd},
}

// swanctlKeySources are where charon has its keys from. Those in the files of starter
// reach this charon, too, where the plugin that takes them is installed.
var swanctlKeySources = []tasks.KeySource{
	{Read: swanctlFilesRead[0], Syntax: mask.Swanctl},
	{Read: swanctlFilesRead[1], Syntax: mask.Swanctl},
}

// swanctl runs strongSwan by swanctl.conf, in charon-systemd. On Debian 13 that package
// and starter's charon cannot both be installed.
var swanctl = backend{
	Daemon: tasks.Daemon{
		Name: "swanctl", Unit: "strongswan.service", Ours: swanctlOurs, ConfSuffix: swanctlEnd,
		Part:     tasks.Part{Name: "swanctl", Text: swanctlShell + "\n" + swanctlDial},
		Twin:     tasks.Part{Name: "swanctl-twin", Text: starterTwin + swanctlTwin},
		Keys:     slices.Concat(swanctlKeySources, starterKeySources[:2]),
		Packages: []string{"charon-systemd", "strongswan-swanctl", "libstrongswan-standard-plugins"},
		Package:  "charon-systemd", Status: "swanctl --stats",
		Dial: func(conn string) string {
			return swanctlDial + "swanctl_dial " + transport.Quote(conn)
		},
	},
	word:         inventory.BackendSwanctl,
	dialShell:    swanctlDial,
	carriesShell: swanctlCarries,
	supposed:     []tasks.Supposed{listedBare(readFiles), noOtherIPsec},
	files:        swanctlFiles,
	place:        swanctlLanguage.place,
	keysIn:       swanctlKeys,
	reads:        append(slices.Clone(swanctlFilesRead), otherIPsecReads()...),
	preflight:    swanctlPreflight,
	besideReads:  append(slices.Clone(swanctlFilesRead), tasks.Read{Kind: tasks.ReadFile, Arg: tasks.ManifestPath}),
	beside:       swanctlBeside,
	others:       swanctlOthers,
}

func swanctlFiles(owner string, cs conns) ([]tasks.Task, []tasks.Conn, error) {
	files, conns, err := swanctlLanguage.files(owner, cs)
	if err != nil || len(files) == 0 {
		return files, conns, err
	}
	includes := tasks.Include{Package: "strongswan-swanctl", Path: swanctlConf, Line: "include conf.d/*.conf", File: conns[0].Conf}
	return append([]tasks.Task{includes}, files...), conns, nil
}

var swanctlLanguage = language{
	templates: "swanctl", confDir: swanctlOurs, confEnd: swanctlEnd, keysEnd: swanctlKeysEnd, syntax: mask.Swanctl,
	keys: func(conn, id string, psks []secret.Value) (string, error) {
		var b strings.Builder
		for i, psk := range psks {
			text, err := swanctlSecret(psk)
			if err != nil {
				return "", fmt.Errorf("psk of %s: %w", conn, err)
			}
			section := "ike-vpnpush-" + conn
			if i > 0 {
				section += fmt.Sprintf("-%d", i+1)
			}
			fmt.Fprintf(&b, "    %s {\n        id = %s\n        secret = %s\n    }\n", section, id, text)
		}
		return "secrets {\n" + b.String() + "}\n", nil
	},
}

// swanctlSecret returns a secret as swanctl.conf has it. What begins like hex or base64
// would be taken for that (load_creds.c), and so is written as hex.
func swanctlSecret(v secret.Value) (string, error) {
	s := v.Reveal()
	switch {
	case s == "" || strings.ContainsAny(s, "\r\n\x00"):
		return "", errors.New("swanctl.conf cannot carry it")
	case len(s) >= 2 && s[0] == '0' && strings.ContainsRune("xXsS", rune(s[1])):
		return "0x" + hex.EncodeToString([]byte(s)), nil
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`, nil
}

// swanctlKey is a line that swanctlLanguage writes.
var swanctlKey = regexp.MustCompile(`(?m)^ +secret = (?:"((?:[^"\\\r\n]|\\.)*)"|0x([0-9a-f]+))$`)

// swanctlKeys returns the keys in a file of ours. Of those that fit, charon sends the
// last (tried on 5.9.8 and 6.0.1, loaded in any order), and as either end takes any of
// them.
func swanctlKeys(file []byte) []secret.Value {
	var out []secret.Value
	for _, m := range swanctlKey.FindAllSubmatch(file, -1) {
		s := strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(string(m[1]))
		if b, err := hex.DecodeString(string(m[2])); err == nil && len(b) > 0 {
			s = string(b)
		}
		out = append(out, secret.New(s))
	}
	return out
}
