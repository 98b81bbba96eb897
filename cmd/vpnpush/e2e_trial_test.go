package main

import (
	"bytes"
	"testing"
	"time"
)

// seeded is a mistake, made on the hub before an apply and taken back after it.
type seeded struct {
	name, make, undo string
	say              []string
	goesOn           bool // it is told, and no reason to stop
}

// mistaken has what is written to a file of ours come out as sed makes it, as a fault of
// ours would.
func mistaken(file, sed string) string {
	return "printf '%s\\n' '#!/bin/sh' '/bin/mv \"$@\" || exit' 'for f; do :; done' '[ \"$f\" != " + file + " ] || sed -i \"" + sed + "\" " + file + "' >/usr/local/sbin/mv; chmod 755 /usr/local/sbin/mv"
}

const unmistaken = "rm -f /usr/local/sbin/mv"

// strongSwan loads what it can of a broken file and calls that a success. So each apply
// has a charon of its own load it first: nothing is touched where that does not list what
// was planned, whoever wrote the broken line; the place and whose it is are told.
func TestE2ETrial(t *testing.T) {
	t.Parallel()
	const conf, keys = "/etc/ipsec.d/vpnpush/tokyo.conf", "/etc/ipsec.d/vpnpush/tokyo.secrets"
	const plugins = "/etc/strongswan.d/charon/openssl.conf /etc/strongswan.d/charon/gmp.conf"
	testTrial(t, byStarter, `cat /run/charon.pid; ipsec statusall | grep -o -e 'SPIs: .*' -e ' [0-9a-f]*_i [0-9a-f]*_o'`, []seeded{
		{"a keyword of ours", mistaken(conf, "s/mobike/mobyke/"), unmistaken, []string{conf + ":20: unknown keyword 'mobyke'"}, false},
		{"a syntax error of ours", mistaken(conf, "s/auto=add/auto = add = x/"), unmistaken, []string{conf + ":25: syntax error, unexpected EQ"}, false},
		{"a value of ours", mistaken(conf, "s/dpddelay=.*/dpddelay=soon/"), unmistaken, []string{conf + ":22: bad duration value: dpddelay=soon"}, false},
		{"a conn of ours that lacks", mistaken(conf, "s/^conn tokyo/conn tokio/"), unmistaken, []string{conf + ": not found once it was loaded: conn tokyo"}, false},
		{"an identity of ours", mistaken(conf, "s/rightid=@tokyo/rightid=@tokio/"), unmistaken, []string{conf + ": not found once it was loaded: remote of tokyo is tokyo"}, false},
		{"networks of ours", mistaken(conf, "s/rightsubnet=.*/rightsubnet=10.1.0.0\\/16/"), unmistaken, []string{conf + ": not found once it was loaded: tokyo joins "}, false},
		{"a key of ours", mistaken(keys, "s/.$//") + "; echo >>" + keys, unmistaken, []string{keys + ":", "malformed secret"}, false},
		{"a syntax error of the admin's", `mkdir -p /etc/ipsec.d/my; echo 'conn } {' >/etc/ipsec.d/my/a.conf; echo 'include /etc/ipsec.d/my/*.conf' >>/etc/ipsec.conf`,
			`rm -r /etc/ipsec.d/my; sed -i '$d' /etc/ipsec.conf`, []string{"/etc/ipsec.d/my/a.conf:1: syntax error", "the file is not vpnpush's"}, false},
		{"a secret of the admin's", `sed -i '1i @me : PSK "abc' /etc/ipsec.secrets`, `sed -i 1d /etc/ipsec.secrets`,
			[]string{"/etc/ipsec.secrets:1: malformed secret", "the file is not vpnpush's", "not found once it was loaded: keys of " + keys}, false},
		{"a plugin that is not there", "sed -i 's/load = .*/load = no/' " + plugins, "sed -i 's/load = .*/load = yes/' " + plugins,
			[]string{conf + ": not found once it was loaded: algorithm MODP_2048"}, false},
		{"a keyword of the admin's", `printf 'conn mine\n    foo=bar\n    auto=add\n' >>/etc/ipsec.conf`, `:`,
			[]string{"/etc/ipsec.conf:", "unknown keyword 'foo'; the file is not vpnpush's"}, true},
	})
}

