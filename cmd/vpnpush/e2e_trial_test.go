package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/vpnpush/vpnpush/cmd/vpnpush/internal/lab"
)

// untouched prints what a trial must leave alone: the files, the daemon with its SAs, and
// whatever is mounted or runs beside it.
const untouched = `
find /etc /var/lib/vpnpush -path /var/lib/vpnpush/txn -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
cat /run/charon.pid /proc/mounts
ipsec statusall | grep -o -e 'SPIs: .*' -e ' [0-9a-f]*_i [0-9a-f]*_o'
ls -1 /proc/[0-9]*/ns/net | xargs -n 1 readlink 2>/dev/null | sort -u
pgrep -c charon; pgrep -f '[a]pply.sh'
:`

// strongSwan loads what it can of a broken file and calls that a success. So each apply
// has a charon of its own load it first: nothing is touched where that does not list what
// was planned, whoever wrote the broken line; the place and whose it is are told.
func TestE2ETrial(t *testing.T) {
	t.Parallel()
	l := lab.Start(t, lab.Options{Hosts: []lab.Host{{Name: "vps", Place: "hub", Layer: "starter"}, {Name: "tokyo", Place: "1", Layer: "starter"}}})
	write(t, l, labHub, labTokyo)
	vpnpush(t, l, 0, "apply", "--yes")
	write(t, l, labHub, labTokyo, "[tunnel]\ndpd_delay = \"31s\"\n")

	const conf, keys = "/etc/ipsec.d/vpnpush/tokyo.conf", "/etc/ipsec.d/vpnpush/tokyo.secrets"
	// broken has what is written to a file of ours come out broken, as a fault of ours
	// would
	broken := func(file, sed string) string {
		return "printf '%s\\n' '#!/bin/sh' '/bin/mv \"$@\" || exit' 'for f; do :; done' '[ \"$f\" != " + file + " ] || sed -i \"" + sed + "\" " + file + "' >/usr/local/sbin/mv; chmod 755 /usr/local/sbin/mv"
	}
	const mended = "rm -f /usr/local/sbin/mv"
	for _, tt := range []struct {
		name, make, undo string
		say              []string
		goesOn           bool
	}{
		{"a keyword of ours", broken(conf, "s/mobike/mobyke/"), mended, []string{conf + ":20: unknown keyword 'mobyke'"}, false},
		{"a syntax error of ours", broken(conf, "s/auto=add/auto = add = x/"), mended, []string{conf + ":25: syntax error, unexpected EQ"}, false},
		{"a value of ours", broken(conf, "s/dpddelay=.*/dpddelay=soon/"), mended, []string{conf + ":22: bad duration value: dpddelay=soon"}, false},
		{"a conn of ours that lacks", broken(conf, "s/^conn tokyo/conn tokio/"), mended, []string{conf + ": not found once it was loaded: conn tokyo"}, false},
		{"an identity of ours", broken(conf, "s/rightid=@tokyo/rightid=@tokio/"), mended, []string{conf + ": not found once it was loaded: remote of tokyo is tokyo"}, false},
		{"networks of ours", broken(conf, "s/rightsubnet=.*/rightsubnet=10.1.0.0\\/16/"), mended, []string{conf + ": not found once it was loaded: tokyo joins "}, false},
		{"a key of ours", broken(keys, "s/.$//") + "; echo >>" + keys, mended, []string{keys + ":", "malformed secret"}, false},
		{"a syntax error of the admin's", `mkdir -p /etc/ipsec.d/my; echo 'conn } {' >/etc/ipsec.d/my/a.conf; echo 'include /etc/ipsec.d/my/*.conf' >>/etc/ipsec.conf`,
			`rm -r /etc/ipsec.d/my; sed -i '$d' /etc/ipsec.conf`, []string{"/etc/ipsec.d/my/a.conf:1: syntax error", "the file is not vpnpush's"}, false},
		{"a secret of the admin's", `sed -i '1i @me : PSK "abc' /etc/ipsec.secrets`, `sed -i 1d /etc/ipsec.secrets`,
			[]string{"/etc/ipsec.secrets:1: malformed secret", "the file is not vpnpush's", "not found once it was loaded: keys of " + keys}, false},
		{"a plugin that is not there", `sed -i 's/load = .*/load = no/' /etc/strongswan.d/charon/openssl.conf /etc/strongswan.d/charon/gmp.conf`,
			`sed -i 's/load = .*/load = yes/' /etc/strongswan.d/charon/openssl.conf /etc/strongswan.d/charon/gmp.conf`,
			[]string{conf + ": not found once it was loaded: algorithm MODP_2048"}, false},
		{"a keyword of the admin's", `printf 'conn mine\n    foo=bar\n    auto=add\n' >>/etc/ipsec.conf`, `:`,
			[]string{"/etc/ipsec.conf:", "unknown keyword 'foo'; the file is not vpnpush's"}, true},
	} {
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
		write(t, l, labHub, labTokyo, "[tunnel]\ndpd_delay = \"32s\"\n")
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
