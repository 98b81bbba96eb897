package main

import (
	"cmp"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
	"github.com/vpnpush/vpnpush/tasks/strongswan"
)

// backend is a way to run strongSwan on a lab's hosts, and the words for what the tests do to
// it there. What is the same by either of them has none: status asks the host.
type backend struct {
	name  string // backend, in the inventory
	layer string // of a lab's host: strongSwan is there, and nothing was told to it
	needs string // the package that it wants first
	unit  string // without .service
	ours  string // what the names of our files begin with
	keyed string // how that of a conn's keys ends

	// tool is the command that speaks to charon, in /usr/sbin; loads and rereads are the
	// arguments that an apply has it load conns with, and keys
	tool, loads, rereads string

	// Shell from here. load has charon read what stands in the files of conns, reread in
	// those of keys.
	load, reread string
	answers      string // succeeds once charon does
	pid, conns   string // print its process, and the conns that it has
	// Of the conn that takes the place of CONN: it is dialled; it ends, as a person would
	// say it; all its IKE SAs end, its child SAs.
	up, down, endIKE, endChild string
	// charon does not know CONN any more, though its file stays; and knows it again.
	forget, remember string

	admin
}

// admin is what an admin writes by hand.
type admin struct {
	mine     string // the file that strongSwan reads first
	mineLine string // where the conn of handmade stands in it
	keyring  string // the file that keys are read from first
	keys     string // one for keys
	more     string // one more, which is read where keyring includes it, or anyway
	above    int    // how many lines above its word a key begins

	key func(word string, ids ...string) string // a key for who has these identities
	// handmade is a conn ipsec-test without identities, which says waits, and would dial
	// if it said dials instead
	handmade     func(local, localNet, remote, remoteNet string) string
	waits, dials string

	beside  map[string]string // files that say something, beside ours
	profile string            // of AppArmor, for who reads keys
	// Shell: /root/was has the file of conn tokyo, and another conn of its like takes its
	// place, by-hand; and does no more.
	alike, unlike string
}

