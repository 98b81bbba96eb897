package inventory

import (
	"strings"
	"testing"
)

// A secret that somebody wrote in the place of a key, of a variable's or a file's
// name, or of a program is in no message; nor is one whose text is not TOML. What
// looks like a key and is unknown is named.
func TestMisplacedSecret(t *testing.T) {
	const hub = "[hub]\naddress = \"203.0.113.10\"\n[sites.tokyo]\nsubnets = [\"192.168.1.0/24\"]\n"
	const misplaced = "hunter2Ahquai3ohGhae"
	for name, tt := range map[string]struct{ text, want string }{
		"key of a secret":      {"psk.SECRET = 1", "unknown key in sites.tokyo.psk; known here: command, env, file"},
		"in an inline table":   {"psk = { SECRET = 1 }", "unknown key in sites.tokyo.psk; known here: command, env, file"},
		"short key":            {"psk.hunter = 1", "unknown key in sites.tokyo.psk; known here: command, env, file"},
		"key":                  {"SECRET = 1", "unknown key sites.tokyo.(hidden); known here"},
		"key twice":            {"SECRET = 1\nSECRET = 1", "not TOML: key sites.tokyo.(hidden) has already been defined; write each key once"},
		"quoted key twice":     {"\"a SECRET\" = 1\n\"a SECRET\" = 1", "not TOML: key sites.tokyo.(hidden) has already been defined; write each key once"},
		"key below twice":      {"psk.SECRET.a = 1\npsk.SECRET.a = 1", "not TOML: key sites.tokyo.psk.(hidden) has already been defined"},
		"list and table":       {"psk.SECRET.a = 1\npsk.SECRET = [2]", "not TOML: key psk.(hidden) is already a table"},
		"bare key":             {"SECRET", "not TOML: expected '.' or '=', but got '\\n' instead; write key = value"},
		"no quotes":            {"psk = SECRET", "not TOML: expected value but found (text) instead; write text in quotes"},
		"open quote":           {"psk = \"SECRET", "not TOML: strings cannot contain newlines; close the quote on its line"},
		"escape":               {"psk = \"\\SECRET\"", "not TOML: invalid escape in string '\\h'; write the backslash twice"},
		"variable":             {"psk = { env = \"SECRET\" }", "sites.tokyo.psk: the environment variable that env names is not set; export it"},
		"file":                 {"psk = { file = \"SECRET\" }", "sites.tokyo.psk: read the file that it names: no such file or directory; write the secret into that file"},
		"file below a file":    {"psk = { file = \"vpnpush.toml/SECRET\" }", "sites.tokyo.psk: read the file that it names: not a directory; see that"},
		"program":              {"psk = { command = [\"SECRET\"] }", "sites.tokyo.psk: there is no such program as its command begins with: executable file not found in $PATH; install it"},
		"program with a slash": {"psk = { command = [\"./SECRET\"] }", "sites.tokyo.psk: there is no such program as its command begins with: no such file or directory; install it"},
		"a misspelt key":       {"psk = { fil = \"a\" }", "unknown key sites.tokyo.psk.fil; did you mean file?"},
		"an unknown key":       {"colour = 1", "unknown key sites.tokyo.colour; known here"},
		"a site twice":         {"[sites.osaka-2]\n[sites.osaka-2]", "not TOML: key sites.osaka-2 has already been defined"},
		"a user twice":         {"[l2tp.users.bob]\n[l2tp.users.bob]", "not TOML: key l2tp.users.bob has already been defined"},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeInventory(t, hub+strings.ReplaceAll(tt.text, "SECRET", misplaced)+"\n", 0o600)
			_, diags := load(path)
			told := false
			for _, d := range diags {
				told = told || strings.Contains(d.String(), tt.want)
				if strings.Contains(d.String(), misplaced) || strings.Contains(d.String(), "hunter") {
					t.Errorf("%s", d)
				}
				if d.Mend == "" {
					t.Errorf("%s: there is no mend", d)
				}
			}
			if !told {
				t.Errorf("%v, want %s", diags, tt.want)
			}
		})
	}
}