// swanctl is no better: of a file with a syntax error it loads nothing, takes out of
// charon whatever was there, and ends with 0. And where it ends with another code, for one
// conn of the admin's, its service does not start any more, at the next boot.
func TestE2ETrialSwanctl(t *testing.T) {
	t.Parallel()
	const conf, keys, mine = "/etc/swanctl/conf.d/vpnpush-tokyo.conf", "/etc/swanctl/conf.d/vpnpush-tokyo.secrets.conf", "/etc/swanctl/conf.d/mine.conf"
	const plugins = "/etc/strongswan.d/charon/openssl.conf /etc/strongswan.d/charon/gmp.conf"
	admins := func(text string) string { return "printf '" + text + "' >" + mine }
	testTrial(t, bySwanctl, `pidof charon-systemd; swanctl --list-sas --raw 2>/dev/null | grep -o -e 'spi[^ ]*=[^ ]*' -e '[a-z]*-spi=[^ ]*'`, []seeded{
		{"a keyword of ours", mistaken(conf, "s/mobike/mobyke/"), unmistaken, []string{conf + ":11: loading connection 'tokyo' failed: unknown option: mobyke", "its service would not start"}, false},
		{"a brace of ours", mistaken(conf, "s/^}$/} }/"), unmistaken, []string{conf + ":34: syntax error, unexpected '}'"}, false},
		{"a brace of ours that lacks", mistaken(conf, "s/^}$//"), unmistaken, []string{conf + ":", "syntax error, unexpected end of file"}, false},
		{"a value of ours", mistaken(conf, "s/dpd_delay =.*/dpd_delay = soon/"), unmistaken, []string{conf + ":13: loading connection 'tokyo' failed: invalid value for: dpd_delay"}, false},
		{"a proposal of ours", mistaken(conf, "s/ proposals =.*/ proposals = aes256-sha257-modp2048/"), unmistaken, []string{conf + ":10: loading connection 'tokyo' failed: invalid value for: proposals"}, false},
		{"a conn of ours that lacks", mistaken(conf, "s/^    tokyo {/    tokio {/"), unmistaken, []string{conf + ": not found once it was loaded: conn tokyo"}, false},
		{"an identity of ours", mistaken(conf, "s/id = @tokyo/id = @tokio/"), unmistaken, []string{conf + ": not found once it was loaded: remote of tokyo is tokyo"}, false},
		{"networks of ours", mistaken(conf, "s/remote_ts =.*/remote_ts = 10.1.0.0\\/99/"), unmistaken, []string{conf + ": not found once it was loaded: tokyo joins "}, false},
		{"a key of ours", mistaken(keys, "s/secret =/sekret =/") + "; echo >>" + keys, unmistaken, []string{keys + ":3: missing secret in 'ike-vpnpush-tokyo', ignored"}, false},
		{"a syntax error of the admin's", admins(`connections {\n  mine {\n`), "rm " + mine, []string{mine + ":2: syntax error, unexpected end of file", "the file is not vpnpush's"}, false},
		{"a keyword of the admin's", admins(`connections {\n  mine {\n    foo = bar\n  }\n}\n`), "rm " + mine, []string{mine + ":3: loading connection 'mine' failed: unknown option: foo", "the file is not vpnpush's", "its service would not start"}, false},
		{"a plugin that is not there", "sed -i 's/load = .*/load = no/' " + plugins, "sed -i 's/load = .*/load = yes/' " + plugins, []string{conf + ": not found once it was loaded: algorithm MODP_2048"}, false},
		{"a secret of the admin's", admins(`secrets {\n  ike-mine {\n    id = @me\n  }\n}\n`), "rm " + mine, []string{mine + ":2: missing secret in 'ike-mine', ignored; the file is not vpnpush's"}, true},
	})
}

// testTrial has an apply meet each of the mistakes, on a hub with a tunnel that is up.
// daemon prints what must stay as it is of the daemon and its SAs.
func testTrial(t *testing.T, b backend, daemon string, mistakes []seeded) {
	l := applied(t, b, labHub, labTokyo, labOsaka)
	b.write(t, l, labHub, labTokyo, labOsaka, "[tunnel]\ndpd_delay = \"31s\"\n")

	// what a trial must leave alone: the files, the daemon with its SAs, and whatever is
	// mounted or runs beside it
	untouched := `
find /etc /var/lib/vpnpush -path /var/lib/vpnpush/txn -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
cat /proc/mounts
` + daemon + `
ls -1 /proc/[0-9]*/ns/net | xargs -n 1 readlink 2>/dev/null | sort -u
pgrep -c charon; pgrep -f '[a]pply.sh'
:`
	for _, tt := range mistakes {
		t.Run(tt.name, func(t *testing.T) {
			l.MustRun("vps", "sh", "-ec", tt.make)
			before := l.MustRun("vps", "sh", "-c", untouched)
			code := 4
			if tt.goesOn {
				code = 0
			}
			r := vpnpush(t, l, code, "apply", "--yes", "--limit", "vps")
			mustSay(t, r, tt.say...)
			if !tt.goesOn {
				mustSay(t, r, "ipsec:loaded (try)", "nothing was changed")
				if after := l.MustRun("vps", "sh", "-c", untouched); after != before {
					t.Errorf("it was refused, and changed:\n%s", lineDiff(before, after))
				}
			}
			l.MustRun("vps", "sh", "-ec", tt.undo)
		})
	}

	t.Run("killed half-way", func(t *testing.T) {
		b.write(t, l, labHub, labTokyo, labOsaka, "[tunnel]\ndpd_delay = \"32s\"\n")
		before := l.MustRun("vps", "sh", "-c", untouched)
		l.MustRun("vps", "sh", "-ec", `printf '#!/bin/sh\nsleep 60\n' >/usr/local/sbin/mount; chmod 755 /usr/local/sbin/mount`)
		apply := l.Command(t.Context(), "apply", "--yes", "--limit", "vps")
		var out bytes.Buffer
		apply.Stdout, apply.Stderr = &out, &out
		if err := apply.Start(); err != nil {
			t.Fatal(err)
		}
		l.Wait(30*time.Second, "the trial runs", func() bool {
			_, code := l.Run("vps", "pgrep", "-f", "[a]pply.sh trial")
			return code == 0
		})
		l.MustRun("vps", "sh", "-ec", `kill -KILL "$(systemctl show -P MainPID "$(systemctl list-units --plain --no-legend 'vpnpush-apply-*' | cut -d ' ' -f 1)")"; rm /usr/local/sbin/mount`)
		if err := apply.Wait(); apply.ProcessState.ExitCode() != 4 {
			t.Errorf("%v\n%s", err, out.String())
		}
		if after := l.MustRun("vps", "sh", "-c", untouched); after != before {
			t.Errorf("the trial was killed, and left:\n%s", lineDiff(before, after))
		}
	})
}