var (
	byStarter = backend{
		name: "ipsec.conf", layer: "starter", needs: "strongswan-starter", unit: "strongswan-starter",
		ours: "/etc/ipsec.d/vpnpush/", keyed: ".secrets",
		tool: "ipsec", loads: "update", rereads: "rereadsecrets",
		load: "ipsec update", reread: "ipsec rereadsecrets", answers: "ipsec status", pid: "cat /run/charon.pid",
		conns: "ipsec statusall | sed -n '/^Connections:/,/^[RS][a-z]* .*:/p' | grep '^ '",
		up:    "timeout 20 ipsec up CONN", down: "timeout 10 ipsec down CONN",
		endIKE: "timeout 10 ipsec down 'CONN[*]'", endChild: "timeout 10 ipsec down 'CONN{*}'",
		forget: "/usr/lib/ipsec/stroke delete CONN", remember: "ipsec update; ipsec reload",
		admin: admin{
			mine: "/etc/ipsec.conf", mineLine: ":4", keyring: "/etc/ipsec.secrets", keys: "/etc/ipsec.secrets", more: "/etc/ipsec.d/hand.secrets",
			key: func(word string, ids ...string) string {
				return strings.TrimSpace(strings.Join(ids, " ")+" : PSK ") + " \"" + word + "\"\n"
			},
			handmade: func(local, localNet, remote, remoteNet string) string {
				return fmt.Sprintf(`conn %%default
    keyexchange=ikev2
    authby=secret
conn ipsec-test
    left=%s
    leftsubnet=%s
    right=%s
    rightsubnet=%s
    auto=add
`, cmp.Or(local, "%defaultroute"), localNet, remote, remoteNet)
			},
			waits: "auto=add", dials: "auto=start",
			beside: map[string]string{
				"/etc/ipsec.conf":    "# my own\nconfig setup\n\nconn mine\n    left=203.0.113.10\n    right=198.51.100.1\n    auto=add", // no newline
				"/etc/ipsec.secrets": "198.51.100.1 : PSK \"mine-canary-secret\"\n",
			},
			profile: "usr.lib.ipsec.charon",
			alike:   "sed 's/^conn tokyo$/conn by-hand/' /root/was/tokyo.conf >/etc/ipsec.d/by-hand.conf; echo 'include /etc/ipsec.d/by-hand.conf' >>/etc/ipsec.conf",
			unlike:  "rm /etc/ipsec.d/by-hand.conf; sed -i '/by-hand/d' /etc/ipsec.conf",
		},
	}
	bySwanctl = backend{
		name: "swanctl", layer: "swanctl", needs: "charon-systemd", unit: "strongswan",
		ours: "/etc/swanctl/conf.d/vpnpush-", keyed: ".secrets.conf",
		tool: "swanctl", loads: "--load-all", rereads: "--load-all",
		load: "swanctl --load-all --noprompt", reread: "swanctl --load-creds --noprompt",
		answers: "swanctl --stats", pid: "systemctl show -P MainPID strongswan", conns: "swanctl --list-conns",
		// of one that is up already the first says that it failed
		up: "swanctl --initiate --child CONN --timeout 20 || swanctl --list-sas --child CONN | grep INSTALLED", down: "swanctl --terminate --ike CONN --timeout 10",
		endIKE: "swanctl --terminate --ike CONN --timeout 60", endChild: "swanctl --terminate --child CONN --timeout 10",
		forget:   "mv /etc/swanctl/conf.d/vpnpush-CONN.conf /root; swanctl --load-conns; mv /root/vpnpush-CONN.conf /etc/swanctl/conf.d",
		remember: "swanctl --load-conns",
		admin: admin{
			mine: "/etc/swanctl/swanctl.conf", mineLine: ":2", keyring: "/etc/swanctl/swanctl.conf", keys: "/etc/swanctl/conf.d/keys.conf", more: "/etc/swanctl/conf.d/hand.conf", above: 1,
			key: func(word string, ids ...string) string {
				text := fmt.Sprintf("secrets {\n    ike-%d {\n        secret = \"%s\"\n", len(word), word)
				for i, id := range ids {
					text += fmt.Sprintf("        id%d = \"%s\"\n", i, strings.Trim(id, "\""))
				}
				return text + "    }\n}\n"
			},
			handmade: func(local, localNet, remote, remoteNet string) string {
				return fmt.Sprintf(`connections {
    ipsec-test {
        version = 2
        local_addrs = %s
        remote_addrs = %s
        local {
            auth = psk
        }
        remote {
            auth = psk
        }
        children {
            ipsec-test {
                local_ts = %s
                remote_ts = %s
                start_action = none
            }
        }
    }
}
include conf.d/*.conf
`, cmp.Or(local, "%any"), remote, localNet, remoteNet)
			},
			waits: "start_action = none", dials: "start_action = start",
			beside: map[string]string{
				"/etc/swanctl/swanctl.conf":   "# my own\nconnections {\n  mine {\n    local_addrs = 203.0.113.10\n    remote_addrs = 198.51.100.1\n    remote {\n      auth = psk\n      id = 198.51.100.1\n    }\n  }\n}\ninclude conf.d/*.conf", // no newline
				"/etc/swanctl/conf.d/my.conf": "secrets {\n  ike-mine {\n    id = 198.51.100.1\n    secret = \"mine-canary-secret\"\n  }\n}\n",
			},
			profile: "usr.sbin.swanctl",
			alike:   "sed 's/tokyo {/by-hand {/' /root/was/vpnpush-tokyo.conf >/etc/swanctl/conf.d/by-hand.conf",
			unlike:  "rm /etc/swanctl/conf.d/by-hand.conf",
		},
	}
)

func (b backend) conf(conn string) string    { return b.ours + conn + ".conf" }
func (b backend) secrets(conn string) string { return b.ours + conn + b.keyed }

// place returns where a key with a word stands in the text of a file.
func (b backend) place(file, text, word string) string {
	before, _, _ := strings.Cut(text, word)
	return fmt.Sprintf("%s:%d", file, strings.Count(before, "\n")+1-b.above)
}

// of returns a word for a conn.
func of(word, conn string) string { return strings.ReplaceAll(word, "CONN", conn) }

// quiet returns a script of which nothing is heard.
func quiet(script string) string { return "{ " + script + "; } >/dev/null 2>&1" }

// labBackend is the variable that says by which backend the tests run strongSwan.
const labBackend = "VPNPUSH_LAB_BACKEND"

