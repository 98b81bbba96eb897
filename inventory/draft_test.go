package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/inventory/secret"
)

// aHub is what every inventory of the tests here begins with.
const aHub = "[hub]\naddress = \"203.0.113.10\"\n"

const anL2TP = "[l2tp]\npsk = \"l2tp-Jahz8uqu5aeVeemi\"\nlocal_ip = \"192.168.200.1\"\npool = \"192.168.200.2-192.168.200.30\"\n"

func mustDraft(t testing.TB, text string) *Draft {
	t.Helper()
	d, diags := newDraft("x.toml", []byte(text))
	if d == nil {
		t.Fatalf("%v in\n%s", diags, text)
	}
	return d
}

func addNara(d *Draft) {
	d.Add([]string{"sites", "nara"},
		Pair{[]string{"subnets"}, []string{"10.3.0.0/24"}},
		Pair{[]string{"psk"}, secret.New("nara-ieZ0ahngohng0Poo")},
		Pair{[]string{"ssh", "jump"}, "hub"})
}

func addBob(d *Draft) {
	d.Add([]string{"l2tp", "users", "bob@example.com"}, Pair{[]string{"password"}, secret.New("bob-secret")})
}

func removeOsaka(d *Draft) { d.Remove([]string{"sites", "osaka"}) }

func renameOsaka(d *Draft) { d.Rename([]string{"sites", "osaka"}, "kobe") }

