package roles

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vpnpush/vpnpush/tasks"
	"github.com/vpnpush/vpnpush/transport/transporttest"
)

// inStarter runs shell with the functions of starter's part, as an apply script does.
func inStarter(t *testing.T, argv []string, shell string) (string, error) {
	t.Helper()
	script := tasks.PartFiles.Text + tasks.PartUnits.Text + starter.Part.Text + "set -eu\n" + shell
	out, err := exec.Command(argv[0], append(argv[1:], "-c", script)...).CombinedOutput()
	return string(out), err
}

// A package that is none of strongSwan's brings no restart of charon: that
// would take down every tunnel of the hub that gets its L2TP layer.
func TestLoadRestartsOnlyFreshStrongSwan(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct{ installed, did string }{
			{"", "ipsec update"},
			{" ppp xl2tpd iptables-persistent", "ipsec update"},
			{" strongswan-starter strongswan-charon libstrongswan-standard-plugins xl2tpd", "systemctl restart strongswan-starter.service"},
			{" libstrongswan-standard-plugins", "systemctl restart strongswan-starter.service"},
		} {
			out, err := inStarter(t, argv, `sleep() { :; }
ipsec() { if [ "$1" = status ]; then echo 'Security Associations (0 up, 0 connecting):'; else echo "ipsec $*"; fi; }
systemctl() { [ "$1" = --quiet ] || echo "systemctl $*"; }
installed='`+tt.installed+`'
starter_load strongswan-starter.service`)
			if err != nil {
				t.Fatalf("%s, %q: %v\n%s", name, tt.installed, err, out)
			}
			if !strings.Contains(out, tt.did+"\n") || strings.Contains(out, "restart") != strings.Contains(tt.did, "restart") {
				t.Errorf("%s: with%q installed it did\n%swant %s", name, tt.installed, out, tt.did)
			}
		}
	}
}

// Keys and conns are found in each file that strongSwan reads, through includes with
// patterns, relative ones and nested ones, each once; of a key what stands before the
// secret is printed, and nothing else.
func TestFilesAreListed(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		dir := t.TempDir()
		put := func(path, text string) {
			t.Helper()
			path = filepath.Join(dir, path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		put("ipsec.secrets", "# : PSK \"hush\"\n: PSK \"hush\"\n\t203.0.113.10 %any :  PSK\thush # x\n@vps : XAUTH \"hush\"\n@vps: PSK hush\ninclude\tno.secrets\n"+
			"include d/*.secrets and junk\n  include "+dir+"/abs.x\ninclude nowhere/*\n# taken out by vpnpush: : PSK \"hush\"\n\"@a b\" : PSK 'hush : PSK hush'\n@end : PSK hush")
		put("abs.x", "include ipsec.d/vpnpush/*.secrets\ninclude d/../d/sub/*\r\n@abs : PSK hush\r\n")
		put("no.secrets", "@no : PSK hush\n")
		put("d/one.secrets", "include *.secrets\ninclude ../ipsec.secrets\n@one : PSK hush\n")
		put("d/two.secrets", "@two : RSA hush.pem\n")
		put("d/.hidden.secrets", "@hidden : PSK hush\n")
		put("d/sub/three", "%any : PSK hush\n")
		put("ipsec.conf", "config setup\n\tuniqueids=no\n\tcharondebug=\"x\"\n# conn no\nconn a # x\n\tleft = %any\r\n\tleftcert=hush.pem\n# taken out by vpnpush: conn old\n  include c/*.conf\ninclude \""+dir+"/c/more\"\npasted hush\n")
		put("c/b.conf", "conn b\n\talso=a\n\trightsubnet=10.0.0.0/8\n\tinclude ../ipsec.conf\n")
		put("ipsec.d/vpnpush/ours.secrets", "@ours : PSK hush\n")
		put("c/more", "conn %default\n\tkeyexchange=ikev2")
		if err := os.Symlink("three", filepath.Join(dir, "d/sub/link")); err != nil {
			t.Fatal(err)
		}
		shell := strings.ReplaceAll(starterFilesShell, "/etc/", dir+"/")
		out, err := exec.Command(argv[0], append(argv[1:], "-c", shell)...).CombinedOutput()
		if err != nil || strings.Contains(string(out), "hush") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		var got []string
		for l := range strings.Lines(string(out)) {
			l = strings.TrimSuffix(strings.ReplaceAll(l, dir+"/", ""), "\n")
			if w := strings.Split(l, "\t"); w[0] == "file" && len(w) == 3 && len(w[2]) == 64 {
				l = w[0] + " " + w[1]
			}
			got = append(got, l)
		}
		want := []string{
			"file ipsec.secrets", "key\t2\t: PSK ", "key\t3\t203.0.113.10 %any :  PSK\t", "out\t10", "key\t11\t\"@a b\" : PSK ", "key\t12\t@end : PSK ",
			"file ipsec.conf", "line\t1\tconfig setup", "line\t2\t\tuniqueids=", "line\t3\t\tcharondebug=", "line\t5\tconn a # x", "line\t6\t\tleft = %any", "line\t7\t\tleftcert=", "out\t8",
			"file d/one.secrets", "key\t3\t@one : PSK ", "file d/two.secrets", "file abs.x", "key\t3\t@abs : PSK ",
			"file c/b.conf", "line\t1\tconn b", "line\t2\t\talso=a", "line\t3\t\trightsubnet=10.0.0.0/8",
			"file c/more", "line\t1\tconn %default", "line\t2\t\tkeyexchange=ikev2",
			"file d/sub/three", "key\t1\t%any : PSK ",
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", name, d)
		}
	}
}

// A charon that does not answer yet would be ended by the signal that has it read its
// settings; it reads them as it starts. `ipsec status` says yes, and nothing, for a
// starter alone, when there may not even be a charon.pid.
func TestSettingsSpareACharonThatStarts(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		for _, tt := range []struct {
			status, pid string
			hup         bool
		}{
			{status: "echo 'Security Associations (0 up, 0 connecting):'; echo '  none'", pid: "4711", hup: true},
			{status: "true"},
			{status: "true", pid: "4711"},
			{status: "false"},
		} {
			out, err := inStarter(t, argv, `sleep() { :; }
dir=`+t.TempDir()+`
[ -z "`+tt.pid+`" ] || echo "`+tt.pid+`" >$dir/charon.pid
echo x >$dir/file
ipsec() { if [ "$1" = status ]; then `+tt.status+`; else echo $dir; fi; }
systemctl() { :; }
kill() { echo "kill $*"; }
put() { echo "note $1"; }
starter_settings strongswan-starter.service $dir/note $dir/file`)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, out)
			}
			if strings.Contains(out, "kill -HUP 4711\n") != tt.hup || !strings.Contains(out, "note ") {
				t.Errorf("%s: charon answers %s, and it did\n%s", name, tt.status, out)
			}
		}
	}
}

