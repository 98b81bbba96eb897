package clients

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// literal reads a single-quoted string as PowerShell's tokenizer does
// (ScanStringLiteral): each of five characters closes it, unless a second one follows,
// which is then the character.
func literal(s string) (value, rest string, ok bool) {
	rs := []rune(s)
	quote := func(i int) bool { return i < len(rs) && strings.ContainsRune(singleQuotes, rs[i]) }
	if !quote(0) {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(rs); i++ {
		if quote(i) {
			if i++; !quote(i) {
				return b.String(), string(rs[i:]), true
			}
		}
		b.WriteRune(rs[i])
	}
	return "", s, false
}

// What PowerShell sees is the string that was meant, to its last character: nothing in a
// name or a secret ends the string and runs.
func TestPowerShellLiteral(t *testing.T) {
	special := []rune("'\"`$(){};#&|\\\u2018\u2019\u201a\u201b\u201c\u201d -@%,<>\na")
	for _, a := range special { // every three of them
		for _, b := range special {
			for _, c := range special {
				checkLiteral(t, string([]rune{a, b, c}))
			}
		}
	}
}

func FuzzPowerShellLiteral(f *testing.F) {
	f.Add("it's")
	f.Fuzz(func(t *testing.T, s string) {
		if utf8.ValidString(s) { // the inventory has no other
			checkLiteral(t, s)
		}
	})
}

func checkLiteral(t *testing.T, s string) {
	t.Helper()
	if got, rest, ok := literal(powerShell(s)); !ok || got != s || rest != "" {
		t.Errorf("%q is written %s, which is %q and then %q", s, powerShell(s), got, rest)
	}
}

// cmdlets are those that the scripts may use, with the parameters that they have in
// Windows PowerShell 5.1 (learn.microsoft.com: the modules VpnClient, Microsoft.PowerShell.Management,
// Microsoft.PowerShell.Utility and PSReadLine).
var cmdlets = map[string][]string{
	"Add-VpnConnection": {"Name", "ServerAddress", "TunnelType", "AllUserConnection", "RememberCredential", "SplitTunneling", "Force", "PassThru", "L2tpPsk",
		"UseWinlogonCredential", "ServerList", "DnsSuffix", "IdleDisconnectSeconds", "EapConfigXmlStream", "AuthenticationMethod", "EncryptionLevel",
		"MachineCertificateIssuerFilter", "MachineCertificateEKUFilter", "CimSession", "ThrottleLimit", "AsJob"},
	"Set-VpnConnection": {"Name", "ServerAddress", "TunnelType", "AllUserConnection", "RememberCredential", "SplitTunneling", "Force", "PassThru", "L2tpPsk",
		"UseWinlogonCredential", "ServerList", "DnsSuffix", "IdleDisconnectSeconds", "EapConfigXmlStream", "AuthenticationMethod", "EncryptionLevel",
		"MachineCertificateIssuerFilter", "MachineCertificateEKUFilter", "CimSession", "ThrottleLimit", "AsJob"},
	"Get-VpnConnection":      {"Name", "AllUserConnection", "CimSession", "ThrottleLimit", "AsJob"},
	"Remove-VpnConnection":   {"Name", "AllUserConnection", "Force", "PassThru", "CimSession", "ThrottleLimit", "AsJob"},
	"Add-VpnConnectionRoute": {"ConnectionName", "DestinationPrefix", "RouteMetric", "PassThru", "AllUserConnection", "CimSession", "ThrottleLimit", "AsJob"},
	"Get-ItemProperty":       {"Path", "LiteralPath", "Name", "Filter", "Include", "Exclude", "Credential"},
	"Start-Process":          {"FilePath", "ArgumentList", "Credential", "WorkingDirectory", "LoadUserProfile", "NoNewWindow", "PassThru", "Verb", "WindowStyle", "Wait"},
	"Set-PSReadLineOption":   {"HistorySaveStyle", "HistorySavePath", "MaximumHistoryCount"},
	"Write-Host":             {"Object", "NoNewline", "Separator", "ForegroundColor", "BackgroundColor"},
}

// values are what a parameter takes that takes few.
var values = map[string][]string{
	"TunnelType": {"Pptp", "L2tp", "Sstp", "Ikev2", "Automatic"}, "EncryptionLevel": {"NoEncryption", "Optional", "Required", "Maximum", "Custom"},
	"AuthenticationMethod": {"Pap", "Chap", "MSChapv2", "Eap", "MachineCertificate"}, "HistorySaveStyle": {"SaveIncrementally", "SaveAtExit", "SaveNothing"},
	"ErrorAction": {"Stop", "SilentlyContinue", "Continue", "Ignore"}, "Verb": {"RunAs"},
}

// parsed is what the grammar sees in a script.
type parsed struct {
	Error    bool
	Commands [][]string // the name, then the words as they are written
	Strings  []string   // the literals in single quotes
	Keys     []string   // of tables, each the parameter of a cmdlet
	Values   []string   // of them, as they are written
}

// Windows' own shell cannot be had here, its grammar can: each script is one of that
// grammar, uses cmdlets that there are with parameters that they have, and each name
// and secret is one literal.
func TestPowerShellParses(t *testing.T) {
	var scripts []string
	secrets := map[int][]string{}
	for _, inv := range inventories {
		inv := inv()
		secrets[len(scripts)] = []string{inv.L2TP.PSK.Reveal(), "VPN acme", inv.Hub.Address.String()}
		scripts = append(scripts, export(t, inv, "windows").Content.Reveal())
		byHand, err := windowsByHand(tell(inv, inv.L2TP.Users[0]))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(byHand, powerShell(inv.L2TP.PSK.Reveal())) {
			t.Error("what is pasted, and so in the history, holds the key")
		}
		scripts = append(scripts, byHand)
	}
	// what a password may have, all of it (inventory refuses the rest)
	var all strings.Builder
	for c := ' '; c < 0x7f; c++ {
		all.WriteRune(c)
	}
	inv := nated()
	inv.L2TP.PSK = secret.New(all.String() + `''';Remove-Item C:\;'`)
	secrets[len(scripts)] = []string{inv.L2TP.PSK.Reveal()}
	scripts = append(scripts, export(t, inv, "windows").Content.Reveal())
	good := len(scripts)
	// and the grammar does refuse what is none
	some := export(t, split(), "windows").Content.Reveal()
	scripts = append(scripts, strings.Replace(some, "$connection = 'VPN acme'", "$connection = 'VPN acme", 1), some+"}\n", strings.Replace(some, "@(", "@((", 1))

	for _, s := range scripts {
		if i := strings.IndexFunc(s, func(r rune) bool { return r > 0x7e }); i >= 0 { // read in the code page of the country
			t.Errorf("the script is not ASCII: %q", s[i:])
		}
	}
	for i, p := range parsePowerShell(t, scripts) {
		if i >= good {
			if !p.Error {
				t.Errorf("the grammar takes\n%s", scripts[i])
			}
			continue
		}
		if p.Error {
			t.Errorf("not PowerShell:\n%s", scripts[i])
		}
		for _, want := range secrets[i] {
			if !slices.ContainsFunc(p.Strings, func(s string) bool { v, rest, ok := literal(s); return ok && rest == "" && v == want }) {
				t.Errorf("%q is no literal of its own in\n%s", want, scripts[i])
			}
		}
		adds := 0
		for _, c := range p.Commands {
			parameters, known := cmdlets[c[0]]
			if !known {
				t.Errorf("there is no %s", c[0])
			}
			if c[0] == "Add-VpnConnection" || c[0] == "Set-VpnConnection" {
				adds++
			}
			if c[0] == "Write-Host" { // a text may begin with a dash
				continue
			}
			for n, word := range c[1:] {
				name, is := strings.CutPrefix(word, "-")
				if word == "@settings" {
					for k, key := range p.Keys {
						checkParameter(t, c[0], parameters, key, strings.Trim(p.Values[k], "'"))
					}
				} else if is {
					checkParameter(t, c[0], parameters, name, strings.Join(c[min(n+2, len(c)):min(n+3, len(c))], ""))
				}
			}
		}
		if adds != 1 {
			t.Errorf("it adds %d connections:\n%s", adds, scripts[i])
		}
		if len(p.Keys) != 0 && len(p.Keys) != 9 {
			t.Errorf("the connection has the settings %v", p.Keys)
		}
	}
}

// checkParameter checks a parameter of a cmdlet, and its value if it takes few.
func checkParameter(t *testing.T, cmdlet string, has []string, name, value string) {
	t.Helper()
	if name != "ErrorAction" && !slices.Contains(has, name) {
		t.Errorf("%s has no parameter %s", cmdlet, name)
	}
	if v := values[name]; v != nil && !slices.Contains(v, value) {
		t.Errorf("%s: %s takes %v, not %q", cmdlet, name, v, value)
	}
}

// parsePowerShell asks the grammar what it sees. It is of npm, and is fetched once.
func parsePowerShell(t *testing.T, scripts []string) []parsed {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("NOT TESTED: that Windows understands its script: no %s", program)
		}
	}
	const from = "testdata/powershell"
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", "--fetch-retries=0", "--fetch-timeout=20000")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Logf("%s", out)
		t.Skipf("NOT TESTED: that Windows understands its script: npm brings no grammar: %v", err)
	}
	in, err := json.Marshal(scripts)
	if err != nil {
		t.Fatal(err)
	}
	// node's better compiler takes 15 s for the grammar's one function
	cmd := exec.Command("node", "--liftoff-only", "parse.cjs")
	cmd.Dir, cmd.Stdin, cmd.Stderr = dir, strings.NewReader(string(in)), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var got []parsed
	if err := json.Unmarshal(out, &got); err != nil || len(got) != len(scripts) {
		t.Fatalf("%v: %s", err, out)
	}
	return got
}