// An edit leaves everything as its owner wrote it, in whichever of TOML's ways, but
// for what was meant.
func TestDraft(t *testing.T) {
	const tokyo, osaka = "psk = \"tokyo-Ahquai3ohGhaeXo8\"\n", "psk = \"osaka-ceeph4Oorah6ieQu\"\n"
	const nara = "[sites.nara]\nsubnets = [\"10.3.0.0/24\"]\npsk = \"nara-ieZ0ahngohng0Poo\"\nssh.jump = \"hub\"\n"
	const bob = "[l2tp.users.\"bob@example.com\"]\npassword = \"bob-secret\"\n"
	for name, tt := range map[string]struct {
		edit       func(*Draft)
		text, want string // after aHub
	}{
		"the first site comes behind the hub": {addNara,
			"ssh.port = 22 # not the usual one\n# ssh.user = \"root\"\n\n# People\n" + anL2TP,
			"ssh.port = 22 # not the usual one\n# ssh.user = \"root\"\n\n" + nara + "\n# People\n" + anL2TP},
		"without a newline at the end": {addNara,
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + strings.TrimSuffix(osaka, "\n"),
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "\n" + nara},
		"behind the last site and its comments": {addNara,
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "[sites.osaka.ssh]\nuser = \"me\"\n# port = 22\n\n# The firewall\n[firewall]\n",
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "[sites.osaka.ssh]\nuser = \"me\"\n# port = 22\n\n" + nara + "\n# The firewall\n[firewall]\n"},
		"a comment that touches the next table is its": {addNara,
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "# The firewall\n[firewall]\n",
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "\n" + nara + "\n# The firewall\n[firewall]\n"},
		"below a table of dotted keys": {addNara,
			"[sites]\nosaka.subnets = [\"10.2.0.0/24\"]\nosaka." + osaka + "\n[firewall]\n",
			"[sites]\nosaka.subnets = [\"10.2.0.0/24\"]\nosaka." + osaka + "\n" + nara + "\n[firewall]\n"},
		"into braces": {addNara,
			"[sites]\nosaka = { subnets = [\"10.2.0.0/24\"], " + strings.TrimSpace(osaka) + " } # home\n",
			"[sites]\nosaka = { subnets = [\"10.2.0.0/24\"], " + strings.TrimSpace(osaka) + " } # home\n\n" + nara},
		"a user below the last": {addBob,
			anL2TP + "[l2tp.users.alice]\npassword = \"alice-secret\"\n\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka,
			anL2TP + "[l2tp.users.alice]\npassword = \"alice-secret\"\n\n" + bob + "\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka},
		"the first user": {addBob, anL2TP + "# mtu = 1280\n", anL2TP + "# mtu = 1280\n\n" + bob},
		"a user into braces": {addBob,
			anL2TP + "users = { alice = { password = \"alice-secret\" } }\n",
			anL2TP + "users = { alice = { password = \"alice-secret\" }, \"bob@example.com\" = { password = \"bob-secret\" } }\n"},
		"a user into empty braces": {addBob, anL2TP + "users = {}\n", anL2TP + "users = { \"bob@example.com\" = { password = \"bob-secret\" } }\n"},
		"a user into braces of many lines": {addBob,
			anL2TP + "users = {\n\t# the boss\n\talice = { password = \"alice-secret\" }, # here, too\n}\n",
			anL2TP + "users = {\n\t# the boss\n\talice = { password = \"alice-secret\" }, # here, too\n\t\"bob@example.com\" = { password = \"bob-secret\" },\n}\n"},
		"a user into braces of many lines, without a comma": {addBob,
			anL2TP + "users = {\n\talice = { password = \"alice-secret\" } # here, too\n}\n",
			anL2TP + "users = {\n\talice = { password = \"alice-secret\" }, # here, too\n\t\"bob@example.com\" = { password = \"bob-secret\" }\n}\n"},
		"a site goes, and its comments": {removeOsaka,
			"# Offices\n\n# The first\n[sites.tokyo]\nsubnets = [\"10.1.0.0/24\"]\n" + tokyo + "\n# The second,\n# by the sea\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "# ssh.port = 22\n\n[sites.osaka.ssh]\nuser = \"me\"\n\n[firewall]\n",
			"# Offices\n\n# The first\n[sites.tokyo]\nsubnets = [\"10.1.0.0/24\"]\n" + tokyo + "\n[firewall]\n"},
		"the last site goes": {removeOsaka, "\n# Offices\n\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "\n\n[firewall]\n", "\n# Offices\n\n\n[firewall]\n"},
		"dotted keys go": {removeOsaka,
			"[sites]\ntokyo.subnets = [\"10.1.0.0/24\"]\n# by the sea\nosaka.subnets = [\"10.2.0.0/24\"]\ntokyo." + tokyo + "osaka." + osaka,
			"[sites]\ntokyo.subnets = [\"10.1.0.0/24\"]\ntokyo." + tokyo},
		"out of braces": {removeOsaka,
			"[sites]\nosaka = { subnets = [\n  \"10.2.0.0/24\"\n], " + strings.TrimSpace(osaka) + " } # home\n[firewall]\n",
			"[sites]\n[firewall]\n"},
		"a user out of braces": {func(d *Draft) { d.Remove([]string{"l2tp", "users", "bob"}) },
			anL2TP + "users = { alice.password = \"alice-secret\", bob.password = \"bob-secret\", bob.address = \"192.168.200.9\" }\n",
			anL2TP + "users = { alice.password = \"alice-secret\" }\n"},
		"the first user out of braces": {func(d *Draft) { d.Remove([]string{"l2tp", "users", "alice"}) },
			anL2TP + "users = { alice.password = \"alice-secret\", bob.password = \"bob-secret\" }\n",
			anL2TP + "users = { bob.password = \"bob-secret\" }\n"},
		"the only user out of braces": {func(d *Draft) { d.Remove([]string{"l2tp", "users", "alice"}) },
			anL2TP + "users = { alice.password = \"alice-secret\" }\n", anL2TP + "users = { }\n"},
		"out of braces of many lines": {func(d *Draft) { d.Remove([]string{"l2tp", "users", "bob"}) },
			anL2TP + "users = {\n\talice = { password = \"alice-secret\" }, # one\n\t# two\n\tbob = { password = \"bob-secret\" } # three\n}\n",
			anL2TP + "users = {\n\talice = { password = \"alice-secret\" } # one\n}\n"},
		"another name, in every place": {renameOsaka,
			"[sites]\n\"osaka\".subnets = [\"10.2.0.0/24\"]\nosaka . " + osaka + "[sites.'osaka'.ssh]\nport = 22 # osaka\n",
			"[sites]\n\"kobe\".subnets = [\"10.2.0.0/24\"]\nkobe . " + osaka + "[sites.'kobe'.ssh]\nport = 22 # osaka\n"},
		"another value": {func(d *Draft) { d.Set([]string{"l2tp", "psk"}, secret.New("new-Jahz8uqu5aeVeemi")) },
			strings.Replace(anL2TP, "\"\n", "\" # old\n", 1), strings.Replace(strings.Replace(anL2TP, "\"\n", "\" # old\n", 1), "l2tp-", "new-", 1)},
		"a new key": {func(d *Draft) { d.Set([]string{"sites", "osaka", "ssh", "host"}, "sea") },
			"[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "# end\n", "[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka + "ssh.host = \"sea\"\n# end\n"},
		"a new key in a table of its own": {func(d *Draft) { d.Set([]string{"sites", "osaka", "ssh", "host"}, "sea") },
			"[sites.osaka.ssh]\nport = 22\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka, "[sites.osaka.ssh]\nport = 22\nhost = \"sea\"\n[sites.osaka]\nsubnets = [\"10.2.0.0/24\"]\n" + osaka},
		"a new key in braces": {func(d *Draft) { d.Set([]string{"sites", "osaka", "ssh", "host"}, "sea") },
			"[sites.osaka]\nssh = { port = 22 }\nsubnets = [\"10.2.0.0/24\"]\n" + osaka, "[sites.osaka]\nssh = { port = 22, host = \"sea\" }\nsubnets = [\"10.2.0.0/24\"]\n" + osaka},
	} {
		t.Run(name, func(t *testing.T) {
			for _, newline := range []string{"\n", "\r\n"} {
				lines := strings.NewReplacer("\n", newline)
				d := mustDraft(t, lines.Replace(aHub+tt.text))
				tt.edit(d)
				got, _, err := d.result()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(lines.Replace(aHub+tt.want), string(got)); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}