// What comes after an update takes down what was up and dials anew: done before starter
// has told charon the new conns it would bring the old ones back. The first process here
// is a starter that waits for charon's answer until it is told to go on, by what the wait
// itself does, and for a signal then; the second one is gone.
func TestUpdateIsWaitedFor(t *testing.T) {
	if _, err := exec.LookPath("perl"); err != nil {
		t.Skip("no perl on this machine")
	}
	for name, argv := range transporttest.Shells(t) {
		out, err := inStarter(t, argv, `dir=`+t.TempDir()+`
mkfifo $dir/answer
perl -e 'open(F, "<", $ARGV[0]); <F>; print "told charon\n"; $| = 1; print ""; select(undef, undef, undef, 60)' $dir/answer &
echo $! >$dir/starter.charon.pid
ipsec() { echo $dir; }
waits=0
sleep() { waits=$((waits + 1)); [ $waits -ne 3 ] || echo x >$dir/answer; command sleep 0.01; }
starter_settled
kill $!
echo "after $waits"
echo 4194305 >$dir/starter.charon.pid
waits=10
starter_settled
echo "blind $((waits - 10))"`)
		told, after, _ := strings.Cut(out, "told charon\n")
		if err != nil || told != "" || !strings.HasPrefix(after, "after ") || !strings.HasSuffix(after, "blind 19\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// The names of 3,000 sites are more than one argument of a program takes, and the paths
// of their files more than all of them may have.
func TestManyConnsInOneScript(t *testing.T) {
	for name, argv := range transporttest.Shells(t) {
		out, err := inStarter(t, argv, swanctlDial+`dir=`+t.TempDir()+`
set -- $(i=0; while [ $i -lt 3000 ]; do printf 'a-site-with-a-name-as-long-as-names-of-hosts-may-be-with-no-%05d\n' $i; i=$((i + 1)); done)
printf 'and this one\n' >$dir/file
put() { cat >$dir/note; }
ipsec() { printf 'Security Associations (1 up, 0 connecting):\n%s[3]: ESTABLISHED 2 minutes ago\n' "$1"; }
printf '%s\n' "$@" | sed '$d' | lacking "$@"; echo
lacking </dev/null
(
    ipsec() { case $1 in status) [ -e $dir/down ] || printf 'Security\n%s[3]: ESTABLISHED, a[b]\nother[4]: ESTABLISHED\n' "$last" ;; down) echo "down $2" >&2; : >$dir/down ;; esac; }
    timeout() { shift; "$@" 2>&3; }
    for last; do :; done
    starter_sas "$@"
    starter_down "$@"
    swanctl() { printf 'list-sa event {%s {uniqueid=27 version=2}}\nlist-sa event {other {uniqueid=28}}\nlist-sas reply {}\n' "$last"; }
    swanctl_sas "$@"
) 3>&1
dir2=$dir/$(printf '%0150d' 0)/$(printf '%0150d' 0)
mkdir -p "$dir2"; for f in 1 2; do echo "$f" >"$dir2/$f"; done
i=0; set --; while [ $i -lt 8 ]; do set -- "$@" "$@" "$dir2/1"; i=$((i + 1)); done
while [ $# -lt 8000 ]; do set -- "$@" "$@"; done
note_loaded unit "$@" "$dir2/2"
wc -l <$dir/note; tail -n 1 $dir/note | cut -c 1-8
`)
		last := "a-site-with-a-name-as-long-as-names-of-hosts-may-be-with-no-02999"
		want := last + "\n" + last + "[3]\ndown " + last + "[3]\n" + last + "[27]\n8161\n53c234e5\n"
		if err != nil || out != want {
			t.Errorf("%s: %v\n%.2000s\nwant\n%s", name, err, out, want)
		}
	}
}