// chosen returns the backend that the tests are run with.
func chosen(t *testing.T) backend {
	t.Helper()
	switch name := cmp.Or(os.Getenv(labBackend), byStarter.name); name {
	case byStarter.name:
		return byStarter
	case bySwanctl.name:
		return bySwanctl
	default:
		t.Fatalf("%s=%s: it is %s or %s", labBackend, name, byStarter.name, bySwanctl.name)
		return backend{}
	}
}

// both runs a test with either backend, side by side, or with the one that is asked for.
func both(t *testing.T, test func(t *testing.T, b backend)) {
	t.Parallel()
	for _, b := range []backend{byStarter, bySwanctl} {
		if os.Getenv(labBackend) == "" || chosen(t).name == b.name {
			t.Run(b.name, func(t *testing.T) {
				t.Parallel()
				test(t, b)
			})
		}
	}
}

// starterOnly skips what there is of ipsec.conf alone.
func starterOnly(t *testing.T, why string) {
	t.Helper()
	if b := chosen(t); b.name != byStarter.name {
		t.Skipf("NOT WITH %s: %s", b.name, why)
	}
}

// write makes an inventory of parts that has all its hosts run strongSwan by b.
func (b backend) write(t *testing.T, l *lab.Lab, parts ...string) {
	t.Helper()
	write(t, l, b.inventory(parts...))
}

// inventory is what write writes.
func (b backend) inventory(parts ...string) string {
	const table = "[tunnel]\n"
	text := "\n" + strings.Join(parts, "")
	if !strings.Contains(text, "\n"+table) {
		text += "\n" + table
	}
	return strings.Replace(text, "\n"+table, "\n"+table+"backend = \""+b.name+"\"\n", 1)[1:]
}

// hinder has something happen on a host whenever strongSwan is told to load its conns, but
// for the one of a trial; mend undoes it.
func (b backend) hinder(l *lab.Lab, host, script string) (mend func()) {
	own := "/usr/local/sbin/" + b.tool
	l.Put(host, own, "#!/bin/sh\n[ -e /run/trial ] || case $* in *"+b.loads+"*) "+script+";; esac\nexec /usr/sbin/"+b.tool+" \"$@\"\n")
	l.MustRun(host, "chmod", "755", own)
	return func() { l.MustRun(host, "rm", "-f", own) }
}

// status returns the IKE SAs on a host, whichever backend runs there; the host must
// answer.
func status(t *testing.T, l *lab.Lab, host string) []strongswan.SA {
	t.Helper()
	read, ask := strongswan.ParseListSAs, "swanctl --list-sas --raw"
	if _, code := l.Run(host, "sh", "-c", "swanctl --stats >/dev/null 2>&1"); code != 0 {
		read, ask = strongswan.ParseStatusAll, "ipsec statusall"
	}
	sas, err := read([]byte(l.MustRun(host, "sh", "-c", ask+" 2>/dev/null")))
	if err != nil {
		t.Fatalf("%s: %s: %v", host, ask, err)
	}
	return sas
}

// sas gives the established IKE SAs on a host: unique ids by conn.
func sas(t *testing.T, l *lab.Lab, host string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, sa := range status(t, l, host) {
		if sa.State == "ESTABLISHED" {
			out[sa.Conn] = append(out[sa.Conn], sa.ID)
		}
	}
	return out
}

// installed returns the child SAs of a conn on a host that carry something.
func installed(t *testing.T, l *lab.Lab, host, conn string) (children []strongswan.ChildSA) {
	t.Helper()
	for _, sa := range status(t, l, host) {
		for _, c := range sa.Children {
			if c.Name == conn && c.State == "INSTALLED" {
				children = append(children, c)
			}
		}
	}
	return children
}

// up reports whether a host answers, and has a child SA of a conn.
func up(l *lab.Lab, host, conn string) bool {
	_, code := l.Run(host, "sh", "-c", `(swanctl --list-sas || ipsec status) 2>/dev/null | grep -q "$1.*INSTALLED"`, "sh", conn)
	return code == 0
}

// selectors returns the networks of a site that its tunnel carries on a host, in the order
// of charon's listing.
func selectors(t *testing.T, l *lab.Lab, host, site string) (nets []string) {
	t.Helper()
	for _, c := range installed(t, l, host, site) {
		if host == "vps" {
			nets = append(nets, c.RemoteTS...)
		} else {
			nets = append(nets, c.LocalTS...)
		}
	}
	return nets
}
